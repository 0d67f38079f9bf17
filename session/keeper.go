package session

import (
	"context"
	"runtime"
	"time"

	"statemesh/session/internal/offheap"
)

// keeper is Run's work: expired sessions out, memory back to the operating system, and the census.
type keeper struct {
	*Store

	census   *census
	counting bool             // a census is under way
	rest     <-chan time.Time // until it goes on, or the next may begin; nil: that is over

	// Compaction, a walk over all entries that goes on a little at a time.
	pause         <-chan time.Time // until it goes on; nil: there is none
	shard, from   int              // the entry it goes on with
	lastCompacted time.Time        // when the last walk ended
}

const (
	// keepInterval is how often the keeper looks.
	keepInterval = time.Second
	// A shard's lock is held for this many sessions at a time, and for not much more than this many bytes that are moved.
	expireBatch  = 32
	compactBatch = 64
	compactBytes = 64 << 10
	// Compaction takes a tenth of a core, in slices too short to make a request wait.
	compactSlice = time.Millisecond
	compactPause = 9 * compactSlice
	// Expiry takes a fifth of a core, and for a second and a half at a time: what is more has come to be expired faster than that.
	expireSlice  = 250 * time.Microsecond
	expirePause  = 4 * expireSlice
	expireRested = 1500 * time.Millisecond
	// The census takes a seven-hundredth of a core, and a little for waking up, in slices of about this length.
	censusSlice = 500 * time.Microsecond
	censusShare = 700
	// Compaction is worth while when this part of the memory held is wasted; soon for much, now and then for little.
	muchWaste, muchWasteEvery     = 8, 2 * time.Second // an eighth
	littleWaste, littleWasteEvery = 96, 10 * time.Second
	// Afterwards every slot size has at most this part of its slots free.
	compactSlack = 128
	// minWaste is not worth anything.
	minWaste = 1 << 20
)

func (k *keeper) run(ctx context.Context) {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			k.endCompaction()
			return
		case <-ticker.C:
			k.expire(ctx)
			if k.pause == nil && k.worthCompacting() {
				k.beginCompaction()
			}
			k.heap.Trim()
			if k.rest == nil {
				k.count()
			}
		case <-k.rest:
			k.rest = nil
			if k.counting {
				k.count()
			}
		case <-k.pause:
			k.compact()
		}
	}
}

// expire removes the expired sessions: a few of each shard in turn, so that no shard's requests find it locked all the time, and in
// slices, so that requests need not wait for a processor either. Should so many expire at once that it falls behind, it rests no more
// but only lets others go first.
func (k *keeper) expire(ctx context.Context) {
	began := time.Now()
	slice := began
	for more := true; more && ctx.Err() == nil; {
		more = false
		for i := range k.shards {
			more = k.shards[i].expireSome(k.now()) || more
			now := time.Now()
			switch {
			case now.Sub(slice) < expireSlice:
				continue
			case now.Sub(began) < expireRested:
				time.Sleep(expirePause)
			default:
				runtime.Gosched()
			}
			slice = time.Now()
		}
	}
}

// expireSome looks at some of the due entries and tells whether there may be more.
func (s *shard) expireSome(now int64) (more bool) {
	var bodies [expireBatch]offheap.Ref
	expired := 0

	s.mu.Lock()
	for range expireBatch {
		i := s.advance(now)
		if more = i != 0; !more {
			break
		}
		e := s.entries.At(i)
		if e.expires <= now && !s.inUse(i) {
			s.counts.timedOut++
			s.mourn(i)
			bodies[expired] = s.remove(i)
			expired++
			continue
		}
		s.unlink(i) // it was touched since, or is in use: look again later
		s.schedule(i)
	}
	s.release()

	for _, r := range bodies[:expired] {
		s.store.heap.Drop(r)
	}
	return more
}

// inUse: entry i may not expire.
func (s *shard) inUse(i uint32) bool {
	e := s.entries.At(i)
	return e.has(isTaken|isLeaving) && s.owns(i) // a copy's turn ended when it became one
}

func (k *keeper) worthCompacting() bool {
	waste, since := k.heap.Waste(), time.Since(k.lastCompacted)
	held := waste + k.heap.Live()
	switch {
	case waste < minWaste:
		return false
	case waste > held/muchWaste:
		return since >= muchWasteEvery
	default:
		return waste > held/littleWaste && since >= littleWasteEvery
	}
}

// beginCompaction chooses sparse slabs to be emptied by moving the bodies in them.
func (k *keeper) beginCompaction() {
	k.shard, k.from = 0, 1
	if !k.heap.Mark(compactSlack) {
		k.endCompaction()
		return
	}
	k.pause = time.After(compactPause)
}

// compact goes on with the walk for one slice of time.
func (k *keeper) compact() {
	for began := time.Now(); time.Since(began) < compactSlice; {
		if k.from = k.shards[k.shard].compactSome(k.from); k.from != 0 {
			continue
		}
		k.shard, k.from = k.shard+1, 1
		if k.shard == shards {
			k.endCompaction()
			return
		}
	}
	k.pause = time.After(compactPause)
}

func (k *keeper) endCompaction() {
	k.heap.Unmark()
	k.pause, k.lastCompacted = nil, time.Now()
}

// compactSome moves bodies out of marked slabs, beginning with entry from, and returns where to go on, or 0. Entries that change
// their number meanwhile may be missed: they are found the next time.
func (s *shard) compactSome(from int) int {
	heap := s.store.heap
	s.mu.Lock()
	defer s.mu.Unlock()
	i, end, moved := from, from+compactBatch, 0
	for ; i < end && i <= s.count && moved < compactBytes; i++ {
		e := s.entries.At(uint32(i))
		if e.has(isLeaving) { // its Record names the body
			continue
		}
		if r := e.body(); heap.Marked(r) {
			if to, err := heap.Move(r); err == nil {
				e.setBody(to)
				moved += heap.Size(to)
			}
		}
		if e.isLong() && heap.Marked(e.longID()) {
			if to, err := heap.Move(e.longID()); err == nil {
				e.setLongID(to)
			}
		}
	}
	if i > s.count {
		return 0
	}
	return i
}

// count goes on with the census for one slice of time. The next begins at a tick, so that a store of some ten thousand sessions is counted
// every second, and larger ones as often as the census' share allows.
func (k *keeper) count() {
	began := time.Now()
	if k.census == nil {
		k.census = newCensus(k.Store)
	}
	k.counting = true
	for k.counting && time.Since(began) < censusSlice {
		k.counting = !k.census.step()
	}
	if !k.counting {
		k.census.publish()
	}
	took := min(time.Since(began), 4*censusSlice) // more was for want of a processor
	k.rest = time.After((censusShare - 1) * took)
}
