package link

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"statemesh/cluster/internal/keys"
	"statemesh/cluster/internal/simnet"
	"statemesh/wire/peer"
)

func clientTLS(r *keys.Ring) func(peer.NodeID) *tls.Config {
	return func(to peer.NodeID) *tls.Config { return r.ClientTLS(string(to)) }
}

// everywhere runs a test over loopback, and over a network in memory where time is virtual; with TLS and without.
func everywhere(t *testing.T, f func(t *testing.T, w *town)) {
	for _, secure := range []bool{true, false} {
		name := map[bool]string{true: "TLS", false: "plain"}[secure]
		t.Run("loopback "+name, func(t *testing.T) {
			t.Parallel()
			f(t, newTown(t, nil, secure))
		})
		t.Run("memory "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { f(t, newTown(t, simnet.New(1), secure)) })
		})
	}
}

func TestSend_ArrivesWithTheProvenName(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		a.send(b, peer.Commit{Key: "k", Transfer: 1}, peer.Known{Version: 2})
		for _, want := range []peer.Message{peer.Commit{Key: "k", Transfer: 1}, peer.Known{Version: 2}} {
			if got := b.hears(); got.from != a.id || !reflect.DeepEqual(got.m, want) {
				t.Errorf("got %v", got)
			}
		}
		b.send(a, peer.Confirm{Key: "k", Transfer: 1})
		if got := a.hears(); got.from != b.id || got.m != (peer.Confirm{Key: "k", Transfer: 1}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestSend_BodiesOfAllSizes(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		sizes := []int{0, 1, 1024, smallBody - 1, smallBody, smallBody + 1, 3_000_000}
		var sources []*source
		for i, size := range sizes {
			p := push(uint64(i), size)
			sources = append(sources, p.Record.Body.(*source))
			a.send(b, p)
		}
		seen := map[int]bool{}
		for range sizes {
			p := b.hears().m.(peer.Push)
			i := int(p.Transfer)
			seen[i] = true
			if p.Record.Size != sizes[i] {
				t.Errorf("session %d has %d bytes", i, p.Record.Size)
			}
			if sizes[i] == 0 {
				if p.Record.Body != nil {
					t.Errorf("an empty session has a body: %v", p.Record.Body)
				}
				continue
			}
			if got := p.Record.Body.(*body); !got.Full() || !bytes.Equal(got.bytes, sources[i].bytes) {
				t.Errorf("session %d of %d bytes is not what was sent", i, sizes[i])
			}
		}
		if len(seen) != len(sizes) {
			t.Errorf("%d of %d sessions", len(seen), len(sizes))
		}
		until(t, "all released", func() bool {
			for _, s := range sources {
				if s.holds() != 0 {
					return false
				}
			}
			return true
		})
		for i, s := range sources {
			if large := sizes[i] > smallBody; (s.most > 0) != large {
				t.Errorf("session of %d bytes was held: %v", sizes[i], s.most > 0)
			}
		}
	})
}

func TestSend_LongClaimsGoTheOtherWay(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		var claims []peer.Claim
		for i := range 256 {
			claims = append(claims, peer.Claim{Key: peer.Key(strings.Repeat("k", peer.MaxKey)), Epoch: peer.Epoch(i + 1)})
		}
		for i, m := range []peer.Message{
			peer.Claims{Batch: 1, Claims: claims}, peer.Heard{Batch: 1, Claims: claims}, peer.Claims{Batch: 2, Claims: claims[:1]},
		} {
			a.send(b, m)
			if got := b.hears(); !reflect.DeepEqual(got.m, m) {
				t.Errorf("message %d is not what was sent", i)
			}
			synctest.Wait()
			if sent := a.links[b.id].bulk.out.messages; sent != uint64(min(i+1, 2)) { // the last one is short
				t.Errorf("message %d: %d went over the bulk lane", i, sent)
			}
		}
	})
}
