package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"statemesh/wire/peer"
)

// outgoing is a connection that this node has dialed. The lane's goroutine writes to it; listen reads the answers to probes.
type outgoing struct {
	conn
	frame  []byte        // of a probe
	sent   int           // bytes since the latest probe
	broken chan struct{} // closed when there is nothing more to read
	err    error         // why; after broken

	roundTrip atomic.Int64

	mu       sync.Mutex // guards what follows
	probes   uint64
	answered uint64
	asked    time.Time
	clock    time.Time     // what Options.Clock said then
	ahead    ahead         // of the other end's
	patience time.Duration // with the probe that is not answered yet
}

// dial makes a connection to the lane's node.
func (t *Transport) dial(l *lane) (*outgoing, error) {
	addr, ok := t.o.Member(l.to)
	l.dialing(addr)
	if !ok {
		return nil, errors.New("not a member")
	}
	ctx, cancel := context.WithTimeout(l.ctx, t.o.HandshakeTimeout)
	defer cancel()
	raw, err := t.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &outgoing{conn: conn{o: &t.o, raw: raw, c: raw, addr: addr}, broken: make(chan struct{})}
	stop := context.AfterFunc(ctx, c.close)
	answers, err := c.greet(ctx, t, l)
	if !stop() && err == nil {
		err = ctx.Err() // it was closed just now
	}
	if err != nil {
		c.close()
		if ctx.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("not within %v: %w", t.o.HandshakeTimeout, err)
		}
		return nil, err
	}
	t.lanes.Go(func() { c.listen(answers) })
	return c, nil
}

// connect waits for less than a greeting may take: who does not accept within two seconds is behind a firewall, or down, and there is no reason to
// wait for the third time that the system asks.
func (t *Transport) connect(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.DialTimeout)
	defer cancel()
	c, err := t.o.Dial(ctx, addr)
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return nil, fmt.Errorf("no answer within %v: %w", t.o.DialTimeout, err)
	}
	return c, err
}

// greet is the dialer's half of the greeting. The caller ends it when it takes too long.
func (c *outgoing) greet(ctx context.Context, t *Transport, l *lane) (*peer.Reader, error) {
	if t.o.ClientTLS != nil {
		c.gather = &gather{Conn: c.raw}
		s := tls.Client(c.gather, t.o.ClientTLS(l.to))
		if err := s.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		state := s.ConnectionState()
		c.c, c.tls = s, &state
		if err := t.o.Proves(c.tls, string(l.to)); err != nil {
			return nil, err
		}
	}
	hello := peer.Hello{Speaks: t.o.Speaks, Lane: l.which, Generation: t.generation.Add(1), Self: t.o.Self, To: l.to}
	if _, err := c.c.Write(peer.Append(nil, hello)); err != nil {
		return nil, fmt.Errorf("greet it: %w", err)
	}
	answers := peer.NewReader(c.c, answersBuffer)
	m, err := answers.Next(nil)
	if err != nil { // in TLS 1.3, this is where a dialer hears that its certificate was refused
		return nil, fmt.Errorf("wait for its greeting: %w", err)
	}
	switch m := m.(type) {
	case peer.Denied:
		return nil, fmt.Errorf("it speaks %v, this node %v, and it says: %q", m.Speaks, t.o.Speaks, m.Why)
	case peer.Hello:
		if _, ok := m.Speaks.Common(t.o.Speaks); !ok {
			return nil, fmt.Errorf("it speaks %v, this node %v", m.Speaks, t.o.Speaks)
		}
		if m.Self != l.to || m.To != t.o.Self || m.Generation != hello.Generation || m.Lane != l.which {
			return nil, fmt.Errorf("it says that it is %q and answers %q: that is somebody else's greeting", m.Self, m.To)
		}
		if c.gather != nil {
			c.gather.begin()
		}
		return answers, nil
	}
	return nil, fmt.Errorf("it answers a greeting with a %v", m.Kind())
}

// answersBuffer is for pongs.
const answersBuffer = 512

// listen is a goroutine: it takes the answers to probes.
func (c *outgoing) listen(answers *peer.Reader) {
	defer close(c.broken)
	for {
		m, err := answers.Next(nil)
		if err != nil {
			c.err = err
			return
		}
		pong, ok := m.(peer.Pong)
		if !ok {
			c.err = fmt.Errorf("it sends a %v where only answers to probes belong", m.Kind())
			return
		}
		c.mu.Lock()
		if pong.N == c.probes && pong.N != c.answered {
			c.answered = pong.N
			took := time.Since(c.asked)
			c.roundTrip.Store(int64(took))
			if pong.Clock != 0 {
				c.ahead.add(c.clock, took, pong.Clock)
			}
		}
		c.mu.Unlock()
	}
}

// probe asks whether the other end is still there, and tells when to do so again; or says that it is not, if it has owed an answer for too long.
func (c *outgoing) probe() (again time.Duration, err error) {
	c.mu.Lock()
	if c.probes != c.answered {
		waited, patience := time.Since(c.asked), c.patience
		c.mu.Unlock()
		if waited >= patience {
			return 0, fmt.Errorf("it has not answered a probe for %v", waited.Round(time.Millisecond))
		}
		return min(c.o.PingEvery, patience-waited), nil
	}
	c.probes++
	c.asked, c.clock = time.Now(), c.o.Clock()
	c.patience = c.o.DeadAfter + time.Duration(min(c.sent, maxUnderWay))*time.Second/slowest
	c.sent = 0
	c.frame = peer.Append(c.frame[:0], peer.Ping{N: c.probes})
	c.mu.Unlock()
	_, err = c.write(c.frame)
	return c.o.PingEvery, err
}

// overdue is how long an answer has not come; 0 as long as that need not mean anything. Who looks at it is told sooner than the connection is given up.
func (c *outgoing) overdue() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waited := time.Since(c.asked); c.probes != c.answered && waited >= c.patience-c.o.PingEvery {
		return waited
	}
	return 0
}

// clockAhead is how far the other end's clock is ahead of this node's.
func (c *outgoing) clockAhead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead.median()
}

const (
	// slowest is how many bytes a second a connection must be able to carry: a probe waits behind what was sent before it.
	slowest = 256 << 10
	// maxUnderWay is how much that may be: what the systems' buffers hold.
	maxUnderWay = 4 << 20
)

// send writes a parcel.
func (c *outgoing) send(p *parcel) (fate, error) {
	c.sent += p.size()
	if _, err := c.write(p.frames); err != nil {
		if p.body != nil {
			return undeliverable, err
		}
		return doubtful, err
	}
	if n, err := c.write(p.bytes); err != nil {
		if n+writeSize < len(p.bytes) {
			return undeliverable, err // its end has never been written
		}
		return doubtful, err
	}
	return delivered, nil
}

// sendsNow tells whether sendNow can be used.
func (c *outgoing) sendsNow() bool {
	return c.gather != nil && writesNow(c.raw) && c.gather.empty()
}

// sendNow writes a parcel without a large body, as far as that does not take waiting. The rest is for sendRest.
func (c *outgoing) sendNow(p *parcel) (rest bool, err error) {
	c.sent += p.size()
	if err := c.c.SetWriteDeadline(time.Now().Add(c.o.WriteTimeout)); err != nil { // the last one may have passed
		return false, err
	}
	if _, err := c.c.Write(p.frames); err != nil {
		return false, err
	}
	return c.gather.flushNow()
}

// sendRest writes what sendNow has left.
func (c *outgoing) sendRest() error {
	if c.gather == nil || c.gather.empty() {
		return nil
	}
	if err := c.c.SetWriteDeadline(time.Now().Add(c.o.WriteTimeout)); err != nil {
		return err
	}
	return c.gather.flush()
}

// farewell ends a connection so that what was written still arrives: to close a socket with unread pongs in it would send a reset.
func (c *outgoing) farewell(ctx context.Context) {
	if c.gather != nil && c.gather.end() != nil {
		return
	}
	half, ok := c.c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	select {
	case <-c.broken:
	case <-ctx.Done():
	}
}
