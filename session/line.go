package session

import "time"

// The line. A read of a session that somebody else has locked may wait a little for the lock, instead of being told Locked and asking again half
// a second later, as ASP.NET does. Those who wait stand in line in order of arrival, few of them; in a cluster, among them those that
// ask for the session in other nodes' names (Moves.Leave). Whoever frees the lock serves them on the spot: all reads up to the first that locks
// the session again. Changes never stand in line: the one that frees the lock is among them.

// inLine is a place in line.
type inLine struct {
	q       *queue
	acquire bool
	until   int64
	arrived int64
	served  bool // reply is the answer; otherwise the session is gone. Guarded by shard.mu until the waiter is woken
	reply   Reply
}

// meetLock is what becomes of a read of a session that is locked: it is told so, or, with a waiter, stands in line.
func (a *access) meetLock(acquire bool, m manner, r *Reply) *waiter {
	st, arrived := a.store, m.since(a.now)
	until := arrived + int64(st.o.LockWait)
	if until <= a.now || !a.hasPlace(a.i) {
		a.touch()
		*r = a.locked(a.i, a.now)
		return nil
	}
	if !m.mayWait {
		r.Outcome = Taken
		return nil
	}
	a.touch()
	w := &waiter{wake: make(chan struct{}, 1), line: &inLine{q: a.queue(a.i), acquire: acquire, until: until, arrived: arrived}}
	a.standInLine(w.line.q, w)
	return w
}

// hasPlace says whether one more may stand in entry i's line.
func (s *shard) hasPlace(i uint32) bool {
	st := s.store
	q := s.queues[i]
	return (q == nil || len(q.line) < st.o.MaxHeld) && st.held.Load() < int64(st.o.MaxHeldTotal)
}

func (s *shard) standInLine(q *queue, w *waiter) {
	s.store.held.Add(1)
	q.line = append(q.line, w)
}

// outOfLine is called for each that leaves the line.
func (s *shard) outOfLine(w *waiter) {
	s.store.held.Add(-1)
	if w.leave != nil {
		w.leave.timer.Stop()
	}
}

// awaitLock waits in line, for an answer. Without one the request has to look for the session again, and will not find itself in line a second time
// once its time is over.
func (s *shard) awaitLock(w *waiter, r *Reply) (answered bool) {
	timer := time.NewTimer(time.Duration(w.line.until - s.store.now()))
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if w.gone {
		*r = w.line.reply
		return w.line.served
	}
	q := w.line.q
	i := q.i
	q.line = without(q.line, w)
	s.outOfLine(w)
	s.tidy(q)
	e := s.entries.At(i)
	if !e.has(isLocked) || e.has(isLeaving) { // the lock is free, or may be by now elsewhere: there is only the turn to wait for
		return false
	}
	*r = s.locked(i, s.store.now())
	return true
}

// serveInLine serves the first in line of entry i, which nobody has locked and whose turn nobody has.
func (s *shard) serveInLine(i uint32, w *waiter) {
	s.outOfLine(w)
	now := s.store.now()
	if w.leave != nil {
		s.leaveInTurn(i, w, now)
		return
	}
	s.touch(i, now)
	s.grant(i, w.line.acquire, now, &w.line.reply)
	w.line.served = true
	w.call(false)
}

// locked is the answer of a session whose lock somebody else holds.
func (s *shard) locked(i uint32, now int64) Reply {
	e := s.entries.At(i)
	return Reply{Outcome: Locked, Cookie: e.cookie, LockAge: time.Duration(now - e.lockedAt)}
}
