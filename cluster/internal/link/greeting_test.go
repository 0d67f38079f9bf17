package link

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster/internal/simnet"
	"statemesh/wire/peer"
)

// inMemory runs a test over a network in memory, in virtual time, without TLS.
func inMemory(t *testing.T, f func(t *testing.T, w *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newTown(t, simnet.New(1), false)) })
}

func TestGreeting_SomebodyElseIsMeant(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a")
		for what, h := range map[string]peer.Hello{
			"somebody else is meant": hello("b", "c", peer.Small, 1),
			"this very node":         hello(a.id, a.id, peer.Small, 1),
			"an unknown lane":        hello("b", a.id, 77, 1),
			"nobody":                 hello("", a.id, peer.Small, 1),
		} {
			f := w.impostor(a, h.Self)
			f.say(h)
			if denied, ok := f.hears().(peer.Denied); !ok || denied.Why == "" {
				t.Errorf("%s: %+v", what, denied)
			}
			f.ended(what)
		}
	})
}

func TestGreeting_SteeredToSomebodyElse(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b, c := w.node("a"), w.node("b"), w.node("c")
		addr, _ := w.member(c.id)
		w.move(b.id, addr)
		a.Connect(b.id)
		a.send(b, peer.Known{})
		until(t, "a hears of it", func() bool { return strings.Contains(a.status(b).LastError, string("this is "+c.id)) })
		c.nothing()
	})
}

func TestGreeting_VersionsThatShareNothing(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		old := w.node("old")
		young := w.node("young", func(o *Options) { o.Speaks = peer.Versions{Min: 2, Max: 4} })
		w.meet(old, young)
		time.Sleep(10 * time.Second)
		for _, n := range []*node{old, young} {
			// Each dials and is dialed, so each says it twice, naming both ranges.
			for _, want := range []string{"cannot reach peer", "refused a peer's connection", "versions 2 to 4", "version 1"} {
				if log := n.log.text(); !strings.Contains(log, want) {
					t.Errorf("%s does not log %q:\n%s", n.id, want, log)
				}
			}
			n.nothing()
		}
		if lines := strings.Count(old.log.text(), "\n"); lines > 6 {
			t.Errorf("%d lines in 10 seconds:\n%s", lines, old.log.text())
		}
	})
}

func TestGreeting_AnswerThatMakesNoSense(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.accepter("b")
		a.Connect(b.id)
		for what, answer := range map[string]func(h peer.Hello) peer.Message{
			"another node":       func(h peer.Hello) peer.Message { return hello("c", a.id, h.Lane, h.Generation) },
			"to another node":    func(h peer.Hello) peer.Message { return hello(b.id, "c", h.Lane, h.Generation) },
			"another lane":       func(h peer.Hello) peer.Message { return hello(b.id, a.id, peer.Bulk, h.Generation) },
			"another connection": func(h peer.Hello) peer.Message { return hello(b.id, a.id, h.Lane, h.Generation-1) },
			"another version": func(h peer.Hello) peer.Message {
				return peer.Hello{Speaks: peer.Versions{Min: 7, Max: 7}, Lane: h.Lane, Generation: h.Generation, Self: b.id, To: a.id}
			},
			"no Hello": func(h peer.Hello) peer.Message { return peer.Known{} },
		} {
			f, h := b.accept()
			f.say(answer(h))
			f.ended(what)
		}
	})
}

func TestGreeting_ALaterConnectionEndsTheEarlier(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		hold := make(chan struct{})
		held := make(chan struct{})
		a := w.node("a", func(o *Options) {
			receive := o.Receive
			o.Receive = func(from peer.NodeID, m peer.Message) {
				if m == (peer.Known{Version: 1}) {
					close(held)
					<-hold
				}
				receive(from, m)
			}
		})
		old := w.greeted(a, "b-1", peer.Small, 5)
		bulk := w.greeted(a, "b-1", peer.Bulk, 6)
		old.say(peer.Known{Version: 1}, peer.Known{Version: 2})
		<-held

		young := w.impostor(a, "b-1")
		young.say(hello("b-1", a.id, peer.Small, 7))
		old.ended("an older connection")
		close(hold) // a is still busy with what the older one said before; the rest of that is never heard
		if _, ok := young.hears().(peer.Hello); !ok {
			t.Fatal("not greeted back")
		}
		young.say(peer.Known{Version: 3})
		for _, want := range []uint64{1, 3} {
			if got := a.hears(); got.m != (peer.Known{Version: want}) {
				t.Errorf("got %v, want %d", got.m, want)
			}
		}

		late := w.impostor(a, "b-1")
		late.say(hello("b-1", a.id, peer.Small, 6))
		if denied, ok := late.hears().(peer.Denied); !ok || !strings.Contains(denied.Why, "a later connection") {
			t.Errorf("got %+v", denied)
		}
		young.say(peer.Known{Version: 4})
		bulk.say(peer.Known{Version: 5}) // which is another lane
		seen := map[peer.Message]bool{a.hears().m: true, a.hears().m: true}
		if !seen[peer.Known{Version: 4}] || !seen[peer.Known{Version: 5}] {
			t.Errorf("got %v", seen)
		}
		a.nothing()
	})
}

func TestGreeting_TakesTooLong(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a, b := w.node("a"), w.accepter("b")
		began := time.Now()
		for what, say := range map[string][]byte{"silence": nil, "half a greeting": peer.Append(nil, hello("c", a.id, peer.Small, 1))[:20]} {
			f := w.impostor(a, "c")
			_, _ = f.Write(say)
			f.ended(what)
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("took %v", took)
		}
		// And the other way round.
		a.Connect(b.id)
		f, _ := b.accept()
		began = time.Now()
		f.ended("no answer to a greeting")
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestGreeting_AStrangerMayBeHeard(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *town) {
		a := w.node("a") // membership has not heard of b yet
		f := w.greeted(a, "b-1", peer.Small, 1)
		f.say(peer.Known{Version: 1})
		if got := a.hears(); got.from != "b-1" {
			t.Errorf("from %s", got.from)
		}
		a.Send("b-1", peer.Known{})
		a.Send("b-1", push(1, 10))
		a.Flush()
		if lost := a.loses(); lost.to != "b-1" || lost.p.Transfer != 1 {
			t.Errorf("%+v", lost)
		}
		f.Close()
		until(t, "forgotten", func() bool {
			a.Transport.mu.Lock()
			defer a.Transport.mu.Unlock()
			return len(a.counts) == 0 && len(a.inbound) == 0
		})
	})
}
