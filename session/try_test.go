package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

func TestTry_DoesWhatTheStoreDoesIfItNeedNotWait(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	try, k := f.Try(), key("s")
	is := func(what string, r session.Reply, want answer) {
		t.Helper()
		f.is(what, answerOf(&r), want)
		f.Settle(k, &r, true)
	}
	is("get", try.Get(k), notFound)
	is("set", try.Set(k, session.Change{Body: f.body("old"), Timeout: 20, Uninitialised: true}), done)
	is("get", try.Get(k), old(0, true))
	is("acquire", try.Acquire(k), old(2, false))
	is("remove", try.Remove(k, session.InvalidCookie), badCookie)
	is("unlock", try.Unlock(k, 2), done)
	is("touch", try.Touch(k), done)
	is("remove", try.Remove(k, 0), done)
}

func TestTry_OnATakenSessionDoesNothingAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		time.Sleep(age)
		want, try, k := f.Peek(key("s")), f.Try(), key("s")
		body := f.body("fresh")
		for _, r := range []session.Reply{
			try.Get(k), try.Acquire(k), try.Unlock(k, 2), try.Remove(k, 2), try.Touch(k),
			try.Set(k, session.Change{Body: body, Timeout: 30, Cookie: 2}),
			try.Set(k, session.Change{Body: body, Timeout: 30, Uninitialised: true}), // the body is still ours
		} {
			f.is("the answer", answerOf(&r), answer{Outcome: session.Taken})
			f.Settle(k, &r, false)
		}
		if got := f.Peek(k); got != want {
			t.Errorf("the session is then: got %+v, want %+v", got, want)
		}
		giveUp()
		r := f.Set(k, session.Change{Body: body, Timeout: 20}) // and this one takes it over
		f.is("the store's set", answerOf(&r), done)
		f.is("get", f.get("s"), answer{Timeout: 20, Body: "fresh"})
	})
}

func TestTry_DoesNotOvertakeWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		giveUp := f.take("s")
		next := f.waiting(acquire())
		giveUp()
		// The turn is another's now, whether it has noticed or not.
		if r := f.Try().Acquire(key("s")); r.Outcome != session.Taken && r.Outcome != session.Locked {
			t.Errorf("got %v, want Taken, or Locked by the one who waited", answerOf(&r))
		}
		f.is("the one who waited", <-next, old(3, false))
	})
}
