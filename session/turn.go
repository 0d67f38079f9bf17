package session

import (
	"slices"
	"time"

	"statemesh/session/internal/offheap"
)

// Turns. One request at a time works on a session. Most are done under the shard's lock, in a fraction of a microsecond. One whose effect must be
// taken back should its answer not reach the web server (an acquire) keeps the turn until Settle; then the session is taken, and
// others wait in a queue, in order of arrival, each a parked goroutine. So they do while the session is leaving for another node. Whoever
// gives up the turn hands it to the first of them directly, so that nobody arriving in between can overtake.

// queue is who waits for a session: for the turn, or in line for its lock. The line comes first: whoever stands in it has had the turn once.
// Nobody is in a queue who could go on: some have the turn or the session is leaving, or else nobody waits for the turn and the lock is held.
type queue struct {
	i       uint32 // the entry
	waiting []*waiter
	line    []*waiter
}

// waiter is one parked request; or, in a cluster, a Leave.
type waiter struct {
	wake chan struct{} // of a request; capacity 1; sent to once, on leaving the queue
	turn bool          // the turn is ours; otherwise the session was removed. Guarded by shard.mu
	gone bool          // not in the queue any more. Guarded by shard.mu

	epoch uint64 // with turn: the session's, then

	line  *inLine       // of a request in line
	leave *pendingLeave // of a Leave
}

// manner is how a request may wait.
type manner struct {
	mayWait bool
	arrived int64 // when it came, on the store's clock; 0: now
}

// since is when a request came that is looked at now.
func (m manner) since(now int64) int64 {
	if m.arrived == 0 {
		return now
	}
	return m.arrived
}

var patient = manner{mayWait: true}

// access is a session with the shard's lock held.
type access struct {
	*shard
	i      uint32 // the entry, or 0
	hash   uint64 // of the key, if a Move is at it
	mine   bool   // the turn was handed to us
	copied bool   // there is no entry, but a copy of another node's
	now    int64
	old    offheap.Ref // a body to be dropped once the lock is released, or 0
}

// enter locks k's shard and finds its session, waiting for its turn if it is taken or leaving. If it does not get the turn nothing is locked,
// and failed says why: Taken if the caller must not wait, Busy if too many wait already or the wait was too long.
func (st *Store) enter(k Key, hash uint64, change bool, m manner) (a access, failed Outcome, ok bool) {
	s := st.shardOf(hash)
	mine := false
	var epoch uint64 // with mine: the session's, when we were given the turn
	var giveUp int64 // when; known once we have to wait
	s.mu.Lock()
	for {
		i := s.find(k, hash)
		mine = mine && i != 0 && s.epoch(i) == epoch // or else the store was fenced before we came to know of our turn
		copied := i != 0 && !s.owns(i)
		if copied {
			i = 0
		}
		if i == 0 || mine || !s.entries.At(i).has(isTaken|isLeaving) {
			a = access{shard: s, i: i, mine: mine, copied: copied, now: st.now()}
			a.expire()
			return a, Done, true
		}
		if !m.mayWait {
			s.mu.Unlock()
			return access{}, Taken, false
		}
		if giveUp == 0 {
			giveUp = m.since(st.now()) + int64(st.o.wait(change))
		}
		if mine, epoch, ok = s.await(i, st.o.bound(change), giveUp); !ok {
			s.mu.Unlock()
			return access{}, Busy, false
		}
	}
}

// wait is how long a request waits for its turn.
func (o *Options) wait(change bool) time.Duration {
	if change {
		return o.ChangeWait
	}
	return o.ReadWait
}

// bound is how many wait on a session before one more is sent away.
func (o *Options) bound(change bool) int {
	if change {
		return 2 * o.MaxWaiting
	}
	return o.MaxWaiting
}

// await waits for the turn on entry i, with the lock released meanwhile. It returns whether the turn is the caller's, and the session's epoch
// when it became so; otherwise the caller has to look for the session again. ok is false if he should give up.
func (s *shard) await(i uint32, bound int, giveUp int64) (mine bool, epoch uint64, ok bool) {
	left := giveUp - s.store.now()
	if left <= 0 || s.queues[i] != nil && len(s.queues[i].waiting) >= bound {
		return false, 0, false
	}
	q := s.queue(i)
	w := &waiter{wake: make(chan struct{}, 1)}
	q.waiting = append(q.waiting, w)
	s.counts.waiting++
	s.mu.Unlock()

	timer := time.NewTimer(time.Duration(left))
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	}

	s.mu.Lock()
	s.counts.waiting--
	if !w.gone { // nobody has woken us: leave the queue, wherever the session is now
		q.waiting = without(q.waiting, w)
		s.tidy(q)
		return false, 0, false
	}
	return w.turn, w.epoch, true
}

// queue is entry i's, made if there is none.
func (s *shard) queue(i uint32) *queue {
	q := s.queues[i]
	if q == nil {
		q = &queue{i: i}
		s.queues[i] = q
		s.entries.At(i).set(isAwaited)
	}
	return q
}

// tidy forgets a queue that nobody is in.
func (s *shard) tidy(q *queue) {
	if len(q.waiting)+len(q.line) == 0 {
		delete(s.queues, q.i)
		s.entries.At(q.i).clear(isAwaited)
	}
}

func without(all []*waiter, w *waiter) []*waiter {
	i := slices.Index(all, w)
	return slices.Delete(all, i, i+1)
}

// goOn lets those who wait for entry i go on, as far as they can now: somebody has given up the turn, or has freed the lock, or the
// session stays. There must be a queue.
func (s *shard) goOn(i uint32) {
	e, q := s.entries.At(i), s.queues[i]
	for !e.has(isTaken | isLeaving) {
		switch {
		case !e.has(isLocked) && len(q.line) > 0:
			w := q.line[0]
			q.line = q.line[1:]
			s.serveInLine(i, w)
		case len(q.waiting) > 0:
			w := q.waiting[0]
			q.waiting = q.waiting[1:]
			if w.leave != nil {
				s.leaveInTurn(i, w, s.store.now())
				continue
			}
			e.set(isTaken)
			w.epoch = s.epoch(i)
			w.call(true)
		default:
			s.tidy(q)
			return
		}
	}
	s.tidy(q)
}

// dismiss wakes all who wait for a session that is not here any more. Leaves are told so, unless the rules know it.
func (s *shard) dismiss(i uint32, tell bool) {
	q := s.queues[i]
	for _, w := range q.line {
		s.outOfLine(w)
	}
	for _, w := range append(q.line, q.waiting...) {
		if w.leave == nil {
			w.call(false)
			continue
		}
		w.gone = true
		if tell {
			s.tell(w, Leaving{Now: NotHere})
		}
	}
	delete(s.queues, i)
	s.entries.At(i).clear(isAwaited)
}

func (w *waiter) call(turn bool) {
	w.turn, w.gone = turn, true
	w.wake <- struct{}{}
}

// entry is the session's; there must be one.
func (a *access) entry() *entry { return a.entries.At(a.i) }

// expire removes the session if its time has come, so that nobody is served it.
func (a *access) expire() {
	if a.i != 0 && a.entry().expires <= a.now {
		a.counts.timedOut++
		a.remove()
	}
}

// remove removes the session; whoever waits for it is told so.
func (a *access) remove() {
	a.mourn(a.i)
	a.old = a.shard.remove(a.i)
	a.i, a.mine = 0, false
}

// touch makes the session live for another timeout from now on.
func (a *access) touch() { a.shard.touch(a.i, a.now) }

func (s *shard) touch(i uint32, now int64) {
	e := s.entries.At(i)
	e.expires = now + window(e.timeout)
}

// window is the time a session lives untouched.
func window(timeout int32) int64 {
	if timeout == 0 { // Microsoft's service keeps such a session for ever
		timeout = MaxTimeout
	}
	return int64(timeout) * int64(time.Minute)
}

// leave gives up the turn, if it was handed to us and has not been kept, and the lock.
func (a *access) leave() {
	if a.i != 0 {
		e := a.entry()
		if a.mine {
			e.clear(isTaken)
		}
		if e.has(isAwaited) {
			a.goOn(a.i)
		}
	}
	a.release()
	if a.old != 0 {
		a.store.heap.Drop(a.old)
	}
}
