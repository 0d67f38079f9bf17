package service

import (
	"errors"
	"fmt"
	"time"

	"statemesh/wire"
)

// Reasons to end a connection besides network errors, wire.Refusal, errStopping and panicked.
var (
	errAskedToClose = errors.New("the web server asked for it")
	errIdle         = errors.New("idle for too long")
	errStalled      = errors.New("the rest of a request did not come")
	errUnread       = errors.New("an answer was not taken")
)

// part closes the connection, and says why if that is news to an operator.
func (c *conn) part(err error) {
	c.discardBody()
	c.settle(false) // what has been answered is not open any more
	c.dropFound()
	c.tally.add(&c.traffic)
	if c.mayHaveUnread(err) {
		c.linger()
	}
	c.ncMu.Lock() // against interrupt
	c.nc.Close()
	c.ncMu.Unlock()

	webServer := c.webServer()
	var p panicked
	switch {
	case errors.As(err, &p):
		c.metrics.panics.Inc()
		c.notices.panicked.error("a request brought out a mistake in this program, closed its connection",
			"web-server", webServer, "error", p, "stack", string(p.stack))
	case errors.Is(err, errStalled):
		c.metrics.cut("stalled")
		c.notices.stalled.info("closed a connection: the rest of a request did not come in time",
			"web-server", webServer, "timeout", c.requestTimeout.String())
	case errors.Is(err, errUnread):
		c.metrics.cut("unread")
		c.notices.unread.info("closed a connection: an answer was not taken in time",
			"web-server", webServer, "timeout", c.requestTimeout.String())
	case errors.Is(err, errIdle):
		c.metrics.cut("idle")
		c.notices.idle.info("closed an idle connection", "web-server", webServer, "timeout", c.idleTimeout.String())
	default:
		c.log.Debug("connection ended", "web-server", webServer, "reason", err)
	}
}

func (c *conn) webServer() string { return c.remote.String() }

// mayHaveUnread tells whether bytes that nobody has read may have arrived behind the last answer.
func (c *conn) mayHaveUnread(err error) bool {
	if _, ok := err.(wire.Refusal); ok {
		return true
	}
	return (errors.Is(err, errStopping) || errors.Is(err, errAskedToClose)) && c.r < c.w
}

// linger lets the web server read its answer. To close a socket with unread bytes in it is to send a reset, and that may
// destroy an answer which has not been read yet.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	for left := lingerBytes; left > 0; {
		n, err := c.nc.Read(c.in)
		if err != nil {
			return
		}
		left -= n
	}
}

const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// panicked is a panic as an error.
type panicked struct {
	value any
	stack []byte
}

// Error shows what the runtime says, which is numbers and types. What other panics say may hold bytes of a request.
func (p panicked) Error() string {
	if err, ok := p.value.(interface {
		error
		RuntimeError()
	}); ok {
		return err.Error()
	}
	return fmt.Sprintf("panic with a %T", p.value)
}
