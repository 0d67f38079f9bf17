package session

import (
	"errors"

	"statemesh/session/internal/offheap"
)

// A store in a cluster. Each session has an owner among the nodes, and an epoch that rises with every change of the owner. So beside an entry
// stands a place: the session's epoch, and whether it is owned here. What is not is a copy, of which nobody knows yet whose it is; no
// operation sees it. A store alone has no places.

// cluster is what a shard of such a store has. Guarded by shard.mu.
type cluster struct {
	places   *offheap.Table[place] // numbered as entries are; nil: the store is alone
	term     uint64                // sessions that were owned in an earlier one are copies
	copies   int
	leaving  map[uint32]uint64 // the tickets of entries that are leaving
	promised int               // arriving sessions that there is to be room for

	// To be told as soon as the lock is released.
	answers []answered
	removed []Removal
}

// place is what is kept of an entry for the cluster's sake: 12 bytes.
type place struct {
	high, low uint32 // of the epoch
	term      uint32 // in which the session is owned, and one more; 0: it is a copy
}

// placeSize is unsafe.Sizeof(place{}), checked by a test.
const placeSize = 12

// Events are what a store in a cluster tells. They are called with no lock of the store held, from any goroutine, and not in order: what is told
// of a ticket last need not come last. They must not wait, nor call the store.
type Events struct {
	// Left tells what became of a Leave that was Pending or InLine.
	Left func(k string, ticket uint64, l Leaving)
	// Removed tells of sessions that a web server has removed or that have expired; it may keep the slice.
	Removed func([]Removal)
}

// Removal is a session that is no more.
type Removal struct {
	Key   string
	Epoch uint64
}

// answered is what is to be told by Events.Left.
type answered struct {
	key     string
	ticket  uint64
	leaving Leaving
}

// Cluster makes the store one of a cluster, whose rules go by the Moves. It is called once, before any operation.
func (st *Store) Cluster(e Events) (*Moves, error) {
	if e.Left == nil || e.Removed == nil {
		return nil, errors.New("session store: a cluster must be told what leaves and what is removed")
	}
	st.events = e
	for i := range st.shards {
		if err := st.shards[i].joinCluster(); err != nil {
			return nil, err
		}
	}
	return &Moves{st: st}, nil
}

func (s *shard) joinCluster() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places != nil || s.count > 0 {
		return errors.New("session store: it is in use, and cannot join a cluster any more")
	}
	places, err := offheap.NewTable[place](maxEntries)
	if err != nil {
		return err
	}
	s.places, s.leaving = places, map[uint32]uint64{}
	return nil
}

// owns says whether operations see entry i.
func (s *shard) owns(i uint32) bool { return s.places == nil || s.places.At(i).term == s.mark() }

// mark is the present term, as places have it.
func (s *shard) mark() uint32 { return uint32(s.term) + 1 }

// epoch is entry i's; 0 if the store is alone.
func (s *shard) epoch(i uint32) uint64 {
	if s.places == nil {
		return 0
	}
	p := s.places.At(i)
	return uint64(p.high)<<32 | uint64(p.low)
}

// setEpoch makes entry i owned, at an epoch.
func (s *shard) setEpoch(i uint32, epoch uint64) {
	if s.places != nil {
		*s.places.At(i) = place{high: uint32(epoch >> 32), low: uint32(epoch), term: s.mark()}
	}
}

// disown makes entry i, owned so far, a copy.
func (s *shard) disown(i uint32) {
	s.places.At(i).term = 0
	s.copies++
}

// forget ends what there is of entry i besides itself.
func (s *shard) forget(i uint32) {
	if s.places == nil {
		return
	}
	if !s.owns(i) {
		s.copies--
	}
	delete(s.leaving, i)
}

func (s *shard) movePlace(from, to uint32) {
	if s.places == nil {
		return
	}
	*s.places.At(to) = *s.places.At(from)
	if ticket, ok := s.leaving[from]; ok {
		s.leaving[to] = ticket
		delete(s.leaving, from)
	}
}

// allows says whether a Set may create a session.
func (s *shard) allows(g Grant) bool {
	return s.places == nil || g.Epoch != 0 && g.Term == s.term
}

// mourn makes it known that entry i is about to be removed.
func (s *shard) mourn(i uint32) {
	if s.places != nil {
		s.removed = append(s.removed, Removal{Key: s.keyOf(i), Epoch: s.epoch(i)})
	}
}

// keyOf is entry i's key in full.
func (s *shard) keyOf(i uint32) string {
	e := s.entries.At(i)
	return string(s.appendKey(make([]byte, 0, s.keyLen(e)), e))
}

func (s *shard) appendKey(b []byte, e *entry) []byte {
	return append(append(b, s.store.apps.at(e.app).prefix...), s.id(e)...)
}

func (s *shard) keyLen(e *entry) int { return len(s.store.apps.at(e.app).prefix) + int(e.idLen) }

// tell makes it known what became of a Leave that had to wait.
func (s *shard) tell(w *waiter, l Leaving) {
	s.answers = append(s.answers, answered{w.leave.key, w.leave.ticket, l})
}

// release releases the shard's lock, and then tells what there is to tell.
func (s *shard) release() {
	if len(s.answers)+len(s.removed) == 0 {
		s.mu.Unlock()
		return
	}
	s.releaseAndTell()
}

func (s *shard) releaseAndTell() {
	answers, removed := s.answers, s.removed
	s.answers, s.removed = nil, nil
	s.mu.Unlock()
	for _, a := range answers {
		s.store.events.Left(a.key, a.ticket, a.leaving)
	}
	if len(removed) > 0 {
		s.store.events.Removed(removed)
	}
}
