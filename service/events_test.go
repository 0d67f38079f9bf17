package service_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
)

// listener reads server-sent events.
type listener struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func listen(t *testing.T, n *node, lastID string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req := n.request(t, "GET", "/api/v1/events").WithContext(ctx)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp := send(t, req)
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
	})
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	l := &listener{t, bufio.NewScanner(resp.Body), cancel}
	if got := l.next(); got != ":" { // now it is heard
		t.Fatalf("it begins with %q", got)
	}
	return l
}

// next is the next event, or comment, its lines joined; "" at the end.
func (l *listener) next() string {
	var all []string
	for l.lines.Scan() && l.lines.Text() != "" {
		all = append(all, l.lines.Text())
	}
	return strings.Join(all, "\n")
}

func event(second int64) cluster.Event {
	return cluster.Event{At: time.Unix(second, 0).UTC(), Level: "info", Text: fmt.Sprintf("event <%d>\n", second)}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	now := time.Now().Unix()
	all := []cluster.Event{event(now + 100), event(now + 101)}
	n.Tell(all)
	live, late := listen(t, n, fmt.Sprint((now+200)*1e9)), listen(t, n, fmt.Sprint((now+100)*1e9))
	want := func(l *listener, second int64) {
		t.Helper()
		data := fmt.Sprintf(`{"at":%q,"level":"info","text":"event \u003c%d\u003e\n"}`, time.Unix(second, 0).UTC().Format(time.RFC3339), second)
		if got, want := l.next(), fmt.Sprintf("id: %d\nevent: cluster\ndata: %s", second*1e9, data); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	want(late, now+101) // it has missed that
	all = append(all, event(now+201))
	n.Tell(all)
	n.Tell(all) // nothing new
	n.Tell(append(all, event(now+202))[2:])
	for _, l := range []*listener{live, late} {
		want(l, now+201)
		want(l, now+202)
	}
	live.cancel()
	waitFor(t, func() bool { return n.Listeners() == 1 })
	n.Stop()
	if got := late.next(); got != "" {
		t.Errorf("a stopped node goes on with %q", got)
	}
}

func TestEvents_SoManyMayListen(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	var all []*listener
	for range 100 {
		all = append(all, listen(t, n, ""))
	}
	if status, body := n.status(t, "/api/v1/events"); status != 503 || !strings.Contains(body, "too many") {
		t.Errorf("the 101st: %d %s", status, body)
	}
	all[0].cancel()
	waitFor(t, func() bool { return n.Listeners() == 99 })
	listen(t, n, "")
}

// A listener that does not read is cut off, and nobody has waited for it.
func TestEvents_NobodyWaitsForAListener(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.StatusHandler().ServeHTTP(&stuckWriter{entered: entered, leave: leave}, httptest.NewRequest("GET", "http://localhost/api/v1/events", nil))
	}()
	<-entered
	var told []cluster.Event
	now := time.Now().Unix()
	for i := range int64(200) {
		told = append(told, event(now+i))
		n.Tell(told)
	}
	if n.Listeners() != 0 {
		t.Error("it is still told")
	}
	close(leave)
	<-done
}

// stuckWriter is a reader's end that takes nothing until leave is closed.
type stuckWriter struct {
	header         http.Header
	entered, leave chan struct{}
}

func (w *stuckWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}
func (w *stuckWriter) WriteHeader(int) {}
func (w *stuckWriter) Flush()          {}
func (w *stuckWriter) Write(b []byte) (int, error) {
	select {
	case <-w.entered:
	default:
		close(w.entered)
	}
	<-w.leave
	return len(b), nil
}

func TestAPI_Methods(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api/v1/status", 200, ""},
		{"HEAD", "/api/v1/status", 200, ""},
		{"HEAD", "/api/v1/members", 200, ""},
		{"HEAD", "/api/v1/applications", 200, ""},
		{"HEAD", "/api/v1/history", 200, ""},
		{"HEAD", "/api/v1/events", 200, ""},
		{"POST", "/api/v1/status", 405, "GET, HEAD"},
		{"DELETE", "/api/v1/events", 405, "GET, HEAD"},
		{"GET", "/api/v1/drain", 405, "POST"},
		{"PUT", "/api/v1/keys/reload", 405, "POST"},
		{"GET", "/api/v1/sessions", 404, ""},
		{"GET", "/api/v2/status", 404, ""},
	} {
		resp := send(t, n.request(t, c.method, c.path))
		resp.Body.Close()
		if resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %s, allowed %q; want %d, %q", c.method, c.path, resp.Status, resp.Header.Get("Allow"), c.status, c.allow)
		}
		if kind := resp.Header.Get("Content-Type"); kind != "application/json" && c.path != "/api/v1/events" {
			t.Errorf("%s %s is %s", c.method, c.path, kind)
		}
	}
}

// The documents of a node that has been asked for something.
func TestAPI_Documents(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.dial(t).want(200, set("a", "0", "0123456789"))
	var h api.History
	getJSON(t, n, "/api/v1/history", &h)
	if len(h.Series) != 6 || len(h.Times) == 0 {
		t.Errorf("history is %+v", h)
	}
	var s api.Status
	getJSON(t, n, "/api/v1/status", &s)
	if s.Findings == nil || len(s.Findings) != 0 || len(s.Operations) != 6 {
		t.Errorf("status is %+v", s)
	}
	var a api.Applications
	getJSON(t, n, "/api/v1/applications", &a)
	if a.Node != "test" || a.Applications == nil {
		t.Errorf("applications are %+v", a)
	}
	waitFor(t, func() bool { // within a second
		var m api.Members
		getJSON(t, n, "/api/v1/members", &m)
		return len(m.Members) == 1 && m.Members[0].Said != nil && m.Members[0].Said.Sessions == 1
	})
}
