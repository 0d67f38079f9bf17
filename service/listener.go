package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// listen opens a TCP listener. The sockets it accepts have TCP_NODELAY and keep-alive probes on, as is Go's default: an
// answer goes out at once, and a web server that vanished without a word is noticed within minutes though nobody times it out.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, hinted(fmt.Errorf("listen on %s: %w", addr, err))
	}
	return l, nil
}

// hinted adds what an operator may do about a port that cannot be had. Whoever replaces Microsoft's service meets that on its port.
func hinted(err error) error {
	text := err.Error()
	is := func(e error) bool { return errors.Is(err, e) || strings.Contains(text, e.Error()) } // memberlist passes on the text only
	switch {
	case !strings.Contains(text, "listen"):
	case is(errAddrInUse):
		return fmt.Errorf("%w. Another program has this address, maybe Microsoft's ASP.NET State Service (aspnet_state) or another statemesh: "+
			"stop it, or choose another port", err)
	case is(errAddrForbidden):
		return fmt.Errorf("%w. The system does not let this user have the port: choose one above 1023, and on Windows one that "+
			"`netsh interface ipv4 show excludedportrange protocol=tcp` does not list", err)
	case is(errNoSuchAddr):
		return fmt.Errorf("%w. This machine does not have that address: name one that it has", err)
	}
	return err
}

// acceptLoop takes in web servers' connections.
type acceptLoop struct {
	listener net.Listener
	conns    *connections
	quit     chan struct{}
}

func newAcceptLoop(l net.Listener, conns *connections) *acceptLoop {
	return &acceptLoop{listener: l, conns: conns, quit: make(chan struct{})}
}

// stop makes run return. The listener's queue of connections that nobody accepted is closed by the kernel.
func (a *acceptLoop) stop() error {
	close(a.quit)
	return a.listener.Close()
}

// run accepts until stop. No error of a single accept ends it: most say that file descriptors or memory have run out, and
// those come back.
func (a *acceptLoop) run() {
	var pause time.Duration
	for {
		nc, err := a.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			a.take(nc)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
			a.conns.notices.accept.warn("cannot accept connections, trying again", "error", err)
			if !a.sleep(pause) {
				return
			}
		}
	}
}

// The loop waits after an error, longer after each, so that it does not spin while there is nothing to be had.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// sleep returns false if the loop is to end.
func (a *acceptLoop) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.quit:
		return false
	}
}

func (a *acceptLoop) take(nc net.Conn) {
	c, err := a.conns.admit(nc)
	if err != nil {
		nc.Close()
		if errors.Is(err, errTooMany) {
			a.conns.notices.tooMany.warn("too many connections, closed a new one", "web-server", nc.RemoteAddr().String(), "max", a.conns.max)
		}
		return
	}
	a.conns.start(c)
}
