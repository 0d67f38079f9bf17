package session

import (
	"time"

	"statemesh/session/internal/offheap"
)

// Turns. One request at a time works on a session. Most are done under the shard's lock, in a fraction of a microsecond. One whose effect must be
// taken back should its answer not reach the web server (an acquire) keeps the turn until Settle; then the session is taken, and
// others wait in a queue, in order of arrival, each a parked goroutine. Whoever gives up the turn hands it to the first of
// them directly, so that nobody arriving in between can overtake.

// queue is who waits for a session's turn.
type queue struct {
	waiting []*waiter
}

// waiter is one parked request.
type waiter struct {
	wake chan struct{} // capacity 1; sent to once, on leaving the queue
	turn bool          // the turn is ours; otherwise the session was removed. Guarded by shard.mu
	gone bool          // not in the queue any more. Guarded by shard.mu
}

// access is a session with the shard's lock held.
type access struct {
	*shard
	i    uint32 // the entry, or 0
	mine bool   // the turn was handed to us
	now  int64
	old  offheap.Ref // a body to be dropped once the lock is released, or 0
}

// enter locks k's shard and finds its session, waiting for its turn if it is taken. If it does not get the turn nothing is locked, and failed
// says why: Taken if the caller must not wait, Busy if too many wait already or the wait was too long.
func (st *Store) enter(k Key, hash uint64, change, mayWait bool) (a access, failed Outcome, ok bool) {
	s := st.shardOf(hash)
	mine := false
	var giveUp int64 // when; known once we have to wait
	s.mu.Lock()
	for {
		i := s.find(k, hash)
		if i == 0 || mine || !s.entries.At(i).has(isTaken) {
			a = access{shard: s, i: i, mine: mine, now: st.now()}
			a.expire()
			return a, Done, true
		}
		if !mayWait {
			s.mu.Unlock()
			return access{}, Taken, false
		}
		if giveUp == 0 {
			giveUp = st.now() + int64(st.o.wait(change))
		}
		if mine, ok = s.await(i, st.o.bound(change), giveUp); !ok {
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

// await waits for the turn on entry i, with the lock released meanwhile. It returns whether the turn is the caller's, who otherwise has
// to look for the session again; ok is false if the caller should give up.
func (s *shard) await(i uint32, bound int, giveUp int64) (mine, ok bool) {
	q := s.queues[i]
	if q == nil {
		q = &queue{}
		s.queues[i] = q
		s.entries.At(i).set(isAwaited)
	}
	if len(q.waiting) >= bound {
		return false, false
	}
	w := &waiter{wake: make(chan struct{}, 1)}
	q.waiting = append(q.waiting, w)
	s.counts.waiting++
	s.mu.Unlock()

	timer := time.NewTimer(time.Duration(giveUp - s.store.now()))
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	}

	s.mu.Lock()
	s.counts.waiting--
	if !w.gone { // nobody has woken us: leave the queue, wherever the session is now
		q.leave(w)
		return false, false
	}
	return w.turn, true
}

func (q *queue) leave(w *waiter) {
	for i := range q.waiting {
		if q.waiting[i] == w {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
}

// pass gives up the turn on entry i: the first in the queue gets it, or nobody has it.
func (s *shard) pass(i uint32) {
	e := s.entries.At(i)
	if e.has(isAwaited) {
		q := s.queues[i]
		if len(q.waiting) > 0 {
			w := q.waiting[0]
			q.waiting = q.waiting[1:]
			w.call(true)
			return
		}
		delete(s.queues, i)
		e.clear(isAwaited)
	}
	e.clear(isTaken)
}

// dismiss wakes all who wait for a session that is being removed.
func (s *shard) dismiss(i uint32) {
	for _, w := range s.queues[i].waiting {
		w.call(false)
	}
	delete(s.queues, i)
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
	a.old = a.shard.remove(a.i)
	a.i, a.mine = 0, false
}

// touch makes the session live for another timeout from now on.
func (a *access) touch() {
	e := a.entry()
	e.expires = a.now + window(e.timeout)
}

// window is the time a session lives untouched.
func window(timeout int32) int64 {
	if timeout == 0 { // Microsoft's service keeps such a session for ever
		timeout = MaxTimeout
	}
	return int64(timeout) * int64(time.Minute)
}

// keepTurn makes others wait until Settle.
func (a *access) keepTurn() {
	a.entry().set(isTaken)
	a.mine = false
}

// leave gives up the turn, if it was handed to us and has not been kept, and the lock.
func (a *access) leave() {
	if a.mine {
		a.pass(a.i)
	}
	a.mu.Unlock()
	if a.old != 0 {
		a.store.heap.Drop(a.old)
	}
}
