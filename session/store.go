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
	// LockWait bounds how long a Get or an Acquire that meets another's lock waits for it to free, before it is told Locked. Default 0: not
	// at all.
	LockWait time.Duration
	// MaxHeld bounds those that wait for the lock of one session, MaxHeldTotal those of the whole store; the next is told Locked at once.
	// Default 4 and 16384.
	MaxHeld, MaxHeldTotal int
}

// Outcome says what became of an operation.
type Outcome uint8

const (
	Done      Outcome = iota // it happened
	NotFound                 // there is no such session here, or it has expired
	Locked                   // somebody else holds the lock: Reply has Cookie and LockAge
	BadCookie                // the operation needs a lock cookie and got none, or one that is no number >= 0
	Full                     // a new session was refused: the store is at its memory limit
	Busy                     // too many requests wait for this session, or this one waited too long; it was not started
	Taken                    // of a Try only: the request would have to wait for its turn, or for a lock; it was not started
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
	epoch    uint64      // in a cluster: of the session
	turn     bool        // others wait until Settle
	acquired bool
	lockedAt int64 // with acquired: which tells this lock from any other
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
	// Grant, in a cluster: lets the Set create the session. Without one, or with one of a term that is over, an absent session is NotFound.
	Grant Grant
}

// Grant lets a Set create a session in a cluster, where no node may do so of itself: it is given by the others, once all of them have said that
// they have none. The zero Grant is none.
type Grant struct {
	Epoch uint64
	Term  uint64 // of the store, when it was given: Moves.Fence ends it
}

// Store holds the sessions of one node. All methods may be called concurrently.
type Store struct {
	o       Options
	start   time.Time // the clock's zero
	seed    maphash.Seed
	heap    *offheap.Heap
	apps    *apps
	bodies  sync.Pool               // *Body, for reuse
	used    atomic.Int64            // bytes of stored sessions
	refused atomic.Int64            // bodies, for lack of memory
	held    atomic.Int64            // requests, and Leaves, that wait for a lock
	events  Events                  // in a cluster
	counted atomic.Pointer[counted] // by the latest census; nil before the first
	shards  [shards]shard
}

// shards is how many parts the sessions are spread over, by the top bits of their keys' hashes, so that requests
// on different sessions hardly ever meet at a lock.
const (
	shardBits = 6
	shards    = 1 << shardBits
)

// New makes an empty store. It starts nothing: expiry needs somebody to call Run.
func New(o Options) (*Store, error) {
	if o.MaxMemory < 0 || o.MaxWaiting < 0 || o.ReadWait < 0 || o.ChangeWait < 0 || o.LockWait < 0 || o.MaxHeld < 0 || o.MaxHeldTotal < 0 {
		return nil, errors.New("session store: no option may be negative")
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
	if o.MaxHeld == 0 {
		o.MaxHeld = 4
	}
	if o.MaxHeldTotal == 0 {
		o.MaxHeldTotal = 16384
	}
	o.MaxWaiting = min(o.MaxWaiting, math.MaxInt/2) // twice as many changes may wait
	o.ReadWait = min(o.ReadWait, math.MaxInt64/2)   // and sums with the time now must be possible
	o.ChangeWait = min(o.ChangeWait, math.MaxInt64/2)
	o.LockWait = min(o.LockWait, math.MaxInt64/2)
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
func (st *Store) Get(k Key) Reply { return st.read(k, false, patient) }

// Acquire reads a session and locks it, under a cookie never handed out for it before. Outcomes: Done, NotFound, Locked, Busy.
func (st *Store) Acquire(k Key) Reply { return st.read(k, true, patient) }

func (st *Store) read(k Key, acquire bool, m manner) (r Reply) {
	hash := st.hash(k)
	for {
		w := st.readNow(k, hash, acquire, m, &r)
		if w == nil || st.shardOf(hash).awaitLock(w, &r) {
			return r
		}
		m.arrived = w.line.arrived
	}
}

// readNow reads a session when it has the turn, into r; or else returns a waiter that stands in line for the lock.
func (st *Store) readNow(k Key, hash uint64, acquire bool, m manner, r *Reply) *waiter {
	a, failed, ok := st.enter(k, hash, false, m)
	if !ok {
		r.Outcome = failed
		return nil
	}
	defer a.leave()
	if a.i == 0 {
		r.Outcome = NotFound
		return nil
	}
	if a.entry().has(isLocked) {
		return a.meetLock(acquire, m, r)
	}
	a.touch()
	a.grant(a.i, acquire, a.now, r)
	if r.turn {
		a.mine = false // it is kept
	}
	return nil
}

// grant makes the answer of a session that nobody has locked. If it is locked now, or has told that it is new, others wait until Settle.
func (s *shard) grant(i uint32, acquire bool, now int64, r *Reply) {
	e := s.entries.At(i)
	r.First, r.Timeout, r.epoch = e.takeFirst(), e.timeout, s.epoch(i)
	r.held = e.body()
	s.store.heap.Hold(r.held)
	r.body = s.store.heap.Bytes(r.held)
	if acquire {
		e.cookie = nextCookie(e.cookie)
		e.lockedAt = now
		e.set(isLocked)
		s.counts.locked++
		r.Cookie, r.acquired, r.lockedAt = e.cookie, true, now
	}
	if r.turn = acquire || r.First; r.turn {
		e.set(isTaken)
	}
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
	defer s.release()
	// It is there: nobody removes a session out of turn. But a Fence ends all turns; then it may be another by now, or ours at a later epoch, when the
	// turn is somebody else's and only the lock may still be the one that this reply granted.
	i := s.find(k, hash)
	if i == 0 {
		return
	}
	e := s.entries.At(i)
	mine := s.epoch(i) == r.epoch
	if !mine && !(r.acquired && e.has(isLocked) && e.cookie == r.Cookie && e.lockedAt == r.lockedAt) {
		return
	}
	if !delivered {
		if r.acquired {
			s.unlock(e)
		}
		if r.First {
			e.set(isNew)
		}
	}
	if mine {
		e.clear(isTaken)
	}
	if e.has(isAwaited) {
		s.goOn(i)
	}
}

// Unlock gives a lock back (ReleaseExclusive). Outcomes: Done, also if nobody held the lock; NotFound, Locked, BadCookie, Busy. The
// reply may have First with any of Done, Locked and BadCookie: Microsoft's service clears the flag before it looks at the cookie.
func (st *Store) Unlock(k Key, cookie int32) Reply { return st.unlock(k, cookie, patient) }

func (st *Store) unlock(k Key, cookie int32, m manner) Reply {
	a, failed, ok := st.enter(k, st.hash(k), true, m)
	if !ok {
		return Reply{Outcome: failed}
	}
	defer a.leave()
	if a.i == 0 {
		return Reply{Outcome: NotFound}
	}
	a.touch()
	e := a.entry()
	first := e.takeFirst()
	var r Reply
	switch {
	case cookie < 0:
		r = Reply{Outcome: BadCookie}
	case e.has(isLocked) && e.cookie != cookie:
		r = a.locked(a.i, a.now)
	default:
		a.unlock(e)
	}
	r.First = first
	return r
}

// Set stores a body and leaves the session unlocked, creating it if there is none. On an unlocked session any cookie or none will do.
// Outcomes: Done, Locked, BadCookie, Full, Busy; in a cluster NotFound. It takes c.Body over, unless the outcome is NotFound.
func (st *Store) Set(k Key, c Change) Reply { return st.set(k, c, patient) }

func (st *Store) set(k Key, c Change, m manner) Reply {
	r := st.setNow(k, c, m)
	if r.Outcome != Taken && r.Outcome != NotFound { // else the body stays the caller's
		st.recycle(c.Body)
	}
	return r
}

func (st *Store) setNow(k Key, c Change, m manner) Reply {
	hash := st.hash(k)
	a, failed, ok := st.enter(k, hash, true, m)
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
		return a.locked(a.i, a.now)
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
	if a.copied || !a.allows(c.Grant) {
		return Reply{Outcome: NotFound}
	}
	if !a.store.hasRoom(c.Body.Size(), a.store.o.MaxMemory) {
		a.counts.refused++
		return Reply{Outcome: Full}
	}
	i, err := a.insert(k, hash)
	if err != nil { // the operating system has no more
		a.counts.refused++
		return Reply{Outcome: Full}
	}
	a.setEpoch(i, c.Grant.Epoch)
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

// hasRoom says whether one more session may be stored within a limit, with a body that takes so many bytes.
func (st *Store) hasRoom(body int, limit int64) bool {
	return limit <= 0 || st.used.Load()+st.apps.bytes.Load()+int64(entrySize+body) <= limit
}

// Remove removes a session. On an unlocked session any cookie or none will do. Outcomes: Done, NotFound, Locked, BadCookie, Busy.
func (st *Store) Remove(k Key, cookie int32) Reply { return st.remove(k, cookie, patient) }

func (st *Store) remove(k Key, cookie int32, m manner) Reply {
	a, failed, ok := st.enter(k, st.hash(k), true, m)
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
		return a.locked(a.i, a.now)
	}
	a.counts.abandoned++
	a.remove()
	return Reply{}
}

// Touch makes a session live for another timeout from now on (ResetTimeout). Outcomes: Done, also if it is locked; NotFound, Busy.
func (st *Store) Touch(k Key) Reply { return st.touch(k, patient) }

func (st *Store) touch(k Key, m manner) Reply {
	a, failed, ok := st.enter(k, st.hash(k), true, m)
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

// takeFirst tells whether nobody has been told yet that the session is new, and counts the caller as told.
func (e *entry) takeFirst() bool {
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
