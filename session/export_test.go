package session

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"
	"unsafe"
)

// EntrySize is what the compiler makes of an entry.
const EntrySize = unsafe.Sizeof(entry{})

// PlaceSize is what the compiler makes of a place.
const PlaceSize = unsafe.Sizeof(place{})

// State is all there is to know of a session.
type State struct {
	Exists  bool
	Body    string
	Timeout int32
	Cookie  int32 // the last one handed out; 1 is nobody's
	Locked  bool
	New     bool          // nobody has been told yet that it was created uninitialised
	Left    time.Duration // until it expires
}

// Peek looks at a session without touching it.
func (st *Store) Peek(k Key) State {
	hash := st.hash(k)
	s := st.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(k, hash)
	if i == 0 {
		return State{}
	}
	e := s.entries.At(i)
	return State{
		Exists:  true,
		Body:    string(st.heap.Bytes(e.body())),
		Timeout: e.timeout,
		Cookie:  e.cookie,
		Locked:  e.has(isLocked),
		New:     e.has(isNew),
		Left:    time.Duration(e.expires - st.now()),
	}
}

// Parts are a key's two parts.
func (k Key) Parts() (app, id string) { return string(k.app), string(k.id) }

// ShardOf is the number of the shard that holds k.
func (st *Store) ShardOf(k Key) int { return int(st.hash(k) >> (64 - shardBits)) }

// SetCookie makes c the last cookie handed out for k.
func (st *Store) SetCookie(k Key, c int32) {
	hash := st.hash(k)
	s := st.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.At(s.find(k, hash)).cookie = c
}

// Reseed makes an empty store's key hashes the same in every store of this process.
func (st *Store) Reseed() { st.seed, st.apps.seed = fixedSeed, fixedSeed }

var fixedSeed = maphash.MakeSeed()

// Leap makes d pass at once.
func (st *Store) Leap(d time.Duration) { st.start = st.start.Add(-d) }

// Expire does what Run does each second about expired sessions.
func (st *Store) Expire() { (&keeper{Store: st}).expire(context.Background()) }

// ExpireSome does some of it, in one shard.
func (st *Store) ExpireSome(shard int) (more bool) { return st.shards[shard].expireSome(st.now()) }

// Visits does the same for the shard of k, and returns how many sessions were looked at, in whole batches.
func (st *Store) Visits(k Key) (n int) {
	for s := st.shardOf(st.hash(k)); s.expireSome(st.now()); {
		n += expireBatch
	}
	return n
}

// Census goes by all sessions, some at each Step; then what it found can be published.
type Census struct{ c *census }

func (st *Store) NewCensus() Census { return Census{newCensus(st)} }
func (c Census) Step() (done bool)  { return c.c.step() }
func (c Census) Publish()           { c.c.publish() }

// Count does a whole census at once.
func (st *Store) Count() {
	c := st.NewCensus()
	for !c.Step() {
	}
	c.Publish()
}

// KeepCounting does one as Run would, without the pauses, and returns in how many slices of time.
func (st *Store) KeepCounting() (slices int) {
	k := keeper{Store: st}
	for k.count(); k.counting; k.count() {
		slices++
	}
	return slices + 1
}

// Compaction is a walk that Run would do in slices: Begin, Step until Done.
type Compaction struct{ k keeper }

func (st *Store) NewCompaction() *Compaction {
	c := &Compaction{k: keeper{Store: st}}
	c.k.beginCompaction()
	return c
}

// Step looks at one batch of sessions.
func (c *Compaction) Step() {
	if c.Done() {
		return
	}
	if c.k.from = c.k.shards[c.k.shard].compactSome(c.k.from); c.k.from == 0 {
		c.k.shard, c.k.from = c.k.shard+1, 1
		if c.k.shard == shards {
			c.k.endCompaction()
		}
	}
}

func (c *Compaction) Done() bool { return c.k.pause == nil }

// End ends it before it is done.
func (c *Compaction) End() { c.k.endCompaction() }

// Compact does a whole walk at once.
func (st *Store) Compact() {
	for c := st.NewCompaction(); !c.Done(); {
		c.Step()
	}
}

// WorthCompacting tells whether Run would compact now.
func (st *Store) WorthCompacting() bool { return (&keeper{Store: st}).worthCompacting() }

// HeapLive and HeapWaste are bytes outside the Go heap, in slots that are used, bodies on their way in included, and beyond those.
func (st *Store) HeapLive() int64  { return st.heap.Live() }
func (st *Store) HeapWaste() int64 { return st.heap.Waste() }

// Trim gives free memory back, as Run does each second.
func (st *Store) Trim() { st.heap.Trim() }

// LockShard holds the lock of k's shard until the returned function is called.
func (st *Store) LockShard(k Key) (unlock func()) {
	s := st.shardOf(st.hash(k))
	s.mu.Lock()
	return s.mu.Unlock
}

// NextCookie is the cookie after c.
var NextCookie = nextCookie

// Check walks the whole store and says what does not fit. Nothing may be using it. inFlight is the number of bytes in bodies that
// are not stored, or -1.
func (st *Store) Check(inFlight int64) error {
	var used, stored int64
	promised := 0
	refs := map[uint32]int{}
	var errs []error
	for n := range st.shards {
		s := &st.shards[n]
		s.mu.Lock()
		if err := s.check(); err != nil {
			errs = append(errs, fmt.Errorf("shard %d: %w", n, err))
		}
		for i := 1; i <= s.count; i++ {
			e := s.entries.At(uint32(i))
			refs[e.app]++
			if got := st.shardOf(s.hashOf(e)); got != s {
				errs = append(errs, fmt.Errorf("shard %d: entry %d belongs to another", n, i))
			}
			stored += int64(st.heap.Size(e.body()))
			if e.isLong() {
				stored += int64(st.heap.Size(e.longID()))
			}
			used += s.cost(e) + int64(st.heap.Size(e.body()))
		}
		promised += s.promised
		s.mu.Unlock()
	}
	if held := st.held.Load(); held != 0 && inFlight == 0 {
		errs = append(errs, fmt.Errorf("%d are said to wait for locks", held))
	}
	if got := st.used.Load(); got != used && promised == 0 {
		errs = append(errs, fmt.Errorf("used is %d, the entries say %d", got, used))
	}
	if got := st.heap.Live(); got < stored || inFlight >= 0 && got != stored+inFlight {
		errs = append(errs, fmt.Errorf("the heap has %d live bytes, the entries hold %d and %d are on their way", got, stored, inFlight))
	}
	return errors.Join(append(errs, st.apps.check(refs))...)
}

// check verifies every link of a shard. mu is held.
func (s *shard) check() error {
	chained, err := s.checkIndex()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	scheduled, err := s.checkWheel()
	if err != nil {
		return fmt.Errorf("wheel: %w", err)
	}
	if chained != s.count || scheduled != s.count {
		return fmt.Errorf("%d entries, %d of them in the index, %d in the wheel", s.count, chained, scheduled)
	}
	var locked, bytes, awaited, waiting int64
	for i := uint32(1); i <= uint32(s.count); i++ {
		e := s.entries.At(i)
		bytes += int64(len(s.store.heap.Bytes(e.body())))
		if e.has(isLocked) {
			locked++
		}
		if e.has(isLocked) && e.has(isNew) {
			return fmt.Errorf("entry %d is locked and nobody has been told that it is new", i)
		}
		if !e.has(isAwaited) {
			continue
		}
		awaited++
		q := s.queues[i]
		if q == nil || q.i != i || len(q.waiting)+len(q.line) == 0 {
			return fmt.Errorf("entry %d is awaited, queue %v, flags %05b", i, q, e.flags)
		}
		if !s.owns(i) || !e.has(isTaken|isLeaving) && (len(q.waiting) > 0 || !e.has(isLocked)) {
			return fmt.Errorf("entry %d: %d wait for the turn and %d for the lock, and could have it, flags %05b", i, len(q.waiting), len(q.line), e.flags)
		}
		for _, w := range append(q.line, q.waiting...) {
			if w.leave == nil && w.line == nil {
				waiting++
			}
			if w.gone {
				return fmt.Errorf("entry %d: one who waits has been called", i)
			}
		}
	}
	if err := s.checkPlaces(); err != nil {
		return err
	}
	c := s.counts
	if c.locked != locked || c.bodyBytes != bytes || int64(len(s.queues)) != awaited || c.waiting < waiting {
		return fmt.Errorf("counts %+v, %d queues; found %d locked, %d body bytes, %d awaited, %d waiting",
			c, len(s.queues), locked, bytes, awaited, waiting)
	}
	return nil
}

func (s *shard) checkPlaces() error {
	copies, leaving := 0, 0
	for i := uint32(1); i <= uint32(s.count); i++ {
		e := s.entries.At(i)
		if !s.owns(i) {
			copies++
		}
		if _, has := s.leaving[i]; has != e.has(isLeaving) || has && (!s.owns(i) || e.has(isTaken)) {
			return fmt.Errorf("entry %d: has a ticket: %v, flags %05b, owned: %v", i, has, e.flags, s.owns(i))
		}
		if e.has(isLeaving) {
			leaving++
		}
	}
	if copies != s.copies || leaving != len(s.leaving) || len(s.answers)+len(s.removed) > 0 {
		return fmt.Errorf("%d copies, counted %d; %d are leaving, %d tickets; untold: %v %v", copies, s.copies, leaving, len(s.leaving), s.answers, s.removed)
	}
	return nil
}

func (s *shard) checkIndex() (entries int, err error) {
	if s.buckets < minBuckets || s.buckets > minBuckets && (s.count > s.buckets || s.count*3 < s.buckets*2-3) {
		return 0, fmt.Errorf("%d chains for %d entries", s.buckets, s.count)
	}
	seen := map[uint32]bool{}
	for b := range uint32(s.buckets) {
		for i := *s.chains.At(b); i != 0; i = s.entries.At(i).next {
			if i > uint32(s.count) || seen[i] {
				return 0, fmt.Errorf("chain %d leads to entry %d of %d, seen %v", b, i, s.count, seen[i])
			}
			seen[i] = true
			if got := s.bucket(s.hashOf(s.entries.At(i))); got != b {
				return 0, fmt.Errorf("entry %d is in chain %d, not in %d", i, b, got)
			}
		}
	}
	return len(seen), nil
}

func (s *shard) checkWheel() (entries int, err error) {
	w := &s.wheel
	seen := map[uint32]bool{}
	for slot := range uint32(len(w.slots)) {
		before := slotMark | slot
		for i := w.slots[slot]; i != 0; i = s.entries.At(i).after {
			if i > uint32(s.count) || seen[i] {
				return 0, fmt.Errorf("slot %d leads to entry %d of %d, seen %v", slot, i, s.count, seen[i])
			}
			seen[i] = true
			e := s.entries.At(i)
			if e.before != before {
				return 0, fmt.Errorf("slot %d: before entry %d stands %x, it says %x", slot, i, before, e.before)
			}
			before = i
			if slot >= dueSlots {
				continue
			}
			if due, want := w.dueAt(slot), max((e.expires+tick-1)/tick, w.tick+1); due > want {
				return 0, fmt.Errorf("entry %d expires at tick %d, but slot %d is looked at in tick %d (now %d)", i, want, slot, due, w.tick)
			}
		}
	}
	return len(seen), nil
}

// dueAt is the tick in which a slot is looked at next.
func (w *wheel) dueAt(slot uint32) int64 {
	level, n := int(slot)/levelSize, int64(slot)%levelSize
	unit := int64(1) << (level * levelBits)
	t := (w.tick/unit)/levelSize*levelSize*unit + n*unit
	if t <= w.tick {
		t += levelSize * unit
	}
	return t
}

func (a *apps) check(refs map[uint32]int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var bytes int64
	for name, n := range a.byName {
		p := a.at(n)
		if p == nil || string(p.prefix) != name || p.refs != refs[n] {
			return fmt.Errorf("application %q is number %d: %+v, %d sessions", name, n, p, refs[n])
		}
		bytes += int64(2*len(name) + appCost)
	}
	for _, n := range a.free {
		if p := a.at(n); p != nil {
			return fmt.Errorf("application number %d is free and in use: %+v", n, p)
		}
	}
	if all := len(*a.all.Load()); len(a.byName) != len(refs) || len(a.byName)+len(a.free) != all || bytes != a.bytes.Load() {
		return fmt.Errorf("%d applications in use, sessions name %d; %d are free of %d; %d bytes, counted %d",
			len(a.byName), len(refs), len(a.free), all, a.bytes.Load(), bytes)
	}
	return nil
}
