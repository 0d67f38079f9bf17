// Package offheap keeps session bodies outside the Go heap, where the garbage collector neither scans nor doubles them.
//
// Read it in this order: heap.go hands out slots and takes them back; slab.go cuts memory into slots of one size;
// span.go gets memory from the operating system and gives it back; compact.go empties sparse slabs; table.go is an array that grows in
// place. os_*.go are the five calls in which the systems differ.
//
//	reservation  64 MiB of address space
//	└ span       64 KiB, the unit that is taken from and returned to the operating system
//	  └ slab     1 to 16 spans in a row, cut into slots of one size class
//	    └ slot   8 bytes of header (holders, length), then the body
//
// A body of more than 128 KiB has a reservation of its own. A slot is named by a Ref, a number, so that the
// records which hold Refs can live outside the Go heap too.
package offheap

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Ref names one slot. The zero Ref names none.
type Ref uint64

func makeRef(slab, slot uint32) Ref { return Ref(slab)<<16 | Ref(slot) }
func (r Ref) slab() uint32          { return uint32(r >> 16) }
func (r Ref) slot() uint32          { return uint32(r & 0xffff) }

// header stands in front of each body.
type header struct {
	holders atomic.Int32 // the record that stores the body, and answers being written from it
	length  uint32
}

const headerSize = int(unsafe.Sizeof(header{}))

// maxBody is the largest body: the protocol counts bytes in an int32.
const maxBody = 1<<31 - 1 - spanSize

// Heap is a set of slots. All methods may be called concurrently.
type Heap struct {
	spans   spans
	classes []class

	mu    sync.Mutex              // guards growing and reusing slabs
	slabs atomic.Pointer[[]*slab] // by id; 0 is not used. An element changes only while nobody holds a slot of it
	free  []uint32                // ids of slabs that are no more

	live atomic.Int64 // bytes of slots in use
	held atomic.Int64 // bytes of slabs, whether their slots are in use or not

	spares atomic.Int32 // classes that have a spare slab
}

// NewHeap makes an empty heap. It takes no memory before the first Alloc.
func NewHeap() *Heap {
	h := &Heap{classes: makeClasses()}
	h.slabs.Store(&[]*slab{nil})
	return h
}

// Alloc makes a slot for n bytes, held once. The bytes hold anything; those of a slot that is larger than a slab holds must
// be committed before they are used, see Commit.
func (h *Heap) Alloc(n int) (Ref, error) {
	r, size, err := h.Claim(n)
	h.live.Add(int64(size))
	return r, err
}

// Claim is Alloc for bytes that are still to come, and may never do so. size is that of the slot, which does not count as live until
// the caller says so, see Arrived: all of it before he drops it. It is 0 for a large slot, of which counts what is committed.
func (h *Heap) Claim(n int) (r Ref, size int, err error) {
	switch {
	case n < 0 || n > maxBody:
		err = errors.New("no such size")
	case n+headerSize > maxSlot:
		r, err = h.allocLarge(n + headerSize)
	default:
		c := h.classFor(n + headerSize)
		r, err = h.allocSlot(c)
		size = c.size
	}
	if err != nil {
		return 0, 0, fmt.Errorf("memory for %d bytes: %w", n, err)
	}
	hd := h.header(r)
	hd.length = uint32(n)
	hd.holders.Store(1)
	return r, size, nil
}

// Arrived counts n more bytes of a claimed slot as live.
func (h *Heap) Arrived(n int) { h.live.Add(int64(n)) }

// Bytes are the n bytes that Alloc made room for.
func (h *Heap) Bytes(r Ref) []byte {
	mem := h.slabOf(r).memory(r.slot())
	return mem[headerSize : headerSize+int((*header)(unsafe.Pointer(&mem[0])).length)]
}

// Hold adds a holder. The caller must know that there is one already.
func (h *Heap) Hold(r Ref) { h.header(r).holders.Add(1) }

// Drop takes a holder away; with the last one the slot is free.
func (h *Heap) Drop(r Ref) {
	if h.header(r).holders.Add(-1) > 0 {
		return
	}
	if s := h.slabOf(r); s.class == nil {
		h.freeLarge(s)
	} else {
		h.freeSlot(s, r.slot())
	}
}

// SizeOf is the Size of a slot for n bytes, all of them there.
func (h *Heap) SizeOf(n int) int {
	if n+headerSize > maxSlot {
		return roundUp(n+headerSize, spanSize)
	}
	return h.classFor(n + headerSize).size
}

// Size is the number of bytes that the slot takes, its header included.
func (h *Heap) Size(r Ref) int {
	s := h.slabOf(r)
	if s.class == nil {
		return int(s.committed.Load())
	}
	return s.class.size
}

// About is the body's length, or at most 4 bytes or a hundredth off. Unlike Bytes, it does not touch the body, which is hardly ever in the processor's
// cache: that makes it ten times as fast for who goes by all of them.
func (h *Heap) About(r Ref) int {
	s := h.slabOf(r)
	if s.class == nil {
		return int(h.header(r).length)
	}
	return s.class.about
}

// Commit makes at least the first n bytes of the slot usable and returns how many are. Only a large slot has fewer
// than all: it takes memory step by step, as its body arrives.
func (h *Heap) Commit(r Ref, n int) (int, error) {
	length := int(h.header(r).length)
	s := h.slabOf(r)
	if s.class != nil {
		return length, nil
	}
	if err := h.commitLarge(s, headerSize+n); err != nil {
		return 0, fmt.Errorf("commit %d bytes: %w", n, err)
	}
	return min(length, int(s.committed.Load())-headerSize), nil
}

// Live is the number of bytes of all slots in use.
func (h *Heap) Live() int64 { return h.live.Load() }

// Close gives everything back to the operating system. Nothing of the heap may be used any more.
func (h *Heap) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range *h.slabs.Load() {
		if s != nil && s.class == nil {
			release(s.mem)
		}
	}
	h.slabs.Store(&[]*slab{nil})
	h.spans.close()
}

func (h *Heap) slabOf(r Ref) *slab { return (*h.slabs.Load())[r.slab()] }

func (h *Heap) header(r Ref) *header {
	return (*header)(unsafe.Pointer(&h.slabOf(r).memory(r.slot())[0]))
}

// addSlab gives s an id.
func (h *Heap) addSlab(s *slab) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := *h.slabs.Load()
	if n := len(h.free); n > 0 {
		s.id, h.free = h.free[n-1], h.free[:n-1]
		all[s.id] = s
		return
	}
	s.id = uint32(len(all))
	all = append(all, s) // readers keep using the shorter one, which holds every id they can know
	h.slabs.Store(&all)
}

// dropSlab takes s's id back. No slot of it is in use.
func (h *Heap) dropSlab(s *slab) {
	h.mu.Lock()
	defer h.mu.Unlock()
	(*h.slabs.Load())[s.id] = nil
	h.free = append(h.free, s.id)
}
