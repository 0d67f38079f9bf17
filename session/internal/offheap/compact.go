package offheap

import "slices"

// Compaction. Slabs run sparse when the sessions that filled them expire or change their size. They are emptied in three steps: mark
// the sparsest, move every body found in a marked one, unmark what could not be emptied. The heap does not know who
// holds a slot; the owner of the records walks them and calls Move.

// Mark chooses sparse slabs to be emptied, the sparsest first, until every class has at most 1/slack of its slots free, and tells
// whether there are any. Slots of marked slabs are not handed out. There may be very many slabs, so no lock is held for more than one.
func (h *Heap) Mark(slack int) bool {
	surplus := map[*class]int{} // slabs that the class could do without
	for i := range h.classes {
		c := &h.classes[i]
		c.mu.Lock()
		keep := c.used/c.slots + 1
		keep += keep / slack
		if c.slabs > keep {
			surplus[c] = c.slabs - keep
		}
		c.mu.Unlock()
	}
	if len(surplus) == 0 {
		return false
	}
	type candidate struct {
		*slab
		used int
	}
	var sparse []candidate
	for _, s := range h.allSlabs() {
		if s == nil || surplus[s.class] == 0 {
			continue
		}
		s.class.mu.Lock()
		if s.listed {
			sparse = append(sparse, candidate{s, s.used})
		}
		s.class.mu.Unlock()
	}
	slices.SortFunc(sparse, func(a, b candidate) int { return a.used - b.used })
	any := false
	for _, s := range sparse {
		if surplus[s.class] > 0 && s.mark() {
			surplus[s.class]--
			any = true
		}
	}
	return any
}

// mark makes s one to be emptied, unless it has become full or is no more.
func (s *slab) mark() bool {
	s.class.mu.Lock()
	defer s.class.mu.Unlock()
	if !s.listed {
		return false
	}
	s.class.unlist(s)
	s.emptying.Store(true)
	return true
}

// Marked tells whether the slot should be moved.
func (h *Heap) Marked(r Ref) bool { return h.slabOf(r).emptying.Load() }

// Move copies a slot for the caller, one of its holders, who lets go of the old one. It is free at once, or when its other holders have done so.
func (h *Heap) Move(r Ref) (Ref, error) {
	from := h.Bytes(r)
	to, err := h.Alloc(len(from))
	if err != nil {
		return 0, err
	}
	copy(h.Bytes(to), from)
	h.Drop(r)
	return to, nil
}

// Unmark ends a compaction: marked slabs that still have slots in use hand out slots again.
func (h *Heap) Unmark() {
	for _, s := range h.allSlabs() {
		if s == nil || !s.emptying.Load() {
			continue
		}
		s.class.mu.Lock()
		s.emptying.Store(false)
		if s.used > 0 && s.used < s.class.slots && !s.listed {
			s.class.list(s)
		}
		s.class.mu.Unlock()
	}
}

// allSlabs are the slabs there are now; nil stands where there is none.
func (h *Heap) allSlabs() []*slab {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(*h.slabs.Load())
}

// Waste is the number of bytes that the slabs hold beyond the slots in use.
func (h *Heap) Waste() int64 { return h.held.Load() - h.live.Load() }

// Trim gives memory that has been free since the last Trim back to the operating system.
func (h *Heap) Trim() {
	h.spans.trim()
	if h.spares.Load() == 0 {
		return
	}
	for i := range h.classes {
		h.trimSpare(&h.classes[i])
	}
}
