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

// clock is a connection's time and its sockets' deadlines, all as time since it was made: reading it costs half of time.Now.
type clock struct {
	start   time.Time
	readBy  time.Duration // the socket's read deadline, 0 if none is set
	writeBy time.Duration // the same for writing
	restBy  time.Duration // when the rest of the request under way must have come; 0: none of it is being waited for
	arrived int           // bytes of the request since restBy was set
}

func newClock() clock { return clock{start: time.Now()} }

func (k *clock) now() time.Duration { return time.Since(k.start) }

// traffic is what has gone through a connection since it was last counted.
type traffic struct{ received, sent int }

const (
	// enough bytes of a request within requestTimeout earn it as much time again: so a large body over a slow line
	// arrives, and one byte a second does not hold a connection for ever.
	enough = 64 << 10
	// writePiece is what must be taken within requestTimeout, for the same reason.
	writePiece = 256 << 10
	// writeSlack is how much later than asked for a write deadline may be, and so how long one will do.
	writeSlack = time.Second
)

// beginRequest says that what is read next belongs to another request.
func (c *conn) beginRequest() {
	c.clock.restBy, c.clock.arrived = 0, 0
}

// readWhenIdle waits for a request to begin.
func (c *conn) readWhenIdle(p []byte) (int, error) {
	var until time.Duration
	if c.idleTimeout > 0 {
		until = c.clock.now() + c.idleTimeout
	}
	n, err := c.read(p, until)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errIdle
	}
	return n, err
}

// readMore waits for more of the request under way.
func (c *conn) readMore(p []byte) (int, error) {
	k := &c.clock
	if k.restBy == 0 || k.arrived >= enough {
		k.restBy, k.arrived = k.now()+c.requestTimeout, 0
	}
	n, err := c.read(p, k.restBy)
	k.arrived += n
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errStalled
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// read reads once, and gives up when it is until; 0 is never.
//
// The socket's deadline is moved only if it is too late. If it is too early, left behind by an earlier request, it wakes us for
// nothing, once: then it is set anew.
func (c *conn) read(p []byte, until time.Duration) (int, error) {
	k := &c.clock
	for {
		if until > 0 && (k.readBy == 0 || k.readBy > until) {
			c.setReadDeadline(until)
		}
		n, err := c.nc.Read(p)
		if n > 0 {
			c.received += n
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || until > 0 && k.now() >= until {
			return 0, err
		}
		c.setReadDeadline(0)
	}
}

// setReadDeadline leaves errors to the read that follows.
func (c *conn) setReadDeadline(by time.Duration) {
	c.clock.readBy = by
	if by == 0 {
		c.nc.SetReadDeadline(time.Time{})
	} else {
		c.nc.SetReadDeadline(c.clock.start.Add(by))
	}
}

// writeSome writes p.
func (c *conn) writeSome(p []byte) error {
	c.extendWriteDeadline()
	n, err := c.nc.Write(p)
	return c.wrote(n, err)
}

// writeBoth writes two slices with one system call.
func (c *conn) writeBoth(a, b []byte) error {
	c.extendWriteDeadline()
	c.parts = [2][]byte{a, b}
	c.vec = c.parts[:]
	n, err := c.vec.WriteTo(c.nc)
	c.parts = [2][]byte{} // b is the store's
	return c.wrote(int(n), err)
}

// extendWriteDeadline leaves requestTimeout or up to a second more.
func (c *conn) extendWriteDeadline() {
	k := &c.clock
	if by := k.now() + c.requestTimeout; k.writeBy < by {
		k.writeBy = by + writeSlack
		c.nc.SetWriteDeadline(k.start.Add(k.writeBy)) // the write that follows reports errors
	}
}

func (c *conn) wrote(n int, err error) error {
	c.sent += n
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errUnread
	}
	return err
}
