package handoff_test

import (
	"fmt"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// convoyStage is a with n sessions to drain, and b, which takes them.
func convoyStage(t *testing.T, n int) *stage {
	s := newStage(t, "a", "b", "c")
	s.nodes["a"].do(func(m *handoff.Machine) { m.MemberMeta(s.now, "c", handoff.Meta{Full: true}) })
	for i := range n {
		s.nodes["a"].shelf.kept[handoff.Key(fmt.Sprint("k", i))] = &kept{state: handoff.Owned, rec: plain, at: s.now}
	}
	s.nodes["a"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	return s
}

// drainedTo checks that b has all of them, at the epoch that the first move gave them, but those that are named.
func (s *stage) drainedTo(n int, epochs map[handoff.Key]handoff.Epoch) {
	s.t.Helper()
	for i := range n {
		k := handoff.Key(fmt.Sprint("k", i))
		want := handoff.Epoch(8)
		if e, ok := epochs[k]; ok {
			want = e
		}
		if e := s.nodes["b"].shelf.kept[k]; e == nil || e.state != handoff.Owned || e.rec.Epoch != want {
			s.t.Errorf("%s is %+v at b, want it owned at epoch %d", k, e, want)
		}
	}
	if !s.nodes["a"].m.Drained() {
		s.t.Errorf("not drained: %+v", s.nodes["a"].m.Stats())
	}
}

func TestConvoy_FourMessagesForAll(t *testing.T) {
	s := convoyStage(t, 50)
	s.carry("a", "b", handoff.KindConvoy)
	if e := s.nodes["b"].shelf.kept["k7"]; e != nil {
		t.Error("served before the commit")
	}
	s.carry("b", "a", handoff.KindConvoyAck)
	s.carry("a", "b", handoff.KindConvoyCommit)
	s.carry("b", "a", handoff.KindConvoyConfirm)
	if st := s.nodes["a"].m.Stats(); st.Leaving+st.Settling != 0 || st.MovedOut != 50 {
		t.Errorf("got %+v", st)
	}
	s.settle()
	s.drainedTo(50, nil)
}

// The next does not wait for a confirmation, but only so many do without.
func TestConvoy_NextLeavesWithTheCommit(t *testing.T) {
	s := newStageWith(t, func(o *handoff.Options) { o.DrainConvoys = 2 }, "a", "b")
	const n = 64 * 6
	for i := range n {
		s.nodes["a"].shelf.kept[handoff.Key(fmt.Sprint("k", i))] = &kept{state: handoff.Owned, rec: plain, at: s.now}
	}
	s.nodes["a"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	for convoys := 2; convoys <= 4; convoys++ {
		if st := s.nodes["a"].m.Stats(); st.Leaving+st.Settling != 64*min(convoys, 3) {
			t.Errorf("%d convoys should be under way: %+v", min(convoys, 3), st)
		}
		if convoys < 4 {
			s.carry("a", "b", handoff.KindConvoy)
			s.carry("b", "a", handoff.KindConvoyAck)
		}
	}
	s.settle()
	s.drainedTo(n, nil)
}

// Whatever of it is lost, the sessions go on alone.
func TestConvoy_BreaksUpWhenSomethingIsLost(t *testing.T) {
	for _, lost := range []handoff.Kind{handoff.KindConvoy, handoff.KindConvoyAck, handoff.KindConvoyCommit, handoff.KindConvoyConfirm} {
		t.Run(lost.String(), func(t *testing.T) {
			s := convoyStage(t, 5)
			from, to := handoff.NodeID("a"), handoff.NodeID("b")
			for _, k := range []handoff.Kind{handoff.KindConvoy, handoff.KindConvoyAck, handoff.KindConvoyCommit, handoff.KindConvoyConfirm} {
				if k == lost {
					s.take(from, to, k)
					break
				}
				s.carry(from, to, k)
				from, to = to, from
			}
			s.pass(time.Second, true)
			s.drainedTo(5, nil)
		})
	}
}

// A session that the receiver knows better is refused; the others do not care.
func TestConvoy_EachHasItsOwnFate(t *testing.T) {
	s := convoyStage(t, 5)
	s.nodes["b"].shelf.kept["k3"] = &kept{state: handoff.Owned, rec: handoff.Record{Epoch: 99, Timeout: 20, Body: int64(2)}, at: s.now}
	s.pass(2*time.Second, true)
	s.drainedTo(5, map[handoff.Key]handoff.Epoch{"k3": 99})
}

// A change that a web server of another node wants to make waits until the session has arrived, and follows it.
func TestConvoy_QuestionsWaitForIt(t *testing.T) {
	s := convoyStage(t, 1)
	s.settle()
	s = convoyStage(t, 5)
	k := handoff.Key("k2")
	s.nodes["c"].do(func(m *handoff.Machine) {
		m.Want(s.now, handoff.Request{ID: 77, Key: k, Purpose: handoff.Acquire, Cookie: handoff.NoCookie, Arrived: s.now})
	})
	s.carry("c", "a", handoff.KindFind)
	if m := s.carry("a", "c", handoff.KindReply).(handoff.Reply); m.Says != handoff.Busy {
		t.Errorf("a says %v of a session that is leaving", m.Says)
	}
	s.pass(300*ms, true)
	if got := s.outcome("c", 77); got != handoff.Here {
		t.Errorf("got %v", got)
	}
}

// Those of a receiver that is gone stay, and go elsewhere.
func TestConvoy_ReceiverLost(t *testing.T) {
	s := convoyStage(t, 5)
	s.carry("a", "b", handoff.KindConvoy)
	s.lost()
	s.lose("b")
	s.nodes["a"].do(func(m *handoff.Machine) { m.MemberMeta(s.now, "c", handoff.Meta{}) })
	s.pass(time.Second, true)
	for i := range 5 {
		if e := s.nodes["c"].shelf.kept[handoff.Key(fmt.Sprint("k", i))]; e == nil || e.rec.Epoch != 10 {
			t.Errorf("c has %+v", e)
		}
	}
}

// There was no connection: nobody else can have them.
func TestConvoy_Undelivered(t *testing.T) {
	s := convoyStage(t, 5)
	c := s.take("a", "b", handoff.KindConvoy).msg.(handoff.Convoy)
	s.nodes["a"].do(func(m *handoff.Machine) { m.Undelivered(s.now, handoff.Push{Transfer: c.N}) })
	if st := s.nodes["a"].m.Stats(); st.Aborted != 5 || st.Leaving != 0 {
		t.Errorf("got %+v", st)
	}
	s.pass(time.Second, true)
	for i := range 5 {
		if e := s.nodes["b"].shelf.kept[handoff.Key(fmt.Sprint("k", i))]; e == nil || e.rec.Epoch != 10 {
			t.Errorf("b has %+v", e)
		}
	}
}

// There was none for long, which is known only when the convoy has been broken up, and its sessions recalled: they need not be, then.
func TestConvoy_UndeliveredAfterAll(t *testing.T) {
	s := convoyStage(t, 5)
	c := s.take("a", "b", handoff.KindConvoy).msg.(handoff.Convoy)
	s.pass(time.Second, false)
	if st := s.nodes["a"].m.Stats(); st.Leaving != 5 || st.Aborted != 5 {
		t.Fatalf("got %+v", st)
	}
	s.nodes["a"].do(func(m *handoff.Machine) {
		m.Undelivered(s.now, handoff.Push{Transfer: c.N})
		for _, p := range c.Pushes {
			for range 5 {
				m.Undelivered(s.now, handoff.Push{Key: p.Key, Transfer: p.Transfer})
			}
		}
	})
	if st := s.nodes["a"].m.Stats(); st.Leaving != 0 {
		t.Errorf("got %+v", st)
	}
	s.pass(5*time.Second, true)
	s.drainedTo(5, map[handoff.Key]handoff.Epoch{"k0": 10, "k1": 10, "k2": 10, "k3": 10, "k4": 10})
}

// A sender that took the receiver for dead for a moment has kept the sessions, and says nothing. The receiver, which has never missed it, asks.
func TestConvoy_SenderKeptItWithoutAWord(t *testing.T) {
	s := convoyStage(t, 5)
	s.carry("a", "b", handoff.KindConvoy)
	s.lost()
	s.nodes["a"].down("b")
	s.nodes["a"].do(func(m *handoff.Machine) { m.MemberUp(s.now, "b", handoff.Meta{Full: true}) })
	if got := s.nodes["b"].m.Stats().Arriving; got != 5 {
		t.Fatalf("%d are arriving", got)
	}
	s.pass(2*time.Second, true)
	if got := s.nodes["b"].m.Stats().Arriving; got != 0 {
		t.Errorf("%d are still arriving", got)
	}
	s.onlyAt("a", "b", 5)
}

// A node that stood still takes back what it had sent, as far as the receiver is not to have it.
func TestConvoy_FencedSender(t *testing.T) {
	s := convoyStage(t, 5)
	s.carry("a", "b", handoff.KindConvoy)
	s.nodes["a"].do(func(m *handoff.Machine) { m.Fence(s.now) })
	s.pass(3*time.Second, true)
	s.onlyAt("b", "a", 5)
}

// onlyAt: the first n sessions are one node's, and the other has nothing of them.
func (s *stage) onlyAt(owner, other handoff.NodeID, n int) {
	s.t.Helper()
	for i := range n {
		k := handoff.Key(fmt.Sprint("k", i))
		if e := s.nodes[owner].shelf.kept[k]; e == nil || e.state != handoff.Owned {
			s.t.Errorf("%s is %+v at %s", k, e, owner)
		}
		if e := s.nodes[other].shelf.kept[k]; e != nil {
			s.t.Errorf("%s is %+v at %s", k, e, other)
		}
	}
}
