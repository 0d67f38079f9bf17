package session

import "time"

// Tours. Sessions are gone by, a few at each call, at any number of them, while they come and go. A shard's entries are walked from the last to
// the first: removing one moves the last into its place, which has been seen by then. So a round misses nothing but what was added
// after it had come by.

// lookBatch is how many entries are looked at while a shard's lock is held.
const lookBatch = 256

// cursor is a place in a tour that goes round and round.
type cursor struct {
	shard  int
	within bool
	left   uint32 // if within: entries of the shard that are still to be seen
}

// tour comes by the entries of every shard that is not skipped, going on from the cursor, and at most once round. It ends where see is false,
// and the next one begins there.
func (m *Moves) tour(c *cursor, skip func(*shard) bool, see func(*shard, uint32) bool) {
	start := *c
	for visit, more := 0, true; more; {
		last := uint32(0)
		if visit == shards { // here we began, perhaps in the middle
			if !start.within {
				break
			}
			last = start.left
		}
		s := &m.st.shards[c.shard]
		s.mu.Lock()
		if !c.within {
			c.left, c.within = uint32(s.count), true
		}
		c.left = min(c.left, uint32(s.count))
		if skip(s) {
			c.left = 0
		}
		for looked := 0; c.left > last && looked < lookBatch; looked++ {
			if more = see(s, c.left); !more {
				break
			}
			c.left--
		}
		s.mu.Unlock()
		if visit == shards && c.left <= last {
			break
		}
		if c.left == 0 {
			c.shard, c.within = (c.shard+1)%shards, false
			visit++
		}
	}
}

// keys returns those of up to n sessions that are wanted.
func (m *Moves) keys(c *cursor, n int, skip func(*shard) bool, want func(*shard, uint32) bool) (keys []string) {
	m.tour(c, skip, func(s *shard, i uint32) bool {
		if len(keys) >= n {
			return false
		}
		if want(s, i) {
			keys = append(keys, s.keyOf(i))
		}
		return true
	})
	return keys
}

// allLeave: there is nothing left in the shard.
func allLeave(s *shard) bool { return s.count == len(s.leaving) }

// Pick returns up to n sessions that are owned or copies. Repeated calls come by every one.
func (m *Moves) Pick(n int) []string {
	return m.keys(&m.pick, n, allLeave,
		func(s *shard, i uint32) bool { return !s.entries.At(i).has(isLeaving) })
}

// Part freezes owned sessions, whatever their lock, for the tickets from first on: it is a Pick, and a Leave for each. Those that are copies, or in
// an operation's turn, or over, it only names. There are up to n of both, and no more than size bytes of keys and bodies, as they are stored, unless
// it is one session. frozen is told of each.
func (m *Moves) Part(n, size int, first uint64, frozen func(k string, ticket uint64, r Record)) (rest []string) {
	now := m.st.now()
	records, bodies := make([]Record, 0, n), make([]Stored, n)
	var text []byte // all keys
	ends := make([]int, 0, n)
	m.tour(&m.pick, allLeave, func(s *shard, i uint32) bool {
		did := len(records)
		if did+len(rest) == n {
			return false
		}
		e := s.entries.At(i)
		if e.has(isLeaving) {
			return true
		}
		if e.has(isTaken) || !s.owns(i) || e.expires <= now {
			rest = append(rest, s.keyOf(i))
			return true
		}
		size -= s.keyLen(e) + m.st.heap.Size(e.body())
		if size < 0 && did > 0 {
			return false
		}
		e.set(isLeaving)
		s.leaving[i] = first + uint64(did)
		records = append(records, s.record(i, now, &bodies[did]))
		text = s.appendKey(text, e)
		ends = append(ends, len(text))
		return true
	})
	// The bodies lie all over the memory. Who does nothing else meanwhile is brought several at a time.
	for i := range records {
		bodies[i].Size()
	}
	keys, from := string(text), 0
	for i, end := range ends {
		frozen(keys[from:end], first+uint64(i), records[i])
		from = end
	}
	return rest
}

// Copies returns up to n copies, and none only if there are none. Repeated calls come by every one.
func (m *Moves) Copies(n int) []string {
	return m.keys(&m.copy, n,
		func(s *shard) bool { return s.copies == 0 },
		func(s *shard, i uint32) bool { return !s.owns(i) })
}

// Claim is a session that is owned.
type Claim struct {
	Key   string
	Epoch uint64
	Idle  time.Duration // since it was last used
}

// recentBatch is how many sessions one call of Recent looks at.
const recentBatch = 16 << 10

// Recent returns up to n owned sessions whose epoch is at least since, going on from a place it returned before; 0 is the beginning, and
// returned, the end. It may return fewer, since it looks at so many only.
func (m *Moves) Recent(since, from uint64, n int) (claims []Claim, next uint64) {
	// A place is the shard, and how many of its entries are still to be seen, and one more; or 0: all.
	number, left := int(from>>32), uint32(from)
	for budget := recentBatch; number < shards; {
		s := &m.st.shards[number]
		s.mu.Lock()
		if left == 0 {
			left = uint32(s.count) + 1
		}
		left = min(left, uint32(s.count)+1)
		now := m.st.now()
		for looked := 0; left > 1 && looked < lookBatch && len(claims) < n && budget > 0; looked++ {
			left--
			budget--
			if i := left; s.owns(i) && s.epoch(i) >= since && s.canServe(i, now) {
				claims = append(claims, Claim{Key: s.keyOf(i), Epoch: s.epoch(i), Idle: s.idle(i, now)})
			}
		}
		s.mu.Unlock()
		switch {
		case left == 1:
			number, left = number+1, 0
		case len(claims) >= n || budget == 0:
			return claims, uint64(number)<<32 | uint64(left)
		}
	}
	return claims, 0
}

// canServe: entry i, owned, is neither leaving nor over.
func (s *shard) canServe(i uint32, now int64) bool {
	e := s.entries.At(i)
	return !e.has(isLeaving) && (e.expires > now || e.has(isTaken))
}
