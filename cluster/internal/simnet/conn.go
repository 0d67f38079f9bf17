package simnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes of one direction may be under way or unread.
const window = 256 << 10

// Conn is one end of a connection.
type Conn struct {
	host          *Host
	local, remote netip.AddrPort
	in, out       *half // what this end reads from and writes to; the other end has them the other way round
}

// enroll makes a connection known to its process and the network; false if the process is dead.
func (c *Conn) enroll() bool {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.host.dead {
		return false
	}
	c.host.conns[c] = true
	c.host.net.mu.Lock()
	c.host.net.conns[c] = true
	c.host.net.mu.Unlock()
	return true
}

func (c *Conn) forget() {
	c.host.mu.Lock()
	delete(c.host.conns, c)
	c.host.mu.Unlock()
	c.host.net.mu.Lock()
	delete(c.host.net.conns, c)
	c.host.net.mu.Unlock()
}

// Read reads what has arrived, and waits if nothing has.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write hands bytes to the network, and waits while the window is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close ends both directions. What has been written will still arrive.
func (c *Conn) Close() error {
	c.out.finish()
	c.in.leave()
	c.forget()
	return nil
}

// CloseWrite ends this end's direction; the other end reads EOF.
func (c *Conn) CloseWrite() error {
	c.out.finish()
	return nil
}

// Reset breaks the connection: both ends fail at once, and what was under way is lost.
func (c *Conn) Reset() { c.breakOff(syscall.ECONNRESET) }

func (c *Conn) breakOff(err error) {
	c.in.breakOff(err, err)
	c.out.breakOff(err, err)
	c.forget()
}

// vanish fails this end only: the other does not hear of it.
func (c *Conn) vanish() {
	c.in.breakOff(net.ErrClosed, nil)
	c.out.breakOff(nil, net.ErrClosed)
	c.forget()
}

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() net.Addr { return tcpAddr(c.local) }

// RemoteAddr is the other end's.
func (c *Conn) RemoteAddr() net.Addr { return tcpAddr(c.remote) }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

// SetReadDeadline makes reads fail from then on.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	return nil
}

// SetWriteDeadline makes writes fail from then on.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setWriteDeadline(t)
	return nil
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// half is one direction of a connection: a queue of bytes, each due at some time.
type half struct {
	net *Net
	path

	mu      sync.Mutex // guards what follows; never held while waiting
	chunks  []chunk
	size    int           // of all chunks
	last    time.Time     // when the latest is due: nothing overtakes it
	done    bool          // the writer is: CloseWrite or Close
	left    bool          // the reader has closed its end
	readBy  time.Time     // deadlines
	writeBy time.Time     //
	readErr error         // broken, as the reader sees it
	wrtErr  error         // and the writer
	changed chan struct{} // closed, and replaced, when anything above changes
}

type chunk struct {
	data []byte
	due  time.Time
	end  bool // no data, but the end of it
}

func newHalf(n *Net, p path) *half { return &half{net: n, path: p, changed: make(chan struct{})} }

func (h *half) read(p []byte) (int, error) {
	for {
		h.mu.Lock()
		n, until, err := h.readLocked(p)
		changed := h.changed
		h.mu.Unlock()
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		await(changed, until)
	}
}

// readLocked reads what is there; if nothing is, it tells when to look again.
func (h *half) readLocked(p []byte) (n int, until time.Time, err error) {
	now := time.Now()
	switch {
	case h.left:
		return 0, until, net.ErrClosed
	case h.readErr != nil:
		return 0, until, h.readErr
	case !h.readBy.IsZero() && !now.Before(h.readBy):
		return 0, until, os.ErrDeadlineExceeded
	}
	until = h.readBy
	if len(p) == 0 || len(h.chunks) == 0 || !h.net.flows(h.path) {
		return 0, until, nil
	}
	for n < len(p) && len(h.chunks) > 0 && !h.chunks[0].due.After(now) && !h.chunks[0].end {
		took := copy(p[n:], h.chunks[0].data)
		n += took
		h.chunks[0].data = h.chunks[0].data[took:]
		if len(h.chunks[0].data) == 0 {
			h.chunks[0] = chunk{}
			h.chunks = h.chunks[1:]
		}
	}
	if n > 0 {
		h.size -= n
		h.wakeLocked()
		return n, until, nil
	}
	if first := h.chunks[0]; first.due.After(now) {
		if until.IsZero() || first.due.Before(until) {
			until = first.due
		}
	} else if first.end {
		return 0, until, io.EOF
	}
	return 0, until, nil
}

func (h *half) write(p []byte) (int, error) {
	wrote := 0
	for {
		h.mu.Lock()
		n, err := h.writeLocked(p[wrote:])
		changed, until := h.changed, h.writeBy
		h.mu.Unlock()
		wrote += n
		if err == errReset {
			h.net.resetPath(h)
			return wrote, syscall.ECONNRESET
		}
		if err != nil || wrote == len(p) {
			return wrote, err
		}
		if n == 0 {
			await(changed, until)
		}
	}
}

// errReset asks write to break the connection, which cannot be done under the lock.
var errReset = errors.New("reset")

func (h *half) writeLocked(p []byte) (int, error) {
	now := time.Now()
	switch {
	case h.done:
		return 0, net.ErrClosed
	case h.wrtErr != nil:
		return 0, h.wrtErr
	case !h.writeBy.IsZero() && !now.Before(h.writeBy):
		return 0, os.ErrDeadlineExceeded
	case h.left && h.net.open(path{h.to, h.from}): // the other end has closed, and that could be heard
		return 0, syscall.EPIPE
	}
	n := min(len(p), window-h.size)
	if n <= 0 {
		return 0, nil
	}
	f := h.net.writeFate(h.path)
	if f.reset {
		return 0, errReset
	}
	h.addLocked(chunk{data: append([]byte(nil), p[:n]...), due: now.Add(f.after)})
	h.size += n
	return n, nil
}

func (h *half) addLocked(c chunk) {
	if c.due.Before(h.last) {
		c.due = h.last
	}
	h.last = c.due
	h.chunks = append(h.chunks, c)
	h.wakeLocked()
}

func (h *half) finish() {
	after := h.net.writeFate(h.path).after
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.done {
		h.done = true
		h.addLocked(chunk{due: time.Now().Add(after), end: true})
	}
}

func (h *half) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = true
	h.wakeLocked()
}

func (h *half) breakOff(reader, writer error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readErr == nil {
		h.readErr = reader
	}
	if h.wrtErr == nil {
		h.wrtErr = writer
	}
	h.wakeLocked()
}

func (h *half) setReadDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readBy = t
	h.wakeLocked()
}

func (h *half) setWriteDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeBy = t
	h.wakeLocked()
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wakeLocked()
}

func (h *half) wakeLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// resetPath breaks the connection that a half belongs to.
func (n *Net) resetPath(h *half) {
	n.mu.RLock()
	var ends []*Conn
	for c := range n.conns {
		if c.in == h || c.out == h {
			ends = append(ends, c)
		}
	}
	n.mu.RUnlock()
	for _, c := range ends {
		c.breakOff(syscall.ECONNRESET)
	}
}

// await waits for a change, or for a time if there is one.
func await(changed <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-changed
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}
