package session_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

const lockWait = 500 * time.Millisecond

// lockedMesh runs a test of a store whose session "s" is locked under cookie 2, since a minute.
func lockedMesh(t *testing.T, o session.Options, do func(m *meshed)) {
	mesh(t, o, func(m *meshed) {
		m.make("s", 7)
		m.must(m.acquire("s"))
		time.Sleep(time.Minute)
		do(m)
	})
}

func TestLine_IsServedTheMomentTheLockFrees(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(m *meshed){
		"Set":    func(m *meshed) { m.must(m.set("s", "fresh", 20, 2)) },
		"Unlock": func(m *meshed) { m.must(m.unlock("s", 2)) },
	} {
		for _, r := range []request{get(), acquire()} {
			t.Run(name+", "+r.name, func(t *testing.T) {
				lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
					c := m.waiting(r)
					if got := m.Stats().Held; got != 1 {
						t.Errorf("held: %d, want 1", got)
					}
					time.Sleep(lockWait - 1)
					began := time.Now()
					free(m)
					got := <-c
					if took := time.Since(began); got.Outcome != session.Done || took != 0 {
						t.Errorf("got %v after %v, want Done at once", got, took)
					}
					if got := m.Stats().Held; got != 0 {
						t.Errorf("held: %d, want 0", got)
					}
					if left := m.Peek(key("s")).Left; left != 20*time.Minute {
						t.Errorf("it has %v left, want all its time", left)
					}
				})
			})
		}
	}
}

func TestLine_IsServedWhenAnAnswerDoesNotReachTheWebServer(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
		first := make(chan session.Reply, 1)
		go func() { first <- m.Acquire(key("s")) }()
		synctest.Wait()
		second := m.waiting(acquire())
		third := m.waiting(get())
		m.must(m.unlock("s", 2))
		r := <-first
		m.is("the first", answerOf(&r), old(3, false))
		select {
		case got := <-second:
			t.Errorf("the second has an answer while the first one's is written: %v", got)
		default:
		}
		m.Settle(key("s"), &r, false)
		m.is("the second", <-second, old(4, false))
		m.is("the third, after its time", <-third, answer{Outcome: session.Locked, Cookie: 4, LockAge: lockWait})
	})
}

func TestLine_IsLeftWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	for _, r := range []request{get(), acquire()} {
		t.Run(r.name, func(t *testing.T) {
			lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
				c := m.waiting(r)
				time.Sleep(lockWait - 1)
				m.is("a steal", m.unlock("s", 2), done) // it is served, and locks or does not
				<-c
				m.must(m.unlock("s", 3))
				m.must(m.acquire("s"))
				cookie := m.Peek(key("s")).Cookie
				began := time.Now()
				m.is("the answer", r.do(m.farm), answer{Outcome: session.Locked, Cookie: cookie, LockAge: lockWait})
				if took := time.Since(began); took != lockWait {
					t.Errorf("it waited %v, want %v", took, lockWait)
				}
				if got := m.Stats().Held; got != 0 {
					t.Errorf("held: %d, want 0", got)
				}
			})
		})
	}
}

// The lock as it is when the time is over, not as it was when it began.
func TestLine_TellsTheLockAsItIs(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
		next := m.waiting(acquire())
		last := m.waiting(acquire())
		time.Sleep(lockWait / 2)
		m.must(m.unlock("s", 2))
		m.is("the next", <-next, old(3, false))
		m.is("the last", <-last, answer{Outcome: session.Locked, Cookie: 3, LockAge: lockWait / 2})
	})
}

func TestLine_InOrderOfArrivalAndReadsTogether(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: time.Minute, MaxHeld: 10}, func(m *meshed) {
		c1, c2 := m.waiting(get()), m.waiting(get())
		c3 := m.waiting(acquire())
		c4, c5 := m.waiting(get()), m.waiting(acquire())
		m.must(m.unlock("s", 2))
		m.is("get 1", <-c1, old(0, false))
		m.is("get 2", <-c2, old(0, false))
		m.is("acquire 3", <-c3, old(3, false))
		synctest.Wait()
		if got := m.Stats().Held; got != 2 || len(c4)+len(c5) > 0 {
			t.Errorf("held: %d, want the two behind the lock", got)
		}
		m.must(m.set("s", "fresh", 20, 3))
		m.is("get 4", <-c4, answer{Timeout: 20, Body: "fresh"})
		m.is("acquire 5", <-c5, answer{Cookie: 4, Timeout: 20, Body: "fresh"})
	})
}

// A newcomer must not have the lock that others stand in line for.
func TestLine_NobodyOvertakes(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		first := m.waiting(acquire())
		m.must(m.unlock("s", 2)) // it is the first one's now, whether it has noticed or not
		newcomer := m.waiting(acquire())
		m.is("the first", <-first, old(3, false))
		m.must(m.unlock("s", 3))
		m.is("the newcomer", <-newcomer, old(4, false))
	})
}

func TestLine_ChangesAreNotInIt(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		reads := []chan answer{m.waiting(get()), m.waiting(acquire()), m.waiting(acquire())}
		began := time.Now()
		m.is("touch", m.touch("s"), done)
		m.is("set with another cookie", m.set("s", "x", 20, 1), answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute})
		m.is("unlock with another cookie", m.unlock("s", 1), answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute})
		m.is("remove with another cookie", m.remove("s", 1), answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute})
		m.is("insert", m.setUninitialised("s", "x", 20, 0), done)
		m.is("remove", m.remove("s", 2), done)
		if took := time.Since(began); took != 0 {
			t.Errorf("they took %v, want no time", took)
		}
		for _, c := range reads {
			m.is("a read in line", <-c, notFound)
		}
	})
}

func TestLine_IsBounded(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		o    session.Options
		want int
	}{
		{session.Options{}, 4},
		{session.Options{MaxHeld: 1}, 1},
		{session.Options{MaxHeld: 100}, 100},
		{session.Options{MaxHeld: 100, MaxHeldTotal: 7}, 7},
	} {
		t.Run(fmt.Sprint(row.o.MaxHeld, row.o.MaxHeldTotal), func(t *testing.T) {
			row.o.LockWait = lockWait
			lockedMesh(t, row.o, func(m *meshed) {
				for range row.want {
					m.waiting(get())
				}
				if got := m.Stats().Held; got != int64(row.want) {
					t.Errorf("held: %d, want %d", got, row.want)
				}
				began := time.Now()
				want := answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute}
				m.is("the next", m.get("s"), want)
				r := m.Try().Get(key("s"))
				m.is("a try", answerOf(&r), want)
				if got := m.Leave(whole("s"), 1, session.Terms{Wait: time.Second}); got.Now != session.StillLocked {
					t.Errorf("a leave: got %v, want StillLocked", got.Now)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("they waited %v, want not at all", took)
				}
				m.must(m.unlock("s", 2))
				synctest.Wait()
			})
		})
	}
}

func TestLine_ATryIsTakenAndHasDoneNothing(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
		before := m.Peek(key("s"))
		for _, r := range []session.Reply{m.Try().Get(key("s")), m.Try().Acquire(key("s"))} {
			m.is("a try", answerOf(&r), answer{Outcome: session.Taken})
		}
		if got := m.Peek(key("s")); got != before {
			t.Errorf("it was %+v and is %+v", before, got)
		}
	})
}

func TestLine_ThereIsNoneUnlessAskedFor(t *testing.T) {
	lockedMesh(t, session.Options{}, func(m *meshed) {
		want := answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute}
		m.is("get", m.get("s"), want)
		r := m.Try().Acquire(key("s"))
		m.is("a try", answerOf(&r), want)
	})
}

// What a request has waited elsewhere it does not wait here.
func TestSince_CountsWhatWasWaitedBefore(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ ago, want time.Duration }{
		{0, lockWait}, {200 * time.Millisecond, 300 * time.Millisecond}, {lockWait, 0}, {time.Hour, 0},
	} {
		t.Run(fmt.Sprint(row.ago), func(t *testing.T) {
			lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
				began := time.Now()
				r := m.Store.Since(began.Add(-row.ago)).Acquire(key("s"))
				took := time.Since(began)
				m.is("the answer", answerOf(&r), answer{Outcome: session.Locked, Cookie: 2, LockAge: time.Minute + took})
				if took != row.want {
					t.Errorf("it waited %v, want %v", took, row.want)
				}
			})
		})
	}
}

func TestSince_CountsForTheTurnToo(t *testing.T) {
	mesh(t, session.Options{}, func(m *meshed) {
		time.Sleep(time.Minute)
		m.make("s", 7)
		giveUp := m.take("s")
		defer giveUp()
		for _, row := range []struct {
			ago, want time.Duration
			do        func(session.Since) session.Reply
		}{
			{0, 2 * time.Second, func(s session.Since) session.Reply { return s.Get(key("s")) }},
			{1500 * time.Millisecond, 500 * time.Millisecond, func(s session.Since) session.Reply { return s.Get(key("s")) }},
			{3 * time.Second, 0, func(s session.Since) session.Reply { return s.Acquire(key("s")) }},
			{3 * time.Second, 5 * time.Second, func(s session.Since) session.Reply { return s.Touch(key("s")) }},
			{5 * time.Second, 3 * time.Second, func(s session.Since) session.Reply { return s.Unlock(key("s"), 0) }},
			{7 * time.Second, time.Second, func(s session.Since) session.Reply { return s.Remove(key("s"), 0) }},
			{9 * time.Second, 0, func(s session.Since) session.Reply {
				return s.Set(key("s"), session.Change{Body: m.body("x"), Timeout: 20})
			}},
		} {
			began := time.Now()
			r := row.do(m.Store.Since(began.Add(-row.ago)))
			m.is("the answer", answerOf(&r), answer{Outcome: session.Busy})
			if took := time.Since(began); took != row.want {
				t.Errorf("it came %v ago and waited %v, want %v", row.ago, took, row.want)
			}
		}
	})
}

// A Leave stands in the same line as the reads of this node's web servers.
func TestLine_LeavesStandInItToo(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		read := m.waiting(get())
		if got := m.Leave(whole("s"), 1, session.Terms{Wait: time.Minute}); got.Now != session.InLine || got.Cookie != 2 || got.Age != time.Minute {
			t.Errorf("got %+v, want InLine", got)
		}
		behind := m.waiting(get())
		m.must(m.unlock("s", 2))
		m.is("the read before it", <-read, old(0, false))
		if got := m.told(1); len(got) != 1 || got[0].Now != session.Frozen || got[0].Record.Locked {
			t.Fatalf("told %v, want Frozen", got)
		}
		select {
		case got := <-behind:
			t.Errorf("the read behind it has an answer: %v", got)
		default:
		}
		m.Stay(whole("s"), 1, 9)
		m.is("the read behind it", <-behind, old(0, false))
	})
}

func TestLine_ALeaveWaitsSoLong(t *testing.T) {
	lockedMesh(t, session.Options{}, func(m *meshed) {
		m.Leave(whole("s"), 1, session.Terms{Wait: 300 * time.Millisecond})
		m.Leave(whole("s"), 2, session.Terms{Wait: time.Hour})
		time.Sleep(300 * time.Millisecond)
		got := m.told(1)
		if len(got) != 1 || got[0].Now != session.StillLocked || got[0].Cookie != 2 || got[0].Age != time.Minute+300*time.Millisecond {
			t.Errorf("told %+v, want StillLocked", got)
		}
		if got := m.Stats().Held; got != 1 {
			t.Errorf("held: %d, want 1", got)
		}
		m.Recall(whole("s"), 2)
		if got := m.Stats().Held; got != 0 {
			t.Errorf("held: %d, want 0", got)
		}
		m.must(m.unlock("s", 2))
		if got := m.told(2); got != nil {
			t.Errorf("told %+v of one that was recalled", got)
		}
	})
}

// Whose time ends while the session is leaving, with nobody holding its lock, must not be told that it is locked.
func TestLine_WhoseTimeEndsWhileTheSessionLeavesWaitsOn(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		end    func(m *meshed)
		read   answer
		second session.LeaveState
	}{
		"stays": {func(m *meshed) { m.Stay(whole("s"), 1, 9) }, old(0, false), session.Frozen},
		"goes":  {func(m *meshed) { m.Forget(whole("s"), 1) }, notFound, session.NotHere},
	} {
		t.Run(name, func(t *testing.T) {
			lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
				m.Leave(whole("s"), 1, session.Terms{Wait: lockWait})
				read := m.waiting(get())
				time.Sleep(time.Millisecond)
				m.Leave(whole("s"), 2, session.Terms{Wait: lockWait - time.Millisecond/2})
				m.must(m.unlock("s", 2)) // the first leaves
				time.Sleep(lockWait + 1)
				if got := m.Stats(); got.Held != 0 || got.Waiting != 1 {
					t.Errorf("got %+v, want nobody in line and one waiting for the turn", got)
				}
				row.end(m)
				m.is("the read", <-read, row.read)
				if got := m.told(2); len(got) != 1 || got[0].Now != row.second {
					t.Errorf("told %+v, want %v", got, row.second)
				}
			})
		})
	}
}

// The second of two parallel requests of one user, while its session is fetched by another node: it learns that at once.
func TestLine_IsDismissedWhenALockedSessionLeaves(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		read := m.waiting(get())
		m.freeze("s", 1)
		m.Forget(whole("s"), 1)
		began := time.Now()
		m.is("the read", <-read, notFound)
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited %v longer", took)
		}
	})
}

// Who holds the lock is dead. The line is full, and those who free the lock come through all the same.
func TestLine_ADeadLockHolder(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: lockWait}, func(m *meshed) {
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range 20 { // browsers that reload and reload
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if a := m.acquire("s"); a.Outcome == session.Done {
						m.must(m.unlock("s", a.Cookie))
					}
					time.Sleep(lockWait)
				}
			})
		}
		time.Sleep(10 * time.Second)
		began := time.Now()
		m.must(m.unlock("s", 2)) // stolen
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		time.Sleep(10 * time.Second)
		close(stop)
		all.Wait()
		if got := m.Peek(key("s")); got.Locked || got.Cookie < 100 {
			t.Errorf("got %+v, want it used by many", got)
		}
	})
}

// Whoever stands in line came before those who wait for the turn of one that was served from it.
func TestLine_ComesBeforeTheTurn(t *testing.T) {
	lockedMesh(t, session.Options{LockWait: time.Minute}, func(m *meshed) {
		first := make(chan session.Reply, 1)
		go func() { first <- m.Acquire(key("s")) }()
		synctest.Wait()
		second := m.waiting(acquire())
		m.must(m.unlock("s", 2))
		r := <-first
		third := m.waiting(acquire()) // for the turn
		m.Settle(key("s"), &r, false)
		m.is("the second", <-second, old(4, false))
		m.must(m.unlock("s", 4))
		m.is("the third", <-third, old(5, false))
	})
}
