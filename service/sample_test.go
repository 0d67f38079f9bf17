package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster"
	"statemesh/service"
	"statemesh/service/api"
	"statemesh/wire"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 0.01*math.Abs(want) }

func TestSample_RatesAndPercentiles(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	now := time.Now()
	n.Sample(now)
	operation := func() api.Operation {
		st, _, _ := n.Documents()
		for _, o := range st.Operations {
			if o.Op == "get-exclusive" {
				return o
			}
		}
		t.Fatal("no such operation")
		return api.Operation{}
	}
	if o := operation(); o.Total != 0 || o.PerSecond != 0 || o.P99 != 0 {
		t.Errorf("without requests: %+v", o)
	}
	for i := range 100 { // one in ten is locked; 90 take at most 250 µs, 10 at most 5 ms
		took, status := 200*time.Microsecond, wire.StatusOK
		if i%10 == 0 {
			took, status = 4*time.Millisecond, wire.StatusLocked
		}
		n.Counted(wire.OpGetExclusive, status, took)
	}
	now = now.Add(2 * time.Second)
	n.Sample(now)
	o := operation()
	if o.PerSecond != 50 || o.Total != 100 || o.Locked != 10 || o.NotFound != 0 {
		t.Errorf("got %+v, want 50 a second, 100 in all, 10 locked", o)
	}
	// Half of all is 50 of the 90 between 100 and 250 µs; 95 is the middle of those between 2.5 and 5 ms.
	if want := 100e-6 + 150e-6*50/90; !near(o.P50, want) || !near(o.P95, 3.75e-3) || !near(o.P99, 4.75e-3) {
		t.Errorf("percentiles are %v, %v, %v", o.P50, o.P95, o.P99)
	}
	for range 20 { // what is longer ago than the window counts no more
		now = now.Add(time.Second)
		n.Sample(now)
	}
	if o := operation(); o.PerSecond != 0 || o.P50 != 0 || o.Total != 100 {
		t.Errorf("later: %+v", o)
	}
	n.Counted(wire.OpGetExclusive, wire.StatusOK, time.Hour)
	n.Sample(now.Add(time.Second))
	if o := operation(); o.PerSecond != 0.1 || o.P50 != 10 {
		t.Errorf("a request that took for ever: %+v", o)
	}
}

func TestSample_History(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.pipe(t).want(200, set("a", "0", "body"))
	now := time.Unix(1_000_000, 0)
	for range 2000 {
		n.Sample(now)
		now = now.Add(time.Second)
	}
	h := n.History()
	if len(h.Times) != 300 || h.Times[0] != 1_001_400 || h.Times[1] != 1_001_402 || h.Times[299] != 1_001_998 {
		t.Errorf("times are %v", h.Times)
	}
	last := map[string]*float64{}
	for _, s := range h.Series {
		if len(s.Values) != 300 {
			t.Errorf("%s has %d values", s.Name, len(s.Values))
		}
		last[s.Name] = s.Values[299]
	}
	if *last["sessions"] != 1 || *last["memory"] < 4 || *last["requests"] != 0 || last["moved_in"] != nil {
		t.Errorf("the last point is %v", last)
	}
}

// Charts want times in order, so one whose clock was set back begins anew.
func TestSample_HistoryOfAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	now := time.Unix(1_000_000, 0)
	for range 20 {
		n.Sample(now)
		now = now.Add(time.Second)
	}
	now = now.Add(-time.Hour)
	for range 6 {
		n.Sample(now)
		now = now.Add(time.Second)
	}
	h := n.History()
	if want := []int64{996_420, 996_422, 996_424}; !slices.Equal(h.Times, want) {
		t.Errorf("times are %v, want %v", h.Times, want)
	}
	if got := len(h.Series[0].Values); got != 3 {
		t.Errorf("with %d values", got)
	}
}

// The second hand: a node's own sampler, with a cluster that changes.
func TestSampler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		self := cluster.Member{ID: "test-1", Name: "test", Self: true, State: "up", Connected: true, Version: "dev"}
		other := cluster.Member{ID: "web02-1", Name: "web02", State: "up", Connected: true, Transfer: "10.0.0.6:42426", Version: "dev", ClockAhead: 5 * time.Second}
		m := &fakeMesh{members: []cluster.Member{self, other}, stats: cluster.Stats{Joined: true, Members: 2}}
		tell := func(body string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.reports = map[string]cluster.Report{"web02-1": {ID: "web02-1", Name: "web02", At: time.Now(), Body: []byte(body)}}
		}
		n := newNode(t, in(m), func(o *service.Options) { o.LongLock = 5 * time.Second })
		if err := n.StartMesh(t.Context()); err != nil {
			t.Fatal(err)
		}
		tell(`{"sessions": 41, "memory_used": 95, "memory_limit": 100, "requests_per_second": 3.5, "sees": ["test-1", "web02-1"], "findings": ["memory"], ` +
			`"cannot_reach": [{"id": "test-1", "why": "refused"}], "locks": [{"session": "3fa2c1", "path": "/LM/W3SVC/1/ROOT", "age": 5.5}], "unheard_of": 1}`)
		n.RunSampler()
		w := n.pipe(t)
		w.want(200, set("a", "0", "body"))
		w.want(200, acquire("a"))
		kinds := func() string {
			st, _, _ := n.Documents()
			var all []string
			for _, f := range st.Findings {
				all = append(all, f.Kind)
			}
			return strings.Join(all, " ")
		}
		synctest.Wait()
		if got := kinds(); got != "memory long-lock no-key clocks" {
			t.Errorf("found at once: %s", got)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := kinds(); got != "unreachable memory long-lock no-key clocks" {
			t.Errorf("found later: %s", got)
		}
		if got, want := n.metric(t, `statemesh_findings{kind="clocks",severity="warning"}`)+n.metric(t, `statemesh_findings{kind="clocks",severity="trouble"}`), 1.0; got != want {
			t.Errorf("metrics add up to %v", got)
		}
		st, members, _ := n.Documents()
		if said := members.Members[1].Said; said == nil || said.Sessions != 41 || said.PerSecond != 3.5 || said.Ahead != 5 || said.Unreachable[0] != "test" || said.Findings[0] != "memory" {
			t.Errorf("web02 says %+v", said)
		}
		if said := members.Members[0].Said; said == nil || said.Sessions != 1 || len(said.Findings) != 5 {
			t.Errorf("this node says %+v", said)
		}
		if len(st.Operations) != 6 || st.Connections != 1 || st.Cluster == nil || st.Sessions.Held != 1 {
			t.Errorf("status is %+v", st)
		}
		// The others hear the same.
		var told struct {
			Sessions int64
			Sees     []string
			Findings []string
		}
		if err := json.NewDecoder(strings.NewReader(string(n.Report()))).Decode(&told); err != nil || told.Sessions != 1 || len(told.Sees) != 2 || len(told.Findings) != 5 {
			t.Errorf("it tells %+v, %v", told, err)
		}
		tell(`{"sessions": 41, "sees": ["test-1", "web02-1"]}`)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := kinds(); got != "no-key clocks" && got != "long-lock no-key clocks" {
			t.Errorf("found after it was mended: %s", got)
		}
		// What has been said long ago does not count.
		tell(`{"sessions": 41, "memory_used": 95, "memory_limit": 100}`)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := kinds(); strings.Contains(got, "memory") {
			t.Errorf("found by an old report: %s", got)
		}
		w.want(200, remove("a", "2"))
		n.Stop()
		if got := n.Report(); len(got) == 0 {
			t.Error("it says nothing any more")
		}
	})
}

// The applications of the farm: what this node has seen, and what another tells; and what is wrong with them.
func TestSample_ApplicationsOfTheFarm(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{stats: cluster.Stats{Joined: true, Members: 2, Encrypted: true}, members: []cluster.Member{
		{ID: "test-1", Name: "test", Self: true, State: "up", Connected: true, Transfer: "10.0.0.5:42426", Version: "dev"},
		{ID: "web02-1", Name: "web02", State: "up", Connected: true, Transfer: "10.0.0.6:42426", Version: "dev"},
	}}
	other := newNode(t)
	n := newNode(t, in(m))
	n.log.errorsExpected = true // nobody takes the sessions
	if err := n.StartMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	own, others := n.dialAside(t), other.dialAside(t)
	for i := range 3 {
		own.want(200, inApp(2, set(sessionID(i), "0", "body")))
		own.want(200, inApp(7, set(sessionID(i), "0", "body"))) // two sites behind one cookie
		others.want(200, inApp(3, set(sessionID(i), "0", "body")))
	}
	own.want(200, "PUT %2fnotes%2fa HTTP/1.1\r\nHost: x\r\nTimeout:20\r\nContent-Length:1\r\nExtraFlags:0\r\nLockCookie:0\r\n\r\nx")
	waitFor(t, func() bool { // an answer is there before it is counted
		return n.used(site(7)).Requests == 3 && n.used("").Requests == 1 && other.used(site(3)).Requests == 3
	})
	now := time.Now()
	n.Sample(now)
	if st, _, apps := n.Documents(); len(st.Findings) != 0 || len(apps.Applications) < 2 {
		t.Errorf("found %+v, applications %+v", st.Findings, apps)
	}
	// Only nodes in a cluster report: the other's applications come by way of another of its cluster.
	body := `{"sessions": 3, "sees": ["test-1", "web02-1"]}` + "\n" + string(other.ReportApps("web02"))
	m.mu.Lock()
	m.reports = map[string]cluster.Report{"web02-1": {ID: "web02-1", At: now, Body: []byte(body)}}
	m.mu.Unlock()
	n.Sample(now.Add(time.Second))
	n.Sample(now.Add(2 * time.Second))
	st, _, apps := n.Documents()
	byPath := map[string]api.Application{}
	for _, a := range apps.Applications {
		byPath[a.Path] = a
	}
	if a := byPath[site(3)]; a.Sessions != 0 || len(a.Nodes) != 1 || a.Nodes[0].Node != "web02" || a.HashLength != 44 || len(a.Hash) != 4 || a.WebServers == nil {
		t.Errorf("the other's application is %+v", a)
	}
	if a := byPath[site(2)]; a.Requests != 3 || len(a.Nodes) != 1 || a.Nodes[0].Node != "test" {
		t.Errorf("this node's application is %+v", a)
	}
	if a := byPath["(other)"]; a.ID != "(other)" || a.HashLength != 0 {
		t.Errorf("what is not of ASP.NET's form is %+v", a)
	}
	if len(st.Findings) != 1 || st.Findings[0].Kind != "application-ids" || st.Findings[0].Severity != api.Trouble ||
		!strings.Contains(strings.Join(st.Findings[0].Evidence, "\n"), "At least 3 session ids") {
		t.Errorf("found %+v", st.Findings)
	}
	for _, doc := range []any{st, apps} {
		if text, err := json.Marshal(doc); err != nil || strings.Contains(string(text), sessionID(0)) {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// Who left in order is told on, so that a node that has been started since knows of it.
func TestSample_TellsWhoLeft(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{stats: cluster.Stats{Joined: true, Members: 2, Encrypted: true}, members: []cluster.Member{
		{ID: "test-1", Name: "test", Self: true, State: "up", Connected: true, Version: "dev"},
		{ID: "web02-1", Name: "web02", State: "up", Connected: true, Version: "dev"},
	}}
	n := newNode(t, in(m), func(o *service.Options) { o.Cluster.ExpectMembers = 3 })
	if err := n.StartMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, severity := range []string{api.Trouble, api.Warning} {
		for range 7 {
			now = now.Add(time.Second)
			body := `{"sees": ["test-1", "web02-1"]}`
			if i == 1 {
				body = `{"sees": ["test-1", "web02-1"], "left": [{"name": "web03", "ago": 7200}, {"name": "no\u0007name"}, {}]}`
			}
			m.mu.Lock()
			m.reports = map[string]cluster.Report{"web02-1": {ID: "web02-1", At: now, Body: []byte(body)}}
			m.mu.Unlock()
			n.Sample(now)
		}
		st, _, _ := n.Documents()
		if len(st.Findings) != 1 || st.Findings[0].Kind != "missing-members" || st.Findings[0].Severity != severity {
			t.Errorf("found %+v, want %s", st.Findings, severity)
		}
	}
	n.Sample(now)
	var told struct{ Left []struct{ Name string } }
	if err := json.NewDecoder(strings.NewReader(string(n.Report()))).Decode(&told); err != nil || len(told.Left) != 1 || told.Left[0].Name != "web03" {
		t.Errorf("it tells %+v, %v", told, err)
	}
}

func TestReport_HasTheBusiestApplications(t *testing.T) {
	t.Parallel()
	var paths []string
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("/LM/W3SVC/%d/ROOT/%s", i, strings.Repeat("a", 100)))
	}
	body, read, omitted := service.MakeReport(paths, 32)
	if len(body) > cluster.MaxReport || len(body) < cluster.MaxReport/2 {
		t.Errorf("a report of %d bytes, at most %d may be", len(body), cluster.MaxReport)
	}
	if read < 300 || read+omitted != 1000 {
		t.Errorf("%d applications are in it, %d are left out, of 1000", read, omitted)
	}
	if body, read, omitted := service.MakeReport(paths[:3], 32); read != 3 || omitted != 0 || len(body) > 2500 {
		t.Errorf("%d applications in %d bytes, %d left out", read, len(body), omitted)
	}
}

func TestReport_OfAnotherVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bodies   []string
		sessions int64
		apps     int
	}{
		{[]string{`{"sessions": 3}`}, 3, 0},
		{[]string{`{"sessions": 3, "new": {}}` + "\n" + `{"apps": [{"path": "/a", "new": []}]}`}, 3, 1},
		{[]string{`{"sessions": 3}` + "\n" + `{"apps": [{"path": "/a"}]}`, `{"sessions": 4}`}, 4, 1}, // they come at times only
		{[]string{`{"sessions": 3}`, `garbage`}, 3, 0},
		{[]string{`{"sessions": "many"}`}, 0, 0},
		{[]string{``}, 0, 0},
		{[]string{`{"sessions": 3}` + "\ngarbage"}, 3, 0},
		// Of one that is mistaken.
		{[]string{`{"sessions": -3, "requests_per_second": -1e300, "expect_members": -9}` + "\n" +
			`{"apps": [{"path": "/a", "hash": "é"}, {"path": "/b\u0007"}, {"path": "/c"}], "omitted": -1}`}, 0, 1},
	} {
		if sessions, apps := service.TakeReports(c.bodies...); sessions != c.sessions || apps != c.apps {
			t.Errorf("%q: %d sessions, %d applications", c.bodies, sessions, apps)
		}
	}
}

// FuzzReport: whatever a member tells, nothing breaks.
func FuzzReport(f *testing.F) {
	f.Add(`{"sessions": 3, "locks": [{"age": 1e300}], "bouncing": [{}], "cannot_reach": [{}], "sees": [""], "left": [{"ago": 1e300}]}` + "\n" +
		`{"apps": [{"path": "/a", "sketch": "AAAAAAAAAAE=", "users": [{"name": "10.0.0.1", "ago": -1e300}]}]}`)
	f.Add("{}")
	m := &fakeMesh{members: []cluster.Member{{ID: "a", Name: "a", Self: true, State: "up"}, {ID: "b", Name: "b", State: "up", Connected: true}}}
	n2 := newNode(f, in(m))
	if err := n2.StartMesh(context.Background()); err != nil {
		f.Fatal(err)
	}
	i := 0
	f.Fuzz(func(t *testing.T, body string) {
		i++
		m.mu.Lock()
		m.reports = map[string]cluster.Report{"b": {ID: "b", At: time.Unix(int64(i), 0), Body: []byte(body)}}
		m.mu.Unlock()
		n2.Sample(time.Unix(int64(i), 0))
		st, members, apps := n2.Documents()
		for _, doc := range []any{st, members, apps} {
			if _, err := json.Marshal(doc); err != nil {
				t.Error(err)
			}
		}
	})
}
