package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errTooMany  = errors.New("too many connections")
	errStopping = errors.New("the node is stopping")
)

// connections are the open connections of web servers. Each is served by one goroutine at a time: an event loop's; one of its own,
// which wg counts; or the caller's of ServeConn.
type connections struct {
	*handler
	max   int
	loops *loops // nil: none

	wg       sync.WaitGroup
	stopping atomic.Bool               // set under mu; read by every connection between two requests
	deaf     atomic.Pointer[time.Time] // until then nobody is let in: they knocked while this node stood still

	mu    sync.Mutex // guards the rest
	open  map[*conn]struct{}
	empty chan struct{} // closed when stopping and the last one has ended
}

// newConnections is for max connections at most; 0 is as many as the system allows.
func newConnections(h *handler, max int) *connections {
	if allowed := connectionsAllowed(); max == 0 {
		max = allowed
	} else if max > allowed {
		h.log.Warn("max_connections is more than this process may have: raise the system's limit of open files (ulimit -n)", "max", max, "allowed", allowed)
		max = allowed
	}
	return &connections{handler: h, max: max, open: map[*conn]struct{}{}, empty: make(chan struct{})}
}

// admit takes a connection in, unless there are too many or the node is stopping; then it is the caller's to close.
func (cs *connections) admit(nc net.Conn) (*conn, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.stopping.Load() {
		return nil, errStopping
	}
	if until := cs.deaf.Load(); until != nil && time.Now().Before(*until) {
		return nil, errStale
	}
	if len(cs.open) >= cs.max {
		cs.metrics.refusedConns.Inc()
		return nil, errTooMany
	}
	c := newConn(cs.handler, nc, &cs.stopping)
	cs.open[c] = struct{}{}
	cs.metrics.acceptedConns.Inc()
	cs.metrics.openConns.Inc()
	return c, nil
}

// start has a connection that was admitted served, by a loop if there is one for it.
func (cs *connections) start(c *conn) {
	c.loops = cs.loops
	if c.loops.take(c) {
		return
	}
	c.loops = nil
	cs.wg.Go(func() { cs.serve(c) })
}

// serve serves a connection, to its end or until a loop takes it.
func (cs *connections) serve(c *conn) {
	for {
		if err := c.serveRequests(); err != nil {
			cs.end(c, err)
			return
		}
		if c.loops.take(c) {
			return
		}
	}
}

// end ends a connection.
func (cs *connections) end(c *conn, err error) {
	defer cs.remove(c)
	c.part(err)
}

func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
	cs.metrics.openConns.Dec()
	if cs.stopping.Load() && len(cs.open) == 0 {
		close(cs.empty)
	}
}

func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// forceGrace is how long a connection closed by force may take to end. It has nothing left to wait for: the requests that it
// might wait behind have been cut off as well.
const forceGrace = 500 * time.Millisecond

// stop ends all connections: those between two requests at once, the others when they have answered the one under way, or
// when ctx ends. Stopping again does nothing.
func (cs *connections) stop(ctx context.Context) error {
	if !cs.beginStop() {
		return nil
	}
	select {
	case <-cs.empty:
		cs.wg.Wait() // they have ended but for their last instructions
		return nil
	case <-ctx.Done():
	}
	cs.log.Warn("stopping: cut off requests that took too long", "connections", cs.closeAll())
	select {
	case <-cs.empty:
		cs.wg.Wait()
		return nil
	case <-time.After(forceGrace):
		return fmt.Errorf("%d connections do not end", cs.count())
	}
}

// beginStop lets nobody in any more and ends who is idle. Whoever is not will see the flag before it waits for another
// request. It returns false if that has been done before.
func (cs *connections) beginStop() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.stopping.Load() {
		return false
	}
	cs.stopping.Store(true)
	for c := range cs.open {
		c.endIfIdle()
	}
	cs.loops.endIdle()
	if len(cs.open) == 0 {
		close(cs.empty)
	}
	return true
}

// startAnew ends all connections, and lets nobody in who has waited in the system's queue so far: that is empty within milliseconds.
func (cs *connections) startAnew() int {
	until := time.Now().Add(200 * time.Millisecond)
	cs.deaf.Store(&until)
	return cs.closeAll()
}

func (cs *connections) closeAll() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.interrupt()
	}
	return len(cs.open)
}
