package peer_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"statemesh/wire/peer"
)

// Generators of every message; all but Hello and its like.
var (
	keys = rapid.Custom(func(t *rapid.T) peer.Key {
		return peer.Key(rapid.SliceOfN(rapid.Byte(), 1, 60).Draw(t, "key"))
	})
	nodes = rapid.Custom(func(t *rapid.T) peer.NodeID {
		return peer.NodeID(rapid.StringMatching(`[a-z0-9-]{0,63}`).Draw(t, "node"))
	})
	spans   = rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) })
	epochs  = rapid.Map(rapid.Uint64(), func(n uint64) peer.Epoch { return peer.Epoch(n) })
	records = rapid.Custom(func(t *rapid.T) peer.Record {
		return peer.Record{
			Epoch: epochs.Draw(t, "epoch"), Locked: rapid.Bool().Draw(t, "locked"), Cookie: rapid.Int32().Draw(t, "cookie"),
			LockAge: spans.Draw(t, "age"), Timeout: rapid.Int32().Draw(t, "timeout"), TimeLeft: spans.Draw(t, "left"),
			New: rapid.Bool().Draw(t, "new"), Size: rapid.IntRange(0, math.MaxInt32).Draw(t, "size"),
		}
	})
	claims = rapid.Custom(func(t *rapid.T) []peer.Claim {
		var all []peer.Claim
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			all = append(all, peer.Claim{Key: keys.Draw(t, "key"), Epoch: epochs.Draw(t, "epoch"), Idle: spans.Draw(t, "idle")})
		}
		return all
	})
	messages = rapid.Custom(func(t *rapid.T) peer.Message {
		key := keys.Draw(t, "key")
		n := rapid.Uint64()
		switch k := peer.Kind(rapid.IntRange(int(peer.KindFind), int(peer.KindConvoyConfirm)).Draw(t, "kind")); k {
		case peer.KindFind:
			return peer.Find{
				Key: key, Round: n.Draw(t, "round"), Ask: rapid.Uint32().Draw(t, "ask"), Create: rapid.Bool().Draw(t, "create"),
				Priority: peer.Priority{Arrived: spans.Draw(t, "arrived"), Node: nodes.Draw(t, "node")},
				Cookie:   rapid.Int32().Draw(t, "cookie"), Wait: spans.Draw(t, "wait"), Adopt: epochs.Draw(t, "adopt"),
			}
		case peer.KindReply:
			return peer.Reply{
				Key: key, Round: n.Draw(t, "round"), Ask: rapid.Uint32().Draw(t, "ask"), Nth: rapid.Uint32().Draw(t, "nth"),
				Says: peer.Says(rapid.IntRange(1, 255).Draw(t, "says")), Epoch: epochs.Draw(t, "epoch"), Holder: nodes.Draw(t, "holder"),
				Cookie: rapid.Int32().Draw(t, "cookie"), Age: spans.Draw(t, "age"), View: n.Draw(t, "view"),
				Horizon: epochs.Draw(t, "horizon"),
			}
		case peer.KindPush:
			return peer.Push{Key: key, Transfer: n.Draw(t, "transfer"), Record: records.Draw(t, "record")}
		case peer.KindAck:
			return peer.Ack{Key: key, Transfer: n.Draw(t, "transfer")}
		case peer.KindRefuse:
			return peer.Refuse{Key: key, Transfer: n.Draw(t, "transfer"), Why: peer.Refusal(rapid.IntRange(1, 255).Draw(t, "why"))}
		case peer.KindCommit:
			return peer.Commit{Key: key, Transfer: n.Draw(t, "transfer")}
		case peer.KindAbort:
			return peer.Abort{Key: key, Transfer: n.Draw(t, "transfer")}
		case peer.KindConfirm:
			return peer.Confirm{Key: key, Transfer: n.Draw(t, "transfer")}
		case peer.KindNoRecord:
			return peer.NoRecord{Key: key, Transfer: n.Draw(t, "transfer")}
		case peer.KindClaims:
			return peer.Claims{Batch: n.Draw(t, "batch"), Claims: claims.Draw(t, "claims")}
		case peer.KindHeard:
			return peer.Heard{Batch: n.Draw(t, "batch"), Claims: claims.Draw(t, "claims")}
		case peer.KindKnow:
			return peer.Know{Version: n.Draw(t, "version"), Members: noneIfEmpty(rapid.SliceOfN(nodes, 0, 30).Draw(t, "members"))}
		case peer.KindKnown:
			return peer.Known{Version: n.Draw(t, "version")}
		case peer.KindConvoy:
			var pushes []peer.Push
			for range rapid.IntRange(0, peer.MaxConvoy).Draw(t, "n") {
				pushes = append(pushes, peer.Push{Key: keys.Draw(t, "key"), Transfer: n.Draw(t, "transfer"), Record: records.Draw(t, "record")})
			}
			return peer.Convoy{N: n.Draw(t, "number"), Pushes: pushes}
		case peer.KindConvoyAck:
			return peer.ConvoyAck{N: n.Draw(t, "number"), Which: n.Draw(t, "which")}
		case peer.KindConvoyCommit:
			return peer.ConvoyCommit{N: n.Draw(t, "number"), Which: n.Draw(t, "which")}
		case peer.KindConvoyConfirm:
			return peer.ConvoyConfirm{N: n.Draw(t, "number"), Which: n.Draw(t, "which")}
		case peer.KindReport:
			return peer.Report{Body: noneIfEmpty(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "body"))}
		default:
			panic(fmt.Sprintf("no generator for %v", k))
		}
	})
)

func noneIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func TestParse_IsAppendBackwards(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := messages.Draw(t, "message")
		frame := peer.Append(nil, m)
		got, err := peer.Parse(frame)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v, %v", got, err)
		}
		clear(frame)
		if !reflect.DeepEqual(got, m) {
			t.Fatal("the message looks into the frame")
		}
	})
}

func TestReader_StreamOfAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var data []byte
		want := rapid.SliceOfN(messages, 0, 10).Draw(t, "messages")
		for i, m := range want {
			if p, ok := m.(peer.Push); ok {
				p.Record.Size %= 200_000
				want[i], m = p, p
			}
			for i := range pushesOf(m) {
				pushesOf(m)[i].Record.Size %= 200_000 // of a Convoy in its place
			}
			data = peer.Append(data, m)
			for _, p := range pushesOf(m) {
				data = append(data, make([]byte, p.Record.Size)...)
			}
		}
		r := peer.NewReader(&pieces{data: data, sizes: rapid.SliceOfN(rapid.IntRange(1, 100_000), 1, 5).Draw(t, "pieces")}, rapid.SampledFrom([]int{16, 512, peer.MaxFrame}).Draw(t, "buffer"))
		for _, m := range want {
			if got, err := r.Next(nil); err != nil || !reflect.DeepEqual(got, m) {
				t.Fatalf("got %+v, %v; want %+v", got, err, m)
			}
		}
		if m, err := r.Next(nil); err != io.EOF {
			t.Fatalf("at the end %v, %v", m, err)
		}
	})
}

// pieces reads data in pieces of these sizes, again and again.
type pieces struct {
	data  []byte
	sizes []int
	next  int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(len(p.data), p.sizes[p.next%len(p.sizes)])])
	p.data = p.data[n:]
	p.next++
	return n, nil
}

func FuzzParse(f *testing.F) {
	for _, g := range slices.Concat(golden, older) {
		f.Add(unhex(f, g.bytes))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := peer.Parse(frame)
		if err != nil {
			return
		}
		// What was understood can be said, and is understood as the same. Byte for byte it need not be: there may be more behind it.
		again := peer.Append(nil, m)
		if len(again) == 0 || len(again) > len(frame) {
			t.Fatalf("%+v came in %d bytes, and goes in %d", m, len(frame), len(again))
		}
		if got, err := peer.Parse(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v, %v; want %+v", got, err, m)
		}
	})
}

func FuzzStream(f *testing.F) {
	data, _ := stream(f)
	f.Add(data, uint16(1), uint16(1))
	f.Add(data, uint16(7), uint16(3))
	for _, g := range golden {
		f.Add(unhex(f, g.bytes), uint16(5), uint16(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece, bodies uint16) {
		// However it is cut, the same comes out.
		read := func(r io.Reader, buffer int) (all []peer.Message, last error) {
			reader := peer.NewReader(r, buffer)
			for {
				m, err := reader.Next(func(p peer.Push) (any, error) {
					b := make([]byte, min(p.Record.Size, int(bodies)))
					_, err := io.ReadFull(reader, b)
					return string(b), err
				})
				if err != nil {
					return all, err
				}
				all = append(all, m)
			}
		}
		before := allocated()
		whole, wholeErr := read(bytes.NewReader(data), peer.MaxFrame)
		if took := allocated() - before; took > 4<<20+64*uint64(len(data)) {
			t.Errorf("%d bytes for %d", took, len(data))
		}
		cut, cutErr := read(&pieces{data: data, sizes: []int{int(piece) + 1}}, 512)
		if !reflect.DeepEqual(whole, cut) || fmt.Sprint(wholeErr) != fmt.Sprint(cutErr) {
			t.Fatalf("whole %+v, %v\n cut %+v, %v", whole, wholeErr, cut, cutErr)
		}
	})
}

// allocated is how many bytes have been allocated so far, by anybody: other tests must leave room for it.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func BenchmarkReader(b *testing.B) {
	push := peer.Push{Key: "/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5)/bpr4mimb2vjnvtn2jc4yp3uo", Transfer: 1, Record: peer.Record{Size: 1024}}
	var data []byte
	for range 1000 {
		data = append(peer.Append(data, push), make([]byte, 1024)...)
	}
	body := make([]byte, 1024)
	b.ReportAllocs()
	for n := 0; n < b.N; {
		r := peer.NewReader(bytes.NewReader(data), peer.MaxFrame)
		for range min(1000, b.N-n) {
			if _, err := r.Next(func(peer.Push) (any, error) {
				_, err := io.ReadFull(r, body)
				return nil, err
			}); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
}
