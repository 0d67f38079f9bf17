package session_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

// meshed is a farm whose store is one of a cluster. What it tells is kept.
type meshed struct {
	farm
	*session.Moves

	mu      sync.Mutex
	left    map[uint64][]session.Leaving
	removed map[string]uint64
}

func join(t testing.TB, o session.Options) *meshed {
	t.Helper()
	m := &meshed{farm: open(t, o), left: map[uint64][]session.Leaving{}, removed: map[string]uint64{}}
	if err := m.enterCluster(); err != nil {
		t.Fatal(err)
	}
	return m
}

// enterCluster makes the store one of a cluster, and keeps what it tells.
func (m *meshed) enterCluster() (err error) {
	m.Moves, err = m.Cluster(session.Events{
		Left: func(k string, ticket uint64, l session.Leaving) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.left[ticket] = append(m.left[ticket], l)
		},
		Removed: func(all []session.Removal) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, r := range all {
				m.removed[r.Key] = r.Epoch
			}
		},
	})
	return err
}

// grant lets sessions be made at an epoch.
func grant(epoch uint64) session.Grant { return session.Grant{Epoch: epoch} }

// make makes a session, with a body that says "old".
func (m *meshed) make(id string, epoch uint64) {
	m.t.Helper()
	m.must(m.create(id, grant(epoch)))
}

// create is a Set of "old" with a grant. A body that was not taken over is thrown away.
func (m *meshed) create(id string, g session.Grant) answer {
	b := m.body("old")
	r := m.Set(key(id), session.Change{Body: b, Timeout: 20, Cookie: session.NoCookie, Grant: g})
	if r.Outcome == session.NotFound {
		if b.Size() == 0 {
			m.t.Error("the body of a Set that was NotFound was taken over")
		}
		b.Discard()
	}
	return answerOf(&r)
}

// whole is a session's key in full.
func whole(id string) string { return app + id }

// told waits until everything is at rest, and returns what was told of a ticket.
func (m *meshed) told(ticket uint64) []session.Leaving {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left[ticket]
}

func (m *meshed) mourned(id string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.removed[whole(id)]
}

// freeze lets a session leave, at once.
func (m *meshed) freeze(id string, ticket uint64) session.Record {
	m.t.Helper()
	l := m.Leave(whole(id), ticket, session.Terms{Any: true})
	if l.Now != session.Frozen {
		m.t.Fatalf("leave: got %v, want Frozen", l.Now)
	}
	return l.Record
}

// arrived is a record that came from somewhere else.
func (m *meshed) arrived(text string, epoch uint64) session.Record {
	return session.Record{Epoch: epoch, Cookie: 5, Timeout: 20, TimeLeft: 15 * time.Minute, Body: m.body(text).Stored()}
}

// admit admits it, and lets it go: the store holds it.
func (m *meshed) admit(id string, r session.Record) {
	m.t.Helper()
	if _, ok := m.Admit(whole(id), r, false); !ok {
		m.t.Fatal("there is no room")
	}
	r.Body.Release()
}

func (m *meshed) place(id string) session.Place { return m.Look(whole(id)).Place }

// mesh runs a test of one store in a bubble.
func mesh(t *testing.T, o session.Options, do func(m *meshed)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { do(join(t, o)) })
}

func TestCreate_NeedsAGrantOfTheTerm(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.is("without a grant", m.create("s", session.Grant{}), notFound)
		m.is("of another term", m.create("s", session.Grant{Epoch: 7, Term: 1}), notFound)
		m.is("with one", m.create("s", grant(7)), done)
		m.is("over what is there none is needed", m.create("s", session.Grant{}), done)
		if got := m.Look(whole("s")).Epoch; got != 7 {
			t.Errorf("epoch: got %d, want 7", got)
		}
		m.Fence(1)
		m.is("of a term that is over", m.create("t", grant(8)), notFound)
		m.is("of the new term", m.create("t", session.Grant{Epoch: 9, Term: 1}), done)
		m.is("over a copy", m.create("s", session.Grant{Epoch: 9, Term: 1}), notFound)
		if got := m.Stats().Active; got != 2 {
			t.Errorf("%d sessions, want 2", got)
		}
	})
}

// requests on a session; each as it is answered when the session is there and when it is not.
var everyRequest = []request{get(), acquire(), touch(), unlock(0), remove(0)}

func TestLeave_OperationsWaitAndGoOnWhenTheSessionStays(t *testing.T) {
	t.Parallel()
	for _, r := range everyRequest {
		t.Run(r.name, func(t *testing.T) {
			mesh(t, session.Options{}, func(m *meshed) {
				m.make("s", 7)
				m.freeze("s", 1)
				c := m.waiting(r)
				if got := m.Stats(); got.Waiting != 1 || got.Leaving != 1 {
					t.Errorf("got %+v, want one waiting", got)
				}
				m.Stay(whole("s"), 2, 8) // another's ticket
				synctest.Wait()
				if got := m.place("s"); got != session.Parting {
					t.Errorf("another's ticket has ended it: %v", got)
				}
				m.Stay(whole("s"), 1, 9)
				if got := <-c; got.Outcome != session.Done {
					t.Errorf("got %v, want Done", got)
				}
				if got := m.Look(whole("s")); got.Place == session.Owned && got.Epoch != 9 {
					t.Errorf("got %+v, want epoch 9", got)
				}
			})
		})
	}
}

func TestLeave_OperationsFindNothingWhenTheSessionHasGone(t *testing.T) {
	t.Parallel()
	for _, r := range everyRequest {
		for name, end := range map[string]func(m *meshed){
			"forgotten": func(m *meshed) { m.Forget(whole("s"), 1) },
			"doubted":   func(m *meshed) { m.Doubt(whole("s"), 1) },
			"fenced":    func(m *meshed) { m.Fence(1) },
		} {
			t.Run(r.name+", "+name, func(t *testing.T) {
				mesh(t, session.Options{}, func(m *meshed) {
					m.make("s", 7)
					m.freeze("s", 1)
					c := m.waiting(r)
					end(m)
					m.is("the answer", <-c, notFound)
					m.is("a later one", r.do(m.farm), notFound)
					if got := m.mourned("s"); got != 0 {
						t.Errorf("it is said to be removed, at epoch %d", got)
					}
				})
			})
		}
	}
}

func TestLeave_TryDoesNotWait(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("s", 7)
		m.freeze("s", 1)
		r := m.Try().Get(key("s"))
		m.is("a try", answerOf(&r), answer{Outcome: session.Taken})
	})
}

func TestLeave_TakesTheTurnInOrder(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("s", 7)
		giveUp := m.take("s")
		before := m.waiting(touch())
		if got := m.Leave(whole("s"), 1, session.Terms{}); got.Now != session.Pending {
			t.Errorf("got %v, want Pending", got.Now)
		}
		after := m.waiting(touch())
		giveUp()
		m.is("who came before", <-before, done)
		if got := m.told(1); len(got) != 1 || got[0].Now != session.Frozen {
			t.Fatalf("told %v, want Frozen", got)
		}
		select {
		case got := <-after:
			t.Errorf("who came after has an answer: %v", got)
		default:
		}
		m.Forget(whole("s"), 1)
		m.is("who came after", <-after, notFound)
	})
}

func TestLeave_OfNothing(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("expired", 7)
		m.make("copy", 7)
		m.freeze("copy", 1)
		m.Doubt(whole("copy"), 1)
		time.Sleep(20 * time.Minute)
		for _, id := range []string{"absent", "copy", "expired"} {
			if got := m.Leave(whole(id), 2, session.Terms{Any: true}); got.Now != session.NotHere {
				t.Errorf("%s: got %v, want NotHere", id, got.Now)
			}
		}
		if got := m.mourned("expired"); got != 7 {
			t.Errorf("the expired one was removed at epoch %d, want 7", got)
		}
	})
}

func TestLeave_GoesByTheLock(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		locked bool
		terms  session.Terms
		want   session.LeaveState
	}{
		{false, session.Terms{Cookie: session.NoCookie}, session.Frozen},
		{false, session.Terms{Cookie: 9}, session.Frozen},
		{true, session.Terms{Cookie: session.NoCookie}, session.StillLocked},
		{true, session.Terms{Cookie: 3}, session.StillLocked},
		{true, session.Terms{Cookie: 2}, session.Frozen},
		{true, session.Terms{Any: true}, session.Frozen},
		{true, session.Terms{Wait: time.Second}, session.InLine},
	} {
		t.Run(fmt.Sprintf("%v %+v", row.locked, row.terms), func(t *testing.T) {
			mesh(t, session.Options{}, func(m *meshed) {
				m.make("s", 7)
				if row.locked {
					m.must(m.acquire("s"))
				}
				time.Sleep(time.Minute)
				got := m.Leave(whole("s"), 1, row.terms)
				if got.Now != row.want {
					t.Fatalf("got %v, want %v", got.Now, row.want)
				}
				if got.Now == session.StillLocked && (got.Cookie != 2 || got.Age != time.Minute) {
					t.Errorf("got cookie %d, age %v, want 2, 1m", got.Cookie, got.Age)
				}
				want := 20 * time.Minute // a Leave is a use, if somebody asks for the session
				if row.terms.Any {
					want -= time.Minute
				}
				if left := m.Peek(key("s")).Left; left != want {
					t.Errorf("it has %v left, want %v", left, want)
				}
				if row.want == session.InLine {
					m.Recall(whole("s"), 1)
				}
			})
		})
	}
}

// The record is the session, to the nanosecond.
func TestLeave_RecordSaysEverything(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("locked", 1<<40+7)
		m.must(m.acquire("locked"))
		time.Sleep(time.Minute)
		m.must(m.touch("locked"))
		b := m.body("fresh")
		r := m.Set(key("new"), session.Change{Body: b, Timeout: 30, Uninitialised: true, Grant: grant(8)})
		m.is("create", answerOf(&r), done)

		other := join(t, session.Options{})
		for i, id := range []string{"locked", "new"} {
			was := m.Peek(key(id))
			rec := m.freeze(id, uint64(i))
			came := rec
			came.Body = other.body(string(rec.Body.Bytes())).Stored()
			other.admit(id, came)
			m.Forget(whole(id), uint64(i))
			other.Own(whole(id), came)
			want := was
			want.Left = time.Duration(was.Timeout) * time.Minute
			if got := other.Peek(key(id)); got != want {
				t.Errorf("%s: it came as %+v, was %+v", id, got, want)
			}
		}
		if got := other.Look(whole("locked")); got.Epoch != 1<<40+7 || got.LockAge != time.Minute || !got.Locked || got.Cookie != 2 || got.Idle != 0 {
			t.Errorf("got %+v", got)
		}
		other.is("its lock is its lock", other.set("locked", "x", 20, 2), done)
		other.is("the first to know", other.get("new"), answer{First: true, Timeout: 30, Body: "fresh"})
		if got := m.Len(); got != 0 {
			t.Errorf("%d sessions are left behind", got)
		}
	})
}

func TestLeave_DoesNotExpire(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.run()
		m.make("s", 7)
		m.must(m.set("s", "brief", 1, 0))
		rec := m.freeze("s", 1)
		time.Sleep(3 * time.Minute)
		if got := string(rec.Body.Bytes()); got != "brief" || m.place("s") != session.Parting {
			t.Errorf("got %q, %v", got, m.place("s"))
		}
		m.Stay(whole("s"), 1, 9)
		time.Sleep(2 * time.Second)
		if got := m.mourned("s"); got != 9 || m.place("s") != session.Absent {
			t.Errorf("removed at epoch %d, %v; want at 9", got, m.place("s"))
		}
	})
}

func TestRecall_OfOneThatWaits(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("s", 7)
		giveUp := m.take("s")
		m.Leave(whole("s"), 1, session.Terms{Any: true})
		m.Leave(whole("s"), 2, session.Terms{Any: true})
		m.Recall(whole("s"), 1)
		m.Recall(whole("s"), 3)
		giveUp()
		if got := m.told(1); got != nil {
			t.Errorf("of the one that was recalled is told %v", got)
		}
		if got := m.told(2); len(got) != 1 || got[0].Now != session.Frozen {
			t.Errorf("of the other is told %v, want Frozen", got)
		}
	})
}

func TestLeave_OthersLearnThatTheSessionHasGone(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		end  func(m *meshed)
		want []session.LeaveState
	}{
		"forgotten": {func(m *meshed) { m.Forget(whole("s"), 1) }, []session.LeaveState{session.NotHere}},
		"doubted":   {func(m *meshed) { m.Doubt(whole("s"), 1) }, []session.LeaveState{session.NotHere}},
		"stays":     {func(m *meshed) { m.Stay(whole("s"), 1, 9) }, []session.LeaveState{session.Frozen}},
		"fenced":    {func(m *meshed) { m.Fence(1) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			mesh(t, session.Options{}, func(m *meshed) {
				m.make("s", 7)
				m.freeze("s", 1)
				m.Leave(whole("s"), 2, session.Terms{})
				row.end(m)
				var got []session.LeaveState
				for _, l := range m.told(2) {
					got = append(got, l.Now)
				}
				if !slices.Equal(got, row.want) {
					t.Errorf("told %v, want %v", got, row.want)
				}
			})
		})
	}
}

func TestArrive_OwnedAtTheCommitAndNotBefore(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		r := m.arrived("came", 9)
		m.admit("s", r)
		m.is("before", m.get("s"), notFound)
		if got := m.place("s"); got != session.Absent {
			t.Errorf("got %v, want Absent", got)
		}
		m.Own(whole("s"), r)
		m.is("after", m.acquire("s"), answer{Cookie: 6, Timeout: 20, Body: "came"})
		if got := m.Look(whole("s")); got.Epoch != 9 || got.Place != session.Owned {
			t.Errorf("got %+v", got)
		}
	})
}

func TestArrive_Discarded(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		for _, id := range []string{"s", "one with an id that does not fit into an entry"} {
			r := m.arrived("came", 9)
			m.admit(id, r)
			m.Discard(whole(id), r)
			m.is("then", m.get(id), notFound)
			if got := m.HeapLive() + m.Stats().UsedBytes; got != 0 {
				t.Errorf("%d bytes are left", got)
			}
		}
	})
}

func TestArrive_ThereIsNoRoom(t *testing.T) {
	mesh(t, session.Options{MaxMemory: 100_000}, func(m *meshed) {
		first := m.arrived(text(1, 60_000), 9)
		m.admit("first", first)
		second := m.arrived(text(1, 60_000), 9)
		if _, ok := m.Admit(whole("second"), second, false); ok {
			t.Error("it was admitted over the limit")
		}
		second.Body.Release()
		m.Own(whole("first"), first)
		if _, ok := m.Admit(whole("second"), m.arrivedAnd(func(r session.Record) { second = r }, 60_000), false); ok {
			t.Error("it was admitted over the limit")
		}
		second.Body.Release()
		m.must(m.remove("first", 0))
		third := m.arrived(text(1, 60_000), 9)
		m.admit("third", third)
		m.Own(whole("third"), third)
	})
}

func TestArrive_WhatIsWantedMayGoAnEighthAboveTheLimit(t *testing.T) {
	mesh(t, session.Options{MaxMemory: 100_000}, func(m *meshed) {
		arrive := func(id string, size int, wanted bool) bool {
			r := m.arrived(text(1, size), 9)
			defer r.Body.Release()
			if _, ok := m.Admit(whole(id), r, wanted); !ok {
				return false
			}
			m.Own(whole(id), r)
			return true
		}
		if !arrive("first", 90_000, false) {
			t.Fatal("there is no room")
		}
		if arrive("drained", 12_000, false) {
			t.Error("what nobody waits for was admitted over the limit")
		}
		if !arrive("wanted", 12_000, true) {
			t.Error("what somebody waits for was refused within an eighth above the limit")
		}
		if arrive("more", 12_000, true) {
			t.Error("it was admitted more than an eighth above the limit")
		}
		m.is("a new one", m.create("new", grant(1)), answer{Outcome: session.Full})
	})
}

// What is reckoned is what is used in the end, to the byte, and all of it is admitted when it fits.
func TestReckon_IsWhatSessionsTake(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limit int64
		fits  bool
	}{{0, true}, {10_000_000, true}, {2_000_000, false}} {
		m := join(t, session.Options{MaxMemory: tc.limit})
		sizes := []int{1, 20, 63, 64, 500, 7_000, 65_536, 200_000, 1_000_000, 1_100_000}
		sum := m.Reckon()
		keyOf := func(i int) string {
			if i%2 == 0 {
				return whole(strings.Repeat("long", 20) + fmt.Sprint(i))
			}
			return fmt.Sprintf("/LM/W3SVC/%d/ROOT(abc)/short", i)
		}
		for i, size := range sizes {
			sum.Add(keyOf(i), size)
		}
		if got := sum.Fits(); got != tc.fits {
			t.Errorf("%d bytes within a limit of %d: got %v", sum.Bytes(), tc.limit, got)
		}
		if !tc.fits {
			continue
		}
		for i, size := range sizes {
			r := m.arrived(text(i, size), 9)
			if _, ok := m.Admit(keyOf(i), r, true); !ok {
				t.Fatalf("there is no room for the one of %d bytes", size)
			}
			m.Own(keyOf(i), r)
			r.Body.Release()
		}
		if got := m.Stats().UsedBytes; got != sum.Bytes() {
			t.Errorf("%d bytes were reckoned, %d are used", sum.Bytes(), got)
		}
	}
}

func (m *meshed) arrivedAnd(keep func(session.Record), size int) session.Record {
	r := m.arrived(text(1, size), 9)
	keep(r)
	return r
}

func TestCopy_IsNotServedAndExpires(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.run()
		r := m.arrived("came", 9)
		r.TimeLeft = time.Minute
		m.admit("s", r)
		m.Keep(whole("s"), r)
		for _, q := range everyRequest {
			m.is(q.name, q.do(m.farm), notFound)
		}
		if got := m.Look(whole("s")); got.Place != session.Copied || got.Epoch != 9 || got.Idle != 19*time.Minute {
			t.Errorf("got %+v, want a copy at epoch 9", got)
		}
		if got := m.Stats(); got.Copies != 1 || got.Active != 1 {
			t.Errorf("got %+v, want one copy", got)
		}
		time.Sleep(time.Minute + 2*time.Second)
		if got := m.Stats(); got.Copies != 0 || got.Active != 0 {
			t.Errorf("got %+v, want it expired", got)
		}
	})
}

func TestCopy_AdoptedDroppedReplaced(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		keep := func(id, text string, epoch uint64) {
			r := m.arrived(text, epoch)
			m.admit(id, r)
			m.Keep(whole(id), r)
		}
		keep("adopted", "came", 9)
		m.Adopt(whole("adopted"), 10)
		m.is("adopted", m.get("adopted"), answer{Timeout: 20, Body: "came"})
		if got := m.Look(whole("adopted")).Epoch; got != 10 {
			t.Errorf("epoch %d, want 10", got)
		}
		m.Adopt(whole("adopted"), 11) // it is no copy any more
		m.Drop(whole("adopted"))
		m.Drop(whole("absent"))
		m.Adopt(whole("absent"), 11)
		if got := m.Look(whole("adopted")).Epoch; got != 10 {
			t.Errorf("epoch %d, want 10", got)
		}
		keep("dropped", "came", 9)
		m.Drop(whole("dropped"))
		if got := m.place("dropped"); got != session.Absent || m.mourned("dropped") != 0 {
			t.Errorf("got %v, want it dropped in silence", got)
		}
		keep("replaced", "came", 9)
		keep("replaced", "later", 11)
		r := m.arrived("latest", 12)
		m.admit("replaced", r)
		m.Own(whole("replaced"), r)
		m.is("replaced", m.get("replaced"), answer{Timeout: 20, Body: "latest"})
		if got := m.Stats(); got.Copies != 0 || got.Active != 2 {
			t.Errorf("got %+v, want two sessions and no copy", got)
		}
	})
}

func TestRemoved_IsTold(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("removed", 7)
		m.make("expires", 8)
		m.make("touched too late", 9)
		m.must(m.remove("removed", 0))
		time.Sleep(20 * time.Minute)
		m.is("touch", m.touch("touched too late"), notFound)
		m.Expire()
		for id, want := range map[string]uint64{"removed": 7, "expires": 8, "touched too late": 9} {
			if got := m.mourned(id); got != want {
				t.Errorf("%s: removed at epoch %d, want %d", id, got, want)
			}
		}
	})
}

func TestFence_TurnsEverythingIntoCopies(t *testing.T) {
	mesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		m.make("rests", 7)
		m.make("leaves", 8)
		m.make("locked", 9)
		m.must(m.acquire("locked"))
		m.freeze("leaves", 1)
		m.Leave(whole("locked"), 2, session.Terms{Wait: time.Minute})
		inLine := m.waitingFor(m.farm, request{"Acquire locked", func(f farm) answer { return f.acquire("locked") }})
		m.make("taken", 10)
		undelivered := m.Acquire(key("taken"))
		turn := m.waitingFor(m.farm, request{"Get taken", func(f farm) answer { return f.get("taken") }})
		m.Fence(1)
		m.is("who stood in line", <-inLine, notFound)
		m.is("who waited for the turn", <-turn, notFound)
		for id, epoch := range map[string]uint64{"rests": 7, "leaves": 8, "locked": 9, "taken": 10} {
			if got := m.Look(whole(id)); got.Place != session.Copied || got.Epoch != epoch {
				t.Errorf("%s: got %+v, want a copy", id, got)
			}
			m.is(id, m.get(id), notFound)
		}
		m.Stay(whole("leaves"), 1, 20)
		m.Forget(whole("leaves"), 1)
		if got := m.place("leaves"); got != session.Copied {
			t.Errorf("its ticket was to be void: %v", got)
		}
		m.Settle(key("taken"), &undelivered, false)
		m.Adopt(whole("taken"), 21)
		m.is("the lock that was never heard of", m.get("taken"), answer{Timeout: 20, Body: "old"})
		m.Adopt(whole("locked"), 22)
		m.is("the other, after a wait", m.get("locked"), answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute})
		if got := m.Stats(); got.Copies != 2 || got.Held != 0 || got.Waiting != 0 || got.Leaving != 0 {
			t.Errorf("got %+v, want two copies, and nobody waiting", got)
		}
		if got := m.told(2); got != nil {
			t.Errorf("told %v of a Leave that was to be forgotten", got)
		}
	})
}

// waitingFor is farm.waiting for any request.
func (m *meshed) waitingFor(f farm, r request) chan answer { return f.waiting(r) }

// A reply that is settled after a fence must not touch what has become of the session.
func TestFence_EndsTurns(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		m.make("s", 7)
		r := m.Acquire(key("s"))
		m.Fence(1)
		m.Adopt(whole("s"), 8)
		m.must(m.unlock("s", 2))
		later := m.Acquire(key("s"))
		m.is("a later one", answerOf(&later), answer{Cookie: 3, Timeout: 20, Body: "old"})
		m.Settle(key("s"), &r, false)
		c := m.waiting(acquire())
		select {
		case got := <-c:
			t.Errorf("the turn of the later one was ended by the earlier: %v", got)
		default:
		}
		m.Settle(key("s"), &later, false)
		m.is("and then", <-c, answer{Cookie: 4, Timeout: 20, Body: "old"})
	})
}

// A lock that nobody has heard of goes, even if the store was fenced while its answer was being written, and the session has been adopted since.
// One that was heard of stays.
func TestFence_AnUndeliveredLockDoesNotStay(t *testing.T) {
	mesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		for term, id := range []string{"heard", "unheard"} {
			delivered := id == "heard"
			r := m.Set(key(id), session.Change{Body: m.body("old"), Timeout: 20, Cookie: session.NoCookie, Grant: session.Grant{Epoch: 7, Term: uint64(term)}, Uninitialised: true})
			m.must(answerOf(&r))
			lock := m.Acquire(key(id))
			m.Fence(uint64(term + 1))
			m.Adopt(whole(id), 8)
			waits := m.waiting(request{"Get " + id, func(f farm) answer { return f.get(id) }})
			m.Settle(key(id), &lock, delivered)
			if delivered {
				m.is("the write of who holds the lock", m.set(id, "new", 20, 2), done)
				m.is("who waited", <-waits, answer{Timeout: 20, Body: "new"})
				continue
			}
			m.is("who waited", <-waits, answer{First: true, Timeout: 20, Body: "old"})
			m.is("another", m.acquire(id), answer{Cookie: 3, Timeout: 20, Body: "old"})
		}
	})
}

// Many are frozen at once: each that can be, within the bounds, for a ticket of its own; the others are only named.
func TestPart_FreezesWhatIsNobodysTurn(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	const n = 100
	for i := range n {
		r := m.Set(key(id(i)), session.Change{Body: m.body(text(i, 1000)), Timeout: 20, Grant: grant(uint64(1 + i))})
		m.must(answerOf(&r))
	}
	taken := m.Acquire(key(id(7))) // not settled: its turn
	got, next := map[string]bool{}, uint64(50)
	part := func(most, size int) (frozen int, rest []string) {
		rest = m.Part(most, size, next, func(k string, ticket uint64, r session.Record) {
			if ticket != next || got[k] || len(r.Body.Bytes()) != 1000 {
				t.Errorf("%.40q for ticket %d, want another for %d", k, ticket, next)
			}
			got[k] = true
			next++
			frozen++
		})
		return frozen, rest
	}
	if frozen, rest := part(10, 1<<20); frozen+len(rest) != 10 {
		t.Errorf("%d and %d, want 10", frozen, len(rest))
	}
	if frozen, _ := part(10, 3*1000+500); frozen != 3 {
		t.Errorf("%d of 1000 bytes and a key, want 3 in 3500", frozen)
	}
	if frozen, _ := part(10, 1); frozen != 1 {
		t.Errorf("%d, want one in any case", frozen)
	}
	for range 3 {
		part(n, 1<<20)
	}
	if _, rest := part(n, 1<<20); len(got) != n-1 || len(rest) != 1 || rest[0] != whole(id(7)) {
		t.Errorf("%d were frozen, and %.40q were not", len(got), rest)
	}
	for k := range got {
		if l := m.Look(k); l.Place != session.Parting {
			t.Errorf("%.40q is %v", k, l.Place)
		}
	}
	m.Settle(key(id(7)), &taken, true)
	if frozen, rest := part(n, 1<<20); frozen != 1 || len(rest) != 0 {
		t.Errorf("%d and %d when its turn is over", frozen, len(rest))
	}
	m.Fence(1)
	if frozen, rest := part(n, 1<<20); frozen != 0 || len(rest) != n {
		t.Errorf("%d copies were frozen, %d named", frozen, len(rest))
	}
}

// The record of a session that leaves names its body, which must stay where it is.
func TestLeave_BodyIsNotMoved(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	const n = 2000
	for i := range n {
		r := m.Set(key(id(i)), session.Change{Body: m.body(text(i, 1000)), Timeout: 20, Grant: grant(1)})
		m.must(answerOf(&r))
	}
	var records []session.Record
	for i := range n {
		if i%40 == 0 {
			records = append(records, m.freeze(id(i), uint64(i)))
		} else {
			m.must(m.remove(id(i), 0))
		}
	}
	m.Compact()
	for range n { // into all memory that is free for it
		defer m.body(text(99, 1000)).Discard()
	}
	for i, r := range records {
		if got, want := string(r.Body.Bytes()), text(40*i, 1000); got != want {
			t.Fatalf("body %d is %.20q, was %.20q", i, got, want)
		}
		m.Forget(whole(id(40*i)), uint64(40*i))
	}
}

// A body that is still being sent stays as it is, although its session has gone.
func TestLeave_BodyStaysWhileItIsHeld(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 300_000} {
		m := join(t, session.Options{})
		r := m.Set(key("s"), session.Change{Body: m.body(text(1, size)), Timeout: 20, Grant: grant(1)})
		m.must(answerOf(&r))
		body := m.freeze("s", 1).Body
		body.Hold()
		m.Forget(whole("s"), 1)
		m.body(text(2, size)).Discard()
		if got := string(body.Bytes()); got != text(1, size) {
			t.Errorf("it is %.20q now", got)
		}
		body.Release()
		if got := m.HeapLive(); got != 0 {
			t.Errorf("%d bytes are live", got)
		}
	}
}

// Every session is come by, however many come and go meanwhile; and nothing is looked at too long.
func TestTours_ComeByEverySession(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	const n = 5000
	for i := range n {
		m.make(id(i), uint64(1+i))
	}
	for name, tour := range map[string]func(n int) []string{
		"Pick":   m.Pick,
		"Copies": func(n int) []string { m.Fence(1); return m.Copies(n) },
	} {
		seen := map[string]int{}
		for i := 0; len(seen) < n; i++ {
			if i > 2*n/37 {
				t.Fatalf("%s: %d of %d after two rounds", name, len(seen), n)
			}
			for _, k := range tour(37) {
				seen[k]++
			}
		}
		once := 0
		for _, times := range seen {
			if times == 1 {
				once++
			}
		}
		if once < n*9/10 {
			t.Errorf("%s: only %d of %d were come by once in a round", name, once, n)
		}
	}
}

func TestTours_MissNothingWhileOthersGo(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	const n = 5000
	for i := range n {
		m.make(id(i), 1)
	}
	seen := map[string]bool{}
	for i := 0; i < n; i += 50 { // one round, while every second goes
		for _, k := range m.Pick(100) {
			seen[k] = true
		}
		for j := i; j < i+50; j += 2 {
			m.must(m.remove(id(j), 0))
		}
	}
	for i := 1; i < n; i += 2 {
		if !seen[whole(id(i))] {
			t.Fatalf("session %d was there all the time, and not come by", i)
		}
	}
}

func TestRecent_IsWhatWasMadeSince(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	const n = 20_000
	for i := range n {
		m.make(id(i), uint64(1+i))
	}
	calls, seen := 0, map[string]bool{}
	for from := uint64(0); from != 0 || calls == 0; calls++ {
		var claims []session.Claim
		claims, from = m.Recent(n-99, from, 30)
		for _, c := range claims {
			if c.Epoch < n-99 || seen[c.Key] {
				t.Errorf("%+v: too old, or claimed twice", c)
			}
			seen[c.Key] = true
		}
	}
	if len(seen) != 100 || calls < 4 || calls > 10 {
		t.Errorf("%d claims in %d calls, want 100 in a few", len(seen), calls)
	}
}

func TestCluster_IsEnteredOnceAndEmpty(t *testing.T) {
	t.Parallel()
	events := session.Events{Left: func(string, uint64, session.Leaving) {}, Removed: func([]session.Removal) {}}
	m := join(t, session.Options{})
	if _, err := m.Cluster(events); err == nil {
		t.Error("twice: got no error")
	}
	f := open(t, session.Options{})
	f.must(f.set("s", "x", 20, 0))
	if _, err := f.Cluster(events); err == nil {
		t.Error("with a session: got no error")
	}
	if _, err := open(t, session.Options{}).Cluster(session.Events{}); err == nil {
		t.Error("without anybody to be told: got no error")
	}
}

// A store alone has nothing of it.
func TestCluster_CostsMemoryOnlyWhereItIs(t *testing.T) {
	t.Parallel()
	alone, m := open(t, session.Options{}), join(t, session.Options{})
	for i := range 100 {
		alone.must(alone.set(fmt.Sprint(i), "x", 20, 0))
		m.make(fmt.Sprint(i), 1)
	}
	if got := (m.Stats().UsedBytes - alone.Stats().UsedBytes) / 100; got != 12 {
		t.Errorf("a session takes %d bytes more in a cluster, want 12", got)
	}
}
