package farm

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"statemesh/cmd/internal/bench"
)

// Door is a node as the web servers' load balancer sees it.
type Door struct {
	Name string
	Addr func() string                                            // where it serves web servers
	Dial func(ctx context.Context, addr string) (net.Conn, error) // Default: TCP

	shut  atomic.Bool
	times atomic.Uint32 // it has been shut
}

// DoorTo is the node's.
func DoorTo(n *Node) *Door {
	return &Door{Name: n.Name, Addr: func() string { return n.State }, Dial: n.Dial}
}

// Shut takes the node out of the balancer's list: no new request is sent there, and connections that are idle are not used again.
func (d *Door) Shut() {
	d.times.Add(1)
	d.shut.Store(true)
}

// Open puts it back.
func (d *Door) Open() { d.shut.Store(false) }

// CrowdOptions say what users do.
type CrowdOptions struct {
	Doors    []*Door       // Required
	Users    int           // Required: each asks for one page at a time
	Sessions int           // Required: of each user alone
	Shared   int           // sessions that all users share, beside those
	Size     bench.Size    // Default 2400 B
	Think    time.Duration // of a page, between its requests: anything up to that
	Pause    time.Duration // between pages: anything up to that
	Poll     time.Duration // how long a page waits that meets a lock. Default 20ms; ASP.NET's is 500ms
	Patience time.Duration // with a session that stays locked, before that is a fault. Default 40s
	Seed     uint64
}

// Crowd is users with their sessions.
type Crowd struct {
	o         CrowdOptions
	users     []*user
	histories []*history

	mu     sync.Mutex // guards what follows
	report Report
}

// NewCrowd makes a crowd.
func NewCrowd(o CrowdOptions) *Crowd {
	o.Size = cmp.Or(o.Size, bench.Size{Min: 2400, Max: 2400})
	o.Poll = cmp.Or(o.Poll, 20*time.Millisecond)
	o.Patience = cmp.Or(o.Patience, 40*time.Second)
	c := &Crowd{o: o}
	c.report.reset()
	for i := range o.Shared + o.Users*o.Sessions {
		c.histories = append(c.histories, &history{
			session: uint32(i), stolen: make(map[int32]bool), at: make(map[string]time.Time), flying: make(map[string]int), holders: make(map[*user]bool),
		})
	}
	for i := range o.Users {
		first := o.Shared + i*o.Sessions
		c.users = append(c.users, &user{
			c:      c,
			own:    c.histories[first : first+o.Sessions],
			shared: c.histories[:o.Shared],
			random: rand.New(rand.NewPCG(o.Seed, uint64(i))),
			links:  make(map[*Door]link),
			pages:  hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3),
		})
	}
	return c
}

// Fill has each session stored once, so that it is there to be lost.
func (c *Crowd) Fill(ctx context.Context) error {
	c.each(func(u *user) {
		for _, h := range u.own {
			u.create(ctx, h)
		}
		if u == c.users[0] {
			for _, h := range u.shared {
				u.create(ctx, h)
			}
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.report.Err(); err != nil {
		return fmt.Errorf("store the sessions: %w", err)
	}
	return ctx.Err()
}

// Run has the users ask for pages until ctx ends, finishes those under way, and returns what was noticed since the last Run.
func (c *Crowd) Run(ctx context.Context) *Report {
	began := time.Now()
	c.each(func(u *user) { u.run(ctx) })
	return c.take(time.Since(began))
}

// Visit has every session that should exist read once more, through some node, and returns what was noticed.
func (c *Crowd) Visit(ctx context.Context) *Report {
	began := time.Now()
	c.each(func(u *user) {
		visit := u.own
		if u == c.users[0] {
			visit = slices.Concat(u.own, u.shared)
		}
		for _, h := range visit {
			for !u.readPage(ctx, h) && ctx.Err() == nil {
				continue // the connection was to a process that has ended
			}
		}
	})
	return c.take(time.Since(began))
}

// Start is Run in the background: the function it returns ends it.
func (c *Crowd) Start(ctx context.Context) (stop func() *Report) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan *Report, 1)
	go func() { done <- c.Run(ctx) }()
	return func() *Report {
		cancel()
		return <-done
	}
}

// Pages is the number of pages that users have been shown since the last report.
func (c *Crowd) Pages() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report.Pages
}

// Doom tells the crowd that nodes are about to be killed, or taken for dead: sessions that may be there may go with them. Until Doom of
// others, or of none.
func (c *Crowd) Doom(nodes ...string) { c.doom(nodes, false) }

// CutOff is Doom for nodes that go on by themselves, and are back when the cut is healed: what was written on both sides has two owners until these
// have compared what they have, and meanwhile one of them may refuse what the other has allowed.
func (c *Crowd) CutOff(nodes ...string) { c.doom(nodes, true) }

func (c *Crowd) doom(nodes []string, cut bool) {
	for _, h := range c.histories {
		h.doom(nodes, cut)
	}
}

// Excused is the number of sessions that may be lost, and of which it is not known yet.
func (c *Crowd) Excused() (n int) {
	for _, h := range c.histories {
		h.mu.Lock()
		if h.forgiven {
			n++
		}
		h.mu.Unlock()
	}
	return n
}

// Keys are the ids of all sessions: what must stand in no log.
func (c *Crowd) Keys() (keys []string) {
	for _, h := range c.histories {
		keys = append(keys, bench.SessionID(c.o.Seed, h.session))
	}
	return keys
}

// Close closes all connections.
func (c *Crowd) Close() {
	for _, u := range c.users {
		for d, l := range u.links {
			l.Close()
			delete(u.links, d)
		}
	}
}

func (c *Crowd) each(do func(u *user)) {
	var wg sync.WaitGroup
	for _, u := range c.users {
		wg.Go(func() { do(u) })
	}
	wg.Wait()
}

func (c *Crowd) take(took time.Duration) *Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	c.report.reset()
	r.Took = took
	all := hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
	for _, u := range c.users {
		all.Merge(u.pages)
		u.pages.Reset()
	}
	r.P50, r.P99 = time.Duration(all.ValueAtQuantile(50))*time.Microsecond, time.Duration(all.ValueAtQuantile(99))*time.Microsecond
	return &r
}

// note changes the report.
func (c *Crowd) note(change func(r *Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.report)
}
