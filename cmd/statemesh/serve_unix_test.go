//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// halfRequest sends a request whose end is still to come, and returns once the node is busy with it: so much of a body has
// been taken off our hands that the system's buffers cannot hold it all.
func (p *process) halfRequest() (finish func() (response string)) {
	p.t.Helper()
	const size, half = 48 << 20, 40 << 20
	c, r := p.connect()
	body := make([]byte, size)
	if _, err := fmt.Fprintf(c, "PUT %%2fhalf HTTP/1.1\r\nHost: localhost\r\nTimeout:20\r\nContent-Length:%d\r\nLockCookie:0\r\n\r\n", size); err != nil {
		p.t.Fatal(err)
	}
	if _, err := c.Write(body[:half]); err != nil {
		p.t.Fatal(err)
	}
	return func() string {
		p.t.Helper()
		if _, err := c.Write(body[half:]); err != nil {
			p.t.Fatal(err)
		}
		response, err := readResponse(r)
		if err != nil {
			p.t.Fatal(err)
		}
		return string(response)
	}
}

func (p *process) untilLogged(text string) {
	p.t.Helper()
	p.until("log line: "+text, func() bool { return strings.Contains(p.stderr.String(), text) })
}

// A node without keys has nothing to reload; ending would cost its sessions.
func TestServe_GoesOnAfterSIGHUP(t *testing.T) {
	t.Parallel()
	p := serveNode(t)
	p.signal(syscall.SIGHUP)
	p.untilLogged("nothing to read again")
	p.connect()
	p.signal(syscall.SIGTERM)
	if got := p.status(); got != exitDone {
		t.Errorf("status %d, want %d", got, exitDone)
	}
}

func TestServe_EndsOnASignal(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := serveNode(t)
		idle, _ := p.connect()
		begun := time.Now()
		p.signal(s)
		if got := p.status(); got != exitDone {
			t.Errorf("%v: status %d, want %d", s, got, exitDone)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%v: took %v", s, took)
		}
		if !strings.Contains(p.stderr.String(), "stopping: signal="+s.String()) {
			t.Errorf("%v: not in the log:\n%s", s, p.stderr.String())
		}
		if _, err := idle.Read(make([]byte, 1)); err == nil {
			t.Errorf("%v: the idle connection is still open", s)
		}
	}
}

func TestServe_FinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	p := serveNode(t)
	finish := p.halfRequest()
	p.signal(syscall.SIGTERM)
	p.untilLogged("stopping: signal=")
	if got := finish(); !strings.HasPrefix(got, "200 OK\r\n") {
		t.Errorf("got %q, want a 200", got)
	}
	if got := p.status(); got != exitDone {
		t.Errorf("status %d, want %d", got, exitDone)
	}
}

func TestServe_DoesNotWaitForEverForARequest(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes four seconds")
	}
	p := serveNode(t)
	p.halfRequest()
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	if got := p.status(); got != exitDone {
		t.Errorf("status %d, want %d", got, exitDone)
	}
	// An idle machine needs a few milliseconds beyond the four seconds; a busy one may start the clock late and stop it later still.
	if took := time.Since(begun); took < finishRequests || took > 2*stopWithin {
		t.Errorf("took %v, want about %v", took, finishRequests)
	}
}

func TestServe_EndsAtOnceOnASecondSignal(t *testing.T) {
	t.Parallel()
	p := serveNode(t)
	p.halfRequest()
	p.signal(syscall.SIGTERM)
	p.untilLogged("stopping: signal=")
	begun := time.Now()
	p.signal(os.Interrupt)
	if got := p.status(); got != exitFailed {
		t.Errorf("status %d, want %d", got, exitFailed)
	}
	if took := time.Since(begun); took >= finishRequests {
		t.Errorf("took %v: it has waited for the request", took)
	}
	if !strings.Contains(p.stderr.String(), "stopping at once") {
		t.Errorf("not in the log:\n%s", p.stderr.String())
	}
}
