package gossip

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/cluster/internal/simnet"
)

var keyB = bytes.Repeat([]byte("b"), 32)

func ring(keys ...[]byte) func() ([]byte, [][]byte) {
	return func() ([]byte, [][]byte) { return keys[0], keys }
}

// TestStranger_IsRefusedAndLearnsNothing has nodes that are not of the cluster try for minutes.
func TestStranger_IsRefusedAndLearnsNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"another key":     func(o *Options) { o.Keys = ring(keyB) },
		"no key":          func(o *Options) { o.Keys, o.Insecure = nil, true },
		"another cluster": func(o *Options) { o.Label = "statemesh/other" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(w *world) {
				w.cluster(2)
				const minutes = 2
				stranger := w.start(2, []string{ip(0)}, change)
				w.nodes = w.nodes[:2]
				// A member that takes the stranger for a seed talks to it, and must not be taken in either.
				curious := w.start(3, []string{ip(0), ip(2)})
				time.Sleep(minutes * time.Minute)
				if seen := stranger.Members(); len(seen) != 0 {
					t.Errorf("the stranger learnt of %v", seen)
				}
				if stranger.Found() != SeedsDown {
					t.Errorf("the stranger found %v", stranger.Found())
				}
				for _, n := range []*node{w.nodes[0], w.nodes[1], curious} {
					for _, m := range n.Members() {
						if m.ID == stranger.o.ID {
							t.Errorf("%s took it in", n.o.ID)
						}
					}
				}
				lines := strings.Count(w.nodes[0].log.String(), "refused a stranger's gossip: from=10.0.0.3 ")
				if lines < 1 || lines > minutes+1 {
					t.Errorf("%d lines in %d minutes", lines, minutes)
				}
				for _, n := range []*node{w.nodes[0], w.nodes[1], stranger, curious} {
					if strings.Contains(n.log.String(), "from=unknown") {
						t.Errorf("%s does not say whom it refused", n.o.ID)
					}
				}
				for _, secret := range []string{string(keyA), string(keyB)} {
					if strings.Contains(w.nodes[0].log.String(), secret) || strings.Contains(stranger.log.String(), secret) {
						t.Error("a key is in the log")
					}
				}
				if s := w.nodes[0].Stats(); s.Refused == 0 {
					t.Error("not counted")
				}
			})
		})
	}
}

func TestRefused_SaysWho(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		w.cluster(2)
		for text, want := range map[string]string{
			"failed to receive: no installed keys could decrypt the message from=10.9.9.9:4242":           "10.9.9.9",
			"Decrypt packet failed: no installed keys could decrypt the message from=[fe80::1%eth0]:4242": "fe80::1%eth0",
			"failed to join 10.0.0.3:42425: no installed keys could decrypt the message":                  "10.0.0.3",
			"Push/Pull with " + w.nodes[1].o.ID + " failed: no installed keys could decrypt the message":  ip(1),
			"Push/Pull with somebody failed: no installed keys could decrypt the message":                 "somebody",
			"no installed keys could decrypt the message":                                                 "unknown",
		} {
			if got := w.nodes[0].source(text); got != want {
				t.Errorf("%s: got %s, want %s", text, got, want)
			}
		}
	})
}

// TestReplay_RaisesNobody sends again, a minute later, all that members have said of one that is no more.
func TestReplay_RaisesNobody(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world){
		"it left": func(w *world) { w.nodes[2].leave() },
		"it was killed, and started again": func(w *world) {
			w.nodes[2].crash()
			w.start(2, []string{ip(0)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(w *world) {
				var mu sync.Mutex
				var packets [][]byte
				record := func(o *Options) {
					o.Transport = &tape{o.Transport, func(b []byte) {
						mu.Lock()
						defer mu.Unlock()
						packets = append(packets, bytes.Clone(b))
					}, func([]byte) {}}
				}
				for i := range 3 {
					w.start(i, []string{ip(0), ip(1)}, record)
				}
				w.within(3*time.Second, "whole", w.whole)
				ghost := w.nodes[2]
				time.Sleep(2 * time.Second)
				mu.Lock()
				recorded := slices.Clone(packets)
				mu.Unlock()
				end(w)
				time.Sleep(time.Minute)
				if !w.whole() {
					t.Fatal("not whole without it")
				}
				start := time.Now()
				stranger, err := w.net.Host("10.0.0.66").Gossip("10.0.0.66:1")
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range recorded {
					time.Sleep(time.Millisecond)
					for _, n := range w.up() {
						stranger.WriteTo(p, n.Addr().String())
					}
				}
				time.Sleep(5 * time.Second)
				for _, n := range w.up() {
					if n.when(start, Joined, ghost.o.ID) != 0 {
						t.Errorf("%s takes it for alive: %v", n.o.ID, n.events)
					}
				}
				if !w.whole() {
					t.Error("not whole any more")
				}
				stranger.Shutdown()
			})
		})
	}
}

func speaks(low, high uint8) func(*Options) {
	return func(o *Options) { o.Meta.ProtoMin, o.Meta.ProtoMax = low, high }
}

func TestVersions_OutsideTheRangeAreRefusedByBoth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		cluster  [][2]uint8
		newcomer [2]uint8
		taken    bool
	}{
		{"the same", [][2]uint8{{1, 1}, {1, 1}}, [2]uint8{1, 1}, true},
		{"next", [][2]uint8{{1, 1}, {1, 1}}, [2]uint8{1, 2}, true},
		{"overlapping", [][2]uint8{{1, 2}, {1, 2}}, [2]uint8{2, 3}, true},
		{"too new", [][2]uint8{{1, 1}, {1, 1}}, [2]uint8{2, 2}, false},
		{"too old", [][2]uint8{{2, 3}, {2, 3}}, [2]uint8{1, 1}, false},
		{"understood by the seed only", [][2]uint8{{1, 2}, {1, 1}}, [2]uint8{2, 2}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(w *world) {
				for i, v := range c.cluster {
					w.start(i, []string{ip(0)}, speaks(v[0], v[1]))
				}
				w.within(3*time.Second, "whole", w.whole)
				time.Sleep(5 * time.Second)
				old := w.nodes
				newcomer := w.start(len(old), []string{ip(0)}, speaks(c.newcomer[0], c.newcomer[1]))
				if c.taken {
					w.within(3*time.Second, "whole", w.whole)
					w.stays(10 * time.Second)
					return
				}
				w.nodes = old
				for range 20 {
					time.Sleep(time.Second)
					if len(newcomer.view()) > 0 || !w.whole() {
						t.Fatalf("it was taken in: it sees %v", newcomer.view())
					}
				}
				for _, n := range []*node{newcomer, old[0]} {
					if log := n.log.String(); strings.Count(log, "protocol versions do not match: ") < 1 || strings.Count(log, "\n") > 12 {
						t.Errorf("%s says it unclearly, or too often", n.o.ID)
					}
				}
			})
		})
	}
}

// TestMember_WithBadMetaIsNotAdmitted lets a node tell things of itself that must not be shown.
func TestMember_WithBadMetaIsNotAdmitted(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		w.cluster(2)
		bad := w.start(2, []string{ip(0)}, func(o *Options) { o.Meta.Name = "fine" })
		w.within(3*time.Second, "whole", w.whole)
		meta := *bad.meta.Load()
		meta.Name = "not\nfine"
		bad.meta.Store(&meta)
		if err := bad.list.UpdateNode(time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, n := range w.nodes[:2] {
			for _, m := range n.Members() {
				if strings.ContainsRune(m.Meta.Name, '\n') {
					t.Errorf("%s took %q", n.o.ID, m.Meta.Name)
				}
			}
			if !strings.Contains(n.log.String(), "refused a node") {
				t.Errorf("%s does not say so", n.o.ID)
			}
		}
		if err := bad.Update(meta); err == nil {
			t.Error("Update took it")
		}
	})
}

func TestUpdate_ReachesAll(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		w.cluster(5)
		meta := w.nodes[1].o.Meta
		meta.Phase = Draining
		start := time.Now()
		if err := w.nodes[1].Update(meta); err != nil {
			t.Fatal(err)
		}
		w.within(time.Second, "told", func() bool {
			for _, n := range w.up() {
				if n != w.nodes[1] && n.when(start.Add(-1), Changed, w.nodes[1].o.ID) == 0 {
					return false
				}
			}
			return true
		})
		for _, m := range w.nodes[0].Members() {
			if want := m.ID == w.nodes[1].o.ID; (m.Meta.Phase == Draining) != want {
				t.Errorf("%s is %v", m.ID, m.Meta.Phase)
			}
		}
	})
}

func TestReady_TellsWhatWasFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		seeds []string
		there bool // machine 1 runs a node
		want  Finding
		by    time.Duration
	}{
		{"no seeds", nil, false, NoSeeds, 0},
		{"only itself", []string{ip(0), ip(0) + ":42425"}, false, NoSeeds, 0},
		{"seeds refuse", []string{ip(1), ip(2)}, false, SeedsDown, 650 * time.Millisecond},
		{"seed silent", []string{ip(0), ip(7)}, false, SeedsDown, 2 * time.Second}, // a machine without power
		{"member", []string{ip(7), ip(1)}, true, FoundMembers, 0},
		{"unknown name", []string{"nowhere.example"}, false, SeedsDown, 650 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(w *world) {
				w.net.Host(ip(7)).PowerOff()
				resolve := func(o *Options) {
					o.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
				}
				if c.there {
					w.start(1, nil)
				}
				n := w.start(0, c.seeds, resolve)
				start := time.Now()
				<-n.Ready()
				if took := time.Since(start); n.Found() != c.want || took > c.by+100*time.Millisecond {
					t.Errorf("found %v after %v, want %v", n.Found(), took, c.want)
				}
				if c.want == SeedsDown {
					w.start(1, nil)
					w.start(3, []string{ip(0), ip(1)})
					w.within(3*time.Second, "whole", w.whole)
					if n.Found() != FoundMembers {
						t.Errorf("later found %v", n.Found())
					}
				}
			})
		})
	}
}

// A connection that breaks does not make a node believe that it is alone.
func TestReady_OneBrokenConnectionIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		w.start(1, nil)
		w.net.Faults(simnet.Faults{Delay: time.Millisecond, Reset: 1})
		time.AfterFunc(100*time.Millisecond, func() { w.net.Faults(simnet.Faults{Delay: time.Millisecond}) })
		n := w.start(0, []string{ip(1)})
		<-n.Ready()
		if n.Found() != FoundMembers {
			t.Errorf("found %v, want the member", n.Found())
		}
	})
}

func TestSeed_NameWithSeveralAddresses(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		var known atomic.Pointer[[]netip.Addr] // what the name stands for at the moment
		resolve := func(o *Options) {
			o.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
				if now := known.Load(); host == "farm.example" && now != nil {
					return *now, nil
				}
				return nil, errors.New("no such host")
			}
		}
		for i := range 3 {
			w.start(i, []string{"farm.example"}, resolve)
		}
		time.Sleep(time.Minute)
		var all []netip.Addr
		for i := range 3 {
			all = append(all, netip.MustParseAddr(ip(i)))
		}
		known.Store(&all)
		w.within(8*time.Second, "whole", w.whole)
	})
}

func TestSeeds_DownAtStartAreTriedForEver(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		a := w.start(0, []string{ip(1)})
		time.Sleep(5 * time.Minute)
		if lines := strings.Count(a.log.String(), "a seed cannot be joined"); lines < 1 || lines > 6 {
			t.Errorf("%d lines in five minutes", lines)
		}
		w.start(1, nil)
		w.within(3*time.Second, "whole", w.whole)
	})
}

// TestKeys_RotateWithoutAGap changes the key of all nodes, one by one, as an operator would, several times.
func TestKeys_RotateWithoutAGap(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(w *world) {
		keys := make([][][]byte, 3) // of each node
		key := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }
		for i := range keys {
			keys[i] = [][]byte{key(0)}
			w.start(i, []string{ip(0)}, func(o *Options) {
				o.Keys = func() ([]byte, [][]byte) { return keys[i][0], keys[i] }
			})
		}
		w.within(3*time.Second, "whole", w.whole)
		const rounds = 3
		step := func(to ...[]byte) {
			for i, n := range w.nodes {
				keys[i] = to
				if err := n.RotateKeys(); err != nil {
					t.Fatal(err)
				}
				w.stays(time.Second)
			}
		}
		for round := range rounds {
			before, next := key(round), key(round+1)
			step(before, next)
			step(next, before, key(100))
			step(next, key(100)) // the one to go is not the last
			step(next)
		}
		w.nobodyFailed()
		for _, n := range w.nodes {
			if got := n.ring.GetKeys(); len(got) != 1 || !bytes.Equal(got[0], key(rounds)) {
				t.Errorf("%s ends with %d keys", n.o.ID, len(got))
			}
			if strings.Contains(n.log.String(), "stranger") {
				t.Errorf("%s took a member for a stranger", n.o.ID)
			}
		}
		keys[0] = [][]byte{[]byte("short")}
		if err := w.nodes[0].RotateKeys(); err == nil {
			t.Error("a short key was taken")
		}
		w.stays(10 * time.Second)
		outsider := w.start(3, []string{ip(0)}, func(o *Options) { o.Keys = ring(key(0)) })
		w.nodes = w.nodes[:3]
		time.Sleep(10 * time.Second)
		if len(outsider.view()) > 0 || !w.whole() {
			t.Error("an old key still opens")
		}
	})
}
