package service_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"statemesh/service"
)

// Event loops: what they do beyond what goroutines do. Everything else is in the other tests, which run both ways.

// aside is how many connections are served by goroutines of their own. Only for tests that run alone.
func aside() int { return running("service.(*connections).serve(") }

// running is how many goroutines are in a function.
func running(function string) int {
	all := make([]byte, 1<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), function)
}

func wantAside(t *testing.T, want int) {
	t.Helper()
	waitFor(t, func() bool { return aside() == want })
}

// more is more than the buffers of a socket on either side hold.
var more = strings.Repeat("m", 30<<20)

// What has to wait leaves the loop, disturbs nobody there, and comes back.
func TestLoop_WhatWaitsLeavesAndComesBack(t *testing.T) {
	n := startNode(t)
	busy, behind := n.dial(t), n.dial(t)
	var others []*webServer
	for range 4 * runtime.GOMAXPROCS(0) { // some in each loop
		others = append(others, n.dial(t))
	}
	othersWork := func() {
		t.Helper()
		for i, w := range others {
			w.want(200, set(fmt.Sprint("other", i), "0", "body"))
			w.want(200, get(fmt.Sprint("other", i)))
		}
	}
	busy.want(200, setUninitialised("a", more))
	othersWork()
	wantAside(t, 0)
	for range 3 {
		busy.send(acquire("a")) // and does not read the answer
		wantAside(t, 1)
		behind.send(set("a", "0", "other") + get("none") + head("none")) // waits for its turn, with requests in the buffer
		wantAside(t, 2)
		othersWork()

		a := busy.receive()
		if a.status != "200 OK" || a.body != more {
			t.Fatalf("answer is %.100q, and %d bytes of body, want %d", a.raw, len(a.body), len(more))
		}
		if b := behind.receive(); b.status != "423 Locked" {
			t.Fatalf("a write of somebody else's session was answered %q", b.raw)
		}
		behind.receive()
		behind.receive()
		wantAside(t, 0)
		othersWork()
		busy.want(200, release("a", a.header("LockCookie")))
		behind.want(404, get("none"))
	}
	wantAside(t, 0)
}

// Who goes away instead holds no lock.
func TestLoop_UndoneIfTheWebServerIsGone(t *testing.T) {
	n := startNode(t)
	gone, w := n.dial(t), n.dial(t)
	w.want(200, setUninitialised("a", more))
	gone.send(acquire("a"))
	wantAside(t, 1)
	gone.nc.Close()
	a := w.ask(acquire("a"))
	for ; a.status == "423 Locked" && a.header("LockCookie") == "0"; a = w.ask(acquire("a")) {
	}
	if a.header("LockCookie") != "3" || a.header("ActionFlags") != "1" {
		t.Errorf("answer is %.200q, want the next cookie, and the news that the session is new", a.raw)
	}
	wantAside(t, 0)
	n.wantMetric(t, "statemesh_connections", 2-1)
}

// A web server that sends more than it reads is served on, and so are others.
func TestLoop_Pipelined(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w, other := n.dial(t), n.dial(t)
	const requests = 5_000
	body := strings.Repeat("x", 3_000)
	w.want(200, set("a", "0", body))
	sent, many := make(chan error, 1), make(chan struct{})
	go func() {
		for i := range requests {
			if i == 100 { // with their answers, more than the connection's own buffers hold
				close(many)
			}
			if _, err := io.WriteString(w.nc, set("a", "0", body)+get("a")); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	<-many
	for i := range requests {
		if a := w.receive(); a.status != "200 OK" {
			t.Fatal(a.raw)
		}
		if a := w.receive(); a.body != body {
			t.Fatalf("%.200q", a.raw)
		}
		if i%100 == 0 {
			other.want(404, get("none"))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// Requests that have all come at once are not all one turn: others in the same loop are not kept until the last has been answered.
func TestLoop_PipelinedTakesTurns(t *testing.T) {
	n := newNode(t, traceLog)
	n.log.waitAt, n.log.goOn = "op=reset-timeout", make(chan struct{})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	greedy := n.dial(t)
	for range runtime.GOMAXPROCS(0) - 1 { // in the other loops: connections are dealt out in turn
		n.dial(t)
	}
	other := n.dial(t)
	for _, w := range []*webServer{greedy, other} {
		w.want(404, get("none"))
	}

	greedy.send(head("none")) // the loop waits in the log
	waitFor(t, func() bool { return running("service.(*loop).serve(") == 1 })
	const requests = 500
	greedy.send(strings.Repeat(get("none"), requests))
	other.send(acquire("none"))
	before := strings.Count(n.log.String(), "op=get ")
	close(n.log.goOn)
	for range 1 + requests {
		if a := greedy.receive(); a.status != "404 Not Found" {
			t.Fatalf("answer is %q", a.raw)
		}
	}
	other.receive()
	first, _, _ := strings.Cut(n.log.String(), "op=get-exclusive")
	if got := strings.Count(first, "op=get ") - before; got > requests/4 {
		t.Errorf("%d of %d pipelined requests were answered before another web server's one", got, requests)
	}
}

// A body in pieces, of every way to end up in the buffer or not.
func TestLoop_BodyInPieces(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.dial(t)
	for _, size := range []int{1, 3_800, 4_096, 5_000, 32_768, 100_000, 1_000_000} {
		var b strings.Builder
		for i := range size {
			b.WriteByte(byte('a' + i%23))
		}
		request := set("a", "0", b.String())
		for _, piece := range []int{len(request)/5 + 1, 4096, 70_000} {
			for rest := request; len(rest) > 0; runtime.Gosched() {
				cut := min(piece, len(rest))
				w.send(rest[:cut])
				rest = rest[cut:]
			}
			if a := w.receive(); a.status != "200 OK" {
				t.Fatal(a.raw)
			}
			if a := w.want(200, get("a")); a.body != b.String() {
				t.Fatalf("%d bytes in pieces of %d came back as %d others", size, piece, len(a.body))
			}
		}
	}
}

func TestLoop_TimeLimits(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(o *service.Options) { o.RequestTimeout = 100 * time.Millisecond })
	inHead, inBody, fine := n.dial(t), n.dial(t), n.dial(t)
	fine.want(404, get("a"))
	start := time.Now()
	inHead.want(404, get("a")+get("a")[:20])
	inBody.want(404, get("a")+strings.TrimSuffix(set("a", "0", "body"), "y"))
	inHead.wantEnd()
	inBody.wantEnd()
	if took := time.Since(start); took < 100*time.Millisecond || took > 9*time.Second { // whatever else the machine is doing
		t.Errorf("closed after %v, want 0.1s to 1.1s", took)
	}
	fine.want(404, get("a"))
	waitFor(t, func() bool { return n.metric(t, "statemesh_connections") == 1 })
	n.wantMetric(t, `statemesh_connections_cut_total{reason="stalled"}`, 2)
	n.log.want(t, "[INFO]  service: closed a connection: the rest of a request did not come in time", 1)
}

func TestLoop_IdleTimeout(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(o *service.Options) { o.IdleTimeout = 2 * time.Second }) // used must not be late
	silent, used := n.dial(t), n.dial(t)
	used.want(404, get("a"))
	silent.wantEnd()
	used.wantEnd()
	waitFor(t, func() bool { return n.metric(t, "statemesh_connections") == 0 })
	n.wantMetric(t, `statemesh_connections_cut_total{reason="idle"}`, 2)
}

// A mistake in this program costs the connection that brought it out, not the loop, and no lock.
func TestLoop_PanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	n := newNode(t, traceLog)
	n.log.errorsExpected = true
	n.log.panicAt = "op=get-exclusive"
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var others []*webServer
	for range 2 * runtime.GOMAXPROCS(0) {
		w := n.dial(t)
		w.want(200, set("a", "0", "body"))
		others = append(others, w)
	}
	w := n.dial(t)
	w.send(acquire("a"))
	w.wantEnd()
	for _, w := range others {
		w.want(200, set("a", "0", "body"))
	}
	waitFor(t, func() bool { return n.metric(t, "statemesh_connections") == float64(len(others)) })
	n.wantMetric(t, "statemesh_panics_total", 1)
	n.wantMetric(t, "statemesh_sessions_locked", 0)
}

// Sockets wander between the loops and Go's own poller; none may get lost on the way.
func TestLoop_NoDescriptorIsLost(t *testing.T) {
	open := func() int {
		runtime.GC() // what earlier tests left to be closed
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(fds)
	}
	before := open()
	n := startNode(t)
	running := open()
	setup := n.dial(t)
	setup.want(200, set("a", "0", strings.Repeat("x", 2<<20))) // more than a loop writes at a time
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 50 {
				nc, err := net.Dial("tcp", n.Addrs().State)
				if err != nil {
					t.Error(err)
					return
				}
				w := newWebServer(t, nc)
				switch (worker + i) % 5 {
				case 0: // stays in the loop
					_, err = io.WriteString(nc, get("none"))
					w.receive()
				case 1: // leaves, and comes back
					_, err = io.WriteString(nc, get("a"))
					w.receive()
				case 2: // leaves, and is gone
					_, err = io.WriteString(nc, get("a"))
				case 3: // leaves to linger
					_, err = io.WriteString(nc, "nonsense\r\n\r\n"+strings.Repeat("x", 1000))
				case 4: // is gone in the middle
					_, err = io.WriteString(nc, set("b", "0", "body")[:100])
				}
				if err != nil {
					t.Error(err)
				}
				nc.Close()
			}
		})
	}
	wg.Wait()
	setup.nc.Close()
	waitFor(t, func() bool { return n.metric(t, "statemesh_connections") == 0 })
	waitFor(t, func() bool { return open() <= running })
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return open() <= before })
}

// Stop answers what has come, also what no loop has had time to look at.
func TestLoop_StopAnswersWhatHasCome(t *testing.T) {
	n := newNode(t, traceLog)
	n.log.waitAt, n.log.goOn = "op=reset-timeout", make(chan struct{})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []*webServer
	for range 8 * runtime.GOMAXPROCS(0) {
		w := n.dial(t)
		w.want(404, get("none"))
		all = append(all, w)
	}
	holdUps, others := all[:runtime.GOMAXPROCS(0)], all[runtime.GOMAXPROCS(0):]
	for _, w := range holdUps { // one in each loop: the first waits in the log, and the others for the log
		w.send(head("none"))
	}
	waitFor(t, func() bool { return running("service.(*loop).serve(") == len(holdUps) })
	request := set("a", "0", strings.Repeat("x", 20_000))
	for i, w := range others {
		switch i % 3 {
		case 0:
			w.send(request)
		case 1:
			w.send(request[:10_000])
		}
	}
	stopped := make(chan error)
	go func() { stopped <- n.Stop() }()
	waitFor(t, func() bool { return running("service.(*connections).stop(") == 1 })
	close(n.log.goOn)
	for _, w := range holdUps {
		if a := w.receive(); a.status != "404 Not Found" {
			t.Errorf("answer is %q", a.raw)
		}
		w.wantEnd()
	}
	for i, w := range others {
		if i%3 == 1 {
			w.send(request[10_000:])
		}
		if i%3 != 2 {
			if a := w.receive(); a.status != "200 OK" {
				t.Errorf("answer is %q", a.raw)
			}
		}
		w.wantEnd()
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// Connections come, leave loops, return to them and go while the node stops.
func TestLoop_StopWhileWandering(t *testing.T) {
	t.Parallel()
	for range 5 {
		n := startNode(t)
		n.dial(t).want(200, set("a", "0", strings.Repeat("x", 2<<20)))
		var wg sync.WaitGroup
		started := make(chan struct{}, 1000)
		for range 8 {
			nc, err := net.Dial("tcp", n.Addrs().State)
			if err != nil {
				t.Fatal(err)
			}
			w := newWebServer(t, nc)
			wg.Go(func() {
				defer nc.Close()
				for {
					if _, err := io.WriteString(nc, get("a")); err != nil {
						return
					}
					if a, err := w.tryReceive(); err != nil {
						if a.raw != "" {
							t.Errorf("half an answer: %d bytes", len(a.raw))
						}
						return
					}
					select {
					case started <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 20 {
			<-started
		}
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		wg.Wait()
	}
}
