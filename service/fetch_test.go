package service_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/cluster"
	"statemesh/cluster/handoff"
	"statemesh/service"
	"statemesh/session"
)

// scriptedMesh is a cluster that answers questions by a script.
type scriptedMesh struct {
	fakeMesh
	moves  *session.Moves
	store  *session.Store
	fenced func()
	stale  atomic.Bool
	script func(n int, r cluster.Request) cluster.Answer // n counts from 1

	mu    sync.Mutex // guards the rest
	asked int
	done  int
	told  sync.Cond // done has grown
}

func (m *scriptedMesh) Fetch(_ context.Context, r cluster.Request) cluster.Answer {
	m.mu.Lock()
	m.asked++
	n := m.asked
	m.mu.Unlock()
	return m.script(n, r)
}

func (m *scriptedMesh) FetchThen(r cluster.Request, then func(cluster.Answer)) {
	r.Key = session.KeyOf([]byte(r.Key.Whole()))
	go func() { then(m.Fetch(context.Background(), r)) }()
}

func (m *scriptedMesh) Done(cluster.Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	m.told.Broadcast()
}

// awaitDone waits until so many fetches are done with.
func (m *scriptedMesh) awaitDone(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.done < n {
		m.told.Wait()
	}
}

// Drain hands everything to nobody in particular. A session whose answer has just been read may be that request's for a moment yet.
func (m *scriptedMesh) Drain(context.Context) error {
	tickets := map[string]uint64{}
	for tries := 0; tries < 10_000 && m.store.Stats().Active > 0; tries++ {
		for _, k := range m.moves.Pick(100) {
			if tickets[k] == 0 {
				tickets[k] = uint64(1 + len(tickets))
				m.moves.Leave(k, tickets[k], session.Terms{Any: true})
			}
		}
		for k, ticket := range tickets {
			m.moves.Forget(k, ticket)
		}
		runtime.Gosched()
	}
	return nil
}

func (m *scriptedMesh) Fresh() bool { return !m.stale.Load() }

func (m *scriptedMesh) wantAsked(t testing.TB, want int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked != want || m.done != want {
		t.Errorf("the cluster was asked %d times and told %d times that it was done, want %d", m.asked, m.done, want)
	}
}

// arrive puts a session into the store, as if another node had handed it over.
func (m *scriptedMesh) arrive(t testing.TB, key session.Key, epoch uint64, body string, cookie int32, locked bool) {
	t.Helper()
	b, err := m.store.NewBody(len(body))
	if err != nil {
		t.Error(err)
		return
	}
	for !b.Full() {
		b.Filled(copy(b.Next(), body))
	}
	stored := b.Stored()
	defer stored.Release()
	r := session.Record{Epoch: epoch, Cookie: cookie, Locked: locked, Timeout: 20, TimeLeft: 20 * time.Minute, Body: stored}
	if _, ok := m.moves.Admit(key.Whole(), r, false); !ok {
		t.Error("no room")
		return
	}
	m.moves.Own(key.Whole(), r)
}

// scripted makes a node in such a cluster.
func scripted(t testing.TB, start starter, script func(m *scriptedMesh, n int, r cluster.Request) cluster.Answer) (*node, *scriptedMesh) {
	m := &scriptedMesh{}
	m.told.L = &m.mu
	m.script = func(n int, r cluster.Request) cluster.Answer { return script(m, n, r) }
	n := start(t, func(o *service.Options) {
		o.Cluster = &service.Cluster{Gossip: "127.0.0.1:0", Transfer: "127.0.0.1:0", Insecure: true}
		service.UseMesh(o, m, func(c cluster.Options) {
			m.store, m.fenced = c.Store, c.Fenced
			var err error
			if m.moves, err = c.Store.Cluster(session.Events{
				Left: func(string, uint64, session.Leaving) {}, Removed: func([]session.Removal) {},
			}); err != nil {
				t.Error(err)
			}
		})
	})
	return n, m
}

func TestFetch_EveryAnswerToEveryVerb(t *testing.T) {
	t.Parallel()
	held := cluster.Answer{Outcome: handoff.Held, Cookie: 7, LockAge: 3 * time.Second}
	verbs := []struct {
		name, request                   string
		nowhere, held, unknown, purpose int
	}{
		{"get", get("x"), 404, 423, 423, int(handoff.Read)},
		{"acquire", acquire("x"), 404, 423, 423, int(handoff.Acquire)},
		{"release", release("x", "5"), 404, 423, 400, int(handoff.Release)},
		{"remove", remove("x", "5"), 404, 423, 400, int(handoff.Remove)},
		{"touch", head("x"), 404, 200, 200, int(handoff.Touch)},
		{"set", set("x", "5", "body"), 200, 423, 400, int(handoff.Put)},
		{"insert", setUninitialised("x", "body"), 200, 200, 400, int(handoff.Insert)},
	}
	bothWays(t, func(t *testing.T, start starter) {
		for _, v := range verbs {
			for _, c := range []struct {
				name   string
				answer cluster.Answer
				want   int
			}{
				{"nowhere", cluster.Answer{Outcome: handoff.Nowhere, Grant: session.Grant{Epoch: 1}}, v.nowhere},
				{"held", held, v.held},
				{"unknown", cluster.Answer{Outcome: handoff.Unknown}, v.unknown},
				{"shed", cluster.Answer{Outcome: handoff.Shed}, v.unknown},
			} {
				t.Run(v.name+" "+c.name, func(t *testing.T) {
					t.Parallel()
					n, m := scripted(t, start, func(_ *scriptedMesh, _ int, r cluster.Request) cluster.Answer {
						if int(r.Purpose) != v.purpose || !strings.HasSuffix(r.Key.Whole(), "/x") {
							t.Errorf("asked for %v of %s", r.Purpose, r.Key.Redacted())
						}
						return c.answer
					})
					w := n.dial(t)
					a := w.want(c.want, v.request)
					if c.want == 423 {
						cookie := a.header("LockCookie")
						if want := map[bool]string{true: "7", false: "0"}[c.name == "held"]; cookie != want {
							t.Errorf("LockCookie is %q, want %q", cookie, want)
						}
					}
					m.wantAsked(t, 1)
					if created := c.name == "nowhere" && c.want == 200 && v.name != "touch"; created {
						w.want(200, get("x"))
						m.wantAsked(t, 1)
					}
				})
			}
		}
	})
}

func TestFetch_WhatIsBroughtHereIsServed(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		n, m := scripted(t, start, func(m *scriptedMesh, n int, r cluster.Request) cluster.Answer {
			m.arrive(t, r.Key, 5, "from afar", 7, true)
			return cluster.Answer{Outcome: handoff.Here}
		})
		w := n.dial(t)
		w.want(200, set("x", "7", "changed"))
		m.wantAsked(t, 1)
		if a := w.want(200, acquire("x")); a.body != "changed" || a.header("LockCookie") != "8" {
			t.Errorf("got %q with cookie %s", a.body, a.header("LockCookie"))
		}
		m.wantAsked(t, 1)
	})
}

func TestFetch_WhatHasMovedOnIsFetchedAgain(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		n, m := scripted(t, start, func(m *scriptedMesh, n int, r cluster.Request) cluster.Answer {
			switch n {
			case 1, 2: // and is gone before the operation comes to it
				return cluster.Answer{Outcome: handoff.Here}
			case 3: // the store's term is over
				return cluster.Answer{Outcome: handoff.Nowhere, Grant: session.Grant{Epoch: 1, Term: 9}}
			}
			m.arrive(t, r.Key, 5, "from afar", 7, false)
			return cluster.Answer{Outcome: handoff.Here}
		})
		w := n.dial(t)
		w.want(200, set("x", "7", "changed"))
		m.wantAsked(t, 4)
	})
}

// A web server that hangs up, or goes on speaking, while its session is fetched.
func TestFetch_WhileTheWebServerDoesNotWait(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		fetching, goOn := make(chan struct{}, 4), make(chan struct{})
		n, m := scripted(t, start, func(m *scriptedMesh, n int, r cluster.Request) cluster.Answer {
			fetching <- struct{}{}
			<-goOn
			if n <= 2 && strings.HasSuffix(r.Key.Whole(), "/x") {
				m.arrive(t, r.Key, 5, "from afar", 7, false)
				return cluster.Answer{Outcome: handoff.Here}
			}
			return cluster.Answer{Outcome: handoff.Nowhere}
		})
		talks, leaves := n.dial(t), n.dial(t)
		leaves.send(acquire("x"))
		<-fetching
		leaves.nc.(*net.TCPConn).SetLinger(0) // so that nothing can be written to it any more
		leaves.nc.Close()
		talks.send(get("y"))
		<-fetching
		talks.send(get("y") + get("y"))
		close(goOn)
		for range 3 {
			if a := talks.receive(); a.status != "404 Not Found" {
				t.Errorf("got %q", a.status)
			}
		}
		m.awaitDone(4)
		// The lock that nobody heard of is free again.
		talks.want(200, acquire("x"))
		m.wantAsked(t, 4)
	})
}

func TestFetch_IsCutOffAtStop(t *testing.T) {
	t.Parallel()
	fetching, goOn := make(chan struct{}), make(chan struct{})
	n, m := scripted(t, func(t testing.TB, configure ...func(*service.Options)) *node {
		return startNode(t, append(configure, func(o *service.Options) { o.StopTimeout = time.Millisecond })...)
	}, func(*scriptedMesh, int, cluster.Request) cluster.Answer {
		close(fetching)
		<-goOn
		return cluster.Answer{Outcome: handoff.Nowhere}
	})
	w := n.dial(t)
	w.send(get("x"))
	<-fetching
	stopped := make(chan error)
	go func() { stopped <- n.Stop() }()
	w.wantEnd()
	close(goOn)
	<-stopped // it may have had to give up
	m.awaitDone(1)
}

func TestFresh_ANodeThatStoodStillSaysNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		var during atomic.Bool
		n, m := scripted(t, start, func(m *scriptedMesh, _ int, r cluster.Request) cluster.Answer {
			m.stale.Store(during.Load())
			m.arrive(t, r.Key, 5, "from afar", 7, false)
			return cluster.Answer{Outcome: handoff.Here}
		})
		m.stale.Store(true)
		w := n.dial(t)
		w.send(get("x"))
		w.wantEnd()
		m.wantAsked(t, 0)

		m.stale.Store(false)
		during.Store(true)
		w = n.dial(t)
		w.send(acquire("x"))
		w.wantEnd()
		m.stale.Store(false)
		m.awaitDone(1)
		n.dial(t).want(200, acquire("x")) // nobody has heard of a lock
	})
}

// What a web server asked while the node stood still is not done when it goes on: it has given up on it.
func TestFenced_EndsAllConnections(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		n, m := scripted(t, start, func(*scriptedMesh, int, cluster.Request) cluster.Answer {
			return cluster.Answer{Outcome: handoff.Nowhere, Grant: session.Grant{Epoch: 1}}
		})
		idle, half := n.dial(t), n.dial(t)
		idle.want(200, set("x", "0", "body"))
		half.want(404, get("y"))
		whole := acquire("x")
		half.send(whole[:20])
		m.fenced()
		idle.wantEnd()
		io.WriteString(half.nc, whole[20:])
		if rest, _ := io.ReadAll(half.r); len(rest) > 0 {
			t.Errorf("answered %q", rest)
		}
		n.dial(t).wantEnd() // it may have knocked while the node stood still
		for {
			w := n.dial(t)
			io.WriteString(w.nc, acquire("x"))
			if a, err := w.tryReceive(); err == nil {
				if a.body != "body" {
					t.Errorf("got %q", a.raw)
				}
				return
			}
		}
	})
}

// A request whose session is being fetched when the node finds that it stood still is not done either, whatever the others say.
func TestFenced_EndsWhatIsBeingFetched(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		fetching, goOn := make(chan struct{}, 2), make(chan struct{})
		n, m := scripted(t, start, func(m *scriptedMesh, _ int, r cluster.Request) cluster.Answer {
			fetching <- struct{}{}
			<-goOn
			if r.Purpose == handoff.Acquire {
				m.arrive(t, r.Key, 5, "from afar", 7, false)
				return cluster.Answer{Outcome: handoff.Here}
			}
			return cluster.Answer{Outcome: handoff.Nowhere, Grant: session.Grant{Epoch: 1}}
		})
		var others []*webServer
		for range 2 * runtime.GOMAXPROCS(0) {
			others = append(others, n.dial(t))
		}
		puts, locks := n.dial(t), n.dial(t)
		puts.send(set("new", "0", "body"))
		locks.send(acquire("x"))
		<-fetching
		<-fetching
		// They go on speaking, so that a loop listens to them no more and does not hear that they are cut off.
		puts.send(head("y"))
		locks.send(head("y"))
		for _, w := range others {
			wantStandard400(t, w.ask(setWith("a", 20, 0, "0", "")))
		}
		m.fenced()
		close(goOn)
		for _, w := range []*webServer{puts, locks} {
			if rest, _ := io.ReadAll(w.r); len(rest) > 0 {
				t.Errorf("answered %q", rest)
			}
		}
		m.awaitDone(2)
		if got := m.store.Stats(); got.Created != 0 || got.Locked != 0 {
			t.Errorf("%d sessions were made, and %d locked, behind the web servers' backs", got.Created, got.Locked)
		}
	})
}
