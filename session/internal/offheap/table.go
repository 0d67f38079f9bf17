package offheap

import (
	"fmt"
	"os"
	"unsafe"
)

// tableStep is the granularity, in bytes, in which a Table takes and returns memory: the least there is, since a store has many tables.
var tableStep = os.Getpagesize()

// Table is one growing array of T outside the Go heap. T must hold no pointers. Not for concurrent use.
//
// Where address space costs nothing the array never moves: room for the maximum is reserved at the start and used from
// the front. Elsewhere it is copied as it grows, so no pointer into it may be kept across Resize.
type Table[T any] struct {
	mem   []byte
	ready int // bytes of mem that are committed
	all   []T
}

// NewTable makes an empty table for at most max elements.
func NewTable[T any](max int) (*Table[T], error) {
	t := &Table[T]{}
	if !lazy {
		return t, nil
	}
	mem, err := reserve(roundUp(max*t.width(), tableStep))
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", max*t.width(), err)
	}
	t.mem = mem
	t.view()
	return t, nil
}

// Max is the number of elements there can be.
func (t *Table[T]) Max() int {
	if !lazy {
		return 1 << 30
	}
	return len(t.all)
}

// At is element i, which must be below the size last given to Resize.
func (t *Table[T]) At(i uint32) *T { return &t.all[i] }

// Resize makes elements 0 to n-1 usable and gives back what lies far enough beyond. New elements hold anything.
func (t *Table[T]) Resize(n int) error {
	need := roundUp(n*t.width(), tableStep)
	switch {
	case need > t.ready && !lazy:
		mem, _ := reserve(max(need, 2*t.ready))
		copy(mem, t.mem)
		t.mem, t.ready = mem, len(mem)
		t.view()
	case need > len(t.mem):
		return fmt.Errorf("table is full at %d elements", t.Max())
	case need > t.ready:
		if err := commit(t.mem[t.ready:need]); err != nil {
			return fmt.Errorf("commit %d bytes: %w", need-t.ready, err)
		}
		t.ready = need
	case lazy && need+2*tableStep <= t.ready: // a step of slack, so that a size that swings a little costs nothing
		decommit(t.mem[need+tableStep : t.ready])
		t.ready = need + tableStep
	}
	return nil
}

// Close gives the memory back; the table is of no use afterwards.
func (t *Table[T]) Close() {
	if t.mem != nil {
		release(t.mem)
	}
	*t = Table[T]{}
}

func (t *Table[T]) width() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// view lays the array over the memory.
func (t *Table[T]) view() {
	t.all = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.mem))), len(t.mem)/t.width())
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
