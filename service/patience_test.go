package service_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/service"
)

// Time, all of it virtual.

func TestStalled(t *testing.T) {
	t.Parallel()
	full := set("a", "0", strings.Repeat("x", 10_000))
	for _, cut := range []int{1, 4, 100, strings.Index(full, "\r\n\r\n") + 3, len(full) - 9_999, len(full) - 1} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				w, other := n.pipe(t), n.pipe(t)
				w.want(404, get("a"))
				w.wantNothing(time.Hour)
				w.send(full[:cut])
				start := time.Now()
				w.wantEnd()
				if got := time.Since(start); got != 30*time.Second {
					t.Errorf("closed after %v, want 30s", got)
				}
				other.want(404, get("a"))
				synctest.Wait()
				n.log.want(t, "[INFO]  service: closed a connection: the rest of a request did not come in time", 1)
				n.wantMetric(t, `statemesh_connections_cut_total{reason="stalled"}`, 1)
			})
		})
	}
}

// A byte now and then is no progress.
func TestStalled_TricklingIsStalling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		for _, request := range []string{get(strings.Repeat("a", 100)), set("a", "0", strings.Repeat("x", 100_000))} {
			w := n.pipe(t)
			start := time.Now()
			go func() {
				for i := range request {
					if _, err := w.nc.Write([]byte{request[i]}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			w.wantEnd()
			if got := time.Since(start); got != 30*time.Second {
				t.Errorf("closed after %v, want 30s", got)
			}
			time.Sleep(time.Second)
		}
	})
}

// A large body over a slow line takes the time it needs.
func TestStalled_ProgressIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		w := n.pipe(t)
		body := strings.Repeat("x", 3_000_000)
		request := set("a", "0", body)
		start := time.Now()
		for len(request) > 0 {
			piece := min(len(request), 5_000)
			w.send(request[:piece])
			request = request[piece:]
			time.Sleep(time.Second)
		}
		if a := w.receive(); a.status != "200 OK" {
			t.Errorf("after %v: %s", time.Since(start), a.status)
		}
		// And back: who reads a large body slowly gets it whole.
		w.send(get("a"))
		a := make([]byte, 0, len(body))
		for buf := make([]byte, 16_000); len(a) < len(body); {
			n, err := w.nc.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(a), err)
			}
			a = append(a, buf[:n]...)
			time.Sleep(time.Second)
		}
	})
}

// Deadlines left over from one request do not end another, or the pause between.
func TestStalled_OldDeadlinesDoNoHarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(o *service.Options) { o.IdleTimeout = 45 * time.Second })
		w := n.pipe(t)
		request := set("a", "0", "body")
		for i := range 200 {
			cut := 1 + i*7%(len(request)-1)
			w.send(request[:cut])
			time.Sleep(time.Duration(i*13%30) * time.Second)
			w.send(request[cut:])
			if a := w.receive(); a.status != "200 OK" {
				t.Fatal(a.raw)
			}
			time.Sleep(time.Duration(i*29%45) * time.Second)
		}
		w.send(request[:20])
		start := time.Now()
		w.wantEnd()
		if got := time.Since(start); got != 30*time.Second {
			t.Errorf("closed after %v, want 30s", got)
		}
	})
}

func TestIdle_KeptForHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		w, silent := n.pipe(t), n.pipe(t)
		for range 10 {
			w.want(404, get("a"))
			w.wantNothing(7 * time.Hour)
		}
		silent.want(404, get("a"))
	})
}

func TestIdle_TimeoutIsASetting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(o *service.Options) { o.IdleTimeout = time.Minute }, traceLog)
		w := n.pipe(t)
		for range 5 {
			time.Sleep(59 * time.Second)
			w.want(404, get("a"))
		}
		start := time.Now()
		w.wantEnd()
		if got := time.Since(start); got != time.Minute {
			t.Errorf("closed after %v, want 1m", got)
		}
		synctest.Wait()
		n.log.want(t, "[INFO]  service: closed an idle connection", 1)
		n.wantMetric(t, `statemesh_connections_cut_total{reason="idle"}`, 1)
	})
}

// A web server that takes no answer is cut off, and what the answer gave it is taken back.
func TestUnread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		w, other := n.pipe(t), n.pipe(t)
		w.want(404, get("none"))
		time.Sleep(time.Hour)
		other.want(200, setUninitialised("a", "body"))
		w.send(acquire("a"))
		start := time.Now()
		if _, err := w.r.ReadByte(); err != nil { // the head, but not the body
			t.Fatal(err)
		}
		// Its lock does not show, since nobody can be told of it yet: this one has to ask again.
		if a := other.want(423, acquire("a")); a.header("LockCookie") != "0" {
			t.Errorf("cookie of an undelivered lock: %s", a.raw)
		}
		a := other.ask(acquire("a"))
		for ; a.status != "200 OK"; a = other.ask(acquire("a")) {
		}
		if a.header("ActionFlags") != "1" {
			t.Errorf("nobody has been told that the session is new, and now it is not said: %q", a.raw)
		}
		if got := time.Since(start); got < 30*time.Second || got > 31*time.Second {
			t.Errorf("undone after %v, want 30s to 31s", got)
		}
		synctest.Wait()
		n.log.want(t, "[INFO]  service: closed a connection: an answer was not taken in time", 1)
		n.wantMetric(t, `statemesh_connections_cut_total{reason="unread"}`, 1)
	})
}
