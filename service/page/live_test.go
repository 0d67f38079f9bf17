package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/service/api"
	"statemesh/service/page"
	"statemesh/service/page/pagetest"
)

// changing is a node whose documents change, and which counts how often they are asked for.
type changing struct {
	*pagetest.Node
	asked atomic.Int64
	held  atomic.Int64

	mu      sync.Mutex // guards history
	history api.History
}

func newChanging() *changing {
	node := pagetest.Alone(time.Now())
	return &changing{Node: node, history: node.H}
}

func (c *changing) History() api.History {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history
}

// chart adds a point to all charts, and returns its time.
func (c *changing) chart(value float64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := api.History{Times: append(slices.Clone(c.history.Times), c.history.Times[len(c.history.Times)-1]+2)}
	for _, s := range c.history.Series {
		next.Series = append(next.Series, api.TimeSerie{Name: s.Name, Values: append(slices.Clone(s.Values), &value)})
	}
	c.history = next
	return next.Times[len(next.Times)-1]
}

// restartCharts leaves one point in each, at that time.
func (c *changing) restartCharts(at int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := api.History{Times: []int64{at}}
	for _, s := range c.history.Series {
		h.Series = append(h.Series, api.TimeSerie{Name: s.Name, Values: s.Values[:1]})
	}
	c.history = h
	return at
}

func (c *changing) Status() api.Status {
	c.asked.Add(1)
	s := c.Node.Status()
	s.Sessions.Held = c.held.Load()
	return s
}

// browser reads /live until it leaves.
type browser struct {
	w     *stream
	leave context.CancelFunc
	ended chan struct{}
}

func watch(p *page.Page) *browser {
	ctx, cancel := context.WithCancel(context.Background())
	b := &browser{w: &stream{header: http.Header{}}, leave: cancel, ended: make(chan struct{})}
	go func() {
		p.ServeHTTP(b.w, httptest.NewRequestWithContext(ctx, "GET", "/live", nil))
		close(b.ended)
	}()
	return b
}

// stream is a connection that is written to.
type stream struct {
	header http.Header
	mu     sync.Mutex // guards the rest
	status int
	text   strings.Builder
	stuck  chan struct{} // not nil: writing takes until it is closed, or the deadline
	due    time.Time
}

func (s *stream) Header() http.Header { return s.header }
func (s *stream) Flush()              {}
func (s *stream) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.due = t
	return nil
}
func (s *stream) SetReadDeadline(time.Time) error { return nil }
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if stuck != nil {
		select {
		case <-stuck:
		case <-time.After(time.Until(s.due)):
			return 0, errors.New("too slow")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// event is one that has arrived.
type event struct {
	name string
	data map[string]json.RawMessage
}

// events are those that have arrived since the last call.
func (b *browser) events(t *testing.T) (all []event) {
	t.Helper()
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	lines := bufio.NewScanner(strings.NewReader(b.w.text.String()))
	lines.Buffer(nil, 1<<20)
	b.w.text.Reset()
	var e event
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				t.Fatalf("%s: %v", value, err)
			}
		case "":
			if e.name != "" {
				all = append(all, e)
			}
			e = event{}
		}
	}
	return all
}

func (e event) fragments(t *testing.T) map[string]string {
	t.Helper()
	var html map[string]string
	if err := json.Unmarshal(e.data["html"], &html); err != nil {
		t.Fatal(err)
	}
	return html
}

func names[V any](m map[string]V) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func TestLive_SendsWhatChangesAndNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := newChanging()
		p := page.New(node)
		b := watch(p)
		synctest.Wait()
		first := b.events(t)
		if len(first) != 2 || first[0].name != "page" || len(first[0].fragments(t)) < 15 || first[1].name != "chart" || string(first[1].data["whole"]) != "true" {
			t.Fatalf("at first: %+v", first)
		}
		node.held.Store(77)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, e := range b.events(t) {
			html := e.fragments(t)
			if got := names(html); e.name != "page" || !slices.Equal(got, []string{"about", "asof", "sessions", "tile-sessions", "verdict"}) && !slices.Equal(got, []string{"asof", "sessions", "tile-sessions", "verdict"}) {
				t.Errorf("one number has changed, and what came is %s with %v", e.name, got)
			}
			if !strings.Contains(html["tile-sessions"], "77") {
				t.Errorf("the tile now says %q", html["tile-sessions"])
			}
		}
		// A point is added to the charts: that point comes, and no more.
		added := node.chart(8.5)
		time.Sleep(time.Second)
		synctest.Wait()
		var charts []string
		for _, e := range b.events(t) {
			if e.name == "chart" {
				charts = append(charts, fmt.Sprint(string(e.data["times"]), string(e.data["series"]), string(e.data["whole"])))
			}
		}
		want := fmt.Sprintf(`[%d]{"memory":[8.5],"moved_in":[8.5],"moved_out":[8.5],"p99":[8.5],"requests":[8.5],"sessions":[8.5]}`, added)
		if len(charts) != 1 || charts[0] != want {
			t.Errorf("the chart got %v, want %s", charts, want)
		}
		// The node's clock is set back, and its charts begin anew.
		back := node.restartCharts(added - 3600)
		time.Sleep(time.Second)
		synctest.Wait()
		charts = nil
		for _, e := range b.events(t) {
			if e.name == "chart" {
				charts = append(charts, fmt.Sprint(string(e.data["times"]), string(e.data["whole"])))
			}
		}
		if want := fmt.Sprintf("[%d]true", back); len(charts) != 1 || charts[0] != want {
			t.Errorf("the chart got %v, want %s", charts, want)
		}
		b.leave()
		<-b.ended
	})
}

func TestLive_IsRenderedOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := newChanging()
		p := page.New(node)
		var all []*browser
		for range 50 {
			all = append(all, watch(p))
			time.Sleep(17 * time.Millisecond)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := node.asked.Load(); n > 11 {
			t.Errorf("in less than ten seconds, 50 readers had the page rendered %d times", n)
		}
		for i, b := range all {
			seen := 0
			for _, e := range b.events(t) {
				if e.name == "page" {
					seen++
				}
			}
			if seen < 9 {
				t.Errorf("reader %d saw %d changes in nine seconds", i, seen)
			}
		}
		p.Close()
		for _, b := range all {
			<-b.ended
		}
	})
}

func TestLive_ASlowReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := page.New(newChanging())
		slow, quick := watch(p), watch(p)
		synctest.Wait()
		slow.w.mu.Lock()
		slow.w.stuck = make(chan struct{})
		slow.w.mu.Unlock()
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		if n := len(quick.events(t)); n < 6 {
			t.Errorf("beside a reader that stands still, another has seen %d events in five seconds", n)
		}
		<-slow.ended // it is given up
		quick.leave()
		<-quick.ended
	})
}

func TestLive_HasRoomForAHundred(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := page.New(newChanging())
		var all []*browser
		for range 100 {
			all = append(all, watch(p))
		}
		synctest.Wait()
		late := watch(p)
		<-late.ended
		if late.w.status != http.StatusServiceUnavailable || late.w.header.Get("Retry-After") == "" {
			t.Errorf("one too many is answered %d, Retry-After %q", late.w.status, late.w.header.Get("Retry-After"))
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 {
			t.Errorf("the page itself: %d", w.Code)
		}
		all[0].leave()
		<-all[0].ended
		again := watch(p)
		synctest.Wait()
		if again.w.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("when one has left, another is answered %d", again.w.status)
		}
		p.Close()
		for _, b := range append(all[1:], again) {
			<-b.ended
		}
	})
}

func TestLive_HeadHasNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := page.New(pagetest.Alone(time.Now()))
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("HEAD", "/live", nil))
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("HEAD /live: %d %q", w.Code, w.Header().Get("Content-Type"))
		}
	})
}
