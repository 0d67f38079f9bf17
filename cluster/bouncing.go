package cluster

import (
	"cmp"
	"container/list"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// Bouncing is a session that other members fetch away from this node as fast as this one fetches it back.
type Bouncing struct {
	Key   string `json:"session"` // redacted, as in logs
	App   string `json:"app"`     // its application's prefix: up to and with the key's last slash
	Moves int    `json:"moves"`   // to this node, within the last minute
	Epoch uint64 `json:"epoch"`   // with which it came last
}

const (
	// bouncingMoves within a minute are many: a user clicks slower than that, or a load balancer does not do what it should.
	bouncingMoves = 10
	// maxBounces are remembered, the latest. So one that bounces is found as long as fewer than 2,700 a second are fetched here.
	maxBounces = 16 << 10
	// A minute is so many parts of this length.
	bouncePart  = 5 * time.Second
	bounceParts = 12
)

// bounces counts which sessions were fetched here, and how often. What is pushed here without anybody's waiting for it, which is what a drain does,
// is not brought to it.
type bounces struct {
	began time.Time
	seed  maphash.Seed

	mu    sync.Mutex // guards what follows; a leaf
	known map[uint64]*list.Element
	order list.List // of *bounce, that which came longest ago first
}

// bounce is what is remembered of one session. Of most it is never known which that is.
type bounce struct {
	hash  uint64
	part  int64 // the latest in which it came
	moves [bounceParts]uint16
	epoch handoff.Epoch
	// Once it is a bouncing one:
	key, app string
}

func newBounces() *bounces {
	return &bounces{began: time.Now(), seed: maphash.MakeSeed(), known: map[uint64]*list.Element{}}
}

// arrived notes that a session was fetched here.
func (b *bounces) arrived(k handoff.Key, epoch handoff.Epoch) {
	hash, part := maphash.String(b.seed, string(k)), b.part()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(hash)
	s.forget(part)
	s.part, s.epoch = part, epoch
	if n := &s.moves[part%bounceParts]; *n < 1<<16-1 {
		*n++
	}
	if s.key == "" && s.count() >= bouncingMoves {
		s.key, s.app = session.KeyOf([]byte(k)).Redacted(), strings.Clone(string(k[:strings.LastIndexByte(string(k), '/')+1]))
	}
}

func (b *bounces) part() int64 { return int64(time.Since(b.began) / bouncePart) }

// of finds what is remembered of a session, or forgets that which came longest ago for it.
func (b *bounces) of(hash uint64) *bounce {
	if e := b.known[hash]; e != nil {
		b.order.MoveToBack(e)
		return e.Value.(*bounce)
	}
	if b.order.Len() < maxBounces {
		s := &bounce{hash: hash}
		b.known[hash] = b.order.PushBack(s)
		return s
	}
	e := b.order.Front()
	s := e.Value.(*bounce)
	delete(b.known, s.hash)
	*s = bounce{hash: hash}
	b.known[hash] = e
	b.order.MoveToBack(e)
	return s
}

// forget empties the parts of the minute that have passed since the latest.
func (s *bounce) forget(now int64) {
	for p := s.part + 1; p <= now && p <= s.part+bounceParts; p++ {
		s.moves[p%bounceParts] = 0
	}
}

func (s *bounce) count() (n int) {
	for _, m := range s.moves {
		n += int(m)
	}
	return n
}

func (b *bounces) list() (all []Bouncing) {
	part := b.part()
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.order.Back(); e != nil; e = e.Prev() {
		of := e.Value.(*bounce)
		if part-of.part >= bounceParts {
			break // and so for all that came before
		}
		if of.key == "" {
			continue
		}
		s := *of // looking changes nothing
		s.forget(part)
		if moves := s.count(); moves >= bouncingMoves {
			all = append(all, Bouncing{Key: s.key, App: s.app, Moves: moves, Epoch: uint64(s.epoch)})
		}
	}
	slices.SortFunc(all, func(a, b Bouncing) int { return cmp.Or(cmp.Compare(b.Moves, a.Moves), cmp.Compare(a.Key, b.Key)) })
	return all
}

// Bouncing are the sessions that have come here at least 10 times within the last minute, the busiest first. What a drain brings does not count.
func (n *Node) Bouncing() []Bouncing { return n.sessions.bounces.list() }
