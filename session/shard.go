package session

import (
	"bytes"
	"hash/maphash"
	"sync"

	"statemesh/session/internal/offheap"
)

// shard holds a part of the sessions. Everything in it is guarded by mu, which is held for well under a microsecond at a time,
// never over I/O and never while waiting.
type shard struct {
	store *Store

	mu      sync.Mutex
	entries *offheap.Table[entry]  // 1 to count
	chains  *offheap.Table[uint32] // the index: the first entry of each chain
	count   int
	room    int // entries that there is memory for
	buckets int // chains in use
	wheel   wheel
	queues  map[uint32]*queue // of entries that are awaited
	counts  counts
	cluster // what only a store in a cluster has

	_ [64]byte // keep neighbours' mutexes off this cache line
}

// counts are a shard's share of Stats.
type counts struct {
	created, timedOut, abandoned, refused int64
	locked, waiting, bodyBytes            int64
}

// maxEntries bounds a shard's sessions, and so the address space that is reserved for it.
const maxEntries = 16 << 20

// minBuckets is the size of an empty index; a power of two.
const minBuckets = 8

func (s *shard) init(store *Store) error {
	var err error
	s.store = store
	s.queues = map[uint32]*queue{}
	if s.entries, err = offheap.NewTable[entry](maxEntries); err != nil {
		return err
	}
	if s.chains, err = offheap.NewTable[uint32](maxEntries); err != nil {
		return err
	}
	if err := s.chains.Resize(minBuckets); err != nil {
		return err
	}
	for b := range uint32(minBuckets) {
		*s.chains.At(b) = 0
	}
	s.buckets = minBuckets
	return nil
}

func (s *shard) close() {
	if s.entries != nil {
		s.entries.Close()
	}
	if s.chains != nil {
		s.chains.Close()
	}
	if s.places != nil {
		s.places.Close()
	}
}

// makeRoom makes room for n entries in all, besides those that have been promised some; or gives back what is too much.
func (s *shard) makeRoom(n int) error {
	n += s.promised
	if n <= s.room && s.room-n < max(slackRoom, s.room/slackShare) {
		return nil
	}
	n = max(n, min(n+n/(2*slackShare), maxEntries-1)) // and for those who come next
	if err := s.entries.Resize(n + 1); err != nil {
		return err
	}
	if s.places != nil {
		if err := s.places.Resize(n + 1); err != nil {
			return err
		}
	}
	if err := s.chains.Resize(max(s.buckets, n)); err != nil {
		return err
	}
	s.room = n
	return nil
}

// The memory of so many entries, or of such a share of them, is not worth giving back: each time is a system call, which interrupts all processors
// that the process runs on. Half of that share is taken in advance.
const (
	slackRoom  = 64
	slackShare = 16
)

// find returns the entry of k, or 0.
func (s *shard) find(k Key, hash uint64) uint32 {
	for i := *s.chains.At(s.bucket(hash)); i != 0; {
		e := s.entries.At(i)
		if s.matches(e, k) {
			return i
		}
		i = e.next
	}
	return 0
}

func (s *shard) matches(e *entry, k Key) bool {
	return int(e.idLen) == len(k.id) && bytes.Equal(s.id(e), k.id) && s.store.apps.is(e.app, k.app)
}

func (s *shard) id(e *entry) []byte {
	if e.isLong() {
		return s.store.heap.Bytes(e.longID())
	}
	return e.id[:e.idLen]
}

// insert adds an entry for k, which has none, and returns it with its key and place in the index set, and nothing else.
func (s *shard) insert(k Key, hash uint64) (uint32, error) {
	if err := s.makeRoom(s.count + 1); err != nil {
		return 0, err
	}
	long, err := s.store.longID(k)
	if err != nil {
		return 0, err
	}
	return s.add(k, hash, long), nil
}

// longID makes a slot for an id that does not fit into an entry; 0 if it does.
func (st *Store) longID(k Key) (offheap.Ref, error) {
	if len(k.id) <= shortID {
		return 0, nil
	}
	r, err := st.heap.Alloc(len(k.id))
	if err == nil {
		copy(st.heap.Bytes(r), k.id)
	}
	return r, err
}

// add is insert when there is room for the entry, and for its id.
func (s *shard) add(k Key, hash uint64, long offheap.Ref) uint32 {
	s.growIndex()
	i := uint32(s.count + 1)
	e := s.entries.At(i)
	*e = entry{idLen: uint8(len(k.id))}
	if e.isLong() {
		e.setLongID(long)
	} else {
		copy(e.id[:], k.id)
	}
	e.app = s.store.apps.add(k.app)
	head := s.chains.At(s.bucket(hash))
	e.next, *head = *head, i
	s.count++
	s.store.used.Add(s.cost(e))
	return i
}

// remove takes entry i away: index, wheel, queue. The last entry moves into its place, so that entries stay dense. It returns the
// body, to be dropped once the lock is released.
func (s *shard) remove(i uint32) offheap.Ref {
	e := s.entries.At(i)
	if e.has(isAwaited) {
		s.dismiss(i, true)
	}
	if e.has(isLocked) {
		s.counts.locked--
	}
	s.forget(i)
	body := s.takeBody(e)
	s.store.used.Add(-s.cost(e))
	s.unlink(i)
	*s.linkTo(i) = e.next
	if e.isLong() {
		s.store.heap.Drop(e.longID())
	}
	s.store.apps.drop(e.app)

	if last := uint32(s.count); last != i {
		s.move(last, i)
	}
	s.count--
	s.shrinkIndex()
	_ = s.makeRoom(s.count) // smaller: cannot fail
	return body
}

// move renumbers an entry.
func (s *shard) move(from, to uint32) {
	*s.linkTo(from) = to
	e := s.entries.At(to)
	*e = *s.entries.At(from)
	s.pointBefore(e.before, to)
	if e.after != 0 {
		s.entries.At(e.after).before = to
	}
	if e.has(isAwaited) {
		q := s.queues[from]
		q.i, s.queues[to] = to, q
		delete(s.queues, from)
	}
	s.movePlace(from, to)
}

// linkTo is what leads to entry i in its chain: the chain's head or another entry's next.
func (s *shard) linkTo(i uint32) *uint32 {
	link := s.chains.At(s.bucket(s.hashOf(s.entries.At(i))))
	for *link != i {
		link = &s.entries.At(*link).next
	}
	return link
}

func (s *shard) hashOf(e *entry) uint64 {
	return joinHash(s.store.apps.at(e.app).hash, maphash.Bytes(s.store.seed, s.id(e)))
}

// The index is a linear hash table: it has about one chain for each entry and grows and shrinks by one chain at a time, so that no
// request ever pays for copying it.

func (s *shard) bucket(hash uint64) uint32 {
	mask := uint32(1)<<bitsFor(s.buckets) - 1
	if b := uint32(hash) & mask; int(b) < s.buckets {
		return b
	}
	return uint32(hash) & (mask >> 1)
}

// growIndex splits the next chain if there is one entry for each. There must be room for another.
func (s *shard) growIndex() {
	if s.count < s.buckets {
		return
	}
	added := uint32(s.buckets)
	split := added &^ (1 << (bitsFor(s.buckets+1) - 1))
	stay, moved := s.chains.At(split), s.chains.At(added)
	i := *stay
	s.buckets++
	*stay, *moved = 0, 0
	for i != 0 {
		e := s.entries.At(i)
		next, to := e.next, stay
		if s.bucket(s.hashOf(e)) == added {
			to = moved
		}
		e.next, *to = *to, i
		i = next
	}
}

// shrinkIndex joins the last chain to the one it was split from as long as a third of the chains are too many: once or twice for each
// entry that is removed.
func (s *shard) shrinkIndex() {
	for s.buckets > minBuckets && s.count*3 <= s.buckets*2 {
		last := uint32(s.buckets - 1)
		if chain := *s.chains.At(last); chain != 0 {
			into := s.chains.At(last &^ (1 << (bitsFor(s.buckets) - 1)))
			for *into != 0 {
				into = &s.entries.At(*into).next
			}
			*into = chain
		}
		s.buckets--
	}
}

// setBody makes r, held once, the entry's body.
func (s *shard) setBody(e *entry, r offheap.Ref) {
	e.setBody(r)
	s.counts.bodyBytes += int64(len(s.store.heap.Bytes(r)))
	s.store.used.Add(int64(s.store.heap.Size(r)))
}

// takeBody takes the body out of the entry. The caller drops it, after releasing the lock, because that is a system call if the body is
// large. Answers still being written from it keep it until they are done.
func (s *shard) takeBody(e *entry) offheap.Ref {
	r := e.body()
	s.counts.bodyBytes -= int64(len(s.store.heap.Bytes(r)))
	s.store.used.Add(-int64(s.store.heap.Size(r)))
	return r
}

// cost is what an entry takes without its body: itself, its chain, a long id.
func (s *shard) cost(e *entry) int64 {
	n := int64(entrySize + 4)
	if s.places != nil {
		n += placeSize
	}
	if e.isLong() {
		n += int64(s.store.heap.Size(e.longID()))
	}
	return n
}
