package offheap

import "fmt"

// Lazy says that memory is the operating system's, not Go's.
const Lazy = lazy

// SpanSize and MaxSlot are the sizes that matter to tests.
const (
	SpanSize   = spanSize
	MaxSlot    = maxSlot
	HeaderSize = headerSize
)

// Class is one slot size.
type Class struct{ Size, Slots, Spans int }

// Classes are all slot sizes, rising.
func (h *Heap) Classes() []Class {
	var all []Class
	for i := range h.classes {
		c := &h.classes[i]
		all = append(all, Class{c.size, c.slots, c.spans})
	}
	return all
}

// ClassFor is the size of the slot that n bytes, header included, get.
func (h *Heap) ClassFor(n int) int { return h.classFor(n).size }

// SlabOf identifies the slab of a slot.
func (h *Heap) SlabOf(r Ref) any { return h.slabOf(r) }

// HeldBytes is the number of bytes in slabs.
func (h *Heap) HeldBytes() int64 { return h.held.Load() }

// Runs are the numbers of free runs: still committed, and not.
func (h *Heap) Runs() (dirty, clean int) {
	h.spans.mu.Lock()
	defer h.spans.mu.Unlock()
	for i := range h.spans.dirty {
		dirty += len(h.spans.dirty[i])
		clean += len(h.spans.clean[i])
	}
	return dirty, clean
}

// Reserved is the number of bytes of address space.
func (h *Heap) Reserved() (n int) {
	h.spans.mu.Lock()
	defer h.spans.mu.Unlock()
	for _, mem := range h.spans.reserved {
		n += len(mem)
	}
	return n
}

// Ready is the number of bytes that are usable, as the table has it.
func (t *Table[T]) Ready() int { return t.ready }

// Check walks all slabs and says what does not fit. Nobody may be using the heap.
func (h *Heap) Check() error {
	var live, held int64
	slabs, used := map[*class]int{}, map[*class]int{}
	all := *h.slabs.Load()
	for id, s := range all {
		if s == nil {
			continue
		}
		if int(s.id) != id {
			return fmt.Errorf("slab %d says it is %d", id, s.id)
		}
		if s.class == nil {
			live += s.committed.Load()
			held += s.committed.Load()
			continue
		}
		held += int64(len(s.mem))
		if s == s.class.spare {
			if s.used != 0 || s.listed || s.emptying.Load() {
				return fmt.Errorf("slab %d is spare: %d slots in use, in the list %v", id, s.used, s.listed)
			}
			continue
		}
		slabs[s.class]++
		used[s.class] += s.used
		live += int64(s.used * s.class.size)
		free := 0
		for slot := s.free; slot != noSlot; slot = *linkIn(s.memory(slot)) {
			if free++; slot >= s.fresh || free > s.class.slots {
				return fmt.Errorf("slab %d: free slot %d of %d, after %d others", id, slot, s.fresh, free)
			}
		}
		if s.used+free != int(s.fresh) || s.used == 0 {
			return fmt.Errorf("slab %d: %d slots in use and %d free of %d ever used", id, s.used, free, s.fresh)
		}
		if want := s.used < s.class.slots && !s.emptying.Load(); s.listed != want {
			return fmt.Errorf("slab %d: in the list %v, want %v; %d of %d slots in use", id, s.listed, want, s.used, s.class.slots)
		}
	}
	for i := range h.classes {
		c := &h.classes[i]
		if slabs[c] != c.slabs || used[c] != c.used {
			return fmt.Errorf("class %d: %d slabs and %d slots, counted %d and %d", c.size, slabs[c], used[c], c.slabs, c.used)
		}
		var prev *slab
		for s := c.partial; s != nil; s = s.next {
			if !s.listed || s.prev != prev || s.class != c {
				return fmt.Errorf("class %d: slab %d is in the list wrongly", c.size, s.id)
			}
			prev = s
		}
	}
	for _, id := range h.free {
		if all[id] != nil {
			return fmt.Errorf("id %d is free and in use", id)
		}
	}
	if got := h.live.Load(); got != live {
		return fmt.Errorf("%d live bytes, counted %d", live, got)
	}
	if got := h.held.Load(); got != held {
		return fmt.Errorf("%d bytes held, counted %d", held, got)
	}
	return nil
}
