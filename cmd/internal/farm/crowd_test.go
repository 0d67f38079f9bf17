package farm

import (
	"context"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/fakestate"
)

// crowd is one whose sessions the fake has.
func crowd(t *testing.T, f *fake, o CrowdOptions) *Crowd {
	t.Helper()
	o.Doors, o.Size = f.doors, bench.Size{Min: 100, Max: 1000}
	if o.Users == 0 {
		o.Users, o.Sessions, o.Shared = 8, 3, 4
	}
	o.Poll = time.Millisecond
	c := NewCrowd(o)
	t.Cleanup(c.Close)
	if err := c.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// runUntil has users ask for pages until enough says so.
func runUntil(t *testing.T, c *Crowd, enough func() bool) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stop := c.Start(ctx)
	for !enough() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("it did not come to that")
	}
	return stop()
}

func (c *Crowd) has(kind faultKind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report.Faults[kind] > 0
}

func TestCrowd_FindsNothingWrongWithARightService(t *testing.T) {
	t.Parallel()
	c := crowd(t, startFake(t, 3), CrowdOptions{})
	for _, r := range []*Report{
		runUntil(t, c, func() bool { return c.Pages() > 3000 }),
		c.Visit(t.Context()),
	} {
		if err := r.Err(); err != nil {
			t.Error(err)
		}
		if r.Lost+r.Late+r.Back+r.Refused+r.Closed+r.TimedOut+r.Unreachable+r.Stolen+r.Busy+r.Failed > 0 {
			t.Errorf("found something: %v", r)
		}
		if r.Pages+r.Requests == 0 || len(r.Longest) != 3 {
			t.Errorf("figures make no sense: %v", r)
		}
	}
}

// Connections that end before or after the request was carried out excuse much, but nothing is lost by that.
func TestCrowd_ExcusesBrokenConnections(t *testing.T) {
	t.Parallel()
	f := startFake(t, 3)
	c := crowd(t, f, CrowdOptions{})
	f.mu.Lock()
	f.unreliable = 20
	f.mu.Unlock()
	r := runUntil(t, c, func() bool { return c.Pages() > 3000 })
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if r.Closed < 100 || r.Failed == 0 || r.Stolen == 0 {
		t.Errorf("nothing was broken: %v", r)
	}
	f.mu.Lock()
	f.unreliable = 0
	f.mu.Unlock()
	if err := c.Visit(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestCrowd_KilledNodesMayLoseTheirOwn(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		f := startFake(t, 3)
		c := crowd(t, f, CrowdOptions{})
		pages := uint64(0)
		r := runUntil(t, c, func() bool {
			switch {
			case pages > 0:
				return c.Pages() > pages+1000
			case c.Pages() > 500:
				f.doors[1].Shut()
				if told {
					c.Doom("n1")
				}
				f.kill("n1")
				pages = c.Pages()
			}
			return false
		})
		last := c.Visit(t.Context())
		switch {
		case told && (r.Err() != nil || last.Err() != nil):
			t.Errorf("%v %v", r.Err(), last.Err())
		case told && (r.Lost+last.Lost == 0 || r.Lost+last.Lost > 20 || c.Excused() > 0):
			t.Errorf("%d+%d sessions of 28 lost, and %d may be still", r.Lost, last.Lost, c.Excused())
		case !told && r.Faults[FalseNotFound]+last.Faults[FalseNotFound] == 0:
			t.Errorf("lost sessions were not noticed: %v", r)
		}
	}
}

// A server that is wrong in one way, now and then: the crowd must say so, and call it by its name.
func TestCrowd_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	type wrong func(s *fakeSession, r *fakeRequest) (string, bool)
	body := func(s *fakeSession, body string) string {
		s.locked = true
		s.cookie++
		return fakestate.Answer("200 OK", "LockCookie: 9\r\n", body)
	}
	for name, tt := range map[string]struct {
		want  faultKind
		op    string
		wrong wrong
	}{
		"forgets": {FalseNotFound, "acquire", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			s.exists = false
			return "", false
		}},
		"forgets on a plain Get": {FalseNotFound, "GET", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			if !s.exists {
				return "", false
			}
			return fakestate.NotFound(), true
		}},
		"does not store": {LostUpdate, "PUT", func(s *fakeSession, r *fakeRequest) (string, bool) {
			if !s.exists {
				return "", false
			}
			s.locked = false
			return fakestate.Done(), true
		}},
		"answers with what was before": {LostUpdate, "acquire", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			if !s.exists || s.locked || s.before == "" || s.before == s.body {
				return "", false
			}
			return body(s, s.before), true
		}},
		"half a body": {WrongBody, "acquire", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			if !s.exists || s.locked {
				return "", false
			}
			return body(s, s.body[:len(s.body)/2]), true
		}},
		"locks twice": {TwoHolders, "acquire", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			s.locked = false
			return "", false
		}},
		"resets the cookie": {WriteRefused, "PUT", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			if s.locked {
				s.cookie++
			}
			return "", false
		}},
		"does not unlock": {StuckLock, "PUT", func(s *fakeSession, r *fakeRequest) (string, bool) {
			if !s.locked || r.Cookie != s.cookie {
				return "", false
			}
			s.body = r.Body
			return fakestate.Done(), true
		}},
		"503": {OtherStatus, "GET", func(*fakeSession, *fakeRequest) (string, bool) {
			return fakestate.Answer("503 Service Unavailable", "", ""), true
		}},
		"404 to a write": {OtherStatus, "PUT", func(*fakeSession, *fakeRequest) (string, bool) {
			return fakestate.NotFound(), true
		}},
		"keeps what was removed": {Resurrected, "GET", func(s *fakeSession, _ *fakeRequest) (string, bool) {
			if !s.exists && s.removed != "" {
				s.exists, s.body = true, s.removed
			}
			return "", false
		}},
		"garbage": {WrongBody, "HEAD", func(*fakeSession, *fakeRequest) (string, bool) {
			return "hello\r\n", true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, 3)
			c := crowd(t, f, CrowdOptions{Patience: 500 * time.Millisecond, Think: 2 * time.Millisecond})
			f.mu.Lock()
			n := 0
			f.wrong = func(s *fakeSession, r *fakeRequest) (string, bool) {
				if r.Op != tt.op {
					return "", false
				}
				if n++; n%10 != 0 {
					return "", false
				}
				return tt.wrong(s, r)
			}
			f.mu.Unlock()
			r := runUntil(t, c, func() bool { return c.has(tt.want) })
			if r.Faults[tt.want] == 0 {
				t.Errorf("found %v, want %s", r, tt.want)
			}
			for _, text := range r.FirstFaults {
				if strings.Contains(text, "%2f") {
					t.Errorf("a fault tells a session's key: %s", text)
				}
			}
		})
	}
}

func TestLog_Await(t *testing.T) {
	t.Parallel()
	l := newLog()
	go func() {
		for _, part := range []string{`{"@level":"info","@mess`, "age\":\"listening\",\"state\":\"x\"}\npanic: ", "no\n{}"} {
			l.Write([]byte(part))
		}
		l.close()
	}()
	line, err := l.Await(t.Context(), "listening")
	if err != nil || line.Message != "listening" || line.Level != "info" || line.Pairs["state"] != "x" {
		t.Errorf("%+v, %v", line, err)
	}
	if line, err := l.Await(t.Context(), "panic"); err != nil || line.Text != "panic: no" || line.Pairs != nil {
		t.Errorf("%+v, %v", line, err)
	}
	if _, err := l.Await(t.Context(), "xyzzy"); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v, want that the log ended", err)
	}
	if got := len(l.Find("{")); got != 2 || l.String() == "" {
		t.Errorf("found %d lines, want 2 in %s", got, l)
	}
}

func TestShapes_KnowEnoughToMeet(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]Shape{"ring": Ring, "star": Star, "stars": Stars, "everyone": Everyone} {
		for n := 1; n < 12; n++ {
			group := make([]int, n) // by union of those who know each other
			for i := range group {
				group[i] = i
			}
			for range n {
				for i := range n {
					for _, seed := range shape(i, n) {
						low := min(group[i], group[seed])
						group[i], group[seed] = low, low
					}
				}
			}
			for i, g := range group {
				if g != 0 {
					t.Errorf("%s of %d: node %d does not meet the first", name, n, i)
				}
			}
		}
	}
}
