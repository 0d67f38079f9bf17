package session

import (
	"errors"
	"fmt"
	"math"

	"statemesh/session/internal/offheap"
)

// ErrNoMemory is NewBody's answer when even sessions that exist already cannot be served: the store is an eighth above its limit
// with bodies that are still arriving, or the operating system refused.
var ErrNoMemory = errors.New("no memory for a session's body")

// Body is a session's bytes while they arrive, read from the web server straight into where they will be stored. It belongs to one goroutine.
type Body struct {
	heap   *offheap.Heap
	ref    offheap.Ref
	bytes  []byte
	filled int
	ready  int // bytes that memory has been taken for
	claim  int // bytes of the slot that do not count as live yet, since nothing has come of them
}

// NewBody makes room for n bytes, n >= 1. The room costs no physical memory before it is filled, and no more address
// space than n: a large one takes memory step by step.
func (st *Store) NewBody(n int) (*Body, error) {
	if limit := st.o.MaxMemory; limit > 0 && st.heap.Live() > above(limit) {
		st.refused.Add(1)
		return nil, fmt.Errorf("%w: %d bytes are in use, %d allowed", ErrNoMemory, st.heap.Live(), limit)
	}
	ref, claim, err := st.heap.Claim(n)
	if err != nil {
		st.refused.Add(1)
		return nil, fmt.Errorf("%w: %w", ErrNoMemory, err)
	}
	b, _ := st.bodies.Get().(*Body)
	if b == nil {
		b = &Body{}
	}
	*b = Body{heap: st.heap, ref: ref, bytes: st.heap.Bytes(ref), claim: claim}
	if b.ready, err = st.heap.Commit(ref, 1); err != nil {
		st.refused.Add(1)
		b.Discard()
		return nil, fmt.Errorf("%w: %w", ErrNoMemory, err)
	}
	return b, nil
}

// above is how far sessions that exist may go beyond a limit for new ones.
func above(limit int64) int64 { return limit + min(limit/8, math.MaxInt64-limit) }

// Next is the next stretch to fill; empty once the body is full, or if the operating system has no memory for more of it, when Full
// stays false.
func (b *Body) Next() []byte {
	if b.filled == b.ready && !b.Full() {
		// As much again as has arrived: few steps, and never more than twice what the web server has shown to have.
		ready, err := b.heap.Commit(b.ref, min(2*b.filled, len(b.bytes)))
		if err == nil {
			b.ready = ready
		}
	}
	return b.bytes[b.filled:b.ready]
}

// Filled says that n more bytes, of those that Next showed, have arrived.
func (b *Body) Filled(n int) {
	b.filled += n
	if b.Full() {
		b.count(b.claim) // the slot's end, which nothing comes to, with it
	} else {
		b.count(min(n, b.claim))
	}
}

// count lets n bytes count as live.
func (b *Body) count(n int) {
	if n > 0 {
		b.claim -= n
		b.heap.Arrived(n)
	}
}

// Full tells whether all bytes have arrived.
func (b *Body) Full() bool { return b.filled == len(b.bytes) }

// Size is the number of bytes that the body takes in the store.
func (b *Body) Size() int { return b.heap.Size(b.ref) }

// Discard gives back a Body that will not be stored. Not after Set, which took it over.
func (b *Body) Discard() {
	if b.ref != 0 {
		b.heap.Drop(b.take())
	}
}

// take hands the slot over to the caller.
func (b *Body) take() offheap.Ref {
	b.count(b.claim)
	r := b.ref
	b.ref, b.bytes, b.filled, b.ready = 0, nil, 0, 0
	return r
}

// recycle ends a Set's use of b.
func (st *Store) recycle(b *Body) {
	b.Discard()
	st.bodies.Put(b)
}
