package session

import (
	"slices"
	"time"
)

// pendingLeave is a Leave that waits.
type pendingLeave struct {
	q      *queue
	key    string
	ticket uint64
	terms  Terms
	timer  *time.Timer // while in line
}

// Leave freezes an owned session for a ticket, never given before, once it is its turn among the operations on the session, and if the terms allow it. What it
// cannot say at once (Pending, InLine) is told by Events.Left later. A session that is frozen does not expire, and operations on it
// wait.
func (m *Moves) Leave(k string, ticket uint64, t Terms) Leaving {
	a := m.at(k)
	defer a.leave()
	if a.i != 0 && !a.owns(a.i) {
		a.i = 0
	}
	if a.i == 0 {
		return Leaving{Now: NotHere}
	}
	if a.entry().has(isTaken | isLeaving) {
		q := a.queue(a.i)
		q.waiting = append(q.waiting, &waiter{leave: &pendingLeave{q: q, key: k, ticket: ticket, terms: t}})
		return Leaving{Now: Pending}
	}
	if a.expire(); a.i == 0 {
		return Leaving{Now: NotHere}
	}
	l := a.tryLeave(a.i, ticket, t, a.now)
	if l.Now == InLine {
		a.lineUp(a.i, &waiter{leave: &pendingLeave{key: k, ticket: ticket, terms: t}})
	}
	return l
}

// tryLeave is a Leave whose turn it is. If it is InLine, that is where it belongs now.
func (s *shard) tryLeave(i uint32, ticket uint64, t Terms, now int64) Leaving {
	e := s.entries.At(i)
	if !t.Any { // it is in a web server's name
		s.touch(i, now)
	}
	if t.Any || !e.has(isLocked) || e.cookie == t.Cookie {
		e.set(isLeaving)
		s.leaving[i] = ticket
		return Leaving{Now: Frozen, Record: s.record(i, now, new(Stored))}
	}
	l := Leaving{Now: StillLocked, Cookie: e.cookie, Age: time.Duration(now - e.lockedAt)}
	if t.Wait > 0 && s.hasPlace(i) {
		l.Now = InLine
	}
	return l
}

// lineUp lets a Leave stand in line.
func (s *shard) lineUp(i uint32, w *waiter) {
	p := w.leave
	p.q = s.queue(i)
	p.timer = time.AfterFunc(p.terms.Wait, func() { s.endLeave(w) })
	s.standInLine(p.q, w)
}

// leaveInTurn goes on with a Leave that waited for its turn, or for the lock.
func (s *shard) leaveInTurn(i uint32, w *waiter, now int64) {
	l := s.tryLeave(i, w.leave.ticket, w.leave.terms, now)
	if w.gone = l.Now != InLine; !w.gone {
		s.lineUp(i, w)
	}
	s.tell(w, l)
}

// record is entry i's, with the body in b.
func (s *shard) record(i uint32, now int64, b *Stored) Record {
	e := s.entries.At(i)
	*b = Stored{heap: s.store.heap, ref: e.body()}
	r := Record{
		Epoch: s.epoch(i), Locked: e.has(isLocked), Cookie: e.cookie, Timeout: e.timeout, TimeLeft: time.Duration(e.expires - now), New: e.has(isNew),
		Body: b,
	}
	if r.Locked {
		r.LockAge = time.Duration(now - e.lockedAt)
	}
	return r
}

// endLeave ends a Leave's waiting in line. If nobody holds the lock just now, because the session is leaving or its turn is another's, it
// goes on waiting, for the turn.
func (s *shard) endLeave(w *waiter) {
	s.mu.Lock()
	defer s.release()
	q := w.leave.q
	if w.gone || !slices.Contains(q.line, w) {
		return
	}
	q.line = without(q.line, w)
	s.outOfLine(w)
	e := s.entries.At(q.i)
	if !e.has(isLocked) || e.has(isLeaving) {
		w.leave.terms.Wait = 0
		q.waiting = append(q.waiting, w)
		return
	}
	w.gone = true
	s.tidy(q)
	s.tell(w, Leaving{Now: StillLocked, Cookie: e.cookie, Age: time.Duration(s.store.now() - e.lockedAt)})
}

// Recall withdraws a Leave that waits. If the session has been frozen for it meanwhile, Events.Left tells so all the same.
func (m *Moves) Recall(k string, ticket uint64) {
	a := m.at(k)
	defer a.release()
	q := a.queues[a.i]
	if q == nil {
		return
	}
	is := func(w *waiter) bool { return w.leave != nil && w.leave.ticket == ticket }
	if j := slices.IndexFunc(q.line, is); j >= 0 {
		w := q.line[j]
		q.line = without(q.line, w)
		a.outOfLine(w)
		w.gone = true
	}
	if j := slices.IndexFunc(q.waiting, is); j >= 0 {
		q.waiting[j].gone = true
		q.waiting = without(q.waiting, q.waiting[j])
	}
	a.tidy(q)
}

// parting finds the session that is leaving for a ticket, or none.
func (m *Moves) parting(k string, ticket uint64) access {
	a := m.at(k)
	if got, leaves := a.leaving[a.i]; !leaves || got != ticket {
		a.i = 0
	}
	return a
}

// Stay makes a session that is leaving for the ticket owned again, at an epoch; the operations that wait for it go on.
func (m *Moves) Stay(k string, ticket, epoch uint64) {
	a := m.parting(k, ticket)
	defer a.leave()
	if a.i != 0 {
		a.unfreeze(a.i)
		a.setEpoch(a.i, epoch)
	}
}

// Doubt makes a session that is leaving for the ticket a copy.
func (m *Moves) Doubt(k string, ticket uint64) {
	a := m.parting(k, ticket)
	defer a.release()
	if a.i != 0 {
		a.unfreeze(a.i)
		a.disown(a.i)
		if a.entry().has(isAwaited) {
			a.dismiss(a.i, true)
		}
	}
}

func (s *shard) unfreeze(i uint32) {
	s.entries.At(i).clear(isLeaving)
	delete(s.leaving, i)
}

// Forget drops a session that is leaving for the ticket: it is another node's. Whoever waits for it, other Leaves included, learns that it is gone.
func (m *Moves) Forget(k string, ticket uint64) {
	a := m.parting(k, ticket)
	defer a.leave()
	a.drop()
}

// drop drops the session, if there is one, without a word to anybody but those who wait for it.
func (a *access) drop() {
	if a.i != 0 {
		a.old = a.shard.remove(a.i)
		a.i = 0
	}
}
