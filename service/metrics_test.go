package service_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/service"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(o *service.Options) { o.MaxMemory, o.Version = 1<<30, "1.2.3" })
	w := n.dial(t)
	received, sent := 0, 0
	want := func(status int, request string) {
		t.Helper()
		a := w.want(status, request)
		received += len(request)
		sent += len(a.raw)
	}
	want(200, set("a", "0", "0123456789"))
	want(200, set("b", "0", strings.Repeat("x", 300_000)))
	want(200, get("b"))
	want(200, acquire("a"))
	want(423, get("a"))
	want(423, set("a", "0", "body"))
	want(400, release("a", "-5"))
	want(404, get("c"))
	want(200, head("a"))
	want(200, remove("b", "0"))

	// The answer is there before it is counted; and the last request may be counted after the first scrape.
	waitFor(t, func() bool { return n.metric(t, `statemesh_requests_total{op="remove",status="200"}`) == 1 })
	_, text := n.status(t, "/metrics")
	for _, series := range []string{
		`statemesh_requests_total{op="get",status="200"} 1`,
		`statemesh_requests_total{op="get",status="423"} 1`,
		`statemesh_requests_total{op="get",status="404"} 1`,
		`statemesh_requests_total{op="get",status="400"} 0`,
		`statemesh_requests_total{op="get-exclusive",status="200"} 1`,
		`statemesh_requests_total{op="set",status="200"} 2`,
		`statemesh_requests_total{op="set",status="423"} 1`,
		`statemesh_requests_total{op="release-exclusive",status="400"} 1`,
		`statemesh_requests_total{op="reset-timeout",status="200"} 1`,
		`statemesh_requests_total{op="remove",status="200"} 1`,
		`statemesh_requests_total{op="unknown",status="400"} 0`,
		`statemesh_request_duration_seconds_count{op="get"} 3`,
		`statemesh_request_duration_seconds_bucket{op="get",le="10"} 3`,
		`statemesh_request_duration_seconds_bucket{op="get",le="+Inf"} 3`,
		`statemesh_bad_requests_total{reason="LockCookie is missing or no number"} 1`,
		`statemesh_received_bytes_total ` + fmt.Sprint(received),
		`statemesh_sent_bytes_total ` + fmt.Sprint(sent),
		`statemesh_connections 1`,
		`statemesh_connections_accepted_total 1`,
		`statemesh_connections_refused_total 0`,
		`statemesh_panics_total 0`,
		`statemesh_sessions 1`,
		`statemesh_sessions_created_total 2`,
		`statemesh_sessions_timed_out_total 0`,
		`statemesh_sessions_abandoned_total 1`,
		`statemesh_sessions_refused_total 0`,
		`statemesh_sessions_locked 1`,
		`statemesh_requests_waiting 0`,
		`statemesh_applications 1`,
		`statemesh_session_body_bytes 10`,
		`statemesh_memory_limit_bytes 1.073741824e+09`,
	} {
		if !strings.Contains(text, "\n"+series+"\n") {
			t.Errorf("missing %s", series)
		}
	}
	for _, name := range []string{"statemesh_memory_used_bytes ", `statemesh_build_info{goversion="go`, `version="1.2.3"`, "go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(text, name) {
			t.Errorf("missing %s", name)
		}
	}
	if got := n.metric(t, `statemesh_request_duration_seconds_sum{op="get"}`); got <= 0 || got > 10 {
		t.Errorf("three gets took %v s", got)
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestMetrics_Durations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		w := n.pipe(t)
		request := set("a", "0", "body")
		w.send(request[:len(request)-1])
		time.Sleep(3 * time.Second) // from the head's end to the body's
		w.send(request[len(request)-1:])
		w.receive()
		synctest.Wait()
		n.wantMetric(t, `statemesh_request_duration_seconds_bucket{op="set",le="2.5"}`, 0)
		n.wantMetric(t, `statemesh_request_duration_seconds_bucket{op="set",le="5"}`, 1)
		n.wantMetric(t, `statemesh_request_duration_seconds_sum{op="set"}`, 3)
	})
}

// A session id opens somebody's login. It is nowhere: not in the log at its most talkative, not in the metrics.
func TestSecrecy(t *testing.T) {
	t.Parallel()
	const id = "k2verysecretsessionid0xy"
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, traceLog, func(o *service.Options) { o.MaxMemory, o.MaxWaiting, o.MaxHead = 1<<20, 1, 4<<10 })
		w := n.pipe(t)
		w.want(200, setUninitialised(id, id))
		w.want(200, get(id))
		w.want(200, acquire(id))
		w.want(423, acquire(id))
		w.want(423, set(id, "0", id))
		w.want(423, release(id, "77"))
		w.want(400, release(id, id))
		w.want(200, release(id, "2"))
		w.want(200, head(id))
		w.want(200, remove(id, "0"))
		w.want(404, get(id))
		for i := range 110 { // until it is full
			w.ask(set(fmt.Sprint(id, i), "0", strings.Repeat(id, 500)))
		}
		w.want(400, setWith(id, -5, 0, "0", id))
		w.want(400, "GET "+app+id+" HTTP/1.1\r\nExclusive: "+id+"\r\n\r\n")

		for _, bad := range []string{
			"GET " + app + id + "\x00 HTTP/1.1\r\n\r\n",
			id + " " + app + id + " HTTP/1.1\r\n\r\n",
			"PUT " + app + id + " HTTP/1.1\r\nContent-Length: " + id + "\r\n\r\n",
			("GET " + app + id + " HTTP/1.1\r\nX: " + strings.Repeat(id, 4<<10))[:4<<10],
		} {
			n.pipe(t).want(400, bad)
		}
		waitingFor := n.pipe(t)
		waitingFor.send(acquire(id + "0")) // and is not read
		synctest.Wait()
		for range 3 {
			other := n.pipe(t)
			other.send(acquire(id + "0"))
			synctest.Wait()
		}
		stalled := n.pipe(t)
		stalled.send(get(id)[:130])
		gone := n.pipe(t)
		gone.send(get(id)[:130])
		gone.nc.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, text := range []string{n.log.String(), n.metrics()} {
			if i := strings.Index(text, id); i >= 0 {
				t.Errorf("a session id shows: %s", text[max(0, i-200):i+len(id)])
			}
		}
		if lines := strings.Count(n.log.String(), "\n"); lines < 120 {
			t.Errorf("only %d lines were logged:\n%s", lines, n.log)
		}
	})
}
