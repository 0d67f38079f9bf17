package handoff

// noteIndex leads from a key's hash to the numbers of the notes that may be about it. It is a hash table without pointers and with one place to
// look at, as a rule; and in parts, each of which grows and shrinks by itself, so that no event has to wait until millions have been moved.
type noteIndex struct {
	parts [1 << indexBits]indexPart // by the hash's top bits
}

// indexPart holds entries, each at its home or after it, with no empty place in between.
type indexPart struct {
	entries []indexEntry // as many as a power of two, at most three quarters of them in use
	used    int
}

// indexEntry is the hash's lower half, with its top bit set, and the lower half of the note's number; or 0: none.
type indexEntry uint64

const (
	indexBits = 8
	minIndex  = 8
	indexMark = 1 << 63
)

func makeEntry(hash, n uint64) indexEntry { return indexEntry(hash<<32 | indexMark | n&(1<<32-1)) }

func (e indexEntry) number() uint32               { return uint32(e) }
func (e indexEntry) home() int                    { return int(e >> 32) }
func (e indexEntry) sameHash(as indexEntry) bool  { return e>>32 == as>>32 }
func (ix *noteIndex) part(hash uint64) *indexPart { return &ix.parts[hash>>(64-indexBits)] }
func (p *indexPart) mask() int                    { return len(p.entries) - 1 }

func (ix *noteIndex) add(hash, n uint64) {
	p := ix.part(hash)
	if 4*(p.used+1) > 3*len(p.entries) {
		p.resize(max(minIndex, 2*len(p.entries)))
	}
	p.put(makeEntry(hash, n))
}

func (p *indexPart) put(e indexEntry) {
	i := e.home() & p.mask()
	for p.entries[i] != 0 {
		i = (i + 1) & p.mask()
	}
	p.entries[i] = e
	p.used++
}

func (p *indexPart) resize(n int) {
	old := p.entries
	p.entries, p.used = make([]indexEntry, n), 0
	for _, e := range old {
		if e != 0 {
			p.put(e)
		}
	}
}

// remove takes an entry out, which must be there, and closes the gap.
func (ix *noteIndex) remove(hash, n uint64) {
	p, e := ix.part(hash), makeEntry(hash, n)
	i := e.home() & p.mask()
	for p.entries[i] != e {
		i = (i + 1) & p.mask()
	}
	for j := (i + 1) & p.mask(); p.entries[j] != 0; j = (j + 1) & p.mask() {
		if (j-p.entries[j].home())&p.mask() >= (j-i)&p.mask() { // it may stand as early as here
			p.entries[i], i = p.entries[j], j
		}
	}
	p.entries[i] = 0
	if p.used--; len(p.entries) > minIndex && 8*p.used < len(p.entries) {
		p.resize(len(p.entries) / 2)
	}
}

// len is how many entries there are.
func (ix *noteIndex) len() (n int) {
	for i := range ix.parts {
		n += ix.parts[i].used
	}
	return n
}
