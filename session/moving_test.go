package session_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/session"
)

// cluster is a few stores between which sessions move: what the rules do, without a network and without faults.
type cluster struct {
	t      *testing.T
	stores []*meshed
	waits  sync.Map // ticket → chan session.Leaving
	ticket atomic.Uint64
	moved  atomic.Int64
	stayed atomic.Int64
}

func newCluster(t *testing.T, n int, o session.Options) *cluster {
	c := &cluster{t: t}
	for range n {
		m := &meshed{farm: open(t, o)}
		moves, err := m.Cluster(session.Events{
			Left: func(_ string, ticket uint64, l session.Leaving) {
				if w, ok := c.waits.Load(ticket); ok {
					w.(chan session.Leaving) <- l
				}
			},
			Removed: func([]session.Removal) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Moves = moves
		c.stores = append(c.stores, m)
	}
	return c
}

// move lets a session leave one store for another, or begin to.
func (c *cluster) move(id string, from, to *meshed, random *rand.Rand) {
	ticket := c.ticket.Add(1)
	told := make(chan session.Leaving, 4)
	c.waits.Store(ticket, told)
	defer c.waits.Delete(ticket)
	terms := session.Terms{Any: random.IntN(2) == 0, Cookie: session.NoCookie}
	if random.IntN(2) == 0 {
		terms.Wait = time.Millisecond
	}
	l := from.Leave(whole(id), ticket, terms)
	for l.Now == session.Pending || l.Now == session.InLine {
		l = <-told
	}
	if l.Now != session.Frozen {
		return
	}
	r := l.Record
	r.Epoch++
	r.Body = to.body(string(l.Record.Body.Bytes())).Stored()
	_, admitted := to.Admit(whole(id), r, false)
	r.Body.Release()
	switch {
	case !admitted:
		c.t.Error("there is no room")
		from.Stay(whole(id), ticket, l.Record.Epoch+2)
	case random.IntN(5) == 0:
		to.Discard(whole(id), r)
		from.Stay(whole(id), ticket, l.Record.Epoch+2)
		c.stayed.Add(1)
	default:
		from.Forget(whole(id), ticket)
		to.Own(whole(id), r)
		c.moved.Add(1)
	}
}

// wherever does something in one store after the other, until it is found there.
func (c *cluster) wherever(random *rand.Rand, do func(m *meshed) session.Outcome) (*meshed, session.Outcome) {
	for i := random.IntN(len(c.stores)); ; i++ {
		m := c.stores[i%len(c.stores)]
		if o := do(m); o != session.NotFound {
			return m, o
		}
	}
}

// Pages are read, changed and written while their sessions move about between three stores. No page may be lost, and no cookie be handed out
// twice.
func TestMoving_NoPageIsLost(t *testing.T) {
	t.Parallel()
	const sessions, clients = 200, 32
	pages := 300
	if raceDetector {
		pages = 100
	}
	c := newCluster(t, 3, session.Options{LockWait: 2 * time.Millisecond, ReadWait: time.Minute, ChangeWait: time.Minute})
	for i := range sessions {
		m := c.stores[i%3]
		r := m.Set(key(id(i)), session.Change{Body: m.body(counter(0, 10)), Timeout: 20, Uninitialised: true, Grant: grant(uint64(1 + i<<20))})
		m.must(answerOf(&r))
	}
	var (
		cookies [sessions]sync.Map
		done    [sessions]atomic.Uint64
		firsts  [sessions]atomic.Int64
		all     sync.WaitGroup
		movers  sync.WaitGroup
		stop    = make(chan struct{})
	)
	for _, m := range c.stores {
		defer m.keep()()
	}
	for n := range 3 {
		movers.Go(func() { // each has a third of the sessions, so that it knows where they are
			random := rand.New(rand.NewPCG(7, uint64(n)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Few are used much, and few move much.
				i := random.IntN(1+random.IntN(sessions/3))*3 + n
				if i >= sessions {
					continue
				}
				from := random.IntN(3)
				for c.stores[from].Look(whole(id(i))).Place == session.Absent {
					from = (from + 1) % 3
				}
				c.move(id(i), c.stores[from], c.stores[(from+1+random.IntN(2))%3], random)
			}
		})
	}
	for n := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range pages {
				i := random.IntN(1 + random.IntN(sessions))
				k := key(id(i))
				var r session.Reply
				m, outcome := c.wherever(random, func(m *meshed) session.Outcome {
					if random.IntN(4) == 0 {
						r = m.Since(time.Now()).Acquire(k)
					} else if r = m.Try().Acquire(k); r.Outcome == session.Taken {
						r = m.Acquire(k)
					}
					return r.Outcome
				})
				if outcome != session.Done {
					continue
				}
				if _, twice := cookies[i].LoadOrStore(r.Cookie, true); twice {
					t.Errorf("cookie %d of session %d was handed out twice", r.Cookie, i)
				}
				count := pagesIn(t, r.Body())
				if random.IntN(8) == 0 {
					m.Settle(k, &r, false)
					continue
				}
				if r.First {
					firsts[i].Add(1)
				}
				m.Settle(k, &r, true)
				if random.IntN(8) == 0 {
					_, outcome = c.wherever(random, func(m *meshed) session.Outcome { return m.Unlock(k, r.Cookie).Outcome })
				} else {
					size := random.IntN(1 << random.IntN(12))
					_, outcome = c.wherever(random, func(m *meshed) session.Outcome {
						b := m.body(counter(count+1, size))
						s := m.Set(k, session.Change{Body: b, Timeout: 20, Cookie: r.Cookie})
						if s.Outcome == session.NotFound {
							b.Discard()
						}
						return s.Outcome
					})
					done[i].Add(1)
				}
				if outcome != session.Done {
					t.Errorf("the end of a page was answered %s", outcomes[outcome])
				}
			}
		})
	}
	all.Wait()
	close(stop)
	movers.Wait()
	t.Logf("%d moves, and %d that were aborted", c.moved.Load(), c.stayed.Load())
	if c.moved.Load() < 100 {
		t.Error("hardly anything moved")
	}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range sessions {
		k, found := key(id(i)), 0
		for _, m := range c.stores {
			if at := m.Peek(k); at.Exists {
				found++
				if got, want := pagesIn(t, []byte(at.Body)), done[i].Load(); got != want {
					t.Errorf("session %d: it counts %d pages, %d were done", i, got, want)
				}
			}
		}
		if found != 1 {
			t.Errorf("session %d is in %d places", i, found)
		}
		if got := firsts[i].Load(); got > 1 {
			t.Errorf("session %d: %d were told that it is new, want one", i, got)
		}
		c.wherever(random, func(m *meshed) session.Outcome { return m.Remove(k, m.Peek(k).Cookie).Outcome })
	}
	for _, m := range c.stores {
		if got := m.Stats(); got.Active != 0 || got.UsedBytes != 0 || got.Held != 0 || got.Waiting != 0 || got.Leaving != 0 || m.HeapLive() != 0 {
			t.Errorf("after all are removed: got %+v and %d live bytes, want nothing left", got, m.HeapLive())
		}
	}
}

// Sessions are owned, copied, fenced, adopted and dropped under the hands of those who use them. All must go on, and nothing be left.
func TestMoving_FencesUnderWay(t *testing.T) {
	t.Parallel()
	const sessions, clients = 12, 16
	rounds := 200
	if raceDetector {
		rounds = 50
	}
	m := newCluster(t, 1, session.Options{LockWait: time.Millisecond, ReadWait: time.Minute, ChangeWait: time.Minute}).stores[0]
	stopKeeper := m.keep()
	var (
		all  sync.WaitGroup
		stop = make(chan struct{})
	)
	for n := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				k := key(id(random.IntN(sessions)))
				r := m.Acquire(k)
				if r.Outcome == session.Done {
					pagesIn(t, r.Body())
				}
				m.Settle(k, &r, random.IntN(2) == 0)
				switch random.IntN(3) {
				case 0:
					m.Unlock(k, r.Cookie)
				case 1:
					b := m.body(counter(random.Uint64(), random.IntN(300)))
					if s := m.Set(k, session.Change{Body: b, Timeout: 20, Cookie: r.Cookie}); s.Outcome == session.NotFound {
						b.Discard()
					}
				case 2:
					r := m.Get(k)
					m.Settle(k, &r, true)
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(3, 3))
	epoch := uint64(1)
	for term := range uint64(rounds) {
		for range 10 * sessions {
			epoch++
			k := whole(id(random.IntN(sessions)))
			switch l := m.Look(k); l.Place {
			case session.Absent:
				r := session.Record{Epoch: epoch, Cookie: 1, Timeout: 20, TimeLeft: time.Minute, Body: m.body(counter(1, 10)).Stored()}
				m.Admit(k, r, false)
				r.Body.Release()
				m.Keep(k, r)
			case session.Copied:
				if random.IntN(4) == 0 {
					m.Drop(k)
				} else {
					m.Adopt(k, epoch)
				}
			case session.Owned:
				m.Leave(k, epoch, session.Terms{Any: true})
			case session.Parting:
				if random.IntN(2) == 0 {
					m.Fence(term + 1)
				}
			}
		}
		m.Fence(term + 1)
	}
	m.Fence(uint64(rounds) + 1)
	close(stop)
	all.Wait()
	stopKeeper()
	if got := m.Stats(); got.Held != 0 || got.Waiting != 0 || got.Leaving != 0 || got.Active != got.Copies {
		t.Errorf("got %+v, want nothing but copies", got)
	}
	for _, k := range m.Copies(1000) {
		m.Drop(k)
	}
}
