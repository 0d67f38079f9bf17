package handoff_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// bytes are a fuzzer's, read as choices; when they run out all choices are 0.
type bytes []byte

func (b *bytes) below(n int) int {
	if len(*b) == 0 {
		return 0
	}
	x := (*b)[0]
	*b = (*b)[1:]
	return int(x) % n
}

// FuzzMachine throws events at one machine that no honest cluster would send: it must not panic, answer nobody twice, keep its bounds, and
// come to rest.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("a machine is fed this as if it were events"))
	f.Add([]byte{0, 1, 0, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newStageWith(t, func(o *handoff.Options) {
			o.MaxWaiting, o.MaxWaitingPerKey, o.MaxNotes, o.MaxArriving, o.MaxLeaving, o.DrainWindow = 6, 3, 4, 3, 3, 2
		}, "self")
		a := s.nodes["self"]
		b := bytes(data)
		for len(b) > 0 {
			s.mail = nil
			a.do(func(m *handoff.Machine) { fuzzEvent(s, a, m, &b) })
			st := a.m.Stats()
			if st.Waiting > 6 || st.Arriving > 3 || st.Leaving > 3+2+3 || st.Notes > 4+8 {
				t.Fatalf("bounds overstepped: %+v", st)
			}
		}
		for _, id := range []handoff.NodeID{"p", "q", "r"} {
			a.down(id)
		}
		a.do(func(m *handoff.Machine) { m.Joined(s.now) })
		s.pass(10*time.Second, false)
		if st := a.m.Stats(); st.Waiting+st.Arriving+st.Settling > 0 {
			t.Fatalf("not at rest: %+v", st)
		}
	})
}

func fuzzEvent(s *stage, a *actor, m *handoff.Machine, b *bytes) {
	keys := []handoff.Key{"k", "k2", "k3"}
	peers := []handoff.NodeID{"p", "q", "r"}
	k, from := keys[b.below(3)], peers[b.below(3)]
	n := uint64(b.below(12))
	rec := handoff.Record{Epoch: handoff.Epoch(1 + b.below(16)), Locked: b.below(2) == 1, Cookie: int32(b.below(4)), Timeout: 20, Body: int64(1)}
	receive := func(msg handoff.Message) { m.Receive(s.now, from, msg) }
	switch b.below(27) {
	case 24:
		receive(handoff.Convoy{N: n, Pushes: []handoff.Push{
			{Key: k, Transfer: n, Record: rec}, {Key: keys[b.below(3)], Transfer: uint64(b.below(12)), Record: rec},
		}})
	case 25:
		receive(handoff.ConvoyAck{N: n, Which: uint64(b.below(4))})
	case 26:
		if which := uint64(b.below(4)); rec.Locked {
			receive(handoff.ConvoyCommit{N: n, Which: which})
		} else {
			receive(handoff.ConvoyConfirm{N: n, Which: which})
		}
	case 0, 1:
		m.Want(s.now, handoff.Request{ID: n, Key: k, Purpose: handoff.Purpose(b.below(7)), Cookie: rec.Cookie, Arrived: s.now})
	case 2:
		m.Finished(s.now, n)
	case 3:
		m.Cancel(s.now, n)
	case 4:
		receive(handoff.Find{Key: k, Round: n, Ask: uint32(b.below(4)), Create: rec.Locked, Cookie: rec.Cookie,
			Wait: time.Duration(b.below(2)) * time.Second, Adopt: handoff.Epoch(b.below(2) * 9)})
	case 5, 6, 7:
		receive(handoff.Reply{Key: k, Round: n, Ask: uint32(b.below(4)), Says: handoff.Says(b.below(11)), Epoch: rec.Epoch,
			Holder: peers[b.below(3)], View: uint64(b.below(2))})
	case 8, 9:
		receive(handoff.Push{Key: k, Transfer: n, Record: rec})
	case 10:
		receive(handoff.Ack{Key: k, Transfer: n})
	case 11:
		receive(handoff.Refuse{Key: k, Transfer: n, Why: handoff.Refusal(b.below(6))})
	case 12:
		receive(handoff.Commit{Key: k, Transfer: n})
	case 13:
		receive(handoff.Abort{Key: k, Transfer: n})
	case 14:
		receive(handoff.Confirm{Key: k, Transfer: n})
	case 15:
		receive(handoff.NoRecord{Key: k, Transfer: n})
	case 16:
		receive(handoff.Claims{Batch: n, Claims: []handoff.Claim{{Key: k, Epoch: rec.Epoch}}})
	case 17:
		receive(handoff.Heard{Batch: n, Claims: []handoff.Claim{{Key: k, Epoch: rec.Epoch}}})
	case 18:
		m.MemberUp(s.now, from, handoff.Meta{Draining: rec.Locked})
	case 19:
		m.MemberDown(s.now, from, rec.Locked)
	case 20:
		s.now += time.Duration(b.below(256)) * 10 * ms
		m.Tick(s.now)
	case 21:
		m.Left(s.now, k, n, handoff.Leaving{Now: handoff.LeaveState(b.below(5)), Record: rec})
	case 22:
		if e := a.shelf.kept[k]; e == nil {
			a.shelf.kept[k] = &kept{state: handoff.Owned, rec: rec, at: s.now}
		} else if e.state == handoff.Owned {
			delete(a.shelf.kept, k)
			m.Removed(s.now, k, e.rec.Epoch)
		}
	case 23:
		switch b.below(4) {
		case 0:
			m.Fence(s.now)
		case 1:
			m.Drain(s.now)
		case 2:
			receive(handoff.Know{Version: n, Members: peers[:b.below(4)]})
		case 3:
			receive(handoff.Known{Version: n})
		}
	}
}

// FuzzCluster lets the fuzzer be the network and the web servers of three nodes: messages may come in any order, twice, or not at all. A session
// is never in two places, and once it has been made nobody is told that there is none.
func FuzzCluster(f *testing.F) {
	f.Add([]byte("any order will do, and so will none"))
	f.Add([]byte{0, 0, 5, 1, 1, 5, 3, 0, 3, 0, 3, 1, 3, 0, 2, 0, 3, 0, 4, 0, 3, 1, 3, 0, 3, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newStage(t, "a", "b", "c")
		b := bytes(data)
		c := fuzzCluster{stage: s, wants: map[uint64]fuzzWant{}}
		for len(b) > 0 {
			c.step(&b)
			c.answer()
			c.check()
		}
		for range 4 {
			s.pass(2*time.Second, true)
			c.answer()
			c.check()
		}
		if len(c.wants) > 0 {
			t.Fatalf("never answered: %v", c.wants)
		}
	})
}

type fuzzCluster struct {
	*stage
	wants map[uint64]fuzzWant
	made  bool
}

type fuzzWant struct {
	at      handoff.NodeID
	purpose handoff.Purpose
	made    bool // the session existed when it came
}

func (c *fuzzCluster) step(b *bytes) {
	at := c.order[b.below(3)]
	switch b.below(8) {
	case 0, 1:
		p := []handoff.Purpose{handoff.Read, handoff.Acquire, handoff.Put, handoff.Insert}[b.below(4)]
		e := c.nodes[at].shelf.kept["k"]
		if e != nil && e.state != handoff.Copied {
			return // it would not come to the machine
		}
		c.wants[c.ids+1] = fuzzWant{at, p, c.made}
		c.want(at, p, handoff.NoCookie)
	case 2:
		c.now += time.Duration(1+b.below(40)) * 5 * ms
		c.nodes[at].do(func(m *handoff.Machine) { m.Tick(c.now) })
	default:
		if len(c.mail) == 0 {
			return
		}
		i := b.below(len(c.mail))
		l := c.mail[i]
		fate := b.below(8)
		if fate != 0 { // 0: it comes once more
			c.mail = append(c.mail[:i:i], c.mail[i+1:]...)
		}
		if fate != 1 { // 1: it is lost
			c.deliver(l)
		}
	}
}

// answer does what requests do when they are answered.
func (c *fuzzCluster) answer() {
	for again := true; again; {
		again = false
		for _, id := range c.order {
			for _, r := range slices.Sorted(maps.Keys(c.nodes[id].answers)) {
				if w, waits := c.wants[r]; waits {
					again = true
					delete(c.wants, r)
					c.goOn(w, r, c.nodes[id].answers[r])
				}
			}
		}
	}
}

func (c *fuzzCluster) goOn(w fuzzWant, r uint64, as handoff.Answer) {
	if as.Outcome == handoff.Nowhere {
		if w.made {
			c.t.Fatalf("request %d is told Nowhere; the session is there:\n%s", r, c.story())
		}
		if kept0 := c.nodes[w.at].shelf.kept; (w.purpose == handoff.Put || w.purpose == handoff.Insert) && kept0["k"] == nil {
			kept0["k"] = &kept{state: handoff.Owned, rec: handoff.Record{Epoch: as.Epoch, Cookie: 1, Timeout: 20, Body: int64(1)}, at: c.now}
			c.made = true
		}
	}
	c.finish(w.at, r)
}

func (c *fuzzCluster) check() {
	n := 0
	for _, id := range c.order {
		if e := c.nodes[id].shelf.kept["k"]; e != nil && e.state == handoff.Owned {
			n++
		}
	}
	if n > 1 {
		c.t.Fatalf("k is served in %d places:\n%s", n, c.story())
	}
}
