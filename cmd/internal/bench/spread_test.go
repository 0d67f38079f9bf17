package bench

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statemesh/cmd/internal/fakestate"
)

// visits are the nodes that were asked, by session, in order.
type visits struct {
	mu sync.Mutex // guards by
	by map[string][]string
}

// cluster is a fake with n addresses, and what it will have been asked for.
func cluster(t *testing.T, n int) (f *fake, addrs []string, v *visits) {
	f = startFake(t)
	addrs = []string{f.addr}
	for range n - 1 {
		addrs = append(addrs, f.node(t))
	}
	return f, addrs, &visits{by: make(map[string][]string)}
}

func (v *visits) watch(f *fake) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil = func(_ *fake, r *fakeRequest, answer string) (string, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.by[r.Key] = append(v.by[r.Key], r.node)
		return answer, nil
	}
}

func TestSpread_StickyUsersStay(t *testing.T) {
	t.Parallel()
	service, addrs, v := cluster(t, 3)
	v.watch(service)
	farm := filled(t, FarmOptions{Addrs: addrs, Conns: 6, Sessions: 30, Size: Size{16, 16}})
	wantNoFaults(t, service.run(t, farm, 500))
	for _, nodes := range v.by {
		if slices.Sort(nodes); nodes[0] != nodes[len(nodes)-1] {
			t.Errorf("a session went through %v", slices.Compact(nodes))
		}
	}
}

func TestSpread_AlternateChangesNodeWithEachPage(t *testing.T) {
	t.Parallel()
	for _, mix := range []Mix{RW, ReadOnly} {
		service, addrs, v := cluster(t, 3)
		v.watch(service)
		farm := filled(t, FarmOptions{Addrs: addrs[:2], Conns: 2, Sessions: 10, Size: Size{16, 16}, Mix: mix, Spread: Alternate})
		wantNoFaults(t, service.run(t, farm, 500))
		for _, nodes := range v.by {
			page := 2
			if mix == ReadOnly {
				page = 1
			}
			// The first is where Fill stored it, and a page may have been cut short.
			for i, node := range nodes[1:] {
				want := nodes[0]
				if (i/page)%2 == 0 {
					want = addrs[0]
					if nodes[0] == want {
						want = addrs[1]
					}
				}
				if node != want {
					t.Fatalf("%s: request %d was not sent to the node whose turn it was: %v", mix, i, nodes)
				}
			}
		}
	}
}

func TestSpread_PagesAndRequestsGoAnywhere(t *testing.T) {
	t.Parallel()
	for spread, whole := range map[Spread]bool{PerPage: true, PerRequest: false} {
		service, addrs, v := cluster(t, 3)
		v.watch(service)
		farm := filled(t, FarmOptions{Addrs: addrs, Conns: 1, Sessions: 1, Size: Size{16, 16}, Spread: spread})
		wantNoFaults(t, service.run(t, farm, 600))
		count := make(map[string]int)
		torn := 0
		for _, nodes := range v.by {
			for i, node := range nodes[1:] {
				count[node]++
				if i%2 == 1 && node != nodes[i] {
					torn++
				}
			}
		}
		if len(count) != 3 || slices.Min(slices.Collect(maps.Values(count))) < 100 {
			t.Errorf("%s: requests by node: %v, want about 200 each", spread, count)
		}
		if whole && torn > 0 || !whole && torn < 100 {
			t.Errorf("%s: %d of 300 pages went through two nodes", spread, torn)
		}
	}
}

func TestMiss_AnythingButNotFoundIsAFault(t *testing.T) {
	t.Parallel()
	service, addrs, _ := cluster(t, 2)
	farm := filled(t, FarmOptions{Addrs: addrs, Conns: 2, Sessions: 10, Size: Size{16, 16}, Mix: Miss, Spread: Alternate})
	r := service.run(t, farm, 200)
	wantNoFaults(t, r)
	if r.Pages < 190 {
		t.Errorf("%d pages, want about 200", r.Pages)
	}
	service.mu.Lock()
	service.spoil = func(*fake, *fakeRequest, string) (string, error) {
		return fakestate.Answer("423 Locked", "LockCookie: 0\r\n", ""), nil
	}
	service.mu.Unlock()
	if r := service.run(t, farm, 10); r.Faults[faultNames[otherStatus]] < 9 || r.Pages > 0 {
		t.Errorf("faults %v, %d pages, want a fault each", r.Faults, r.Pages)
	}
}

func TestPair_MeasuresTheSecondsWait(t *testing.T) {
	t.Parallel()
	const think = 3 * time.Millisecond
	for _, spread := range []Spread{Sticky, Alternate} {
		service, addrs, v := cluster(t, 2)
		farm := filled(t, FarmOptions{Addrs: addrs, Conns: 2, Sessions: 6, Size: Size{16, 500}, Mix: Pair, Spread: spread, Think: think})
		v.watch(service)
		for _, c := range farm.conns {
			c.second.pollPause = time.Millisecond // the fake has no lock_wait
		}
		r := service.run(t, farm, 300)
		wantNoFaults(t, r)
		if r.Pages < 5 || r.Polls == 0 || r.Wait.Max == 0 {
			t.Errorf("%s: figures make no sense: %+v", spread, r)
		}
		if r.Page.P50 < float64(think.Microseconds()) {
			t.Errorf("%s: a page took %v µs, want at least %v", spread, r.Page.P50, think)
		}
		for _, nodes := range v.by {
			moved := slices.ContainsFunc(nodes, func(node string) bool { return node != nodes[0] })
			if moved != (spread == Alternate) {
				t.Errorf("%s: a session's requests went to %v", spread, nodes)
			}
		}
	}
}

// A first that fails must not leave its second behind, nor the other way round.
func TestPair_EndsWithFaults(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"PUT", "acquire"} {
		service, addrs, _ := cluster(t, 2)
		farm := filled(t, FarmOptions{Addrs: addrs, Conns: 1, Sessions: 1, Size: Size{16, 16}, Mix: Pair, Spread: Alternate, Think: time.Millisecond})
		farm.conns[0].second.pollPause = time.Millisecond
		n := 0
		service.mu.Lock()
		service.spoil = func(_ *fake, r *fakeRequest, answer string) (string, error) {
			if r.Op == op && !strings.HasPrefix(answer, "423") {
				if n++; n%5 == 0 {
					return "", errors.New("close")
				}
			}
			return answer, nil
		}
		service.mu.Unlock()
		if r := service.run(t, farm, 300); r.Faults[faultNames[closed]] == 0 || r.Pages == 0 {
			t.Errorf("%s: faults %v, %d pages, want closed connections, and pages", op, r.Faults, r.Pages)
		}
	}
}

func TestSpread_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]FarmOptions{
		"shared and alternate": {Shared: true, Spread: Alternate},
		"shared pairs":         {Shared: true, Mix: Pair},
		"think":                {Think: -1},
	} {
		o.Addrs, o.Conns, o.Sessions, o.Size = []string{"127.0.0.1:1"}, 1, 1, Size{16, 16}
		if _, err := NewFarm(o); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v, want ErrUsage", name, err)
		}
	}
	if _, err := ParseSpread("even"); !errors.Is(err, ErrUsage) {
		t.Errorf("ParseSpread: %v, want ErrUsage", err)
	}
	if got, err := ParseSpread("page"); got != PerPage || err != nil {
		t.Errorf("ParseSpread: %v, %v", got, err)
	}
}

func TestWebServer_SpeaksByHand(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	w, err := NewWebServer(t.Context(), WebServerOptions{Addr: service.addr, Size: Size{300, 600}, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ask := func(verb Verb, cookie int32, version uint32) Answer {
		t.Helper()
		a, err := w.Do(Request{verb, 5, cookie, version}, 10*time.Second)
		if err != nil {
			t.Fatalf("%v: %v", verb, err)
		}
		return a
	}
	if a := ask(Get, 0, 0); a.Status != 404 {
		t.Errorf("Get of nothing: %+v", a)
	}
	ask(Insert, 0, 1)
	if a := ask(Get, 0, 0); a.Status != 200 || a.Version != 1 || a.Body != nil || a.Cookie != noCookie {
		t.Errorf("Get: %+v", a)
	}
	a := ask(GetExclusive, 0, 0)
	if a.Status != 200 || a.Version != 1 || a.Cookie < 1 {
		t.Errorf("GetExclusive: %+v", a)
	}
	if again := ask(GetExclusive, 0, 0); again.Status != 423 || again.Cookie != a.Cookie {
		t.Errorf("GetExclusive of a locked one: %+v, want 423 and cookie %d", again, a.Cookie)
	}
	ask(ReleaseExclusive, a.Cookie, 0)
	a = ask(GetExclusive, 0, 0)
	if set := ask(Set, a.Cookie, 9); set.Status != 200 {
		t.Errorf("Set: %+v", set)
	}
	if a := ask(ResetTimeout, 0, 0); a.Status != 200 {
		t.Errorf("ResetTimeout: %+v", a)
	}
	if a := ask(Get, 0, 0); a.Version != 9 || a.Body != nil {
		t.Errorf("Get after Set: %+v", a)
	}
	service.mu.Lock()
	for _, s := range service.sessions {
		s.body = s.body[:200]
	}
	service.mu.Unlock()
	if a := ask(Get, 0, 0); a.Body == nil || strings.Contains(a.Body.Error(), SessionID(7, 5)) {
		t.Errorf("Get of half a body: %v, want an error without the key", a.Body)
	}
	if a := ask(Remove, 0, 0); a.Status != 200 || service.count() != 0 {
		t.Errorf("Remove: %+v, %d left", a, service.count())
	}
	service.mu.Lock()
	service.spoil = func(*fake, *fakeRequest, string) (string, error) { return "", errors.New("close") }
	service.mu.Unlock()
	if _, err := w.Do(Request{Verb: Get}, 10*time.Second); err == nil {
		t.Error("a closed connection was no error")
	}
}
