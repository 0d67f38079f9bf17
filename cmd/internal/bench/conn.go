package bench

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// conn is one worker process of a web server, with the sessions whose pages it asks for. It has one connection, or, if its users move
// about, one to each node. One goroutine uses it.
type conn struct {
	f     *Farm
	index int
	// The link of the request under way is one of links.
	*link
	links []*link
	turn  int // of links, with Alternate, for sessions that are new

	// sessions from first on are this connection's own; created counts those made by pages, see newSession.
	first, sessions, created uint32
	random                   *rand.Rand
	id                       [idLen]byte
	*requests
	// second asks at the same moment as this one, with Pair.
	second *conn
	// pollPause is how long a Get waits that met a lock, before it is sent again; 0: to meet one is a fault.
	pollPause time.Duration

	now       time.Duration // the clock when the last answer had arrived
	held      int32         // the cookie of the lock this connection has, or noCookie
	measuring bool
	done      atomic.Uint64 // for the progress line

	// What was measured.
	pages, trips, waits *hdrhistogram.Histogram
	polls               uint64
	sent, received      uint64
}

// exchange sends one request and reads its answer. The errors are faults that leave the connection unusable, but for noVersion.
func (c *conn) exchange(req []byte, doing string) error {
	if c.f.o.Spread == PerRequest {
		c.link = c.links[c.random.IntN(len(c.links))]
	}
	c.arm()
	if _, err := c.nc.Write(req); err != nil {
		return networkFault(doing, err)
	}
	n, err := c.receive()
	if err != nil {
		return networkFault(doing, err)
	}
	now := c.f.clock()
	if c.measuring {
		record(c.trips, now-c.now)
		c.sent += uint64(len(req))
		c.received += uint64(n)
	}
	c.now = now
	if !c.answer.version {
		return faultf(noVersion, "%s", doing)
	}
	return nil
}

// arm keeps the connection's deadline between answerTimeout and a second less, since setting it for each request costs.
func (c *conn) arm() {
	if c.now-c.armed > time.Second && !c.f.stop.Load() {
		c.armed = c.now
		c.nc.SetDeadline(time.Now().Add(answerTimeout))
	}
}

// identify makes session the one that requests are for.
func (c *conn) identify(session uint32) *[idLen]byte {
	putID(&c.id, c.f.o.Seed, session)
	return &c.id
}
