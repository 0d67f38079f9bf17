package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster"
	"statemesh/cluster/handoff"
	"statemesh/service"
	"statemesh/service/api"
)

// fakeMesh is a cluster as the service sees it: it keeps the order of what is asked of it, and drains when the test says so.
type fakeMesh struct {
	startErr, snapshotErr, reloadErr error
	members                          []cluster.Member
	events                           []cluster.Event
	drain                            func(context.Context) error // default: at once, all
	snapshot                         func()
	status                           string

	mu       sync.Mutex
	calls    []string
	stats    cluster.Stats
	progress cluster.DrainProgress
	reports  map[string]cluster.Report
}

func (m *fakeMesh) call(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, name)
}

func (m *fakeMesh) called() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

func (m *fakeMesh) wantCalls(t testing.TB, want ...string) {
	t.Helper()
	if got := m.called(); !slices.Equal(got, want) {
		t.Errorf("the cluster was asked for %v, want %v", got, want)
	}
}

func (m *fakeMesh) setProgress(p cluster.DrainProgress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = p
}

func (m *fakeMesh) SetStatus(addr string)       { m.status = addr }
func (m *fakeMesh) Start(context.Context) error { m.call("start"); return m.startErr }
func (m *fakeMesh) Stop(ctx context.Context) error {
	m.call("stop")
	return ctx.Err() // it must have time
}
func (m *fakeMesh) Addrs() cluster.Addrs {
	return cluster.Addrs{Gossip: "127.0.0.1:1", Transfer: "127.0.0.1:2"}
}
func (m *fakeMesh) ReloadKeys() error { m.call("reload"); return m.reloadErr }
func (m *fakeMesh) FetchThen(r cluster.Request, then func(cluster.Answer)) {
	go func() { then(m.Fetch(context.Background(), r)) }()
}

func (m *fakeMesh) Fetch(context.Context, cluster.Request) cluster.Answer {
	return cluster.Answer{Outcome: handoff.Nowhere}
}
func (m *fakeMesh) Done(cluster.Answer)     {}
func (m *fakeMesh) Fresh() bool             { return true }
func (m *fakeMesh) Events() []cluster.Event { return m.events }
func (m *fakeMesh) Members() []cluster.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members
}
func (m *fakeMesh) Reports() map[string]cluster.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reports
}
func (m *fakeMesh) Bouncing() []cluster.Bouncing { return nil }
func (m *fakeMesh) Stats() cluster.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}
func (m *fakeMesh) Drain(ctx context.Context) error {
	m.call("drain")
	m.mu.Lock()
	m.stats.Draining = true
	m.mu.Unlock()
	if m.drain != nil {
		return m.drain(ctx)
	}
	return nil
}
func (m *fakeMesh) Progress() cluster.DrainProgress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress
}
func (m *fakeMesh) Snapshot(ctx context.Context) (sessions, bytes int64, err error) {
	m.call("snapshot")
	if m.snapshot != nil {
		m.snapshot()
	}
	if m.snapshotErr != nil {
		return 0, 0, m.snapshotErr
	}
	return 1, 4, ctx.Err() // it must have time
}

// in makes a node one of m's cluster.
func in(m *fakeMesh) func(*service.Options) {
	return func(o *service.Options) {
		if o.Cluster == nil {
			o.Cluster = &service.Cluster{Gossip: "127.0.0.1:0", Transfer: "127.0.0.1:0", KeyFile: "cluster.key"}
		}
		service.UseMesh(o, m, nil)
	}
}

// membersOf are the members without what they say of themselves.
func membersOf(doc api.Members) (all []cluster.Member) {
	for _, m := range doc.Members {
		all = append(all, m.Member)
	}
	return all
}

func TestNew_TellsTheClusterItsOptions(t *testing.T) {
	t.Parallel()
	var got cluster.Options
	newNode(t, func(o *service.Options) {
		o.Version, o.LockWait = "1.2.3", time.Second
		o.Cluster = &service.Cluster{
			Gossip: "127.0.0.1:0", Advertise: "10.0.0.5:1", Transfer: "127.0.0.1:0", Join: []string{"a"}, KeyFile: "k", QueryTimeout: time.Second,
		}
		o.SnapshotDir = "d"
		service.UseMesh(o, &fakeMesh{}, func(c cluster.Options) { got = c })
	})
	want := cluster.Options{
		Name: "test", Version: "1.2.3", Store: got.Store, Status: "127.0.0.1:0", Gossip: "127.0.0.1:0", Advertise: "10.0.0.5:1", Transfer: "127.0.0.1:0",
		Cluster: "default", Join: []string{"a"}, KeyFile: "k", QueryTimeout: time.Second, LockWait: time.Second, MaxBody: 64 << 20, SnapshotDir: "d", Log: got.Log,
	}
	if got.Fenced == nil {
		t.Error("the cluster is not told what to do after standing still")
	}
	if got.Report == nil {
		t.Error("the cluster is not told what to tell the others")
	}
	got.Fenced, got.Report = nil, nil // functions are not to be compared
	if !reflect.DeepEqual(got, want) || got.Store == nil || got.Log == nil {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	newNode(t, func(o *service.Options) {
		o.Cluster = &service.Cluster{Gossip: "127.0.0.1:0", Transfer: "127.0.0.1:0", Insecure: true}
		service.UseMesh(o, &fakeMesh{}, func(c cluster.Options) { got = c })
	})
	if !got.Insecure || got.LockWait >= 0 {
		t.Errorf("without LockWait and keys: got %+v", got)
	}
	newNode(t, func(o *service.Options) {
		o.SnapshotDir = "d"
		service.UseMesh(o, &fakeMesh{}, func(c cluster.Options) { got = c })
	})
	if got.Gossip != "" || got.Transfer != "" || got.SnapshotDir != "d" {
		t.Errorf("alone, with a folder to keep sessions in: got %+v", got)
	}
	newNode(t, func(o *service.Options) {
		service.UseMesh(o, &fakeMesh{}, func(cluster.Options) { t.Error("a node that runs alone is in a cluster") })
	})
}

func TestStart_JoinsTheCluster(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{}
	file := filepath.Join(t.TempDir(), "addrs.json")
	n := startNode(t, in(m), func(o *service.Options) { o.AddrFile = file })
	m.wantCalls(t, "start")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(text, &got); err != nil || got["gossip"] != "127.0.0.1:1" || got["transfer"] != "127.0.0.1:2" || got["state"] != n.Addrs().State {
		t.Errorf("the file says %s (%v)", text, err)
	}
	n.log.want(t, "gossip=127.0.0.1:1 transfer=127.0.0.1:2", 1)
	if m.status != n.Addrs().Status || m.status == "" {
		t.Errorf("others are told the status address %q, want %q", m.status, n.Addrs().Status)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	m.wantCalls(t, "start", "drain", "drain", "stop")
}

func TestStart_FailsWithTheCluster(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, inUse := net.Listen("tcp", taken.Addr().String())
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("no such luck"), "join the cluster: no such luck"},
		{inUse, "stop it, or choose another port"},
	} {
		m := &fakeMesh{startErr: test.err}
		n := newNode(t, in(m))
		if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Start: %v, want %q", err, test.want)
		}
		m.wantCalls(t, "start")
	}
}

// Web servers are served until sessions are on their way to others; then those under way are finished, and the rest is handed over.
func TestStop_HandsSessionsOver(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}, 2), make(chan struct{})
	m := &fakeMesh{drain: func(ctx context.Context) error {
		begun <- struct{}{}
		select {
		case <-finish:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	n := startNode(t, in(m))
	w := n.dial(t)
	w.want(200, set("a", "0", "body"))
	w.want(200, remove("a", "0"))
	underWay := n.pipe(t)
	request := set("b", "0", "body")
	underWay.send(request[:50])

	stopped := make(chan error)
	go func() { stopped <- n.Stop() }()
	<-begun
	if status, text := n.status(t, "/readyz"); status != 503 || text != "stopping\n" {
		t.Errorf("/readyz says %d %q", status, text)
	}
	w.want(404, get("a")) // still served
	m.setProgress(cluster.DrainProgress{Sessions: 1, Bytes: 4, Remaining: 1, Members: 2})
	w.wantEnd()
	if _, err := net.Dial("tcp", n.Addrs().State); err == nil {
		t.Error("a new connection was taken in")
	}
	underWay.send(request[50:])
	if a := underWay.receive(); a.status != "200 OK" {
		t.Errorf("the request under way was answered %q", a.raw)
	}
	underWay.wantEnd()
	if status, _ := n.status(t, "/healthz"); status != 200 { // operators see how it goes
		t.Errorf("/healthz says %d", status)
	}
	n.log.errorsExpected = true // b stays: this cluster takes nothing
	m.setProgress(cluster.DrainProgress{Sessions: 41_212, Bytes: 98_400_000, Members: 3, Elapsed: 2104 * time.Millisecond, Done: true})
	close(finish)
	if err := <-stopped; err == nil {
		t.Error("Stop: no error, with a session lost")
	}
	m.wantCalls(t, "start", "drain", "drain", "stop")
	if got, want := n.Farewell(), "drained 41212 sessions (98 MB) to 3 members in 2.104s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	n.log.want(t, "[ERROR] service: sessions are lost: nobody took them, and no snapshot_dir is set: sessions=1", 1)
}

func TestStop_OfANodeAloneSaysSo(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.Stop(); err != nil || n.Farewell() != "stopped" {
		t.Errorf("Stop: %v, %q", err, n.Farewell())
	}
}

// bubble is a node of m's cluster with one session, for a test in a bubble.
func bubble(t *testing.T, m *fakeMesh, configure ...func(*service.Options)) *node {
	n := newNode(t, append(configure, in(m))...)
	if err := n.StartMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.pipe(t).want(200, set("a", "0", "body"))
	return n
}

func forever(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStop_GivesUpDrainingAtItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMesh{drain: forever}
		n := bubble(t, m)
		n.log.errorsExpected = true
		start := time.Now()
		if err := n.Stop(); err == nil || !strings.Contains(err.Error(), "1 sessions are lost") {
			t.Errorf("Stop: %v", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("took %v, want drain_timeout", got)
		}
		m.wantCalls(t, "start", "drain", "stop")
		n.log.want(t, "draining takes too long, giving up: drain-timeout=1m0s", 1)
		n.log.want(t, `sessions=1 reason="there was no more time"`, 1)
		if got := strings.Count(n.log.String(), `service: draining: sessions=0 size="0.0 MB" remaining=0 members=0`+"\n"); got < 59 {
			t.Errorf("%d lines of progress in a minute", got)
		}
	})
}

// What nobody takes is kept, if there is where to: once no web server is served any more, and before the node leaves.
func TestStop_KeepsWhatNobodyTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMesh{drain: func(context.Context) error { return cluster.ErrNobody }}
		var n *node
		m.snapshot = func() {
			ours, theirs := net.Pipe()
			n.ServeConn(theirs)
			newWebServer(t, ours).wantEnd()
		}
		n = bubble(t, m, func(o *service.Options) {
			o.SnapshotDir = "snapshots"
		})
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		m.wantCalls(t, "start", "drain", "drain", "snapshot", "stop")
		n.log.want(t, `reason="no other member takes sessions" folder=snapshots`, 1)
		n.log.want(t, `wrote sessions for the next start: sessions=1 size="0.0 MB" folder=snapshots`, 1)
		if got, want := n.Farewell(), "drained 0 sessions (0.0 MB) to 0 members in 0s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A node that runs alone has nobody to hand sessions to, and does not look for them.
func TestStop_AloneKeepsSessions(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{}
	n := startNode(t, func(o *service.Options) {
		o.SnapshotDir = "snapshots"
		service.UseMesh(o, m, nil)
	})
	n.dial(t).want(200, set("a", "0", "body"))
	n.dial(t).want(404, get("b"))
	var s api.Status
	if getJSON(t, n, "/api/v1/status", &s); s.Clustered || s.Phase != "up" || s.Addresses.Gossip != "" {
		t.Errorf("got %+v", s)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	m.wantCalls(t, "start", "snapshot", "stop")
	n.log.want(t, `writing the sessions that are left to disk: sessions=1 reason="this node runs alone: it is in no cluster" folder=snapshots`, 1)
	if n.Farewell() != "stopped" {
		t.Errorf("got %q", n.Farewell())
	}
}

func TestStop_CountsWhatCannotBeKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMesh{drain: func(context.Context) error { return cluster.ErrNobody }, snapshotErr: errors.New("disk full")}
		n := bubble(t, m, func(o *service.Options) {
			o.SnapshotDir = "snapshots"
		})
		n.log.errorsExpected = true
		if err := n.Stop(); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("Stop: %v", err)
		}
		n.log.want(t, `[ERROR] service: sessions are lost: nobody took them, and they cannot be written: sessions=1 error="disk full"`, 1)
		n.log.want(t, "[ERROR]", 1)
		m.wantCalls(t, "start", "drain", "drain", "snapshot", "stop")
	})
}

// In a hurry nothing is waited for, but sessions are still kept and the others still told.
func TestHurry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMesh{drain: forever}
		n := bubble(t, m, func(o *service.Options) {
			o.SnapshotDir = "snapshots"
		})
		stalled := n.pipe(t)
		stalled.send(get("a")[:20])
		stopped := make(chan error)
		go func() { stopped <- n.Stop() }()
		time.Sleep(time.Second)
		start := time.Now()
		n.Hurry()
		if err := <-stopped; err != nil {
			t.Errorf("Stop: %v", err)
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("took %v", got)
		}
		m.wantCalls(t, "start", "drain", "snapshot", "stop")
		n.log.want(t, "giving up", 0)
	})
}

func TestDrain_SaysHowFarItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMesh{members: []cluster.Member{{State: "up"}}, drain: func(ctx context.Context) error {
			time.Sleep(2500 * time.Millisecond)
			return nil
		}}
		m.progress = cluster.DrainProgress{Sessions: 412, Bytes: 38_000_000, Remaining: 824, Members: 2, Elapsed: 3 * time.Second}
		n := bubble(t, m)
		post(t, n, "/api/v1/drain")
		time.Sleep(10 * time.Second)
		n.log.want(t, `[INFO]  service: draining: sessions=412 size="38 MB" remaining=824 members=2 left=6s`, 2)
		n.pipe(t).want(200, remove("a", "0"))
	})
}

// post asks the status address to change something, as from this machine.
func post(t *testing.T, n *node, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", "http://127.0.0.1"+path, nil)
	r.RemoteAddr = "127.0.0.1:1234"
	rec := httptest.NewRecorder()
	n.StatusHandler().ServeHTTP(rec, r)
	return rec
}

func getJSON(t *testing.T, n *node, path string, to any) {
	t.Helper()
	rec := httptest.NewRecorder()
	n.StatusHandler().ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1"+path, nil))
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %v", path, rec.Code, rec.Header())
	}
	if err := json.Unmarshal(rec.Body.Bytes(), to); err != nil {
		t.Fatalf("%s: %v in %s", path, err, rec.Body)
	}
}

func TestAPI_OfANodeAlone(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(o *service.Options) { o.Version, o.MaxMemory = "1.2.3", 1<<30 })
	n.dial(t).want(200, set("a", "0", "body"))
	var s api.Status
	getJSON(t, n, "/api/v1/status", &s)
	if s.Node != "test" || s.Version != "1.2.3" || s.Phase != "up" || s.Clustered || s.Cluster != nil || s.Drain != nil || s.Addresses != n.Addrs() ||
		s.Sessions.Held != 1 || s.Memory.Bodies != 4 || s.Memory.Limit != 1<<30 || s.Applications != 1 || s.Uptime < 0 {
		t.Errorf("got %+v", s)
	}
	var m api.Members
	getJSON(t, n, "/api/v1/members", &m)
	if m.Node != "test" || len(m.Members) != 1 || !m.Members[0].Self || m.Members[0].State != "up" || m.Members[0].Name != "test" {
		t.Errorf("got %+v", m)
	}
	for _, path := range []string{"/api/v1/drain", "/api/v1/keys/reload"} {
		if rec := post(t, n, path); rec.Code != 409 || !strings.Contains(rec.Body.String(), "runs alone") {
			t.Errorf("POST %s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if status, _ := n.status(t, "/api/v1/drain"); status != 405 {
		t.Errorf("GET of what changes something: %d", status)
	}
}

func TestAPI_OfANodeInACluster(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	m := &fakeMesh{
		members: []cluster.Member{{Name: "test", Self: true, State: "up"}, {Name: "web02", State: "failed", LastError: "connection refused"}},
		drain: func(ctx context.Context) error {
			select {
			case <-finish:
			case <-ctx.Done():
			}
			return ctx.Err()
		},
	}
	for range 30 {
		m.events = append(m.events, cluster.Event{Level: "info", Text: "web02 joined"})
	}
	m.events[29].Text = "web02 failed"
	m.stats = cluster.Stats{Members: 2, Fetches: map[string]uint64{"here": 7}, MovedIn: 5, BytesOut: 9, Copies: 3}
	n := startNode(t, in(m))
	var s api.Status
	getJSON(t, n, "/api/v1/status", &s)
	if c := s.Cluster; s.Phase != "joining" || !s.Clustered || c == nil || c.Joined || c.Members != 2 || c.Queries["here"] != 7 || c.MovedIn != 5 ||
		c.BytesOut != 9 || c.Copies != 3 || len(c.Events) != 20 || c.Events[19].Text != "web02 failed" || s.Drain != nil {
		t.Errorf("got %+v, %+v", s, c)
	}
	if status, _ := n.status(t, "/readyz"); status != 200 {
		t.Errorf("/readyz of a node that has not found its cluster says %d", status)
	}
	var all api.Members
	getJSON(t, n, "/api/v1/members", &all)
	if got := membersOf(all); !reflect.DeepEqual(got, m.members) {
		t.Errorf("got %+v, want %+v", got, m.members)
	}

	m.setProgress(cluster.DrainProgress{Sessions: 3, Bytes: 12, Remaining: 6, Members: 1, Elapsed: time.Second})
	for range 2 { // the second finds it under way
		rec := post(t, n, "/api/v1/drain")
		if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil || rec.Code != 202 || s.Phase != "draining" {
			t.Errorf("POST drain: %d %s", rec.Code, rec.Body)
		}
		if want := (&api.Drain{Sessions: 3, Bytes: 12, Remaining: 6, Members: 1, Elapsed: 1, Left: 2}); !reflect.DeepEqual(s.Drain, want) {
			t.Errorf("got %+v, want %+v", s.Drain, want)
		}
	}
	if status, text := n.status(t, "/readyz"); status != 503 || text != "draining\n" {
		t.Errorf("/readyz says %d %q", status, text)
	}
	n.dial(t).want(404, get("a")) // it still serves
	close(finish)
	if err := n.Stop(); err != nil { // and drains again: something may have come since
		t.Error(err)
	}
}

// A node that reads many sessions from disk first answers its probes meanwhile, without asking a cluster that cannot answer yet.
func TestAPI_OfANodeThatIsStarting(t *testing.T) {
	t.Parallel()
	n := newNode(t, in(&fakeMesh{members: []cluster.Member{{}, {}}}))
	var s api.Status
	if getJSON(t, n, "/api/v1/status", &s); s.Phase != "starting" || s.Cluster != nil {
		t.Errorf("got %+v", s)
	}
	var m api.Members
	if getJSON(t, n, "/api/v1/members", &m); len(m.Members) != 1 || !m.Members[0].Self || m.Members[0].State != "starting" {
		t.Errorf("got %+v", m)
	}
	if rec := post(t, n, "/api/v1/drain"); rec.Code != 503 {
		t.Errorf("POST drain: %d %s", rec.Code, rec.Body)
	}
	rec := httptest.NewRecorder()
	n.StatusHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	if rec.Code != 503 || rec.Body.String() != "starting\n" {
		t.Errorf("/readyz says %d %q", rec.Code, rec.Body)
	}
}

// What is refused has not been begun: web servers are not turned away, and nothing goes when somebody comes.
func TestAPI_DrainToNobody(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{members: []cluster.Member{{Self: true, State: "up"}, {State: "draining"}, {State: "failed"}}}
	n := startNode(t, in(m))
	n.log.errorsExpected = true // the session is lost in the end
	n.dial(t).want(200, set("a", "0", "body"))
	if rec := post(t, n, "/api/v1/drain"); rec.Code != 409 || !strings.Contains(rec.Body.String(), "no other member takes sessions") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m.wantCalls(t, "start")
	if status, text := n.status(t, "/readyz"); status != 200 {
		t.Errorf("/readyz says %d %q", status, text)
	}
	m.mu.Lock()
	m.members = append(m.members, cluster.Member{State: "up"})
	m.mu.Unlock()
	if rec := post(t, n, "/api/v1/drain"); rec.Code != 202 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m.wantCalls(t, "start", "drain")
}

// They were there when it began.
func TestAPI_DrainWhoseTakersGo(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{drain: func(context.Context) error { return cluster.ErrNobody }}
	n := startNode(t, in(m))
	if rec := post(t, n, "/api/v1/drain"); rec.Code != 202 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	var s api.Status
	if getJSON(t, n, "/api/v1/status", &s); s.Drain == nil || s.Drain.Problem != "no other member takes sessions" {
		t.Errorf("got %+v", s.Drain)
	}
}

func TestReloadKeys(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{}
	n := newNode(t, in(m))
	if err := n.StartMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec := post(t, n, "/api/v1/keys/reload"); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m.reloadErr = errors.New("line 2 is no key")
	n.log.errorsExpected = true
	if rec := post(t, n, "/api/v1/keys/reload"); rec.Code != 422 || !strings.Contains(rec.Body.String(), "line 2 is no key") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	n.log.want(t, `[ERROR] service: the keys stay as they are: the key file cannot be used: file=cluster.key error="line 2 is no key"`, 1)
	m.wantCalls(t, "start", "reload", "reload")
}

func TestMetrics_OfACluster(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{members: []cluster.Member{
		{Name: "test", Self: true, State: "up"},
		{Name: "web02", State: "up", Connected: true, RoundTrip: 250 * time.Microsecond, ClockAhead: -2500 * time.Millisecond},
		{Name: "web02", State: "draining"}, // by mistake
		{Name: "web03", State: "failed"},
	}}
	m.stats = cluster.Stats{
		Joined: true, Members: 3, Fetches: map[string]uint64{"here": 7, "shed": 1}, MovedIn: 5, MovedOut: 6, BytesIn: 50, BytesOut: 60, Rounds: 9,
		RoundsRestarted: 2, Aborted: 3, Refused: 4, Adopted: 1, Stale: 2, Conflicts: 8, Fences: 1, Waiting: 2, Leaving: 3, Arriving: 4, Copies: 5, Notes: 6,
	}
	m.progress = cluster.DrainProgress{Sessions: 11, Bytes: 12, Remaining: 13}
	n := newNode(t, in(m))
	if strings.Contains(n.metrics(), "statemesh_cluster") {
		t.Error("a cluster that has not been started is asked for figures")
	}
	if err := n.StartMesh(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.Fetched(cluster.Answer{Outcome: handoff.Here}, time.Millisecond)
	text := n.metrics()
	for _, series := range []string{
		`statemesh_cluster_members{state="up"} 2`,
		`statemesh_cluster_members{state="suspect"} 0`,
		`statemesh_cluster_members{state="failed"} 1`,
		`statemesh_cluster_expected_members 0`,
		`statemesh_cluster_encrypted 0`,
		`statemesh_peer_connected{peer="web02"} 1`,
		`statemesh_peer_round_trip_seconds{peer="web02"} 0.00025`,
		`statemesh_peer_clock_ahead_seconds{peer="web02"} -2.5`,
		`statemesh_cluster_members{state="draining"} 1`,
		`statemesh_cluster_joined 1`,
		`statemesh_queries_total{outcome="here"} 7`,
		`statemesh_queries_total{outcome="unknown"} 0`,
		`statemesh_query_duration_seconds_bucket{outcome="here",le="0.001"} 1`,
		`statemesh_query_duration_seconds_count{outcome="nowhere"} 0`,
		`statemesh_query_rounds_total 9`,
		`statemesh_query_rounds_restarted_total 2`,
		`statemesh_queries_waiting 2`,
		`statemesh_transfers_total{direction="in"} 5`,
		`statemesh_transfers_total{direction="out"} 6`,
		`statemesh_transfer_bytes_total{direction="in"} 50`,
		`statemesh_transfer_bytes_total{direction="out"} 60`,
		`statemesh_transfers_aborted_total 3`,
		`statemesh_transfers_refused_total 4`,
		`statemesh_transfers_under_way{direction="in"} 4`,
		`statemesh_transfers_under_way{direction="out"} 3`,
		`statemesh_copies 5`,
		`statemesh_copies_adopted_total 1`,
		`statemesh_copies_dropped_total 2`,
		`statemesh_conflicts_total 8`,
		`statemesh_fences_total 1`,
		`statemesh_hints 6`,
		`statemesh_draining 0`,
		`statemesh_drain_sessions 11`,
		`statemesh_drain_bytes 12`,
		`statemesh_drain_remaining_sessions 13`,
	} {
		if !strings.Contains(text, "\n"+series+"\n") {
			t.Errorf("missing %s", series)
		}
	}
	if strings.Contains(text, `peer="web03"`) {
		t.Error("a member that has failed is measured")
	}
	if alone := newNode(t).metrics(); strings.Contains(alone, "statemesh_cluster") || strings.Contains(alone, "statemesh_quer") {
		t.Error("a node that runs alone shows figures of a cluster")
	}
}
