package farm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"statemesh/cmd/internal/bench"
)

const (
	networkTimeout = 10 * time.Second // a web server's, for an answer
	doorPatience   = 20 * time.Second // while no node can be reached at all
	doorPause      = 20 * time.Millisecond
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
	Wander   float64       // the share of requests that go to another node than the one before. Default 1: to any node, at random
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
	if o.Size == (bench.Size{}) {
		o.Size = bench.Size{Min: 2400, Max: 2400}
	}
	if o.Wander == 0 {
		o.Wander = 1
	}
	if o.Poll == 0 {
		o.Poll = 20 * time.Millisecond
	}
	if o.Patience == 0 {
		o.Patience = 40 * time.Second
	}
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
func (c *Crowd) Doom(nodes ...string) {
	for _, h := range c.histories {
		h.doom(nodes)
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

// Report is what users have noticed.
type Report struct {
	Took            time.Duration
	Pages, Requests uint64
	P50, P99        time.Duration // of pages

	Faults      map[faultKind]uint64
	FirstFaults []string

	// What is no fault while nodes come and go.
	Lost        uint64 // sessions gone with a node that was killed
	Back        uint64 // of these, which came back as they were, before they were created anew
	Late        uint64 // writes that were not answered and have happened after later ones
	Busy        uint64 // 423 that names no lock
	Locked      uint64 // 423 that does
	Refused     uint64 // 400
	Closed      uint64 // connections that ended before the answer
	TimedOut    uint64 // no answer within 10 s
	Unreachable uint64 // connections refused
	Stolen      uint64 // locks taken away whose holder had not heard of them
	Failed      uint64 // pages that a user saw fail

	// Longest is the longest wait for one answer, by node; LongestPage, for a page, polls of a locked session included.
	Longest     map[string]time.Duration
	LongestPage time.Duration
}

func (r *Report) reset() {
	*r = Report{Faults: make(map[faultKind]uint64), Longest: make(map[string]time.Duration)}
}

const faultsDescribed = 10

func (r *Report) fault(f *fault) {
	r.Faults[f.kind]++
	if len(r.FirstFaults) < faultsDescribed {
		r.FirstFaults = append(r.FirstFaults, string(f.kind)+": "+f.text)
	}
}

// Err is an error that tells the faults, if there were any.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("%v\n%s", r.Faults, strings.Join(r.FirstFaults, "\n"))
}

func (r *Report) String() string {
	return fmt.Sprintf("%d pages, %d requests in %.1fs (p50 %v, p99 %v, longest %v); faults %v; lost %d, back %d, late %d, busy %d, locked %d, "+
		"refused %d, closed %d, timed out %d, unreachable %d, stolen %d, failed pages %d; longest wait %v",
		r.Pages, r.Requests, r.Took.Seconds(), r.P50, r.P99, r.LongestPage.Round(time.Millisecond), r.Faults, r.Lost, r.Back, r.Late, r.Busy, r.Locked,
		r.Refused, r.Closed, r.TimedOut, r.Unreachable, r.Stolen, r.Failed, rounded(r.Longest))
}

func rounded(m map[string]time.Duration) map[string]time.Duration {
	all := make(map[string]time.Duration)
	for k, d := range m {
		all[k] = d.Round(time.Millisecond)
	}
	return all
}

// user is one user, with a browser that asks for one page at a time. One goroutine uses it.
type user struct {
	c           *Crowd
	own, shared []*history
	random      *rand.Rand
	links       map[*Door]link
	last        *Door
	pages       *hdrhistogram.Histogram // µs
}

// link is a connection to a node, made when it had been shut so many times.
type link struct {
	*bench.WebServer
	times uint32
}

// run asks for pages until ctx ends. A page under way is not cut short by that.
func (u *user) run(ctx context.Context) {
	pages := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		all := len(u.own) + len(u.shared)
		i := u.random.IntN(all)
		began := time.Now()
		ok := false
		if i < len(u.own) {
			ok = u.page(pages, u.own[i])
		} else {
			ok = u.writePage(pages, u.shared[i-len(u.own)])
		}
		took := time.Since(began)
		u.c.note(func(r *Report) {
			r.LongestPage = max(r.LongestPage, took)
			if ok {
				r.Pages++
			} else {
				r.Failed++
			}
		})
		if ok {
			u.pages.RecordValue(max(1, took.Microseconds()))
		}
		u.rest(ctx, u.c.o.Pause)
	}
}

// page is one of those that a web application has.
func (u *user) page(ctx context.Context, h *history) bool {
	switch dice := u.random.IntN(100); {
	case dice < 60:
		return u.writePage(ctx, h)
	case dice < 80:
		return u.readPage(ctx, h)
	case dice < 90:
		return u.unchangedPage(ctx, h)
	case dice < 95:
		return u.ask(ctx, h, bench.Request{Verb: bench.ResetTimeout}) != nil
	default:
		return u.logOff(ctx, h)
	}
}

func (u *user) readPage(ctx context.Context, h *history) bool {
	return u.poll(ctx, h, bench.Get) != nil
}

func (u *user) writePage(ctx context.Context, h *history) bool {
	a := u.acquire(ctx, h)
	if a == nil {
		return false
	}
	u.rest(ctx, u.c.o.Think)
	return u.ask(ctx, h, bench.Request{Verb: bench.Set, Cookie: a.Cookie, Version: h.next()}).is(200)
}

func (u *user) unchangedPage(ctx context.Context, h *history) bool {
	a := u.acquire(ctx, h)
	if a == nil {
		return false
	}
	u.rest(ctx, u.c.o.Think)
	return u.ask(ctx, h, bench.Request{Verb: bench.ReleaseExclusive, Cookie: a.Cookie}) != nil
}

// logOff removes the session, sees that it has gone, and stores it again, as a user's does who logs on again.
func (u *user) logOff(ctx context.Context, h *history) bool {
	a := u.acquire(ctx, h)
	if a == nil {
		return false
	}
	if !u.ask(ctx, h, bench.Request{Verb: bench.Remove, Cookie: a.Cookie, Version: absent}).is(200) {
		return false
	}
	u.poll(ctx, h, bench.Get)
	return u.create(ctx, h)
}

// create is a brand-new user's first write.
func (u *user) create(ctx context.Context, h *history) bool {
	return u.ask(ctx, h, bench.Request{Verb: bench.Set, Version: h.next()}).is(200)
}

// acquire gets the session with its lock. One that does not exist is created first, as ASP.NET does.
func (u *user) acquire(ctx context.Context, h *history) *answer {
	a := u.poll(ctx, h, bench.GetExclusive)
	if a.is(404) {
		if !u.ask(ctx, h, bench.Request{Verb: bench.Insert, Version: h.next()}).is(200) {
			return nil
		}
		a = u.poll(ctx, h, bench.GetExclusive)
	}
	if !a.is(200) || h.robbed(a.Cookie) {
		return nil
	}
	return a
}

// poll asks until the session is not locked.
func (u *user) poll(ctx context.Context, h *history, verb bench.Verb) *answer {
	var cookie int32
	var met time.Time // with that cookie
	for giveUp := time.Now().Add(u.c.o.Patience); ; {
		a := u.ask(ctx, h, bench.Request{Verb: verb})
		if !a.is(423) {
			return a
		}
		if a.Cookie != cookie {
			cookie, met = a.Cookie, time.Now()
		}
		if time.Now().After(giveUp) {
			u.c.note(func(r *Report) {
				r.fault(faultf(StuckLock, "session %d has been locked for %v, last with cookie %d\n\t\t%s",
					h.session, u.c.o.Patience, a.Cookie, h.story()))
			})
			return nil
		}
		if a.Cookie > 0 && h.steal(a.Cookie, time.Since(met)) {
			u.c.note(func(r *Report) { r.Stolen++ })
			u.ask(ctx, h, bench.Request{Verb: bench.ReleaseExclusive, Cookie: a.Cookie})
			continue
		}
		time.Sleep(u.c.o.Poll)
	}
}

// answer is one that arrived.
type answer struct{ bench.Answer }

func (a *answer) is(status int) bool { return a != nil && a.Status == status }

// ask sends one request through some node, and judges the answer; nil: there was none.
func (u *user) ask(ctx context.Context, h *history, r bench.Request) *answer {
	r.Session = h.session
	d, w := u.link(ctx)
	a := h.send(u, d.Name, r)
	if w == nil { // nobody can be reached
		a.notSent()
		return nil
	}
	began := time.Now()
	got, err := w.Do(r, networkTimeout)
	took := time.Since(began)
	var v verdict
	if err != nil {
		w.Close()
		delete(u.links, d)
		a.unanswered()
	} else {
		v = a.answered(got)
	}
	u.c.note(func(report *Report) {
		report.Requests++
		report.Longest[d.Name] = max(report.Longest[d.Name], took)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			report.TimedOut++
		case err != nil && !brokenOff(err):
			report.fault(faultf(WrongBody, "%v of session %d through %s: %v", r.Verb, h.session, d.Name, err))
		case err != nil:
			report.Closed++
		case got.Status == 423 && got.Cookie <= 0:
			report.Busy++
		case got.Status == 423:
			report.Locked++
		case got.Status == 400:
			report.Refused++
		}
		if v.lost {
			report.Lost++
		}
		if v.late {
			report.Late++
		}
		if v.back {
			report.Back++
		}
		if v.fault != nil {
			v.fault.text += "\n\t\t" + h.story()
			report.fault(v.fault)
		}
	})
	if err != nil {
		return nil
	}
	return &answer{got}
}

// brokenOff reports whether err is a connection's end, as opposed to an answer that makes no sense.
func brokenOff(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}

// link is the connection to the node that the next request goes through; nil if there is none.
func (u *user) link(ctx context.Context) (*Door, *bench.WebServer) {
	d := u.last
	if d == nil || d.shut.Load() || u.random.Float64() < u.c.o.Wander {
		d = u.choose(nil)
	}
	for giveUp := time.Now().Add(doorPatience); ; {
		if l, ok := u.links[d]; ok && l.times == d.times.Load() {
			u.last = d
			return d, l.WebServer
		} else if ok {
			l.Close()
			delete(u.links, d)
		}
		times := d.times.Load()
		w, err := bench.NewWebServer(ctx, bench.WebServerOptions{Addr: d.Addr(), Dial: d.Dial, Size: u.c.o.Size, Seed: u.c.o.Seed})
		if err == nil {
			u.links[d], u.last = link{w, times}, d
			return d, w
		}
		u.c.note(func(r *Report) { r.Unreachable++ })
		if time.Now().After(giveUp) || ctx.Err() != nil {
			return d, nil
		}
		time.Sleep(doorPause)
		d = u.choose(d)
	}
}

// choose takes a node that is open, and not the one that was just tried if there is another.
func (u *user) choose(not *Door) *Door {
	open := slices.DeleteFunc(slices.Clone(u.c.o.Doors), func(d *Door) bool { return d.shut.Load() || d == not })
	if len(open) == 0 {
		open = u.c.o.Doors
	}
	return open[u.random.IntN(len(open))]
}

// rest waits for anything up to most.
func (u *user) rest(ctx context.Context, most time.Duration) {
	if most <= 0 {
		return
	}
	t := time.NewTimer(time.Duration(u.random.Int64N(int64(most))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
