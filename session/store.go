package session

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"statemesh/session/internal/offheap"
)

// Options configure a Store. The zero value of each field means its default.
type Options struct {
	// MaxMemory is the number of bytes the store may hold (bodies, entries, index) before it refuses
	// new sessions. Default 0: no limit.
	MaxMemory int64
	// MaxWaiting bounds the requests that wait for their turn on one session. Changes (Set, Remove, Unlock, Touch) may
	// wait in twice this number, since shedding one of them loses work. Default 64.
	MaxWaiting int
	// ReadWait bounds how long a Get or an Acquire waits for its turn. Default 2s.
	ReadWait time.Duration
	// ChangeWait bounds how long any other request waits for its turn. Default 8s: below the 10s
	// after which a web server gives up (stateNetworkTimeout).
	ChangeWait time.Duration
}

// Outcome says what became of an operation.
type Outcome uint8

const (
	Done      Outcome = iota // it happened
	NotFound                 // there is no such session, or it has expired
	Locked                   // somebody else holds the lock: Reply has Cookie and LockAge
	BadCookie                // the operation needs a lock cookie and got none, or one that is no number >= 0
	Full                     // a new session was refused: the store is at its memory limit
	Busy                     // too many requests wait for this session, or this one waited too long; it was not started
	Taken                    // of a Try only: the request would have to wait for its turn; it was not started
)

// Cookie values that are not cookies. A real one is >= 0.
const (
	NoCookie      int32 = -1 // the request carries none
	InvalidCookie int32 = -2 // the request carries something that is no cookie
)

// MaxTimeout is the longest sliding window, in minutes: 365 days, as in Microsoft's service (CacheEntry's OneYear).
const MaxTimeout = 525600

// firstCookie is a new session's, before anybody has locked it: the first lock's cookie is one more (StateRuntime.cs, FinishPut).
const firstCookie = 1

// Reply is an operation's answer. A Reply of Get or Acquire must be given back with Settle.
type Reply struct {
	Outcome Outcome
	// First: the session was created uninitialised and this is the one reply that says so.
	First bool
	// Cookie is the lock's; set by Acquire on Done, and by every operation on Locked.
	Cookie int32
	// LockAge is how long the lock has been held, on Locked.
	LockAge time.Duration
	// Timeout is the sliding window in minutes, as stored; set by Get and Acquire on Done.
	Timeout int32

	body     []byte
	held     offheap.Ref // of body
	turn     bool        // others wait until Settle
	acquired bool
}

// Body is the stored bytes, valid until Settle and not to be changed. Empty unless Get or Acquire are Done.
func (r *Reply) Body() []byte { return r.body }

// Change is what a Set writes.
type Change struct {
	// Body, filled to the end. The Set takes it over.
	Body *Body
	// Timeout is the sliding window in minutes, 0 to MaxTimeout. 0 is kept and shown as 0 and expires after MaxTimeout.
	Timeout int32
	// Cookie as the request carries it, or NoCookie, InvalidCookie.
	Cookie int32
	// Uninitialised: create the session if it is absent, else do nothing.
	Uninitialised bool
}

// Store holds the sessions of one node. All methods may be called concurrently.
type Store struct {
	o      Options
	start  time.Time // the clock's zero
	seed   maphash.Seed
	heap   *offheap.Heap
	apps   *apps
	bodies sync.Pool    // *Body, for reuse
	used   atomic.Int64 // bytes of stored sessions
	shards [shards]shard
}

// shards is how many parts the sessions are spread over, by the top bits of their keys' hashes, so that requests
// on different sessions hardly ever meet at a lock.
const (
	shardBits = 6
	shards    = 1 << shardBits
)

// New makes an empty store. It starts nothing: expiry needs somebody to call Run.
func New(o Options) (*Store, error) {
	if o.MaxMemory < 0 || o.MaxWaiting < 0 || o.ReadWait < 0 || o.ChangeWait < 0 {
		return nil, errors.New("session store: MaxMemory, MaxWaiting, ReadWait and ChangeWait must not be negative")
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 64
	}
	if o.ReadWait == 0 {
		o.ReadWait = 2 * time.Second
	}
	if o.ChangeWait == 0 {
		o.ChangeWait = 8 * time.Second
	}
	o.MaxWaiting = min(o.MaxWaiting, math.MaxInt/2) // twice as many changes may wait
	o.ReadWait = min(o.ReadWait, math.MaxInt64/2)   // and sums with the time now must be possible
	o.ChangeWait = min(o.ChangeWait, math.MaxInt64/2)
	st := &Store{o: o, start: time.Now(), seed: maphash.MakeSeed(), heap: offheap.NewHeap()}
	st.apps = newApps(st.seed)
	for i := range st.shards {
		if err := st.shards[i].init(st); err != nil {
			st.Close()
			return nil, err
		}
	}
	return st, nil
}

// Close frees the store's memory. No operation may run or follow, nor any Body or Reply be in use.
func (st *Store) Close() {
	for i := range st.shards {
		st.shards[i].close()
	}
	st.heap.Close()
}

// Get reads a session without locking it. Outcomes: Done, NotFound, Locked, Busy.
func (st *Store) Get(k Key) Reply { return st.read(k, false, true) }

// Acquire reads a session and locks it, under a cookie never handed out for it before. Outcomes: Done, NotFound, Locked, Busy.
func (st *Store) Acquire(k Key) Reply { return st.read(k, true, true) }

func (st *Store) read(k Key, acquire, mayWait bool) Reply {
	hash := st.hash(k)
	a, failed, ok := st.enter(k, hash, false, mayWait)
	if !ok {
		return Reply{Outcome: failed}
	}
	defer a.leave()
	if a.i == 0 {
		return Reply{Outcome: NotFound}
	}
	a.touch()
	e := a.entry()
	if e.has(isLocked) {
		return a.locked()
	}
	r := Reply{First: a.takeFirst(), Timeout: e.timeout, held: e.body(), acquired: acquire}
	st.heap.Hold(r.held)
	r.body = st.heap.Bytes(r.held)
	if acquire {
		e.cookie = nextCookie(e.cookie)
		e.lockedAt = a.now
		e.set(isLocked)
		a.counts.locked++
		r.Cookie = e.cookie
	}
	if r.turn = acquire || r.First; r.turn {
		a.keepTurn()
	}
	return r
}

// Settle ends a Get or an Acquire: delivered says whether the whole answer was handed to the kernel. If it was not, what the
// reply granted (the lock, the news that the session is new) is taken back. Until Settle, other requests on the session wait after an
// Acquire that was Done and after a reply with First. k must be the operation's. Settling twice, or any other reply, does nothing.
func (st *Store) Settle(k Key, r *Reply, delivered bool) {
	if r.held != 0 {
		st.heap.Drop(r.held)
		r.held, r.body = 0, nil
	}
	if !r.turn {
		return
	}
	r.turn = false
	hash := st.hash(k)
	s := st.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(k, hash) // it is there: nobody removes a session out of turn
	e := s.entries.At(i)
	if !delivered {
		if r.acquired {
			s.unlock(e)
		}
		if r.First {
			e.set(isNew)
		}
	}
	s.pass(i)
}

// Unlock gives a lock back (ReleaseExclusive). Outcomes: Done, also if nobody held the lock; NotFound, Locked, BadCookie, Busy. The
// reply may have First with any of Done, Locked and BadCookie: Microsoft's service clears the flag before it looks at the cookie.
func (st *Store) Unlock(k Key, cookie int32) Reply { return st.unlock(k, cookie, true) }

func (st *Store) unlock(k Key, cookie int32, mayWait bool) Reply {
	a, failed, ok := st.enter(k, st.hash(k), true, mayWait)
	if !ok {
		return Reply{Outcome: failed}
	}
	defer a.leave()
	if a.i == 0 {
		return Reply{Outcome: NotFound}
	}
	a.touch()
	e := a.entry()
	first := a.takeFirst()
	var r Reply
	switch {
	case cookie < 0:
		r = Reply{Outcome: BadCookie}
	case e.has(isLocked) && e.cookie != cookie:
		r = a.locked()
	default:
		a.unlock(e)
	}
	r.First = first
	return r
}

// Set stores a body and leaves the session unlocked, creating it if there is none. On an unlocked session any cookie or none will do.
// Outcomes: Done, Locked, BadCookie, Full, Busy. It takes c.Body over, whatever the outcome.
func (st *Store) Set(k Key, c Change) Reply { return st.set(k, c, true) }

func (st *Store) set(k Key, c Change, mayWait bool) Reply {
	hash := st.hash(k)
	a, failed, ok := st.enter(k, hash, true, mayWait)
	if failed == Taken {
		return Reply{Outcome: Taken} // the body stays the caller's
	}
	defer st.recycle(c.Body)
	if !ok {
		return Reply{Outcome: failed}
	}
	defer a.leave()
	if a.i == 0 {
		return a.create(k, hash, c)
	}
	a.touch()
	e := a.entry()
	switch {
	case c.Uninitialised:
		return Reply{}
	case c.Cookie < 0 && c.Cookie != NoCookie:
		return Reply{Outcome: BadCookie}
	case e.has(isLocked) && e.cookie != c.Cookie:
		return a.locked()
	}
	a.old = a.takeBody(e)
	a.setBody(e, c.Body.take())
	a.unlock(e)
	if c.Timeout != e.timeout {
		e.timeout = c.Timeout
		a.touch()
		a.unlink(a.i) // it may expire earlier than the wheel would look at it
		a.schedule(a.i)
	}
	return Reply{}
}

func (a *access) create(k Key, hash uint64, c Change) Reply {
	st := a.store
	size := int64(entrySize + c.Body.Size())
	if limit := st.o.MaxMemory; limit > 0 && st.used.Load()+st.apps.bytes.Load()+size > limit {
		a.counts.refused++
		return Reply{Outcome: Full}
	}
	i, err := a.insert(k, hash)
	if err != nil { // the operating system has no more
		a.counts.refused++
		return Reply{Outcome: Full}
	}
	e := a.entries.At(i)
	e.cookie = firstCookie
	e.timeout = c.Timeout
	if c.Uninitialised {
		e.set(isNew)
	}
	e.expires = a.now + window(c.Timeout)
	a.setBody(e, c.Body.take())
	a.schedule(i)
	a.counts.created++
	return Reply{}
}

// Remove removes a session. On an unlocked session any cookie or none will do. Outcomes: Done, NotFound, Locked, BadCookie, Busy.
func (st *Store) Remove(k Key, cookie int32) Reply { return st.remove(k, cookie, true) }

func (st *Store) remove(k Key, cookie int32, mayWait bool) Reply {
	a, failed, ok := st.enter(k, st.hash(k), true, mayWait)
	if !ok {
		return Reply{Outcome: failed}
	}
	defer a.leave()
	if a.i == 0 {
		return Reply{Outcome: NotFound}
	}
	a.touch()
	e := a.entry()
	switch {
	case cookie < 0 && cookie != NoCookie:
		return Reply{Outcome: BadCookie}
	case e.has(isLocked) && e.cookie != cookie:
		return a.locked()
	}
	a.counts.abandoned++
	a.remove()
	return Reply{}
}

// Touch makes a session live for another timeout from now on (ResetTimeout). Outcomes: Done, also if it is locked; NotFound, Busy.
func (st *Store) Touch(k Key) Reply { return st.touch(k, true) }

func (st *Store) touch(k Key, mayWait bool) Reply {
	a, failed, ok := st.enter(k, st.hash(k), true, mayWait)
	if !ok {
		return Reply{Outcome: failed}
	}
	defer a.leave()
	if a.i == 0 {
		return Reply{Outcome: NotFound}
	}
	a.touch()
	return Reply{}
}

// locked is the answer of a session whose lock somebody else holds.
func (a *access) locked() Reply {
	e := a.entry()
	return Reply{Outcome: Locked, Cookie: e.cookie, LockAge: time.Duration(a.now - e.lockedAt)}
}

// takeFirst tells whether nobody has been told yet that the session is new, and counts the caller as told.
func (a *access) takeFirst() bool {
	e := a.entry()
	first := e.has(isNew)
	e.clear(isNew)
	return first
}

func (s *shard) unlock(e *entry) {
	if e.has(isLocked) {
		e.clear(isLocked)
		s.counts.locked--
	}
}

// nextCookie is the next lock's cookie: always positive, and 0 and 1 never name a lock.
func nextCookie(c int32) int32 {
	if c == 1<<31-1 {
		return firstCookie + 1
	}
	return c + 1
}

func (st *Store) hash(k Key) uint64 {
	return joinHash(maphash.Bytes(st.seed, k.app), maphash.Bytes(st.seed, k.id))
}

// joinHash makes a key's hash of its parts'. One is turned, for else all keys whose parts are the same would have the hash 0.
func joinHash(app, id uint64) uint64 { return bits.RotateLeft64(app, 1) ^ id }

func (st *Store) shardOf(hash uint64) *shard { return &st.shards[hash>>(64-shardBits)] }

// now is the time on the store's clock, in nanoseconds since it was made. It never jumps.
func (st *Store) now() int64 { return int64(time.Since(st.start)) }

// bitsFor is the number of bits that number n things.
func bitsFor(n int) int { return bits.Len(uint(n - 1)) }

// Run removes sessions as they expire and gives memory back to the operating system, until ctx ends. It is to be called once.
func (st *Store) Run(ctx context.Context) {
	k := keeper{Store: st}
	k.run(ctx)
}

// Grant lets a Set create a session in a cluster, where no node may do so of itself: it is given by the others, once all of them have said that
// they have none.
type Grant struct {
	Epoch uint64
	Term  uint64 // of the store, when it was given: Moves.Fence ends it
}
