package session_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

// take acquires s and keeps the turn, until the returned function settles it and takes the lock back.
func (f farm) take(id string) (giveUp func()) {
	f.t.Helper()
	r := f.Acquire(key(id))
	if r.Outcome != session.Done {
		f.t.Fatalf("acquire: got %v, want Done", answerOf(&r))
	}
	return func() { f.Settle(key(id), &r, false) }
}

// waiting starts a request in a goroutine of its own, and returns once it waits or has its answer, which then arrives in the channel.
func (f farm) waiting(r request) chan answer {
	c := make(chan answer, 1)
	go func() { c <- r.do(f) }()
	synctest.Wait()
	return c
}

func TestTurn_IsHadInOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		var (
			order []int // appended to by whoever has the turn
			all   sync.WaitGroup
		)
		for n := range 50 {
			all.Go(func() {
				r := f.Acquire(key("s"))
				order = append(order, n)
				f.Settle(key("s"), &r, false)
			})
			synctest.Wait()
		}
		if got := f.Stats().Waiting; got != 50 {
			t.Errorf("waiting: got %d, want 50", got)
		}
		giveUp()
		all.Wait()
		if len(order) != 50 || !slices.IsSorted(order) {
			t.Errorf("turns: got %v, want 0 to 49", order)
		}
		if got := f.Stats().Waiting; got != 0 {
			t.Errorf("waiting in the end: got %d, want 0", got)
		}
	})
}

func TestTurn_ReadsAndChangesWaitInTheSameQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		readFirst := f.waiting(get())
		write := f.waiting(set(20, 0))
		readSecond := f.waiting(get())
		remove := f.waiting(remove(0))
		readThird := f.waiting(get())
		create := f.waiting(setUninitialised(20, 0))
		giveUp()
		f.is("before the change", <-readFirst, old(0, false))
		f.is("the change", <-write, done)
		f.is("after the change", <-readSecond, answer{Timeout: 20, Body: "fresh"})
		f.is("the removal", <-remove, done)
		<-readThird // all who waited look again: either may come first
		f.is("the creation", <-create, done)
	})
}

func TestTurn_NobodyOvertakesWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		first := f.waiting(request{"Acquire", func(f farm) answer {
			r := f.Acquire(key("s"))
			time.Sleep(time.Second) // its answer is being written
			defer f.Settle(key("s"), &r, true)
			return answerOf(&r)
		}})
		giveUp()
		f.is("one who comes later", f.get("s"), answer{Outcome: session.Locked, Cookie: 3, LockAge: time.Second})
		f.is("one who came first", <-first, old(3, false))
	})
}

func TestTurn_AsManyWaitAsAreAllowedAndTheNextIsSentAwayAtOnce(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		maxWaiting int
		request    request
		want       int
	}{
		{0, get(), 64},
		{0, acquire(), 64},
		{0, set(20, 0), 128},
		{0, setUninitialised(20, 0), 128},
		{0, unlock(0), 128},
		{0, remove(0), 128},
		{0, touch(), 128},
		{1, get(), 1},
		{1, touch(), 2},
		{1<<63 - 1, touch(), 300}, // no bound to speak of
	} {
		t.Run(fmt.Sprintf("%d allowed, %s", row.maxWaiting, row.request.name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, session.Options{MaxWaiting: row.maxWaiting})
				f.must(f.set("s", "old", 20, 0))
				giveUp := f.take("s")
				began := time.Now()
				for range row.want {
					f.waiting(row.request)
				}
				if got := f.Stats().Waiting; got != int64(row.want) {
					t.Errorf("waiting: got %d, want %d", got, row.want)
				}
				if row.maxWaiting < 100 {
					f.is("the next", row.request.do(f), answer{Outcome: session.Busy})
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v to send it away, want no time", took)
				}
				giveUp()
				synctest.Wait()
				if got := f.Stats().Waiting; got != 0 {
					t.Errorf("waiting in the end: got %d, want 0", got)
				}
			})
		})
	}
}

func TestTurn_AChangeFindsRoomWhereAReadDoesNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{MaxWaiting: 2})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		reads := []chan answer{f.waiting(get()), f.waiting(get())}
		f.is("a third read", f.get("s"), answer{Outcome: session.Busy})
		change := f.waiting(touch())
		f.is("a read behind a change", f.get("s"), answer{Outcome: session.Busy})
		giveUp()
		f.is("the change", <-change, done)
		for _, c := range reads {
			f.is("a read", <-c, old(0, false))
		}
	})
}

func TestTurn_IsWaitedForSoLongAndNoLonger(t *testing.T) {
	t.Parallel()
	custom := session.Options{ReadWait: 300 * time.Millisecond, ChangeWait: 3 * time.Minute}
	for _, row := range []struct {
		o       session.Options
		request request
		want    time.Duration
	}{
		{session.Options{}, get(), 2 * time.Second},
		{session.Options{}, acquire(), 2 * time.Second},
		{session.Options{}, set(20, 0), 8 * time.Second},
		{session.Options{}, setUninitialised(20, 0), 8 * time.Second},
		{session.Options{}, unlock(0), 8 * time.Second},
		{session.Options{}, remove(0), 8 * time.Second},
		{session.Options{}, touch(), 8 * time.Second},
		{custom, get(), 300 * time.Millisecond},
		{custom, touch(), 3 * time.Minute},
	} {
		t.Run(fmt.Sprintf("%s %v", row.request.name, row.want), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, row.o)
				f.must(f.set("s", "old", 20, 0))
				giveUp := f.take("s")
				time.Sleep(time.Second)
				began := time.Now()
				f.is("the answer", row.request.do(f), answer{Outcome: session.Busy})
				if got := time.Since(began); got != row.want {
					t.Errorf("waited %v, want %v", got, row.want)
				}
				if got := f.Stats().Waiting; got != 0 {
					t.Errorf("waiting: got %d, want 0", got)
				}
				want := session.State{Exists: true, Body: "old", Timeout: 20, Cookie: 2, Locked: true, Left: 20*time.Minute - time.Second - row.want}
				if got := f.Peek(key("s")); got != want {
					t.Errorf("Busy was to change nothing: got %+v, want %+v", got, want)
				}
				giveUp()
				f.is("afterwards", f.get("s"), old(0, false))
			})
		})
	}
}

func TestTurn_WhoGivesUpLeavesTheOthersInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		first := f.waiting(touch())
		impatient := f.waiting(get())
		last := f.waiting(unlock(session.NoCookie))
		f.is("the read", <-impatient, answer{Outcome: session.Busy})
		if got := f.Stats().Waiting; got != 2 {
			t.Errorf("waiting: got %d, want 2", got)
		}
		giveUp()
		f.is("the first", <-first, done)
		f.is("the last", <-last, badCookie)
	})
}

func TestTurn_WhoWaitsIsWokenWhenTheSessionIsRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{MaxWaiting: 101})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		removed := f.waiting(remove(0))
		var others []chan answer
		for range 20 {
			others = append(others, f.waiting(get()), f.waiting(touch()), f.waiting(unlock(0)), f.waiting(remove(0)), f.waiting(acquire()))
		}
		began := time.Now()
		giveUp()
		f.is("the removal", <-removed, done)
		for _, c := range others {
			f.is("one who waited", <-c, notFound)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("they waited %v longer, want no time", got)
		}
	})
}

func TestTurn_WhoWaitsIsWokenWhenTheSessionExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{ReadWait: time.Hour, ChangeWait: time.Hour})
		f.run()
		f.must(f.set("s", "old", 1, 0))
		giveUp := f.take("s")
		time.Sleep(30 * time.Second)
		others := []chan answer{f.waiting(get()), f.waiting(touch()), f.waiting(acquire()), f.waiting(unlock(2)), f.waiting(remove(2))}
		time.Sleep(30 * time.Second)
		giveUp()
		began := time.Now()
		for _, c := range others {
			f.is("one who waited", <-c, notFound)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("they waited %v longer, want no time", got)
		}
		if got := f.Stats(); got.TimedOut != 1 || got.Active != 0 || got.Waiting != 0 || got.Locked != 0 {
			t.Errorf("got %+v, want one timed out and nothing else", got)
		}
	})
}

func TestTurn_AWriteThatWaitedForARemovedSessionCreatesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		removed := f.waiting(remove(0))
		written := f.waiting(set(30, 57))
		giveUp()
		f.is("the removal", <-removed, done)
		f.is("the write", <-written, done)
		f.is("acquire", f.acquire("s"), answer{Cookie: 2, Timeout: 30, Body: "fresh"})
	})
}

// A session that goes and comes back makes nobody wait anew.
func TestTurn_IsWaitedForNoLongerIfTheSessionIsMadeAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		again := make(chan func())
		go func() { // first in the queue
			f.must(f.remove("s", 2))
			f.must(f.set("s", "new", 20, 0))
			again <- f.take("s")
		}()
		synctest.Wait()
		var reads []chan answer
		began := time.Now()
		for range 60 {
			reads = append(reads, f.waiting(get()))
		}
		time.Sleep(1500 * time.Millisecond)
		giveUp()
		giveUp = <-again
		for _, c := range reads {
			got := <-c
			if waited := time.Since(began); waited > 2*time.Second {
				t.Errorf("%v after %v, want no wait beyond 2s", got, waited)
			}
		}
		giveUp()
	})
}

func TestTurn_OtherSessionsNeverWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		ids := f.ids(100, 1) // all behind one lock
		for _, id := range ids {
			f.must(f.set(id, "old", 20, 0))
		}
		giveUp := f.take(ids[0])
		for range 64 {
			go f.get(ids[0])
		}
		synctest.Wait()
		began := time.Now()
		for _, id := range ids[1:] {
			f.is("get", f.get(id), old(0, false))
			f.is("acquire", f.acquire(id), old(2, false))
			f.is("set", f.set(id, "new", 20, 2), done)
			f.is("touch", f.touch(id), done)
			f.is("unlock", f.unlock(id, 2), done)
			f.is("remove", f.remove(id, 2), done)
			f.is("create", f.set(id, "new", 20, 2), done)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("they took %v, want no time", got)
		}
		giveUp()
		synctest.Wait()
	})
}

func TestTurn_ReadsDoNotWaitForReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		r := f.Get(key("s"))
		began := time.Now()
		f.is("a second read", f.get("s"), old(0, false))
		f.is("a change", f.set("s", "new", 20, 0), done)
		if got := time.Since(began); got != 0 {
			t.Errorf("they took %v, want no time", got)
		}
		if got := string(r.Body()); got != "old" {
			t.Errorf("the first read's body: got %q, want %q", got, "old")
		}
		f.Settle(key("s"), &r, true)
	})
}

func TestSettle_DeliveredKeepsTheLock(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.set("s", "old", 20, 0))
	r := f.Acquire(key("s"))
	f.Settle(key("s"), &r, true)
	if got := f.get("s"); got.Outcome != session.Locked || got.Cookie != 2 {
		t.Errorf("get: got %v, want Locked under 2", got)
	}
}

func TestSettle_NotDeliveredTakesTheLockBackButNotTheCookie(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.set("s", "old", 20, 0))
	f.take("s")()
	f.is("get", f.get("s"), old(0, false))
	f.is("acquire", f.acquire("s"), old(3, false))
}

func TestSettle_NotDeliveredGivesTheTurnToTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		next := f.waiting(acquire())
		after := f.waiting(get())
		giveUp()
		f.is("the next", <-next, old(3, false))
		f.is("the one after", <-after, answer{Outcome: session.Locked, Cookie: 3})
	})
}

func TestSettle_FirstIsDeliveredOnceWhateverIsLostOnTheWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.setUninitialised("s", "old", 20, 0))
		lose := func(what string, r session.Reply) {
			t.Helper()
			if !r.First {
				t.Errorf("%s does not tell that the session is new", what)
			}
			next := f.waiting(request{"Get", func(f farm) answer { // and takes it back as well
				r := f.Get(key("s"))
				defer f.Settle(key("s"), &r, false)
				return answerOf(&r)
			}})
			select {
			case got := <-next:
				t.Errorf("%s is not settled, but the next request has an answer: %v", what, got)
			default:
			}
			f.Settle(key("s"), &r, false)
			f.is("the next", <-next, old(0, true))
		}
		lose("Get", f.Get(key("s")))
		lose("Acquire", f.Acquire(key("s")))
		lose("Get", f.Get(key("s")))
		f.is("the one that is delivered", f.acquire("s"), old(3, true))
		f.must(f.unlock("s", 3))
		f.is("any later one", f.get("s"), old(0, false))
	})
}

func TestSettle_TwiceDoesNothing(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.setUninitialised("s", "old", 20, 0))
	r := f.Acquire(key("s"))
	f.Settle(key("s"), &r, false)
	f.is("acquire", f.acquire("s"), old(3, true))
	f.Settle(key("s"), &r, false)
	if got := f.get("s"); got.Outcome != session.Locked {
		t.Errorf("get: got %v, want Locked: the second settling was to do nothing", got)
	}
	if got := r.Body(); len(got) != 0 {
		t.Errorf("a settled reply has a body: %q", got)
	}
}

func TestSettle_OfOtherRepliesDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.setUninitialised("s", "old", 20, 0))
		f.must(f.acquire("s"))
		want := f.Peek(key("s"))
		for _, r := range []session.Reply{
			{}, f.Get(key("s")), f.Acquire(key("s")), f.Unlock(key("s"), 3), f.Remove(key("s"), 3), f.Touch(key("s")), f.Get(key("absent")),
		} {
			f.Settle(key("s"), &r, false)
			if got := f.Peek(key("s")); got != want {
				t.Errorf("after settling %v: got %+v, want %+v", answerOf(&r), got, want)
			}
		}
	})
}
