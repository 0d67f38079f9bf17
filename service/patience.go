package service

import (
	"errors"
	"io"
	"os"
	"time"
)

// How long a connection waits for its web server. This file has every read, every write and every deadline of a connection.
//
// A deadline of a socket costs a lock and a timer each time it is moved, so on the steady path none is. Reads and writes go about that
// in different ways, because a read that a deadline interrupts can simply be tried again, while an interrupted write may, on Windows,
// have sent an unknown part.
//
// A loop's connection has no deadlines: its reads and writes do not wait, and the loop asks each now and then whether it is overdue.

// clock is a connection's time and its sockets' deadlines, all as time since it was made: reading it costs half of time.Now.
type clock struct {
	start   time.Time
	readBy  time.Duration // the socket's read deadline, 0 if none is set
	writeBy time.Duration // the same for writing
	by      time.Duration // when what is being waited for must have come: a request, or the rest of one. 0: never, or nothing is
	arrived int           // bytes of the request since by was set
}

func newClock() clock { return clock{start: time.Now()} }

func (k *clock) now() time.Duration { return time.Since(k.start) }

// stop says that nothing is being waited for.
func (k *clock) stop() { k.by, k.arrived = 0, 0 }

// traffic is what has gone through a connection since it was last counted.
type traffic struct{ received, sent int }

const (
	// enough bytes of a request within requestTimeout earn it as much time again: so a large body over a slow line
	// arrives, and one byte a second does not hold a connection for ever.
	enough = 64 << 10
	// writePiece is what must be taken within requestTimeout, for the same reason.
	writePiece = 256 << 10
	// lastLookTime is enough for a read that need not wait to be begun.
	lastLookTime = 10 * time.Millisecond
	// writeSlack is how much later than asked for a write deadline may be, and so how long one will do.
	writeSlack = time.Second
)

// limitIdling says that a request is being waited for from now on.
func (c *conn) limitIdling() {
	c.clock.stop()
	if c.idleTimeout > 0 {
		c.clock.by = c.clock.now() + c.idleTimeout
	}
}

// readWhenIdle waits for a request to begin.
func (c *conn) readWhenIdle(p []byte) (int, error) {
	n, err := c.read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errIdle
	}
	return n, err
}

// readMore waits for more of the request under way.
func (c *conn) readMore(p []byte) (int, error) {
	k := &c.clock
	if k.by == 0 || k.arrived >= enough {
		k.by, k.arrived = k.now()+c.requestTimeout, 0
	}
	n, err := c.read(p)
	k.arrived += n
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errStalled
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// read reads once, and gives up when it is clock.by.
//
// The socket's deadline is moved only if it is too late. If it is too early, left behind by an earlier request, it wakes us for
// nothing, once: then it is set anew.
func (c *conn) read(p []byte) (int, error) {
	k := &c.clock
	for {
		if c.mayWait && k.by > 0 && (k.readBy == 0 || k.readBy > k.by) {
			c.setReadDeadline(k.by)
		}
		n, err := c.nc.Read(p)
		if n > 0 {
			c.received += n
			return n, nil
		}
		if err == errUnready || !errors.Is(err, os.ErrDeadlineExceeded) || k.by > 0 && k.now() >= k.by {
			return 0, err
		}
		if c.state.Load() == connEnding {
			return c.lastLook(p)
		}
		c.setReadDeadline(0)
	}
}

// lastLook reads what had come when Stop interrupted the wait for a request: the deadline may have been faster.
func (c *conn) lastLook(p []byte) (int, error) {
	c.nc.SetReadDeadline(time.Now().Add(lastLookTime))
	n, err := c.nc.Read(p)
	c.received += n
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStopping
	}
	return n, err
}

// setReadDeadline leaves errors to the read that follows.
func (c *conn) setReadDeadline(by time.Duration) {
	c.clock.readBy = by
	if by == 0 {
		c.nc.SetReadDeadline(time.Time{})
	} else {
		c.nc.SetReadDeadline(c.clock.start.Add(by))
	}
	if c.state.Load() == connEnding {
		c.nc.SetReadDeadline(time.Now()) // Stop's, which has just been overwritten
	}
}

// writeMore writes more of the answer, with one system call: no more of the body than the deadline allows for.
func (c *conn) writeMore() error {
	if c.mayWait {
		c.extendWriteDeadline()
	}
	head, body := c.unsent[0], c.unsent[1]
	n, err := c.writeBoth(head, body[:min(len(body), writePiece)])
	c.sent += n
	ofHead := min(n, len(head))
	c.unsent = [2][]byte{head[ofHead:], body[n-ofHead:]}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errUnread
	}
	return err
}

// writeBoth writes two slices, of which one may be empty.
func (c *conn) writeBoth(a, b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return c.nc.Write(a)
	case len(a) == 0:
		return c.nc.Write(b)
	}
	if nc, ok := c.nc.(interface {
		writeBoth(a, b []byte) (int, error)
	}); ok { // a loop's; net.Buffers knows only net's own
		return nc.writeBoth(a, b)
	}
	c.parts = [2][]byte{a, b}
	c.vec = c.parts[:]
	n, err := c.vec.WriteTo(c.nc)
	c.parts = [2][]byte{} // b is the store's
	return int(n), err
}

// extendWriteDeadline leaves requestTimeout or up to a second more.
func (c *conn) extendWriteDeadline() {
	k := &c.clock
	if by := k.now() + c.requestTimeout; k.writeBy < by {
		k.writeBy = by + writeSlack
		c.nc.SetWriteDeadline(k.start.Add(k.writeBy)) // the write that follows reports errors
	}
}
