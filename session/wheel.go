package session

import "time"

// The timing wheel finds expired sessions without a timer for each and without looking at those that live. Time goes in ticks of a second.
// Level 0 has a slot for each of the next 64 ticks, level 1 one for each of the next 64 times 64, and so on; five levels span 34 years. A
// slot is a list of entries, linked through the entries. When a tick comes, its slot of level 0 is due; every 64 ticks, so is a
// slot of level 1, whose entries move down; and so on.
//
// Touching a session, which every request does, only changes its entry. A due entry that was touched meanwhile goes back into the
// wheel: so the work is at most one visit for each level, for a session that expires or that was used since the last visit.
type wheel struct {
	tick  int64                     // ticks up to this one have been dealt with, but for what is in the due slots
	slots [dueSlots + levels]uint32 // the first entry of each list
}

const (
	tick = int64(time.Second)

	levelBits = 6
	levelSize = 1 << levelBits
	levels    = 5
	dueSlots  = levels * levelSize // one for each level: entries to be looked at now

	slotMark = 1 << 31 // in entry.before: the rest is a slot's number
)

// slotFor is where an entry that expires at this time belongs: in the slot of the first tick that is not earlier.
func (w *wheel) slotFor(expires int64) uint32 {
	t := max((expires+tick-1)/tick, w.tick+1)
	level := 0
	for span := int64(levelSize); t-w.tick >= span && level < levels-1; span <<= levelBits {
		level++
	}
	t = min(t, w.tick+int64(1)<<(levels*levelBits)-1)
	return w.slot(level, t)
}

func (w *wheel) slot(level int, t int64) uint32 {
	return uint32(level*levelSize) + uint32(t>>(level*levelBits))%levelSize
}

// schedule puts entry i into the wheel.
func (s *shard) schedule(i uint32) {
	e := s.entries.At(i)
	s.link(i, s.wheel.slotFor(e.expires))
}

func (s *shard) link(i, slot uint32) {
	e := s.entries.At(i)
	first := s.wheel.slots[slot]
	e.before, e.after = slotMark|slot, first
	if first != 0 {
		s.entries.At(first).before = i
	}
	s.wheel.slots[slot] = i
}

// unlink takes entry i out of the wheel.
func (s *shard) unlink(i uint32) {
	e := s.entries.At(i)
	s.pointBefore(e.before, e.after)
	if e.after != 0 {
		s.entries.At(e.after).before = e.before
	}
}

// pointBefore makes what stands before an entry, another one or its slot, lead to i.
func (s *shard) pointBefore(before, i uint32) {
	if before&slotMark != 0 {
		s.wheel.slots[before&^slotMark] = i
	} else {
		s.entries.At(before).after = i
	}
}

// advance turns the wheel until something is due or it has come up to now, and returns the first due entry, or 0.
func (s *shard) advance(now int64) uint32 {
	w := &s.wheel
	for {
		for _, i := range w.slots[dueSlots:] {
			if i != 0 {
				return i
			}
		}
		if w.tick >= now/tick {
			return 0
		}
		w.tick++
		s.makeDue(0)
		for level := 1; level < levels && w.tick%(1<<(level*levelBits)) == 0; level++ {
			s.makeDue(level)
		}
	}
}

// makeDue moves the whole of a level's current slot to where the level's due entries wait.
func (s *shard) makeDue(level int) {
	w := &s.wheel
	slot := w.slot(level, w.tick)
	first, due := w.slots[slot], uint32(dueSlots+level)
	if first != 0 {
		s.entries.At(first).before = slotMark | due
	}
	w.slots[slot], w.slots[due] = 0, first
}
