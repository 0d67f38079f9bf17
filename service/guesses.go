package service

import (
	"net/netip"
	"sync"
	"time"
)

// guesses hold back who tries out passwords: after so many different wrong ones within a minute, what comes from that address is not looked at until
// the minute is over. The same wrong one again and again is no guess, but a program with an old token. This machine is not held back: a proxy on it passes
// on what everybody shows.
type guesses struct {
	mu     sync.Mutex // guards the rest
	minute time.Time  // in which they were made
	by     map[netip.Prefix]*guesser
}

type guesser struct {
	last  secret
	count int
}

const (
	maxGuesses  = 20
	maxGuessers = 1000 // in a minute. Who comes later is not held back: an attacker with so many addresses has more
)

// allow tells whether what is shown may be looked at.
func (g *guesses) allow(remote string, now time.Time) bool {
	from, ok := guessedFrom(remote)
	if !ok {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turnLocked(now)
	who := g.by[from]
	return who == nil || who.count < maxGuesses
}

// wrong notes that what was shown was.
func (g *guesses) wrong(remote, shown string, now time.Time) {
	from, ok := guessedFrom(remote)
	if !ok {
		return
	}
	guess := newSecret(shown)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turnLocked(now)
	who := g.by[from]
	if who == nil {
		if len(g.by) >= maxGuessers {
			return
		}
		who = &guesser{}
		g.by[from] = who
	}
	if who.last != guess {
		who.last = guess
		who.count++
	}
}

func (g *guesses) turnLocked(now time.Time) {
	if minute := now.Truncate(time.Minute); g.by == nil || minute != g.minute {
		g.minute, g.by = minute, map[netip.Prefix]*guesser{}
	}
}

// guessedFrom is an address that counts as one: an IPv6 network of 64 bits is a machine's.
func guessedFrom(remote string) (netip.Prefix, bool) {
	at, err := netip.ParseAddrPort(remote)
	if err != nil || at.Addr().Unmap().IsLoopback() {
		return netip.Prefix{}, false
	}
	a := at.Addr().Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}
