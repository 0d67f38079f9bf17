package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"statemesh/service/api"
)

// A fake node answers what its functions say.
type fakeNode struct {
	status  func() api.Status
	members func() any
	drain   func(http.ResponseWriter)
}

// start serves it, and returns its status address.
func (n fakeNode) start(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(n.status()) })
	mux.HandleFunc("GET /api/v1/members", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(n.members()) })
	mux.HandleFunc("POST /api/v1/drain", func(w http.ResponseWriter, _ *http.Request) { n.drain(w) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestAsk_SaysWhyThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer page.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	refusing := fakeNode{drain: func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"problem": "no other member takes sessions"}`)
	}}.start(t)
	at := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	file := write(t, "status {\n  listen = \""+nobody+"\"\n}\n")

	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"members", "--status-addr", nobody}, exitFailed, "no node answers at " + nobody + ". Is it running? ("},
		{[]string{"status", "--status-addr", nobody}, exitFailed, "no node answers at " + nobody},
		{[]string{"drain", "--wait", "--status-addr", nobody}, exitFailed, "no node answers at " + nobody},
		{[]string{"status", "--config", file}, exitFailed, "no node answers at " + nobody},
		{[]string{"status", "--config", file, "--status-addr", at(other)}, exitFailed, "is not a node's status address, or one of a version without this command: 404 Not Found"},
		{[]string{"members", "--status-addr", at(page)}, exitFailed, "is not a node's status address, or one of a version without this command: an answer that is not JSON"},
		{[]string{"drain", "--status-addr", refusing}, exitFailed, "the node at " + refusing + " refuses: no other member takes sessions"},
		{[]string{"status", "--status-addr", "localhost"}, exitUsage, "has no port"},
		{[]string{"status", "--config", file + ".missing"}, exitUsage, "There is no file"},
	} {
		status, stdout, stderr := runHere(test.args...)
		if status != test.status || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%v: status %d, stdout %q, stderr %q; want %d, %q", test.args, status, stdout, stderr, test.status, test.want)
		}
	}
}

func TestAsk_FindsANodeThatListensEverywhere(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"0.0.0.0:42480":     "127.0.0.1:42480",
		"[::]:42480":        "[::1]:42480",
		"10.0.0.5:42480":    "10.0.0.5:42480",
		"localhost:42480":   "localhost:42480",
		"web01.local:42480": "web01.local:42480",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
	}
}

func TestMembers_Prints(t *testing.T) {
	t.Parallel()
	now := time.Now()
	since := func(d time.Duration) string { return now.Add(-d).Format(time.RFC3339Nano) }
	text := `{"node": "web01", "members": [
		{"name": "web01", "self": true, "state": "up", "gossip": "10.0.0.5:42425", "transfer": "10.0.0.5:42426", "version": "1.2.3", "since": "` + since(50*time.Hour) + `", "connected": true,
			"says": {"sessions": 1204311}},
		{"name": "web02", "state": "draining", "gossip": "10.0.0.6:42425", "transfer": "10.0.0.6:42426", "version": "1.2.3", "since": "` + since(75*time.Second) + `", "connected": true, "round_trip_ns": 273456,
			"says": {"sessions": 17, "unreachable": ["web03"]}},
		{"name": "web03", "state": "up", "gossip": "10.0.0.7:42425", "transfer": "10.0.0.7:42426", "version": "1.2.4", "since": "` + since(2*time.Hour) + `", "last_error": "connection refused"},
		{"name": "web04", "state": "failed", "gossip": "10.0.0.8:42425", "transfer": "10.0.0.8:42426", "version": "1.2.3", "since": "` + since(5*time.Second) + `"}
	]}`
	at := fakeNode{members: func() any { return json.RawMessage(text) }}.start(t)
	status, stdout, stderr := runHere("members", "--json", "--status-addr", at)
	var m api.Members
	if err := json.Unmarshal([]byte(stdout), &m); err != nil || status != exitDone || stderr != "" || len(m.Members) != 4 {
		t.Fatalf("status %d, stderr %q, %v, %s", status, stderr, err, stdout)
	}
	var b strings.Builder
	if err := writeMembers(&b, m, now); err != nil {
		t.Fatal(err)
	}
	const want = `NAME   STATE     FOR    SESSIONS   GOSSIP          TRANSFER        ROUND TRIP  VERSION  NOTE
web01  up        2d2h   1,204,311  10.0.0.5:42425  10.0.0.5:42426  -           1.2.3    this node
web02  draining  1m15s  17         10.0.0.6:42425  10.0.0.6:42426  270µs       1.2.3    cannot reach web03
web03  up        2h0m   -          10.0.0.7:42425  10.0.0.7:42426  -           1.2.4    no connection: connection refused
web04  failed    5s     -          10.0.0.8:42425  10.0.0.8:42426  -           1.2.3
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestStatus_Prints(t *testing.T) {
	t.Parallel()
	var s api.Status
	text := `{"node": "web01", "version": "1.2.3", "phase": "draining", "clustered": true, "uptime_seconds": 93784.5,
		"findings": [{"kind": "split", "severity": "trouble", "title": "The cluster is split"}, {"kind": "no-key", "severity": "warning", "title": "This cluster has no key"}],
		"addresses": {"state": "127.0.0.1:42424", "gossip": "10.0.0.5:42425", "transfer": "10.0.0.5:42426", "status": "127.0.0.1:42480"},
		"sessions": {"held": 1488, "locked": 3, "created": 41212, "timed_out": 900, "abandoned": 7, "refused": 0},
		"memory": {"body_bytes": 38000000, "used_bytes": 50000000, "limit_bytes": 8589934592}, "applications": 2,
		"cluster": {"joined": true, "members": 3, "expected": 4, "queries": {"here": 1234, "nowhere": 5}, "moved_in": 1234, "moved_out": 412, "moved_in_bytes": 2000000, "moved_out_bytes": 1000,
			"conflicts": 1, "events": [{"at": "2026-11-21T17:55:13Z", "level": "info", "text": "web03 joined"}]},
		"drain": {"sessions": 412, "bytes": 38000000, "remaining": 1488, "members": 2, "elapsed_seconds": 2, "left_seconds": 7}}`
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	at := fakeNode{status: func() api.Status { return s }}.start(t)
	status, got, stderr := runHere("status", "--status-addr", at)
	if status != exitDone || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	want := `node          web01, statemesh 1.2.3, draining, running for 1d2h
trouble       The cluster is split
warning       This cluster has no key
addresses     web servers 127.0.0.1:42424, gossip 10.0.0.5:42425, transfer 10.0.0.5:42426, status 127.0.0.1:42480
sessions      1,488 held, 3 locked; since the start 41,212 created, 900 expired, 7 abandoned, 0 refused
memory        48 MiB of 8.0 GiB (1%), bodies 36 MiB
applications  2
cluster       3 of 4 members
moved         1,234 sessions in (1.9 MiB), 412 out (1000 B)
asked for     1,234 here, 0 held, 5 nowhere, 0 unknown, 0 shed
conflicts     1 sessions that two nodes had after a split
drain         412 of 1,900 sessions handed over to 2 members, 36 MiB, 7s left

` + s.Cluster.Events[0].At.Local().Format("2006-01-02 15:04:05") + `  info   web03 joined
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}

	var back api.Status
	if _, text, _ := runHere("status", "--json", "--status-addr", at); json.Unmarshal([]byte(text), &back) != nil || back.Sessions != s.Sessions {
		t.Errorf("--json: got %s", text)
	}
	s.Clustered, s.Cluster, s.Drain, s.Findings = false, nil, nil, nil
	if _, got, _ := runHere("status", "--status-addr", at); !strings.Contains(got, "\ncluster       none: this node runs alone\n") || !strings.Contains(got, "\nfindings      none\n") {
		t.Errorf("alone: got:\n%s", got)
	}
}

func TestDrain_Waits(t *testing.T) {
	t.Parallel()
	draining := func(d api.Drain) api.Status { return api.Status{Phase: "draining", Drain: &d} }
	looks := 0
	n := fakeNode{
		drain: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusAccepted)
			_ = json.NewEncoder(w).Encode(draining(api.Drain{Remaining: 1900}))
		},
		status: func() api.Status {
			if looks++; looks < 2 {
				return draining(api.Drain{Sessions: 412, Bytes: 38e6, Remaining: 1488, Members: 2, Left: 6})
			}
			return draining(api.Drain{Sessions: 1900, Bytes: 175e6, Members: 2, Elapsed: 8.25, Done: true})
		},
	}
	at := n.start(t)
	status, stdout, stderr := runHere("drain", "--wait", "--status-addr", at)
	if want := "1,900 of 1,900 sessions handed over to 2 members, 167 MiB, done in 8.25s\n"; status != exitDone || stdout != want {
		t.Errorf("status %d, stdout %q, want %q", status, stdout, want)
	}
	if want := "0 of 1,900 sessions handed over to 0 members, 0 B\n"; stderr != want { // and a line every two seconds
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	if status, stdout, _ := runHere("drain", "--status-addr", at); status != exitDone || !strings.Contains(stdout, "The node is draining.") {
		t.Errorf("without --wait: status %d, stdout %q", status, stdout)
	}

	n.status = func() api.Status {
		return draining(api.Drain{Sessions: 1, Remaining: 2, Members: 1, Problem: "no other member takes sessions"})
	}
	if status, _, stderr := runHere("drain", "--wait", "--status-addr", n.start(t)); status != exitFailed ||
		!strings.Contains(stderr, "1 of 3 sessions handed over to 1 member, 0 B, ended early: no other member takes sessions") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestDrain_EndsWithItsWaiter(t *testing.T) {
	t.Parallel()
	n := fakeNode{status: func() api.Status { return api.Status{Drain: &api.Drain{Remaining: 1}} }}
	a := &asker{statusAddr: n.start(t)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, progress strings.Builder
	err := awaitDrain(ctx, a, n.status(), &out, newLine(&progress))
	if err == nil || !strings.Contains(err.Error(), "the node goes on draining") {
		t.Errorf("got %v", err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	a.statusAddr = l.Addr().String()
	if err := awaitDrain(t.Context(), a, n.status(), &out, newLine(&progress)); !errors.Is(err, errNobody) || !strings.Contains(err.Error(), "has ended while it was draining") {
		t.Errorf("got %v", err)
	}
}

func TestKeygen(t *testing.T) {
	t.Parallel()
	_, one, stderr := runHere("keygen")
	_, two, _ := runHere("keygen")
	if one == two || strings.Count(one, "\n") != 1 || len(one) != 45 || stderr != "" {
		t.Errorf("got %d and %d bytes, stderr %q", len(one), len(two), stderr)
	}
}
