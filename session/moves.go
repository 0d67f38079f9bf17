package session

import (
	"time"
	"unsafe"

	"statemesh/session/internal/offheap"
)

// Moves let sessions leave a store in a cluster, and arrive. Keys are given in full. One goroutine calls the methods, while operations go on;
// each is atomic for its session and returns at once.
type Moves struct {
	st   *Store
	pick cursor
	copy cursor
}

// Place is what a store has of a session.
type Place uint8

const (
	Absent  Place = iota
	Owned         // operations see it
	Parting       // it is leaving: operations wait for what becomes of it
	Copied        // operations do not see it
)

// Look is a session, looked at.
type Look struct {
	Place Place
	Epoch uint64
	Idle  time.Duration // since it was last used
	// The lock, if it is held.
	Locked  bool
	Cookie  int32
	LockAge time.Duration
}

// Terms say which session may leave: one that is not locked, or that is locked with Cookie, or any. Wait is how long to stand in line
// for the lock of another. Unless it is for Any, a Leave is for a web server's request on another node, and the session lives for another timeout
// from then on.
type Terms struct {
	Any    bool
	Cookie int32
	Wait   time.Duration
}

// Leaving is what became of a Leave.
type Leaving struct {
	Now    LeaveState
	Record Record        // with Frozen
	Cookie int32         // with StillLocked, InLine
	Age    time.Duration // of that lock
}

// LeaveState is a Leave's.
type LeaveState uint8

const (
	Pending     LeaveState = iota // it waits for its turn; Events.Left will tell
	InLine                        // it waits for the lock to free; Events.Left will tell
	Frozen                        // the session leaves
	StillLocked                   // it does not, because of its lock
	NotHere                       // there is no such session any more
)

// Record is a session on its way. Nothing in it is a date.
type Record struct {
	Epoch    uint64
	Locked   bool
	Cookie   int32 // the last one handed out
	LockAge  time.Duration
	Timeout  int32 // the sliding window in minutes
	TimeLeft time.Duration
	New      bool // created uninitialised, and nobody has been told yet
	// Body is the stored bytes. Of a session that leaves they are lent: they are there until it has stayed or was forgotten, or the store fenced,
	// and for as long as somebody holds them.
	Body *Stored
}

// Stored is a body in the store's memory. It is there as long as anybody holds it.
type Stored struct {
	heap *offheap.Heap
	ref  offheap.Ref
	id   offheap.Ref // of one that was admitted: the slot of a long id
	size int         // of the bytes, since they were last looked at
}

// Bytes are the body, not to be changed.
func (b *Stored) Bytes() []byte { return b.heap.Bytes(b.ref) }

// Size is how many those are.
func (b *Stored) Size() int {
	b.size = len(b.Bytes())
	return b.size
}

// Hold adds a holder. The caller must know that there is one already.
func (b *Stored) Hold() { b.heap.Hold(b.ref) }

// Release takes a holder away.
func (b *Stored) Release() { b.heap.Drop(b.ref) }

// Stored takes a Body over that has arrived in full; the caller holds it.
func (b *Body) Stored() *Stored { return &Stored{heap: b.heap, ref: b.take()} }

// at locks a session's shard and finds its entry, or 0.
func (m *Moves) at(k string) (a access) {
	key := viewKey(k)
	hash := m.st.hash(key)
	s := m.st.shardOf(hash)
	s.mu.Lock()
	return access{shard: s, i: s.find(key, hash), hash: hash, now: m.st.now()}
}

// viewKey is KeyOf without a copy: nobody writes to a Key.
func viewKey(k string) Key { return KeyOf(unsafe.Slice(unsafe.StringData(k), len(k))) }

// Look says what is there, and touches nothing.
func (m *Moves) Look(k string) Look {
	a := m.at(k)
	defer a.release()
	return a.look()
}

func (a *access) look() Look {
	if a.i == 0 {
		return Look{}
	}
	e := a.entry()
	l := Look{Place: Owned, Epoch: a.epoch(a.i), Locked: e.has(isLocked), Idle: a.idle(a.i, a.now)}
	switch {
	case e.has(isLeaving):
		l.Place = Parting
	case e.expires <= a.now && !a.inUse(a.i):
		return Look{}
	case !a.owns(a.i):
		l.Place = Copied
	}
	if l.Locked {
		l.Cookie, l.LockAge = e.cookie, time.Duration(a.now-e.lockedAt)
	}
	return l
}

// idle is how long ago entry i was last used.
func (s *shard) idle(i uint32, now int64) time.Duration {
	e := s.entries.At(i)
	return time.Duration(now - (e.expires - window(e.timeout)))
}

// Len is the number of sessions: owned, leaving and copies.
func (m *Moves) Len() (n int) {
	for i := range m.st.shards {
		s := &m.st.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}

// Fence makes every session a copy, and ends what Grants of earlier terms allow. Whoever waits for a session learns that it is not here; Leaves
// that wait are forgotten. Replies that have not been settled are not to be delivered.
func (m *Moves) Fence(term uint64) {
	for i := range m.st.shards {
		m.st.shards[i].fence(term)
	}
}

// fence takes no longer the more sessions there are: what was owned in another term is a copy.
func (s *shard) fence(term uint64) {
	s.mu.Lock()
	defer s.release()
	s.term, s.copies = term, s.count
	for i := range s.queues {
		s.dismiss(i, false)
	}
	for i := range s.leaving {
		s.entries.At(i).clear(isLeaving)
	}
	clear(s.leaving)
}
