package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/fakestate"
)

// filled is a farm whose sessions the service has.
func filled(t *testing.T, o FarmOptions) *Farm {
	t.Helper()
	f, err := NewFarm(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if err := f.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Fill(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs the farm until the service has seen n more requests.
func (f *fake) run(t *testing.T, farm *Farm, n int) *Result {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.mu.Lock()
	f.until, f.enough = f.seen+n, cancel
	f.mu.Unlock()
	return farm.Run(ctx, 0, time.Minute, nil)
}

func wantNoFaults(t *testing.T, r *Result) {
	t.Helper()
	if r.Wrong() != 0 {
		t.Errorf("wrong answers: %v %v", r.Faults, r.FirstFaults)
	}
}

func TestFarm_FindsNothingWrongWithARightService(t *testing.T) {
	t.Parallel()
	for _, mix := range Mixes {
		if mix == Pair {
			continue // has another shape, and a test of its own
		}
		for _, http := range []bool{false, true} {
			service := startFake(t)
			service.http = http
			farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 4, Sessions: 20, Size: Size{16, 3000}, Mix: mix, Depth: 8})
			for range 2 {
				r := service.run(t, farm, 300)
				wantNoFaults(t, r)
				if r.Requests < 280 || r.Pages < r.Requests/2-10 || r.Pages > r.Requests {
					t.Errorf("%s: %d pages, %d requests, want about 300 requests", mix, r.Pages, r.Requests)
				}
				if r.Page.P50 <= 0 || r.Page.Max < r.Page.P99 || r.MBPerSecond <= 0 {
					t.Errorf("%s: figures make no sense: %+v", mix, r)
				}
				if r.Wait != (Latency{}) {
					t.Errorf("%s: waits of pairs, and there were none: %+v", mix, r.Wait)
				}
			}
			if err := farm.Empty(t.Context(), nil); err != nil {
				t.Errorf("%s: Empty: %v", mix, err)
			}
			if n := service.count(); n != 0 {
				t.Errorf("%s: Empty left %d sessions", mix, n)
			}
		}
	}
}

func TestFarm_SharedSessionsAreWaitedFor(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 8, Sessions: 2, Size: Size{500, 500}, Mix: Typical, Shared: true})
	r := service.run(t, farm, 3000)
	wantNoFaults(t, r)
	if r.Polls == 0 {
		t.Error("8 connections never met on 2 sessions")
	}
}

func TestFarm_SpreadsConnectionsOverNodes(t *testing.T) {
	t.Parallel()
	a, b := startFake(t), startFake(t)
	filled(t, FarmOptions{Addrs: []string{a.addr, b.addr}, Conns: 4, Sessions: 20, Size: Size{16, 16}})
	if a.count() != 10 || b.count() != 10 {
		t.Errorf("sessions: %d and %d, want 10 and 10", a.count(), b.count())
	}
}

func TestFarm_RateIsKept(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 2, Sessions: 2, Size: Size{16, 16}, Mix: ReadOnly, Rate: 500})
	start := time.Now()
	service.run(t, farm, 50)
	if took := time.Since(start); took < 80*time.Millisecond {
		t.Errorf("50 pages at 500/s took %v, want about 100ms", took)
	}
}

func TestFarm_RewriteChangesBodiesAndWindows(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 2, Sessions: 50, Size: Size{100, 200}})
	if err := farm.Rewrite(t.Context(), nil, func(s uint32) int { return int(s) + 1 }); err != nil {
		t.Fatal(err)
	}
	var held int64
	for _, s := range service.sessions {
		held += int64(len(s.body))
	}
	if got := farm.BodyBytes(); got != held {
		t.Errorf("BodyBytes = %d, the service holds %d", got, held)
	}
	wantNoFaults(t, service.run(t, farm, 200))
}

// Each misbehaviour happens once: it must be found, counted once, and all be well afterwards.
func TestFarm_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	type spoil func(f *fake, s *fakeSession, answer string) string
	status := func(line string) spoil {
		return func(*fake, *fakeSession, string) string { return fakestate.Answer(line, "", "") }
	}
	withBody := func(s *fakeSession, body string) string {
		return fakestate.Answer("200 OK", fmt.Sprintf("LockCookie: %d\r\n", s.cookie), body)
	}
	tests := []struct {
		name  string
		want  faultKind
		op    string
		spoil spoil
		close bool
	}{
		{"one bit changed", wrongBody, "acquire", func(_ *fake, _ *fakeSession, answer string) string {
			b := []byte(answer)
			b[len(b)-1] ^= 4
			return string(b)
		}, false},
		{"half old, half new", wrongBody, "acquire", func(_ *fake, s *fakeSession, _ string) string {
			return withBody(s, s.body[:150]+s.before[150:])
		}, false},
		{"one byte short", wrongLength, "acquire", func(_ *fake, s *fakeSession, _ string) string {
			return withBody(s, s.body[:299])
		}, false},
		{"empty", wrongLength, "acquire", func(_ *fake, s *fakeSession, _ string) string {
			return withBody(s, "")
		}, false},
		{"another session's", wrongSession, "acquire", func(f *fake, s *fakeSession, _ string) string {
			for _, other := range f.sessions {
				if other != s {
					return withBody(s, other.body)
				}
			}
			panic("there are four")
		}, false},
		{"lost update", lostUpdate, "PUT", func(_ *fake, s *fakeSession, answer string) string {
			s.body = s.before
			return answer
		}, false},
		{"session lost", notFound, "acquire", func(f *fake, s *fakeSession, _ string) string {
			maps.DeleteFunc(f.sessions, func(_ string, other *fakeSession) bool { return other == s })
			return fakestate.NotFound()
		}, false},
		{"locked though free", locked, "acquire", status("423 Locked"), false},
		{"Get refused", refused, "acquire", status("400 Bad Request"), false},
		{"Set refused", refused, "PUT", status("400 Bad Request"), false},
		{"Set locked", locked, "PUT", status("423 Locked"), false},
		{"busy", otherStatus, "acquire", status("503 Service Unavailable"), false},
		{"cookie handed out twice", badCookie, "acquire", func(_ *fake, s *fakeSession, _ string) string {
			s.cookie--
			return withBody(s, s.body)
		}, false},
		{"no cookie", badCookie, "acquire", func(_ *fake, s *fakeSession, _ string) string {
			return fakestate.Answer("200 OK", "", s.body)
		}, false},
		{"no version", noVersion, "PUT", func(*fake, *fakeSession, string) string {
			return "200 OK\r\nContent-Length: 0\r\n\r\n"
		}, false},
		{"not the protocol", malformed, "acquire", func(*fake, *fakeSession, string) string {
			return "220 smtp\n"
		}, false},
		{"closed before the answer", closed, "acquire", func(*fake, *fakeSession, string) string { return "" }, true},
		{"closed within the head", closed, "acquire", func(_ *fake, _ *fakeSession, answer string) string { return answer[:20] }, true},
		{"closed within the body", closed, "acquire", func(_ *fake, _ *fakeSession, answer string) string { return answer[:len(answer)-5] }, true},
		{"closed instead of Set", closed, "PUT", func(*fake, *fakeSession, string) string { return "" }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			service := startFake(t)
			farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 2, Sessions: 4, Size: Size{300, 300}})
			wantNoFaults(t, service.run(t, farm, 100)) // so that every session has a body before this one
			left := 10
			service.mu.Lock()
			service.spoil = func(f *fake, r *fakeRequest, answer string) (string, error) {
				if r.Op != tt.op {
					return answer, nil
				}
				if left--; left != 0 {
					return answer, nil
				}
				if tt.close {
					return tt.spoil(f, f.sessions[r.Key], answer), errors.New("close")
				}
				return tt.spoil(f, f.sessions[r.Key], answer), nil
			}
			service.mu.Unlock()
			r := service.run(t, farm, 400)
			if len(r.Faults) != 1 || r.Faults[faultNames[tt.want]] != 1 {
				t.Errorf("faults: %v, want 1 %s; first: %q", r.Faults, faultNames[tt.want], r.FirstFaults)
			}
			for _, text := range r.FirstFaults {
				if strings.Contains(text, "%2f") {
					t.Errorf("a fault tells a session's key: %s", text)
				}
			}
			if r.Pages < 150 {
				t.Errorf("only %d pages", r.Pages)
			}
		})
	}
}

func TestFarm_SurvivesAServiceThatGoesAway(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 2, Sessions: 4, Size: Size{16, 16}})
	service.spoil = func(f *fake, _ *fakeRequest, _ string) (string, error) {
		clear(f.sessions)
		return "", errors.New("close")
	}
	r := service.run(t, farm, 20)
	if r.Faults[faultNames[closed]] == 0 || r.Pages != 0 {
		t.Errorf("faults %v, pages %d, want closed connections and no page", r.Faults, r.Pages)
	}
}

func TestDial_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	farm, err := NewFarm(FarmOptions{Addrs: []string{"127.0.0.1:1"}, Conns: 1, Sessions: 1, Size: Size{16, 16}})
	if err != nil {
		t.Fatal(err)
	}
	err = farm.Dial(t.Context())
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "Is it running?") {
		t.Errorf("Dial: %v", err)
	}
}

// Answers come one by one, or several at once, or in pieces, and none of them may be waited for in vain.
func TestFill_ManyInFlight(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	service.pieces = true
	const sessions = 20000
	farm := filled(t, FarmOptions{Addrs: []string{service.addr}, Conns: 8, Sessions: sessions, Size: Size{16, 100}, Depth: 64})
	if n := service.count(); n != sessions {
		t.Errorf("%d sessions stored, want %d", n, sessions)
	}
	wantNoFaults(t, service.run(t, farm, 200))
	if err := farm.Empty(t.Context(), nil); err != nil || service.count() != 0 {
		t.Errorf("Empty: %v, %d sessions left", err, service.count())
	}
}

func TestFill_StopsAtTheFirstWrongAnswer(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	service.spoil = func(*fake, *fakeRequest, string) (string, error) {
		return fakestate.Answer("400 Bad Request", "", ""), nil
	}
	farm, err := NewFarm(FarmOptions{Addrs: []string{service.addr}, Conns: 1, Sessions: 10, Size: Size{16, 16}})
	if err != nil {
		t.Fatal(err)
	}
	defer farm.Close()
	if err := errors.Join(farm.Dial(t.Context()), farm.Fill(t.Context(), nil)); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("Fill: %v, want an error about 400", err)
	}
}

// A page must cost the machine as little as possible, and no garbage.
func TestPage_AllocatesNothing(t *testing.T) {
	in, parent := io.Pipe()
	addr, out := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- ServeFloor(in, out, 2400) }()
	line := make([]byte, 64)
	n, _ := addr.Read(line)
	go io.Copy(io.Discard, addr)
	farm := filled(t, FarmOptions{Addrs: []string{strings.TrimSpace(string(line[:n]))}, Conns: 1, Sessions: 10, Size: Size{2400, 2400}, canned: true})
	c := farm.conns[0]
	c.measuring = true
	for _, mix := range []Mix{RW, ReadOnly, Typical} {
		farm.o.Mix = mix
		if got := testing.AllocsPerRun(200, func() {
			if err := c.page(c.pick()); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations a page, want 0", mix, got)
		}
	}
	parent.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
