package session

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
	"unsafe"
)

// The census. What the applications have, and which locks are the oldest, is found by going by all sessions, again and again, a little at a time:
// Run does so for a fixed share of a core (keeper.go), every second if there are some ten thousand sessions, and every two minutes if there are five
// million. A session takes it 15 to 30 ns; requests do not notice.
//
// Counting in place, under the lock that a request holds anyway, would be up to date. But a page, with its lock and its new body, would be eight additions
// to memory that the application's requests on all processors write to; each shard cannot count for itself, since an application's sizes take some KiB;
// and Fence, which makes all sessions copies at a stroke, would have to go by every one. The locks want somebody to go by in any case.

// AppStats are the figures of one application: of the sessions whose keys begin with Prefix.
type AppStats struct {
	// Prefix goes up to and with a key's last slash. Where ids are longer than ASP.NET's may be, it has a part of one. It is empty for
	// keys without a slash, and for all applications beyond the first thousand, taken together.
	Prefix    string
	Sessions  int64 // owned; in a cluster, copies are not counted
	Locked    int64
	BodyBytes int64
	// Sizes of the bodies: the largest, and others within 2 %.
	SizeMedian, SizeP99, SizeLargest int64
}

// HeldLock is a session that has been locked for long.
type HeldLock struct {
	Session string // the key's Redacted
	App     string // its application's prefix
	Age     time.Duration
	Cookie  int32
}

// Apps are the figures of the applications that have sessions, as the latest census found them. The slice is shared and not to be changed.
func (st *Store) Apps() []AppStats {
	if c := st.counted.Load(); c != nil {
		return c.apps
	}
	return nil
}

// OldestLocks are up to max sessions, 32 at most, that have been locked for at least over, the oldest lock first. A lock that the census has not
// come by yet is missing; one that has been given back is not there.
func (st *Store) OldestLocks(over time.Duration, max int) []HeldLock {
	c := st.counted.Load()
	if c == nil {
		return nil
	}
	var held []HeldLock
	for _, l := range c.locks { // sorted
		if len(held) == max {
			break
		}
		if age, ok := st.lockAge(l); ok && age >= over {
			k := viewKey(l.key)
			held = append(held, HeldLock{Session: k.Redacted(), App: string(k.app), Age: age, Cookie: l.cookie})
		}
	}
	return held
}

// lockAge is the age of a lock, if it is still held.
func (st *Store) lockAge(l lock) (time.Duration, bool) {
	k := viewKey(l.key)
	hash := st.hash(k)
	s := st.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(k, hash)
	if i == 0 || !s.owns(i) {
		return 0, false
	}
	now, e := st.now(), s.entries.At(i)
	return time.Duration(now - e.lockedAt), e.has(isLocked) && e.lockedAt == l.since && e.expires > now
}

// CountedAgo is how old what Apps says is at most: how long ago the census began that found it; not ok as long as there has been none.
func (st *Store) CountedAgo() (ago time.Duration, ok bool) {
	c := st.counted.Load()
	if c == nil {
		return 0, false
	}
	return time.Duration(st.now() - c.began), true
}

// counted is what a census has found.
type counted struct {
	began int64
	apps  []AppStats
	locks []lock // the oldest, in order
}

// lock is one that was met.
type lock struct {
	key    string
	since  int64
	cookie int32
}

// census goes by all sessions, and then again.
type census struct {
	st          *Store
	began       int64
	shard, left int // where it goes on, and how many of the shard's entries are still to be seen; -1: all
	apps        []*appCount
	rest        *appCount // of the applications that have no number below maxCounted
	locks       []lock    // unordered
}

const (
	// censusBatch is how many sessions are looked at while a shard's lock is held: about 10 µs.
	censusBatch = 256
	// maxCounted bounds the applications that are counted one by one: web servers name them, and may name any.
	maxCounted = 1000
	// The sample is an application's first sessions, and of the others one in so many.
	fewSessions = 64
	sampled     = 64
	// maxLocks is how many of the oldest locks are remembered.
	maxLocks = 32
)

func newCensus(st *Store) *census {
	return &census{st: st, left: -1, rest: &appCount{}}
}

// step goes by some more sessions, and tells whether all have been seen.
func (c *census) step() (done bool) {
	if c.shard == shards {
		return true
	}
	if c.shard == 0 && c.left < 0 {
		c.began = c.st.now()
	}
	s := &c.st.shards[c.shard]
	s.mu.Lock()
	if c.left < 0 || c.left > s.count {
		c.left = s.count
	}
	// From the last to the first, as in tour.go: so none is missed. One that has been seen may come into the place of one that has not, and is seen
	// again: it would take many removals at this shard within these milliseconds to be noticed.
	for end := max(c.left-censusBatch, 0); c.left > end; c.left-- {
		if i := uint32(c.left); s.owns(i) {
			c.see(s, i)
		}
	}
	s.mu.Unlock()
	if c.left == 0 {
		c.shard, c.left = c.shard+1, -1
	}
	return c.shard == shards
}

func (c *census) see(s *shard, i uint32) {
	e := s.entries.At(i)
	a, body := c.count(e.app), e.body()
	size := c.st.heap.About(body)
	a.guessed += int64(size)
	if a.sessions < fewSessions || i%sampled == 0 {
		a.sampleGuessed += int64(size)
		size = len(c.st.heap.Bytes(body))
		a.sampleBytes += int64(size)
	}
	a.sessions++
	a.largest = max(a.largest, size)
	a.sizes[sizeClass(size)]++
	if e.has(isLocked) {
		a.locked++
		c.seeLock(s, i)
	}
}

// count is where an application's sessions are counted. An application without any is forgotten, and its number may be another's by
// now, while we went by others' sessions.
func (c *census) count(n uint32) *appCount {
	if n >= maxCounted {
		return c.rest
	}
	if int(n) >= len(c.apps) {
		c.apps = append(c.apps, make([]*appCount, int(n)+1-len(c.apps))...)
	}
	app := c.st.apps.at(n)
	if a := c.apps[n]; a != nil && a.app == app {
		return a
	}
	c.apps[n] = &appCount{app: app}
	return c.apps[n]
}

// seeLock remembers entry i's lock, if it is one of the oldest.
func (c *census) seeLock(s *shard, i uint32) {
	e := s.entries.At(i)
	if len(c.locks) < maxLocks {
		c.locks = append(c.locks, lock{s.keyOf(i), e.lockedAt, e.cookie})
		return
	}
	youngest := 0
	for j := range c.locks {
		if c.locks[j].since > c.locks[youngest].since {
			youngest = j
		}
	}
	if e.lockedAt < c.locks[youngest].since {
		c.locks[youngest] = lock{s.keyOf(i), e.lockedAt, e.cookie}
	}
}

// publish makes known what was found, and makes ready to begin again.
func (c *census) publish() {
	f := &counted{began: c.began, locks: c.locks}
	slices.SortFunc(f.locks, func(a, b lock) int { return cmp.Compare(a.since, b.since) })
	for n, a := range c.apps {
		switch {
		case a == nil:
		case a.sessions == 0:
			c.apps[n] = nil
		default:
			f.apps = append(f.apps, a.stats())
			*a = appCount{app: a.app}
		}
	}
	if c.rest.sessions > 0 {
		f.apps = append(f.apps, c.rest.stats())
		*c.rest = appCount{}
	}
	c.st.counted.Store(f)
	c.shard, c.left, c.locks = 0, -1, nil
}

// appCount counts one application's sessions. Bodies' lengths are guessed, but for a sample of them: to look at each takes ten times as long as all
// the rest, since it stands before the body, somewhere in memory. What the sample is larger or smaller than was guessed, so is the sum.
type appCount struct {
	app                        *app // nil: many
	sessions, locked           int64
	guessed                    int64 // bytes of the bodies
	sampleGuessed, sampleBytes int64 // of the sample
	largest                    int
	sizes                      [sizeClasses]uint32
}

func (a *appCount) stats() AppStats {
	t := AppStats{
		Sessions: a.sessions, Locked: a.locked, BodyBytes: a.bytes(),
		SizeMedian: a.size(0.5), SizeP99: a.size(0.99), SizeLargest: int64(a.largest),
	}
	if a.app != nil {
		t.Prefix = unsafe.String(unsafe.SliceData(a.app.prefix), len(a.app.prefix)) // which nobody writes to
	}
	return t
}

func (a *appCount) bytes() int64 {
	return a.sampleBytes + int64(float64(a.guessed-a.sampleGuessed)*float64(a.sampleBytes)/float64(max(a.sampleGuessed, 1)))
}

// size is what this part of the sizes is not above, give or take.
func (a *appCount) size(part float64) int64 {
	rank := int64(part * float64(a.sessions-1)) // of the sizes in order, from 0
	for class, n := range a.sizes[:] {
		if rank -= int64(n); rank < 0 {
			return min(classSize(class), int64(a.largest))
		}
	}
	return int64(a.largest)
}

// Sizes are counted in classes: one for each below 64, then 32 to each doubling. So a class's middle is within 1/64 of all of its sizes.
const (
	classBits   = 5
	sizeClasses = (32 - classBits) << classBits // a body's length has 31 bits
)

func sizeClass(size int) int {
	shift := max(bits.Len(uint(size))-classBits-1, 0)
	return shift<<classBits + size>>shift
}

// classSize is a class's middle.
func classSize(class int) int64 {
	shift := max(class>>classBits-1, 0)
	return int64(class-shift<<classBits)<<shift + 1<<shift>>1
}
