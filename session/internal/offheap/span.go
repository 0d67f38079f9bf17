package offheap

import (
	"math/bits"
	"sync"
	"unsafe"
)

const (
	spanSize = 64 << 10
	runs     = 5               // run sizes
	maxRun   = 1 << (runs - 1) // spans of the longest run
)

// spans is the memory taken from the operating system, in runs of 1, 2, 4, 8 or 16 spans. A run that comes back stays committed until
// it has been free for a whole round of trim, since it is likely to be wanted again; its address range is kept for ever, and runs are not joined.
type spans struct {
	mu       sync.Mutex
	reserved [][]byte
	rest     []byte         // of the latest reservation, not handed out yet
	clean    [runs][][]byte // free, not committed
	dirty    [runs][][]byte // free, still committed, the latest last
	settled  [runs]int      // dirty[i][:settled[i]] were free at the last trim already
}

// take returns a run of n spans, ready for use, with anything in it.
func (p *spans) take(n int) ([]byte, error) {
	i := bits.TrailingZeros(uint(n))
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.dirty[i]; len(d) > 0 {
		run := d[len(d)-1]
		p.dirty[i] = d[:len(d)-1]
		p.settled[i] = min(p.settled[i], len(p.dirty[i]))
		return run, nil
	}
	run, err := p.cleanRun(i)
	if err != nil {
		return nil, err
	}
	if err := commit(run); err != nil {
		p.clean[i] = append(p.clean[i], run)
		return nil, err
	}
	return run, nil
}

func (p *spans) cleanRun(i int) ([]byte, error) {
	if c := p.clean[i]; len(c) > 0 {
		p.clean[i] = c[:len(c)-1]
		return c[len(c)-1], nil
	}
	size := spanSize << i
	if len(p.rest) < size {
		mem, err := reserve(reservation)
		if err != nil {
			return nil, err
		}
		for len(p.rest) > 0 { // cut up what is left over
			j := bits.Len(uint(len(p.rest)/spanSize)) - 1
			p.clean[j] = append(p.clean[j], p.rest[:spanSize<<j:spanSize<<j])
			p.rest = p.rest[spanSize<<j:]
		}
		p.reserved = append(p.reserved, mem)
		p.rest = mem
	}
	run := p.rest[:size:size]
	p.rest = p.rest[size:]
	return run, nil
}

// give takes a run back.
func (p *spans) give(run []byte) {
	i := bits.TrailingZeros(uint(len(run) / spanSize))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty[i] = append(p.dirty[i], run)
}

// trim gives those runs back to the operating system that have been free since the last call.
func (p *spans) trim() {
	for i := range p.dirty {
		p.mu.Lock()
		old := append([][]byte(nil), p.dirty[i][:p.settled[i]]...)
		p.dirty[i] = append(p.dirty[i][:0], p.dirty[i][p.settled[i]:]...)
		p.settled[i] = len(p.dirty[i])
		p.mu.Unlock()
		for _, run := range old { // without the lock: this is a system call each
			decommit(run)
		}
		p.mu.Lock()
		p.clean[i] = append(p.clean[i], old...)
		p.mu.Unlock()
	}
}

func (p *spans) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mem := range p.reserved {
		release(mem)
	}
	p.reserved, p.rest = nil, nil
}

// linkIn is where a free slot keeps the number of the next one.
func linkIn(slot []byte) *uint32 { return (*uint32)(unsafe.Pointer(&slot[0])) }
