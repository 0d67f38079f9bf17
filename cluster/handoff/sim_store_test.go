package handoff_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"statemesh/cluster/handoff"
)

const (
	lockWait  = 500 * ms
	maxHeld   = 4
	storeWait = 5 * time.Second // how long an operation waits for its turn
)

// store is a node's sessions, with the manners of package session: one operation at a time on each, in order of arrival; an acquire keeps
// its turn until its answer is written; who meets a lock may wait a little for it.
type store struct {
	n       *node
	w       *world
	entries map[handoff.Key]*entry
	term    uint64
	picked  handoff.Key
}

type entry struct {
	key      handoff.Key
	state    handoff.State
	epoch    handoff.Epoch
	value    int64
	locked   bool
	cookie   int32
	lockedAt time.Duration
	used     time.Duration
	ticket   handoff.Ticket // while leaving
	taken    bool           // an acquire's answer is being written
	turns    []waiter       // for their turn
	line     []waiter       // for the lock
}

// waiter is an operation or a Leave.
type waiter struct {
	op     *op
	ticket handoff.Ticket
	terms  handoff.Terms
}

const timeout = 20 // minutes

func newStore(n *node) *store {
	return &store{n: n, w: n.w, entries: map[handoff.Key]*entry{}}
}

func (s *store) served(k handoff.Key) *entry {
	if e := s.entries[k]; e != nil && e.state != handoff.Copied {
		return e
	}
	return nil
}

// try runs an operation as far as it gets: it is finished, has missed, or waits.
func (s *store) try(o *op) {
	e := s.served(o.key)
	switch {
	case e == nil:
		o.missed()
	case e.state == handoff.Departing || e.taken || len(e.turns) > 0:
		e.turns = append(e.turns, waiter{op: o})
		s.w.at(storeWait, func() { s.tire(e, o) })
	default:
		s.do(e, o)
	}
}

// tire ends an operation's waiting for its turn.
func (s *store) tire(e *entry, o *op) {
	s.n.run(func() {
		if i := slices.IndexFunc(e.turns, func(x waiter) bool { return x.op == o }); i >= 0 {
			e.turns = slices.Delete(e.turns, i, i+1)
			o.done(output{Result: o.busy()})
		}
	})
}

func (s *store) do(e *entry, o *op) {
	s.w.checkOwners(e.key)
	e.used = s.w.now
	mismatch := e.locked && e.cookie != o.Cookie
	switch o.Verb {
	case "GET", "GETX":
		if e.locked {
			s.meetLock(e, o)
			return
		}
		if o.Verb == "GETX" {
			s.acquire(e, o)
			return
		}
		o.done(output{Result: "ok", Value: e.value})
		return
	case "HEAD", "INS":
		o.done(output{Result: "ok"})
		return
	}
	if mismatch {
		o.done(output{Result: "locked", Cookie: e.cookie})
		return
	}
	switch o.Verb {
	case "PUT":
		e.value, e.locked = o.Value, false
	case "REL":
		e.locked = false
	case "DEL":
		s.remove(e)
	}
	o.done(output{Result: "ok"})
	s.unlocked(e)
}

// meetLock lets a read wait for the lock a little, if not too many do.
func (s *store) meetLock(e *entry, o *op) {
	left := o.arrived + lockWait - s.w.now
	if left <= 0 || len(e.line) >= maxHeld {
		o.done(output{Result: "locked", Cookie: e.cookie})
		return
	}
	e.line = append(e.line, waiter{op: o})
	s.n.w.at(left, func() {
		s.n.run(func() {
			if i := slices.IndexFunc(e.line, func(x waiter) bool { return x.op == o }); i >= 0 {
				s.leaveLine(e, i)
			}
		})
	})
}

// acquire locks the session and keeps the turn until the answer is written; if that fails, the lock is taken back.
func (s *store) acquire(e *entry, o *op) {
	e.cookie++
	e.locked, e.lockedAt, e.taken = true, s.w.now, true
	s.n.post(2*ms, func() {
		e.taken = false
		switch {
		case e.state != handoff.Owned: // fenced meanwhile: no answer that was not checked again
			o.cutOff()
		case o.gone:
			o.takenBack(e.cookie)
			e.locked = false
		default:
			o.done(output{Result: "ok", Value: e.value, Cookie: e.cookie})
		}
		s.nextTurn(e)
	})
}

// remove drops a session; the machine is told by and by.
func (s *store) remove(e *entry) {
	s.drop(e)
	s.n.post(3*ms, func() { s.n.m.Removed(s.w.now, e.key, e.epoch) })
}

// drop forgets a session; those who wait for it learn that it is gone.
func (s *store) drop(e *entry) {
	delete(s.entries, e.key)
	e.state = handoff.Absent
	s.dismiss(e, true)
}

func (s *store) dismiss(e *entry, leaves bool) {
	waiters := append(e.turns, e.line...)
	e.turns, e.line = nil, nil
	for _, x := range waiters {
		switch {
		case x.op != nil:
			s.n.post(ms, x.op.missed)
		case leaves:
			s.left(e.key, x.ticket, handoff.Leaving{Now: handoff.NotHere})
		}
	}
}

// unlocked serves those who wait for the lock, in order.
func (s *store) unlocked(e *entry) {
	for len(e.line) > 0 && !e.locked && !e.taken && e.state == handoff.Owned {
		x := e.line[0]
		e.line = e.line[1:]
		s.resume(e, x)
	}
}

// nextTurn goes on with those who wait for their turn.
func (s *store) nextTurn(e *entry) {
	for len(e.turns) > 0 && !e.taken && e.state == handoff.Owned {
		x := e.turns[0]
		e.turns = e.turns[1:]
		s.resume(e, x)
	}
	s.unlocked(e)
}

func (s *store) resume(e *entry, x waiter) {
	if x.op != nil {
		s.do(e, x.op)
		return
	}
	s.left(e.key, x.ticket, s.leave(e, x.ticket, x.terms))
}

// left tells the machine later what became of a Leave.
func (s *store) left(k handoff.Key, t handoff.Ticket, l handoff.Leaving) {
	s.n.post(ms, func() { s.n.m.Left(s.w.now, k, t, l) })
}

func (s *store) create(o *op, a handoff.Answer) {
	if e := s.entries[o.key]; e != nil {
		s.try(o)
		return
	}
	if a.Term != s.term {
		o.missed()
		return
	}
	e := &entry{key: o.key, state: handoff.Owned, epoch: a.Epoch, value: o.Value, cookie: 1, used: s.w.now}
	s.entries[o.key] = e
	s.w.logf("%s creates %s at epoch %d", s.n.id, o.key, a.Epoch)
	s.w.serves(s.n, e, false)
	s.w.stats["created"]++
	o.done(output{Result: "ok"})
}

// What follows is handoff.Sessions.

func (s *store) Look(k handoff.Key) handoff.Look {
	e := s.entries[k]
	if e == nil {
		return handoff.Look{}
	}
	return handoff.Look{State: e.state, Epoch: e.epoch, Idle: s.w.now - e.used, Locked: e.locked, Cookie: e.cookie, LockAge: s.w.now - e.lockedAt}
}

func (s *store) Leave(k handoff.Key, t handoff.Ticket, terms handoff.Terms) handoff.Leaving {
	e := s.served(k)
	if e == nil {
		return handoff.Leaving{Now: handoff.NotHere}
	}
	busy := e.state == handoff.Departing || e.taken || len(e.turns) > 0
	if busy || !s.w.p.prompt && s.w.chance(.2) {
		e.turns = append(e.turns, waiter{ticket: t, terms: terms})
		if !busy {
			s.n.post(ms, func() { s.nextTurn(e) })
		}
		return handoff.Leaving{Now: handoff.Pending}
	}
	return s.leave(e, t, terms)
}

func (s *store) leave(e *entry, t handoff.Ticket, terms handoff.Terms) handoff.Leaving {
	e.used = s.w.now
	lock := handoff.Leaving{Cookie: e.cookie, Age: s.w.now - e.lockedAt}
	switch {
	case terms.Allow(e.locked, e.cookie):
		e.state, e.ticket = handoff.Departing, t
		return handoff.Leaving{Now: handoff.Frozen, Record: e.record(s.w.now)}
	case terms.Wait <= 0 || len(e.line) >= maxHeld:
		lock.Now = handoff.StillLocked
		return lock
	}
	e.line = append(e.line, waiter{ticket: t, terms: terms})
	s.w.at(terms.Wait, func() {
		s.n.run(func() {
			if i := slices.IndexFunc(e.line, func(x waiter) bool { return x.op == nil && x.ticket == t }); i >= 0 {
				s.leaveLine(e, i)
			}
		})
	})
	lock.Now = handoff.InLine
	return lock
}

// leaveLine ends the wait for the lock of the i-th in line. If nobody holds it just now, because the session is leaving, the wait goes on, for
// the turn.
func (s *store) leaveLine(e *entry, i int) {
	x := e.line[i]
	e.line = slices.Delete(e.line, i, i+1)
	switch {
	case !e.locked || e.state != handoff.Owned:
		x.terms.Wait = 0
		e.turns = append(e.turns, x)
	case x.op != nil:
		x.op.done(output{Result: "locked", Cookie: e.cookie})
	default:
		s.left(e.key, x.ticket, handoff.Leaving{Now: handoff.StillLocked, Cookie: e.cookie, Age: s.w.now - e.lockedAt})
	}
}

func (e *entry) record(now time.Duration) handoff.Record {
	r := handoff.Record{Epoch: e.epoch, Locked: e.locked, Cookie: e.cookie, Timeout: timeout, Body: e.value,
		TimeLeft: timeout*time.Minute - (now - e.used)}
	if e.locked {
		r.LockAge = now - e.lockedAt
	}
	return r
}

func (s *store) Recall(k handoff.Key, t handoff.Ticket) {
	if e := s.entries[k]; e != nil {
		mine := func(x waiter) bool { return x.op == nil && x.ticket == t }
		e.turns = slices.DeleteFunc(e.turns, mine)
		e.line = slices.DeleteFunc(e.line, mine)
	}
}

// departing is the session that leaves for a ticket.
func (s *store) departing(k handoff.Key, t handoff.Ticket) *entry {
	if e := s.entries[k]; e != nil && e.state == handoff.Departing && e.ticket == t {
		return e
	}
	return nil
}

func (s *store) Stay(k handoff.Key, t handoff.Ticket, epoch handoff.Epoch) {
	if e := s.departing(k, t); e != nil {
		e.state, e.epoch = handoff.Owned, epoch
		s.w.logf("%s keeps %s at epoch %d", s.n.id, k, epoch)
		s.w.serves(s.n, e, true)
		s.n.post(0, func() { s.nextTurn(e) })
	}
}

func (s *store) Doubt(k handoff.Key, t handoff.Ticket) {
	if e := s.departing(k, t); e != nil {
		s.w.logf("%s doubts %s at epoch %d", s.n.id, k, e.epoch)
		e.state = handoff.Copied
		s.dismiss(e, true)
	}
}

func (s *store) Forget(gone []handoff.Push) {
	for _, p := range gone {
		if e := s.departing(p.Key, p.Transfer); e != nil {
			s.w.stats["moves"]++
			s.drop(e)
		}
	}
}

func (s *store) Admit(k handoff.Key, r handoff.Record, _ bool) (handoff.Look, bool) {
	l := s.Look(k)
	return l, !l.InTheWayOf(r.Epoch) && (s.w.calm || !s.w.chance(s.w.p.drop/5))
}

func (s *store) Own(k handoff.Key, r handoff.Record)  { s.place(k, r, handoff.Owned) }
func (s *store) Keep(k handoff.Key, r handoff.Record) { s.place(k, r, handoff.Copied) }
func (s *store) Discard(handoff.Key, handoff.Record)  {}

func (s *store) place(k handoff.Key, r handoff.Record, state handoff.State) {
	if r.TimeLeft > timeout*time.Minute || r.TimeLeft < 0 || r.LockAge < 0 || r.Timeout != timeout {
		s.w.fail("%s took in a broken record: %+v", s.n.id, r)
	}
	if old := s.entries[k]; old != nil {
		s.drop(old)
	}
	e := &entry{key: k, state: state, epoch: r.Epoch, value: r.Body.(int64), locked: r.Locked, cookie: r.Cookie,
		lockedAt: s.w.now - r.LockAge, used: s.w.now - timeout*time.Minute + r.TimeLeft}
	s.entries[k] = e
	s.w.logf("%s has %s at epoch %d, %v", s.n.id, k, r.Epoch, state)
	if state == handoff.Owned {
		s.w.serves(s.n, e, false)
	}
}

func (s *store) Adopt(k handoff.Key, epoch handoff.Epoch) {
	e := s.entries[k]
	if e == nil || e.state != handoff.Copied {
		s.w.fail("%s adopts what it has no copy of: %s", s.n.id, k)
		return
	}
	e.state, e.epoch = handoff.Owned, epoch
	s.w.stats["adopted"]++
	s.w.logf("%s adopts %s at epoch %d", s.n.id, k, epoch)
	s.w.serves(s.n, e, false)
}

func (s *store) Drop(k handoff.Key) {
	if e := s.entries[k]; e != nil && e.state == handoff.Copied {
		s.w.logf("%s drops its copy of %s at epoch %d", s.n.id, k, e.epoch)
		s.drop(e)
	}
}

func (s *store) Fence(term uint64) {
	s.term = term
	for _, k := range sortedKeys(s.entries) {
		e := s.entries[k]
		e.state = handoff.Copied
		s.dismiss(e, false)
	}
}

func (s *store) Len() int { return len(s.entries) }

func (s *store) Part(n, size int, first handoff.Ticket) (frozen []handoff.Push, rest []handoff.Key) {
	for _, k := range s.pick(min(n, 1+s.w.rng.IntN(6))) {
		e := s.entries[k]
		if e.state != handoff.Owned || e.taken || len(e.turns) > 0 || !s.w.p.prompt && s.w.chance(.2) {
			rest = append(rest, k)
			continue
		}
		t := first + handoff.Ticket(len(frozen))
		frozen = append(frozen, handoff.Push{Key: k, Transfer: t, Record: s.leave(e, t, handoff.Terms{Any: true}).Record})
	}
	return frozen, rest
}

func (s *store) pick(n int) []handoff.Key {
	var ks []handoff.Key
	for range 2 { // from where it last ended, and once around
		for _, k := range sortedKeys(s.entries) {
			if k > s.picked && len(ks) < n && s.entries[k].state != handoff.Departing && !slices.Contains(ks, k) {
				ks = append(ks, k)
			}
		}
		if len(ks) < n {
			s.picked = ""
		}
	}
	if len(ks) > 0 {
		s.picked = ks[len(ks)-1]
	}
	return ks
}

func (s *store) Copies(n int) []handoff.Key {
	ks := slices.DeleteFunc(sortedKeys(s.entries), func(k handoff.Key) bool { return s.entries[k].state != handoff.Copied })
	s.w.rng.Shuffle(len(ks), func(i, j int) { ks[i], ks[j] = ks[j], ks[i] })
	return ks[:min(n, len(ks))]
}

func (s *store) Recent(since handoff.Epoch, from uint64, n int) ([]handoff.Claim, uint64) {
	ks := sortedKeys(s.entries)
	var cs []handoff.Claim
	for i := int(from); i < len(ks); i++ {
		if len(cs) == min(n, 2) { // small batches, to see some
			return cs, uint64(i)
		}
		if e := s.entries[ks[i]]; e.state == handoff.Owned && e.epoch >= since {
			cs = append(cs, handoff.Claim{Key: e.key, Epoch: e.epoch, Idle: s.w.now - e.used})
		}
	}
	return cs, 0
}

func sortedKeys[V any](m map[handoff.Key]V) []handoff.Key { return slices.Sorted(maps.Keys(m)) }

func (e *entry) String() string {
	return fmt.Sprintf("%s state=%d epoch=%d value=%d locked=%v cookie=%d", e.key, e.state, e.epoch, e.value, e.locked, e.cookie)
}
