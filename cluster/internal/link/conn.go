package link

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection to a node, or from one.
type conn struct {
	o    *Options
	raw  net.Conn
	c    net.Conn             // what to read and write: TLS over raw, or raw
	tls  *tls.ConnectionState // nil without TLS
	addr string               // of the other end

	gather *gather // between c and raw; may be nil
}

// close may be called at any time, from anywhere, and more than once. It does not say goodbye in TLS, which could take a while: nobody asks
// how a connection ended.
func (c *conn) close() { c.raw.Close() }

// writeSize is how much is written under one deadline.
const writeSize = 64 << 10

// write returns how many bytes were written before the piece in which it failed.
func (c *conn) write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(len(b), n+writeSize)]
		if err := c.c.SetWriteDeadline(time.Now().Add(c.o.WriteTimeout)); err != nil {
			return n, err
		}
		if _, err := c.c.Write(piece); err != nil {
			return n, err
		}
		if c.gather != nil {
			if err := c.gather.flush(); err != nil {
				return n, err
			}
		}
		n += len(piece)
	}
	return n, nil
}

// patient reads from a connection, until nothing comes for too long. A deadline is set now and then, not for each read.
type patient struct {
	c     net.Conn
	idle  time.Duration // 0: the deadline is somebody else's
	until time.Time
	bytes *atomic.Uint64 // counts them
}

func (p *patient) Read(b []byte) (int, error) {
	if p.idle > 0 {
		if now := time.Now(); p.until.Sub(now) < p.idle*3/4 {
			p.until = now.Add(p.idle)
			if err := p.c.SetReadDeadline(p.until); err != nil {
				return 0, err
			}
		}
	}
	n, err := p.c.Read(b)
	p.bytes.Add(uint64(n))
	return n, err
}

// gather stands between TLS, which cuts what is written into records of 16 KiB, and the socket, and makes one write of them again: that halves what
// sending costs both ends.
type gather struct {
	net.Conn

	mu    sync.Mutex // guards what follows: TLS also writes when it reads, such as an alert
	on    bool
	buf   []byte
	spare []byte // for whoever flushes, and not guarded
}

func (g *gather) Write(p []byte) (int, error) {
	g.mu.Lock()
	if g.on {
		g.buf = append(g.buf, p...)
		g.mu.Unlock()
		return len(p), nil
	}
	g.mu.Unlock()
	return g.Conn.Write(p)
}

// flush is called by one goroutine at a time, as is flushNow.
func (g *gather) flush() error {
	_, err := g.Conn.Write(g.take())
	return err
}

// take returns what has been gathered, until it is called again.
func (g *gather) take() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.buf
	g.buf, g.spare = g.spare[:0], b
	return b
}

// flushNow writes what the socket takes at once. The rest is left for flush.
func (g *gather) flushNow() (rest bool, err error) {
	b := g.take()
	n, err := writeNow(g.Conn, b)
	if err != nil || n == len(b) {
		return false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.buf = append(b[:copy(b, b[n:])], g.buf...)
	g.spare = nil
	return true, nil
}

func (g *gather) empty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.buf) == 0
}

// begin is called when both ends have greeted each other; end before the last words, which TLS does not let be flushed.
func (g *gather) begin() { g.set(true) }

func (g *gather) end() error {
	g.set(false)
	return g.flush()
}

func (g *gather) set(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.on = on
}
