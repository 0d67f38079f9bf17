package handoff_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// stage is a few nodes whose messages lie on a table until the test has them carried: for cases that are told step by step.
type stage struct {
	t     *testing.T
	now   time.Duration
	nodes map[handoff.NodeID]*actor
	order []handoff.NodeID
	mail  []letter
	told  []string // what happened
	ids   uint64
}

type letter struct {
	from, to handoff.NodeID
	msg      handoff.Message
}

type actor struct {
	s       *stage
	id      handoff.NodeID
	m       *handoff.Machine
	shelf   *shelf
	answers map[uint64]handoff.Answer
	drained int
}

type change func(*handoff.Options)

func newStage(t *testing.T, ids ...handoff.NodeID) *stage {
	return newStageWith(t, func(*handoff.Options) {}, ids...)
}

func newStageWith(t *testing.T, c change, ids ...handoff.NodeID) *stage {
	t.Helper()
	s := &stage{t: t, now: time.Hour, nodes: map[handoff.NodeID]*actor{}}
	for _, id := range ids {
		s.add(id, c)
	}
	for _, a := range ids {
		for _, b := range ids {
			s.meet(a, b)
		}
	}
	return s
}

func (s *stage) add(id handoff.NodeID, c change) *actor {
	a := &actor{s: s, id: id, answers: map[uint64]handoff.Answer{}, shelf: &shelf{now: &s.now, kept: map[handoff.Key]*kept{}}}
	o := handoff.Options{Self: id, Sessions: a.shelf, Started: 1}
	c(&o)
	m, err := handoff.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	a.m = m
	s.nodes[id] = a
	s.order = append(s.order, id)
	return a
}

// meet lets one node know another.
func (s *stage) meet(a, b handoff.NodeID) {
	s.nodes[a].do(func(m *handoff.Machine) { m.MemberUp(s.now, b, handoff.Meta{}) })
}

// lose lets all nodes know that one is gone.
func (s *stage) lose(id handoff.NodeID) {
	delete(s.nodes, id)
	s.order = slices.DeleteFunc(s.order, func(o handoff.NodeID) bool { return o == id })
	for _, o := range s.order {
		s.nodes[o].down(id)
	}
}

func (a *actor) down(id handoff.NodeID) {
	a.do(func(m *handoff.Machine) { m.MemberDown(a.s.now, id, false) })
}

// do runs one event and takes down what comes of it.
func (a *actor) do(event func(*handoff.Machine)) {
	event(a.m)
	for _, act := range a.m.Actions() {
		switch act := act.(type) {
		case handoff.Send:
			a.s.mail = append(a.s.mail, letter{a.id, act.To, act.Message})
		case handoff.Answer:
			a.answers[act.Request] = act
			a.s.tell("%s answers request %d: %v", a.id, act.Request, act.Outcome)
		case handoff.Drained:
			a.drained++
		}
	}
	if gone := a.shelf.dismissed; len(gone) > 0 {
		a.shelf.dismissed = gone[1:]
		a.do(func(m *handoff.Machine) { m.Left(a.s.now, "k", gone[0], handoff.Leaving{Now: handoff.NotHere}) })
	}
}

func (s *stage) tell(format string, args ...any) {
	s.told = append(s.told, fmt.Sprintf(format, args...))
}

// want sends a request to a node.
func (s *stage) want(at handoff.NodeID, p handoff.Purpose, cookie int32) uint64 {
	s.ids++
	id := s.ids
	s.tell("%s wants k, to %s", at, purposeNames[p])
	s.nodes[at].do(func(m *handoff.Machine) {
		m.Want(s.now, handoff.Request{ID: id, Key: "k", Purpose: p, Cookie: cookie, Arrived: s.now})
	})
	return id
}

var purposeNames = map[handoff.Purpose]string{handoff.Read: "read", handoff.Acquire: "acquire", handoff.Release: "release",
	handoff.Remove: "remove", handoff.Touch: "touch", handoff.Put: "put", handoff.Insert: "insert"}

func (s *stage) finish(at handoff.NodeID, id uint64) {
	s.nodes[at].do(func(m *handoff.Machine) { m.Finished(s.now, id) })
}

// carry delivers the first message of a kind between two nodes.
func (s *stage) carry(from, to handoff.NodeID, k handoff.Kind) handoff.Message {
	s.t.Helper()
	l := s.take(from, to, k)
	s.deliver(l)
	return l.msg
}

// take removes a message from the table: it is lost, or the test will deliver it.
func (s *stage) take(from, to handoff.NodeID, k handoff.Kind) letter {
	s.t.Helper()
	i := slices.IndexFunc(s.mail, func(l letter) bool { return l.from == from && l.to == to && l.msg.Kind() == k })
	if i < 0 {
		s.t.Fatalf("there is no %v from %s to %s; there is %v", k, from, to, s.mail)
	}
	l := s.mail[i]
	s.mail = slices.Delete(s.mail, i, i+1)
	return l
}

func (s *stage) deliver(l letter) {
	s.tell("%s", l)
	if a := s.nodes[l.to]; a != nil {
		a.do(func(m *handoff.Machine) { m.Receive(s.now, l.from, l.msg) })
	}
}

// settle carries everything, in order, until there is nothing more.
func (s *stage) settle() {
	s.t.Helper()
	for n := 0; len(s.mail) > 0; n++ {
		if n > 10000 {
			s.t.Fatalf("no end of messages: %v", s.mail[:10])
		}
		l := s.mail[0]
		s.mail = s.mail[1:]
		s.deliver(l)
	}
}

// lost throws away what is on the table.
func (s *stage) lost() { s.mail = nil }

// pass lets time go by, with ticks, and messages carried unless they are to be lost.
func (s *stage) pass(d time.Duration, carry bool) {
	s.t.Helper()
	for end := s.now + d; s.now < end; {
		s.now = min(s.now+10*ms, end)
		for _, id := range s.order {
			s.nodes[id].do(func(m *handoff.Machine) { m.Tick(s.now) })
		}
		if carry {
			s.settle()
		}
	}
	if !carry {
		s.lost()
	}
}

// outcome is a request's answer, or 0.
func (s *stage) outcome(at handoff.NodeID, id uint64) handoff.Outcome {
	return s.nodes[at].answers[id].Outcome
}

func (s *stage) expect(at handoff.NodeID, id uint64, want handoff.Outcome) {
	s.t.Helper()
	if got := s.outcome(at, id); got != want {
		s.t.Errorf("request %d at %s: got %v, want %v", id, at, got, want)
	}
}

// expectAt says where k must be: served by these nodes and nobody else.
func (s *stage) expectAt(ids ...handoff.NodeID) {
	s.t.Helper()
	var got []handoff.NodeID
	for _, id := range s.order {
		if e := s.nodes[id].shelf.kept["k"]; e != nil && e.state == handoff.Owned {
			got = append(got, id)
		}
	}
	if !slices.Equal(got, ids) {
		s.t.Errorf("k is served by %v, want %v", got, ids)
	}
}

func (l letter) String() string {
	var s string
	switch m := l.msg.(type) {
	case handoff.Reply:
		s = m.Says.String()
		switch m.Says {
		case handoff.Hint:
			s += " " + string(m.Holder)
		case handoff.Locked, handoff.Parked:
			s += fmt.Sprintf(" cookie %d", m.Cookie)
		}
	case handoff.Push:
		s = fmt.Sprintf("Push epoch %d", m.Record.Epoch)
	default:
		s = l.msg.Kind().String()
	}
	return fmt.Sprintf("%s to %s: %s", l.from, l.to, s)
}

func (s *stage) story() string { return strings.Join(s.told, "\n") }

// shelf is the plainest store: nobody works on a session for longer than a moment.
type shelf struct {
	now  *time.Duration
	kept map[handoff.Key]*kept
	term uint64
	full bool
	// dismissed are the Leaves that waited for a session that is gone; the machine is to be told.
	dismissed []handoff.Ticket
}

type kept struct {
	state  handoff.State
	rec    handoff.Record
	at     time.Duration // when rec was so
	ticket handoff.Ticket
	line   []handoff.Ticket // for the lock
	terms  map[handoff.Ticket]handoff.Terms
}

// put makes a node the owner of k.
func (s *stage) put(at handoff.NodeID, r handoff.Record) *kept {
	e := &kept{state: handoff.Owned, rec: r, at: s.now}
	s.nodes[at].shelf.kept["k"] = e
	return e
}

func (e *kept) record(now time.Duration) handoff.Record {
	r := e.rec
	if r.Locked {
		r.LockAge += now - e.at
	}
	r.TimeLeft -= now - e.at
	return r
}

// unlock frees the lock of k; the first in line gets the session, if it is a Leave.
func (s *stage) unlock(at handoff.NodeID) {
	s.t.Helper()
	a := s.nodes[at]
	e := a.shelf.kept["k"]
	e.rec.Locked = false
	if len(e.line) == 0 {
		return
	}
	t := e.line[0]
	e.line = e.line[1:]
	l := a.shelf.Leave("k", t, e.terms[t])
	a.do(func(m *handoff.Machine) { m.Left(s.now, "k", t, l) })
}

// tire ends the wait of the first in line.
func (s *stage) tire(at handoff.NodeID) {
	a := s.nodes[at]
	e := a.shelf.kept["k"]
	t := e.line[0]
	e.line = e.line[1:]
	a.do(func(m *handoff.Machine) {
		m.Left(s.now, "k", t, handoff.Leaving{Now: handoff.StillLocked, Cookie: e.rec.Cookie, Age: e.record(s.now).LockAge})
	})
}

func (h *shelf) Look(k handoff.Key) handoff.Look {
	e := h.kept[k]
	if e == nil {
		return handoff.Look{}
	}
	r := e.record(*h.now)
	return handoff.Look{State: e.state, Epoch: r.Epoch, Idle: *h.now - e.at, Locked: r.Locked, Cookie: r.Cookie, LockAge: r.LockAge}
}

func (h *shelf) Leave(k handoff.Key, t handoff.Ticket, terms handoff.Terms) handoff.Leaving {
	e := h.kept[k]
	if e == nil || e.state == handoff.Copied {
		return handoff.Leaving{Now: handoff.NotHere}
	}
	r := e.record(*h.now)
	switch {
	case e.state == handoff.Departing:
		return handoff.Leaving{Now: handoff.Pending}
	case terms.Allow(r.Locked, r.Cookie):
		e.state, e.ticket = handoff.Departing, t
		return handoff.Leaving{Now: handoff.Frozen, Record: r}
	case terms.Wait > 0 && len(e.line) < maxHeld:
		if e.terms == nil {
			e.terms = map[handoff.Ticket]handoff.Terms{}
		}
		e.line, e.terms[t] = append(e.line, t), terms
		return handoff.Leaving{Now: handoff.InLine}
	}
	return handoff.Leaving{Now: handoff.StillLocked, Cookie: r.Cookie, Age: r.LockAge}
}

func (h *shelf) Recall(k handoff.Key, t handoff.Ticket) {
	if e := h.kept[k]; e != nil {
		e.line = slices.DeleteFunc(e.line, func(o handoff.Ticket) bool { return o == t })
	}
}

func (h *shelf) leaving(k handoff.Key, t handoff.Ticket) *kept {
	if e := h.kept[k]; e != nil && e.state == handoff.Departing && e.ticket == t {
		return e
	}
	return &kept{}
}

func (h *shelf) Stay(k handoff.Key, t handoff.Ticket, epoch handoff.Epoch) {
	e := h.leaving(k, t)
	e.state, e.rec.Epoch = handoff.Owned, epoch
}

func (h *shelf) Doubt(k handoff.Key, t handoff.Ticket) { h.leaving(k, t).state = handoff.Copied }

func (h *shelf) Forget(gone []handoff.Push) {
	for _, p := range gone {
		if e := h.leaving(p.Key, p.Transfer); e.rec.Epoch != 0 {
			delete(h.kept, p.Key)
			h.dismissed = append(h.dismissed, e.line...)
		}
	}
}

func (h *shelf) Admit(k handoff.Key, r handoff.Record, _ bool) (handoff.Look, bool) {
	l := h.Look(k)
	return l, !l.InTheWayOf(r.Epoch) && !h.full
}

func (h *shelf) Own(k handoff.Key, r handoff.Record) {
	h.kept[k] = &kept{state: handoff.Owned, rec: r, at: *h.now}
}
func (h *shelf) Keep(k handoff.Key, r handoff.Record) {
	h.kept[k] = &kept{state: handoff.Copied, rec: r, at: *h.now}
}
func (h *shelf) Discard(handoff.Key, handoff.Record) {}
func (h *shelf) Adopt(k handoff.Key, epoch handoff.Epoch) {
	h.kept[k].state, h.kept[k].rec.Epoch = handoff.Owned, epoch
}
func (h *shelf) Drop(k handoff.Key) { delete(h.kept, k) }
func (h *shelf) Len() int           { return len(h.kept) }

func (h *shelf) Fence(term uint64) {
	h.term = term
	for _, e := range h.kept {
		e.state, e.line = handoff.Copied, nil
	}
}

func (h *shelf) Part(n, size int, first handoff.Ticket) (frozen []handoff.Push, rest []handoff.Key) {
	ks := slices.DeleteFunc(sortedKeys(h.kept), func(k handoff.Key) bool { return h.kept[k].state == handoff.Departing })
	for _, k := range ks[:min(n, len(ks))] {
		if h.kept[k].state == handoff.Copied {
			rest = append(rest, k)
			continue
		}
		if size -= h.kept[k].rec.Size; size < 0 && len(frozen) > 0 {
			break
		}
		t := first + handoff.Ticket(len(frozen))
		frozen = append(frozen, handoff.Push{Key: k, Transfer: t, Record: h.Leave(k, t, handoff.Terms{Any: true}).Record})
	}
	return frozen, rest
}

func (h *shelf) Copies(n int) []handoff.Key {
	ks := slices.DeleteFunc(sortedKeys(h.kept), func(k handoff.Key) bool { return h.kept[k].state != handoff.Copied })
	return ks[:min(n, len(ks))]
}

func (h *shelf) Recent(since handoff.Epoch, _ uint64, _ int) ([]handoff.Claim, uint64) {
	var cs []handoff.Claim
	for _, k := range sortedKeys(h.kept) {
		if e := h.kept[k]; e.state == handoff.Owned && e.rec.Epoch >= since {
			cs = append(cs, handoff.Claim{Key: k, Epoch: e.rec.Epoch, Idle: *h.now - e.at})
		}
	}
	return cs, 0
}
