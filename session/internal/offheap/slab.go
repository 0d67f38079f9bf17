package offheap

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Slot sizes: every multiple of 8 up to 512, then 64 sizes to each doubling, so that at most 1.6 % of a slot is unused.
const (
	minSlot   = 16
	fineSlot  = 512
	maxSlot   = 128 << 10
	perDouble = 64
)

// noSlot ends a slab's list of free slots.
const noSlot = 1 << 16

// slab is a run of spans cut into slots of one size; or, without a class, the reservation of one large body.
type slab struct {
	id    uint32
	class *class
	mem   []byte

	committed atomic.Int64 // large: bytes of mem that are usable

	// The rest is guarded by class.mu.
	used       int    // slots in use
	fresh      uint32 // slots from here on have never been used
	free       uint32 // first free slot below fresh, or noSlot; each free slot holds the number of the next
	prev, next *slab  // in class.partial
	listed     bool   // in class.partial

	emptying atomic.Bool // being compacted: no slot of it is handed out
}

// memory is all of one slot, header first.
func (s *slab) memory(slot uint32) []byte {
	if s.class == nil {
		return s.mem
	}
	return s.mem[int(slot)*s.class.size:][:s.class.size]
}

// class is all slabs of one slot size.
type class struct {
	size  int // bytes of a slot
	about int // of a body that belongs into one: in the middle
	slots int // of a slab
	spans int // of a slab

	mu      sync.Mutex
	partial *slab // slabs with a free slot, those that were full last in front
	slabs   int   // spare is not one of them
	used    int   // slots
	spare   *slab // the last that ran empty, for the class to come back to: else one body of a size nobody else has would be a new slab each time
	settled bool  // the spare has been there for a whole round of Trim
}

func makeClasses() []class {
	var all []class
	smaller := headerSize
	add := func(size int) {
		spans := 1
		for spans < maxRun && spans*spanSize%size > spans*spanSize/64 { // waste at most 1/64 of a slab
			spans *= 2
		}
		for spans < maxRun && spans*spanSize/size < 8 { // nor give each large body memory of its own
			spans *= 2
		}
		about := (smaller+1+size)/2 - headerSize
		all = append(all, class{size: size, about: about, slots: spans * spanSize / size, spans: spans})
		smaller = size
	}
	for size := minSlot; size <= fineSlot; size += 8 {
		add(size)
	}
	for base := fineSlot; base < maxSlot; base *= 2 {
		for i := 1; i <= perDouble; i++ {
			add(base + i*base/perDouble)
		}
	}
	return all
}

// classFor is the smallest class whose slots hold n bytes, n at most maxSlot.
func (h *Heap) classFor(n int) *class {
	if n <= fineSlot {
		return &h.classes[(max(n, minSlot)-minSlot+7)/8]
	}
	const fine = (fineSlot-minSlot)/8 + 1
	double := bits.Len(uint(n-1)) - bits.Len(uint(fineSlot)) // n is in (fineSlot<<double, fineSlot<<(double+1)]
	base := fineSlot << double
	step := base / perDouble
	return &h.classes[fine+double*perDouble+(n-base+step-1)/step-1]
}

func (h *Heap) allocSlot(c *class) (Ref, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.partial
	if s == nil {
		var err error
		if s, err = h.newSlab(c); err != nil {
			return 0, err
		}
	}
	slot := s.free
	if slot == noSlot {
		slot = s.fresh
		s.fresh++
	} else {
		s.free = *linkIn(s.memory(slot))
	}
	s.used++
	c.used++
	if s.used == c.slots {
		c.unlist(s)
	}
	return makeRef(s.id, slot), nil
}

func (h *Heap) freeSlot(s *slab, slot uint32) {
	c := s.class
	c.mu.Lock()
	defer c.mu.Unlock()
	*linkIn(s.memory(slot)) = s.free
	s.free = slot
	s.used--
	c.used--
	h.live.Add(-int64(c.size))
	switch {
	case s.used == 0 && c.spare == nil && !s.emptying.Load():
		if s.listed {
			c.unlist(s)
		}
		c.slabs--
		c.spare, c.settled = s, false
		h.spares.Add(1)
	case s.used == 0:
		h.endSlab(s)
	case !s.listed && !s.emptying.Load():
		c.list(s)
	}
}

// newSlab adds a slab to c: its spare one, if it has one. class.mu is held.
func (h *Heap) newSlab(c *class) (*slab, error) {
	if s := c.spare; s != nil {
		c.spare = nil
		h.spares.Add(-1)
		c.list(s)
		c.slabs++
		return s, nil
	}
	mem, err := h.spans.take(c.spans)
	if err != nil {
		return nil, err
	}
	s := &slab{class: c, mem: mem, free: noSlot}
	h.addSlab(s)
	c.list(s)
	c.slabs++
	h.held.Add(int64(len(mem)))
	return s, nil
}

// endSlab gives an unused slab's memory back. class.mu is held.
func (h *Heap) endSlab(s *slab) {
	if s.listed {
		s.class.unlist(s)
	}
	s.class.slabs--
	h.giveSlab(s)
}

// giveSlab gives its memory back.
func (h *Heap) giveSlab(s *slab) {
	h.held.Add(-int64(len(s.mem)))
	h.dropSlab(s)
	h.spans.give(s.mem)
}

// trimSpare ends the class's spare slab if it has not been wanted for a whole round.
func (h *Heap) trimSpare(c *class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spare == nil {
		return
	}
	if !c.settled {
		c.settled = true
		return
	}
	h.giveSlab(c.spare)
	c.spare = nil
	h.spares.Add(-1)
}

// list puts s in front: slabs that were full a moment ago are filled first, so that the others may run empty.
func (c *class) list(s *slab) {
	s.listed, s.prev, s.next = true, nil, c.partial
	if s.next != nil {
		s.next.prev = s
	}
	c.partial = s
}

func (c *class) unlist(s *slab) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		c.partial = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.listed, s.prev, s.next = false, nil, nil
}

// allocLarge reserves memory for one large body; what is usable of it at first is one step.
func (h *Heap) allocLarge(n int) (Ref, error) {
	mem, err := reserve(roundUp(n, spanSize))
	if err != nil {
		return 0, err
	}
	s := &slab{mem: mem}
	if err := h.commitLarge(s, spanSize); err != nil {
		release(mem)
		return 0, err
	}
	h.addSlab(s)
	return makeRef(s.id, 0), nil
}

// commitLarge makes the first n bytes of s usable, in whole spans.
func (h *Heap) commitLarge(s *slab, n int) error {
	have, want := int(s.committed.Load()), min(roundUp(n, spanSize), len(s.mem))
	if want <= have {
		return nil
	}
	if err := commit(s.mem[have:want]); err != nil {
		return err
	}
	s.committed.Store(int64(want))
	h.live.Add(int64(want - have))
	h.held.Add(int64(want - have))
	return nil
}

func (h *Heap) freeLarge(s *slab) {
	h.live.Add(-s.committed.Load())
	h.held.Add(-s.committed.Load())
	h.dropSlab(s)
	release(s.mem)
}
