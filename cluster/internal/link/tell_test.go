package link

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/wire/peer"
)

func report(s string) peer.Report { return peer.Report{Body: []byte(s)} }

func (n *node) hearsReport(want string) {
	n.t.Helper()
	if r, ok := n.hears().m.(peer.Report); !ok || string(r.Body) != want {
		n.t.Errorf("got %.100v, want %q", r, want)
	}
}

func TestTell_ReachesEverybodyThereIsAConnectionTo(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		a, b, c, d := w.node("a"), w.node("b"), w.node("c"), w.node("d")
		a.Tell(report("nobody is there"))
		w.meet(a, b, c)
		until(t, "connected", func() bool { return a.status(b).Connected && a.status(c).Connected })
		long := string(bytes.Repeat([]byte("r"), peer.MaxReport))
		for _, what := range []string{"", "one", long} {
			a.Tell(report(what))
			b.hearsReport(what)
			c.hearsReport(what)
		}
		a.Tell(report(long + "r")) // cannot be said
		a.Tell(report("at last"))
		b.hearsReport("at last")
		c.hearsReport("at last")
		b.nothing()
		c.nothing()
		d.nothing()
	})
}

func TestTell_OnlyTheLatestAndNoneBehindWhatWaits(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a")
		began, hold := make(chan struct{}, 1), make(chan struct{})
		b := w.node("b", func(o *Options) {
			receive := o.Receive
			o.Receive = func(from peer.NodeID, m peer.Message) {
				receive(from, m)
				select {
				case began <- struct{}{}:
					<-hold // its connection is not read
				default:
				}
			}
		})
		a.Connect(b.id)
		until(t, "connected", func() bool { return a.status(b).Connected })
		for i := range 40 { // more than the network takes: the rest waits in line
			a.send(b, push(uint64(i), smallBody))
		}
		<-began
		synctest.Wait()
		began1 := time.Now()
		for _, what := range []string{"one", "two", "three"} {
			a.Tell(report(what))
		}
		if took := time.Since(began1); took > 0 {
			t.Errorf("it waits: %v", took)
		}
		if s := a.status(b); s.Dropped != 2 || s.Queued == 0 {
			t.Errorf("%d were dropped, %d bytes wait", s.Dropped, s.Queued)
		}
		close(hold)
		pushes, reports := 0, 0
		for pushes < 40 || reports < 1 {
			switch m := b.hears().m.(type) {
			case peer.Push:
				pushes++
			case peer.Report:
				reports++
				if string(m.Body) != "three" || pushes == 40 {
					t.Errorf("%q came after %d sessions", m.Body, pushes)
				}
			}
		}
		synctest.Wait()
		b.nothing()
	})
}

// What was told over a connection that has broken is not told again by the next one.
func TestTell_NothingOldAfterABreak(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		until(t, "connected", func() bool { return a.status(b).Connected })
		w.net.Cut(a.host.IP(), b.host.IP())
		for range 20 { // fills the window, so that some cannot be written
			a.Tell(peer.Report{Body: make([]byte, peer.MaxReport)})
			synctest.Wait()
		}
		until(t, "noticed", func() bool { return a.links[b.id].small.connected() == nil })
		a.Tell(report("while there is no connection"))
		w.net.Heal()
		until(t, "mended", func() bool { return a.status(b).Connected })
		a.Tell(report("new"))
		b.hearsReport("new")
		synctest.Wait()
		b.nothing()
	})
}

// A report to fifty members: what it costs the sender, in memory and time.
func BenchmarkTell(b *testing.B) {
	w := newTown(b, nil, true)
	a := w.node("a", func(o *Options) { o.MaxHandshakes = 1000 })
	var others []*node
	for range 8 {
		n := w.node("b")
		a.Connect(n.id)
		others = append(others, n)
	}
	for _, n := range others {
		until(b, "connected", func() bool { return a.status(n).Connected })
	}
	body := make([]byte, 64<<10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		a.Tell(peer.Report{Body: body})
		for _, n := range others {
			<-n.got
		}
	}
}
