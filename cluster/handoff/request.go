package handoff

import (
	"slices"
	"time"
)

// Request is one of this node's web servers', for a session that the store did not have.
type Request struct {
	// ID names it, as long as it is under way.
	ID      uint64
	Key     Key
	Purpose Purpose
	// Cookie is the lock's that Release, Remove and Put carry, or NoCookie.
	Cookie int32
	// Arrived is when it came, also if it has been answered Here before and missed the session again.
	Arrived time.Duration
}

// NoCookie is no lock's.
const NoCookie int32 = -1

// Purpose is what a request is to do with the session.
type Purpose uint8

const (
	Read    Purpose = iota // Get
	Acquire                // Get, and lock
	Release                // unlock
	Remove
	Touch  // let it live longer; Held means that this has been done
	Put    // write, or create
	Insert // create, if it is absent; Held means that it is not
)

// creates: it may make the session if there is none.
func (p Purpose) creates() bool { return p == Put || p == Insert }

// waitsForLock: it can do nothing while somebody else holds the lock, and may be told so at any time.
func (p Purpose) waitsForLock() bool { return p == Read || p == Acquire }

// shows a cookie that may be the lock's.
func (p Purpose) showsCookie() bool { return p == Release || p == Remove || p == Put }

// Outcome is how a request's waiting ends.
type Outcome uint8

const (
	// Here: the session is in the store; the operation is to be tried again, and Finished called. It may miss once more, and is then Wanted
	// again.
	Here Outcome = 1 + iota
	// Nowhere: at some moment since the request arrived there was no such session. One that creates may do so, if the store's term is still
	// the answer's, and must call Finished, whatever it did: until then this node alone may create the session.
	Nowhere
	// Held: the session is elsewhere, with its lock held by somebody else.
	Held
	// Unknown: not everybody answered in time. Nothing has been done.
	Unknown
	// Shed: too many are waiting. Nothing has been done.
	Shed
)

var outcomeNames = [...]string{"", "Here", "Nowhere", "Held", "Unknown", "Shed"}

func (o Outcome) String() string { return outcomeNames[o] }

// request is one that waits, or was answered and has not finished.
type request struct {
	Request
	waits    bool
	deadline *timer
}

// Want takes a request that missed its session in the store. It is answered once.
func (m *Machine) Want(now time.Duration, r Request) {
	m.begin(now)
	defer m.end()
	if q := m.requests[r.ID]; q != nil && q.waits {
		return
	} else if q != nil {
		m.finish(m.affair(q.Key), q)
	}
	if m.sessions.Look(r.Key).mine() { // it came in the meantime
		m.do(Answer{Request: r.ID, Outcome: Here})
		return
	}
	if m.crowded(r) {
		m.stats.Shed++
		m.do(Answer{Request: r.ID, Outcome: Shed})
		return
	}
	q := &request{Request: r, waits: true}
	m.requests[r.ID] = q
	a := m.affair(r.Key)
	a.waiting = append(a.waiting, q)
	m.waiting++
	q.deadline = m.timers.add(r.Arrived+m.patience(r.Purpose), func() { m.giveUp(a, q) })
	m.admitLate(a)
}

// crowded: too many wait already. Reads may be told so harmlessly, so they are told earlier.
func (m *Machine) crowded(r Request) bool {
	bound := m.o.MaxWaitingPerKey
	if !r.Purpose.waitsForLock() {
		bound *= 2
	}
	if a := m.affairs[r.Key]; a != nil && len(a.waiting) >= bound {
		return true
	}
	return m.waiting >= m.o.MaxWaiting
}

func (m *Machine) patience(p Purpose) time.Duration {
	if p.waitsForLock() {
		return m.o.QueryTimeout
	}
	return m.o.ChangeTimeout
}

// giveUp: waiting too long proves nothing.
func (m *Machine) giveUp(a *affair, q *request) {
	m.touch(a)
	if m.broken.timeoutIsNowhere {
		m.tellNowhere(a, q, 0)
		return
	}
	m.stats.Unknown++
	m.answer(a, q, Answer{Outcome: Unknown})
}

// Cancel tells that nobody waits for the answer any more. After an answer it is the same as Finished.
func (m *Machine) Cancel(now time.Duration, id uint64) {
	m.begin(now)
	defer m.end()
	q := m.requests[id]
	if q == nil {
		return
	}
	a := m.affair(q.Key)
	if q.waits {
		m.unwait(a, q)
		delete(m.requests, id)
		return
	}
	m.finish(a, q)
}

// Finished tells that a request that was answered Here, or Nowhere and may create, has done on the store what it was going to.
func (m *Machine) Finished(now time.Duration, id uint64) {
	m.begin(now)
	defer m.end()
	if q := m.requests[id]; q != nil && !q.waits {
		m.finish(m.affair(q.Key), q)
	}
}

func (m *Machine) finish(a *affair, q *request) {
	delete(m.requests, q.ID)
	delete(a.served, q.ID)
	if a.creator == q {
		a.creator = nil
	}
	if len(a.served) == 0 {
		m.timers.stop(a.patient)
	}
}

// serve sends those who wait for a session that is here back to the store, in order of arrival.
func (m *Machine) serve(a *affair) {
	if len(a.waiting) == 0 || !m.sessions.Look(a.key).mine() {
		return
	}
	m.endRound(a)
	if len(a.served) == 0 {
		a.served = map[uint64]bool{}
		a.patient = m.after(m.o.ServeGrace, func() { m.endServing(a) })
	}
	for len(a.waiting) > 0 {
		q := a.waiting[0]
		m.answer(a, q, Answer{Outcome: Here})
		a.served[q.ID] = true
		m.requests[q.ID] = q
	}
}

// endServing: whoever was told Here has had time enough, and others want the session.
func (m *Machine) endServing(a *affair) {
	for id := range a.served {
		delete(m.requests, id)
	}
	a.served = nil
	m.touch(a)
}

// answer ends a request's waiting.
func (m *Machine) answer(a *affair, q *request, as Answer) {
	m.unwait(a, q)
	delete(m.requests, q.ID)
	as.Request = q.ID
	m.do(as)
}

func (m *Machine) unwait(a *affair, q *request) {
	m.timers.stop(q.deadline)
	q.waits = false
	a.waiting = slices.DeleteFunc(a.waiting, func(o *request) bool { return o == q })
	m.waiting--
}

// tellNowhere answers that there is no such session. A request that creates has the key to itself until it has finished.
func (m *Machine) tellNowhere(a *affair, q *request, seen Epoch) {
	as := Answer{Outcome: Nowhere}
	if q.Purpose.creates() {
		as.Epoch, as.Term = m.newEpoch(a.key, seen), m.term
		a.creator = q
	}
	m.answer(a, q, as)
	if a.creator == q {
		m.requests[q.ID] = q
	}
}

// newEpoch is above everything known of the session, and above everything forgotten: seen is that by all members' clocks, and by
// what they had.
func (m *Machine) newEpoch(k Key, seen Epoch) Epoch {
	m.lastEpoch = max(m.horizon()+1, seen+1, m.notes.of(k).epoch+1)
	return m.lastEpoch
}

// horizon is as high as any epoch that a session has had here.
func (m *Machine) horizon() Epoch { return max(m.epochAt(m.now), m.lastEpoch) }

// owns: a session is owned here, at an epoch.
func (m *Machine) owns(e Epoch) { m.lastEpoch = max(m.lastEpoch, e) }

// epochAt is the least epoch of sessions made at a time: microseconds, not milliseconds, since a session can be made, removed and made anew
// by another node within one of those; with room for 4096 moves in each.
func (m *Machine) epochAt(t time.Duration) Epoch {
	return Epoch(min(max(m.o.Started+t.Microseconds(), 0), latest)) << 12
}

// latest is as far as clocks are believed, the year 2112: beyond, there would be no room above.
const latest = 1<<52 - 1<<40
