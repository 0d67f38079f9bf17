package link

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// gate bounds what strangers can take: nobody is known before the handshake is over.
//
// A connection that has sent nothing costs a goroutine and a socket, so there may be many; and when there are too many, the oldest makes
// room, since a node speaks at once. One that has sent something takes a place at the handshakes, of which those from members' addresses have their own: else who
// has four addresses could keep them all.
type gate struct {
	maxSilent, maxShaking, maxFromOne int

	mu      sync.Mutex // guards the rest
	silent  list.List  // of net.Conn, the oldest first
	shaking int
	from    map[netip.Addr]int // handshakes
}

func newGate(o *Options) *gate {
	return &gate{
		maxSilent: o.MaxSilent, maxShaking: o.MaxHandshakes, maxFromOne: o.MaxHandshakesPerAddress,
		from: map[netip.Addr]int{},
	}
}

// arrive lets a connection wait for its first byte. leave ends that.
func (g *gate) arrive(c net.Conn) (leave func()) {
	g.mu.Lock()
	var oldest net.Conn
	if g.silent.Len() >= g.maxSilent {
		oldest = g.silent.Remove(g.silent.Front()).(net.Conn)
	}
	place := g.silent.PushBack(c)
	g.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	return func() {
		g.mu.Lock()
		g.silent.Remove(place) // does nothing if it was the oldest
		g.mu.Unlock()
	}
}

// enter takes a place at the handshakes; why not, if there is none. As many as there may be at one address there may be at each member's, whatever
// others do.
func (g *gate) enter(from netip.Addr, member bool) (leave func(), whyNot string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	place := 1
	if member {
		place = 0
	}
	switch {
	case g.shaking+place > g.maxShaking:
		return nil, "too many handshakes are under way"
	case g.from[from] >= g.maxFromOne:
		return nil, "too many handshakes with this address are under way"
	}
	g.shaking += place
	g.from[from]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shaking -= place
		if g.from[from]--; g.from[from] == 0 {
			delete(g.from, from)
		}
	}, ""
}

// sourceOf is where a connection comes from, as far as limits and logs go: an IPv6 network is one source, for whoever has an address in it has
// all of them.
func sourceOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // not TCP
	}
	return networkOf(ap.Addr())
}

func networkOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// limiter lets a log line through once a minute for each source. There may be any number of sources; those that do not fit share one place.
type limiter struct {
	mu    sync.Mutex // guards all
	known map[netip.Addr]*refusals
	swept time.Time // when those were dropped that count no more
}

type refusals struct {
	last time.Time
	held int
}

const (
	refusalEvery = time.Minute
	maxSources   = 1024
)

func newLimiter() *limiter { return &limiter{known: map[netip.Addr]*refusals{}} }

// due tells whether a line about this source may be written now, and how many were not since the last one.
func (l *limiter) due(from netip.Addr, now time.Time) (held int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.known[from]
	if r == nil && len(l.known) >= maxSources && now.Sub(l.swept) >= refusalEvery/2 { // not for every one that knocks
		l.swept = now
		for a, old := range l.known {
			if now.Sub(old.last) >= refusalEvery {
				delete(l.known, a)
			}
		}
	}
	if r == nil && len(l.known) >= maxSources {
		from = netip.Addr{}
		r = l.known[from]
	}
	if r == nil {
		r = &refusals{}
		l.known[from] = r
	} else if now.Sub(r.last) < refusalEvery {
		r.held++
		return 0, false
	}
	held, r.held, r.last = r.held, 0, now
	return held, true
}
