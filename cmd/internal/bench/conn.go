package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// conn is one connection of a web server, with the sessions whose pages it asks for. One goroutine uses it.
type conn struct {
	f     *Farm
	index int
	node  string

	// sessions from first on are this connection's own; created counts those made by pages, see newSession.
	first, sessions, created uint32
	random                   *rand.Rand
	id                       [idLen]byte
	*requests

	mu sync.Mutex // guards nc against hurry
	nc net.Conn
	// in[r:w] has arrived and not been looked at.
	in    []byte
	r, w  int
	armed time.Duration // when nc's deadline was last set
	// With batches, there are many answers on their way, of due bytes together that have not been read.
	batches bool
	due     int

	// The answer to the last exchange. body is valid until the next one.
	answer response
	body   []byte

	now       time.Duration // the clock when the last answer had arrived
	held      int32         // the cookie of the lock this connection has, or noCookie
	measuring bool
	done      atomic.Uint64 // for the progress line

	// What was measured.
	pages, trips   *hdrhistogram.Histogram
	polls          uint64
	sent, received uint64
}

func (c *conn) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", c.node)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.nc = nc
	c.mu.Unlock()
	c.r, c.w, c.armed = 0, 0, -time.Hour
	return nil
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nc != nil {
		c.nc.Close()
		c.nc = nil
	}
}

// hurry gives the request in flight, if any, a second more. It may be called by any goroutine.
func (c *conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nc != nil {
		c.nc.SetDeadline(time.Now().Add(time.Second))
	}
}

// exchange sends one request and reads its answer. The errors are faults that leave the connection unusable, but for noVersion.
func (c *conn) exchange(req []byte, doing string) error {
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

// receive reads one response into answer and body, and returns its length.
func (c *conn) receive() (n int, err error) {
	head := 0
	for {
		if c.w > c.r {
			if head, err = parseResponse(c.in[c.r:c.w], &c.answer); err != nil {
				return 0, err
			}
			if head > 0 {
				break
			}
		}
		if err := c.fill(maxResponseHead); err != nil {
			return 0, err
		}
	}
	n = head + c.answer.length
	for c.w-c.r < n {
		if err := c.fill(n); err != nil {
			return 0, err
		}
	}
	c.body = c.in[c.r+head : c.r+n]
	c.r += n
	return n, nil
}

// fill reads what there is, of an answer that may be n bytes long.
func (c *conn) fill(n int) error {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.r+n > len(c.in):
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	if c.batches {
		wakeAt(c.nc, max(c.due, 1))
	}
	k, err := c.nc.Read(c.in[c.w:])
	c.w += k
	c.due -= k
	if k == 0 && err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// identify makes session the one that requests are for.
func (c *conn) identify(session uint32) *[idLen]byte {
	putID(&c.id, c.f.o.Seed, session)
	return &c.id
}
