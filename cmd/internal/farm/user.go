package farm

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"statemesh/cmd/internal/bench"
)

const (
	networkTimeout = 10 * time.Second // a web server's, for an answer
	doorPatience   = 20 * time.Second // while no node can be reached at all
	doorPause      = 20 * time.Millisecond
)

// user is one user, with a browser that asks for one page at a time. One goroutine uses it.
type user struct {
	c           *Crowd
	own, shared []*history
	random      *rand.Rand
	links       map[*Door]link
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
	if v.fault != nil {
		v.fault.text += "\n\t\t" + h.story()
	}
	u.c.note(func(report *Report) {
		report.Longest[d.Name] = max(report.Longest[d.Name], took)
		report.heard(got, err)
		report.judged(v)
		if err != nil && !brokenOff(err) {
			report.fault(faultf(WrongBody, "%v of session %d through %s: %v", r.Verb, h.session, d.Name, err))
		}
	})
	if err != nil {
		return nil
	}
	return &answer{got}
}

// link is the connection to the node that the next request goes through; nil if there is none.
func (u *user) link(ctx context.Context) (*Door, *bench.WebServer) {
	d := u.choose(nil)
	for giveUp := time.Now().Add(doorPatience); ; {
		if l, ok := u.links[d]; ok && l.times == d.times.Load() {
			return d, l.WebServer
		} else if ok {
			l.Close()
			delete(u.links, d)
		}
		times := d.times.Load()
		w, err := bench.NewWebServer(ctx, bench.WebServerOptions{Addr: d.Addr(), Dial: d.Dial, Size: u.c.o.Size, Seed: u.c.o.Seed})
		if err == nil {
			u.links[d] = link{w, times}
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
