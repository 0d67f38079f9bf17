package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

// What each request does to a session in each state, as Microsoft's sources have it (doc.go names them). A case's numbers are of the tables that were
// made of those, so that one that is missing shows. The session is called s.

// given is a state that a session can be in when a request comes; age after it was last touched.
type given struct {
	name  string
	make  func(farm)
	state session.State // then, but for Left
}

const age = 5 * time.Minute

var (
	absent   = given{"no session", func(farm) {}, session.State{}}
	unlocked = given{"unlocked", func(f farm) {
		f.must(f.set("s", "old", 20, 0))
		f.must(f.acquire("s"))
		f.must(f.unlock("s", 2))
	}, session.State{Exists: true, Body: "old", Timeout: 20, Cookie: 2}}
	unread = given{"never read", func(f farm) {
		f.must(f.set("s", "old", 20, 0))
	}, session.State{Exists: true, Body: "old", Timeout: 20, Cookie: 1}}
	uninitialised = given{"uninitialised", func(f farm) {
		f.must(f.setUninitialised("s", "old", 20, 0))
	}, session.State{Exists: true, Body: "old", Timeout: 20, Cookie: 1, New: true}}
	locked = given{"locked under 2", func(f farm) {
		f.must(f.set("s", "old", 20, 0))
		f.must(f.acquire("s"))
	}, session.State{Exists: true, Body: "old", Timeout: 20, Cookie: 2, Locked: true}}
	expired = given{"expired", func(f farm) {
		f.must(f.set("s", "old", 5, 0))
	}, session.State{Exists: true, Body: "old", Timeout: 5, Cookie: 1}}
)

// request is one request for s.
type request struct {
	name string
	do   func(farm) answer
}

func get() request     { return request{"Get", func(f farm) answer { return f.get("s") }} }
func acquire() request { return request{"Acquire", func(f farm) answer { return f.acquire("s") }} }
func touch() request   { return request{"Touch", func(f farm) answer { return f.touch("s") }} }

func unlock(cookie int32) request {
	return request{"Unlock", func(f farm) answer { return f.unlock("s", cookie) }}
}

func remove(cookie int32) request {
	return request{"Remove", func(f farm) answer { return f.remove("s", cookie) }}
}

func set(minutes, cookie int32) request {
	return request{"Set", func(f farm) answer { return f.set("s", "fresh", minutes, cookie) }}
}

func setUninitialised(minutes, cookie int32) request {
	return request{"Set uninitialised", func(f farm) answer { return f.setUninitialised("s", "fresh", minutes, cookie) }}
}

// What becomes of the session.

func unchanged(s session.State) session.State { return s }
func gone(session.State) session.State        { return session.State{} }
func told(s session.State) session.State      { s.New = false; return s }
func released(s session.State) session.State  { s.Locked = false; return s }

func lockedNow(s session.State) session.State {
	s.New, s.Locked, s.Cookie = false, true, s.Cookie+1
	return s
}

func rewritten(minutes int32) func(session.State) session.State {
	return func(s session.State) session.State {
		s.Body, s.Timeout, s.Locked = "fresh", minutes, false
		return s
	}
}

func created(minutes int32) func(session.State) session.State {
	return func(session.State) session.State {
		return session.State{Exists: true, Body: "fresh", Timeout: minutes, Cookie: 1}
	}
}

func createdUninitialised(minutes int32) func(session.State) session.State {
	return func(session.State) session.State {
		return session.State{Exists: true, Body: "fresh", Timeout: minutes, Cookie: 1, New: true}
	}
}

// Answers.

var (
	done      = answer{Outcome: session.Done}
	doneFirst = answer{Outcome: session.Done, First: true}
	notFound  = answer{Outcome: session.NotFound}
	badCookie = answer{Outcome: session.BadCookie}
	held      = answer{Outcome: session.Locked, Cookie: 2, LockAge: age}
)

func old(cookie int32, first bool) answer {
	return answer{Outcome: session.Done, Cookie: cookie, First: first, Timeout: 20, Body: "old"}
}

var tables = []struct {
	section string
	request request
	given   given
	want    answer
	becomes func(session.State) session.State
}{
	{"3.1 nothing is there", get(), absent, notFound, gone},
	{"3.1 what has expired is not there, and removed", get(), expired, notFound, gone},
	{"3.1 read, without a cookie", get(), unlocked, old(0, false), unchanged},
	{"3.1 read before anybody has locked it", get(), unread, old(0, false), unchanged},
	{"3.1 the first to read is told, once", get(), uninitialised, old(0, true), told},
	{"3.1 locked, with the lock's cookie and age", get(), locked, held, unchanged},

	{"3.2 nothing is there", acquire(), absent, notFound, gone},
	{"3.2 what has expired is not there", acquire(), expired, notFound, gone},
	{"3.2 locked under the next cookie", acquire(), unlocked, old(3, false), lockedNow},
	{"3.2 the first lock is 2", acquire(), unread, old(2, false), lockedNow},
	{"3.2 the first to acquire is told, once", acquire(), uninitialised, old(2, true), lockedNow},
	{"3.2 locked, even for the one who has it", acquire(), locked, held, unchanged},

	{"3.3 nothing is there", unlock(2), absent, notFound, gone},
	{"3.3 nothing is there: the cookie is not looked at", unlock(session.NoCookie), absent, notFound, gone},
	{"3.3 what has expired is not there", unlock(2), expired, notFound, gone},
	{"3.3 a cookie is required", unlock(session.NoCookie), unlocked, badCookie, unchanged},
	{"3.3 a cookie is required to unlock", unlock(session.NoCookie), locked, badCookie, unchanged},
	{"3.3 a bad cookie", unlock(session.InvalidCookie), locked, badCookie, unchanged},
	{"3.3 a bad cookie, but the flag is cleared before", unlock(session.InvalidCookie), uninitialised,
		answer{Outcome: session.BadCookie, First: true}, told},
	{"3.3 no cookie, but the flag is cleared before", unlock(session.NoCookie), uninitialised,
		answer{Outcome: session.BadCookie, First: true}, told},
	{"3.3 unlocked, the cookie is kept", unlock(2), locked, done, released},
	{"3.3 another cookie does not unlock", unlock(1), locked, held, unchanged},
	{"3.3 a later cookie does not unlock", unlock(3), locked, held, unchanged},
	{"3.3 no lock: any cookie will do", unlock(57), unlocked, done, unchanged},
	{"3.3 no lock: 0 will do", unlock(0), unlocked, done, unchanged},
	{"3.3 no lock, and the flag is cleared", unlock(0), uninitialised, doneFirst, told},

	{"3.4 created with cookie 1", set(20, 0), absent, done, created(20)},
	{"3.4 created, whatever the cookie", set(20, 57), absent, done, created(20)},
	{"3.4 created without a cookie", set(20, session.NoCookie), absent, done, created(20)},
	{"3.4 created with a bad cookie, not looked at", set(20, session.InvalidCookie), absent, done, created(20)},
	{"3.4 created where another has expired, cookie 1 again", set(20, 2), expired, done, created(20)},
	{"3.4 a bad cookie", set(20, session.InvalidCookie), unlocked, badCookie, unchanged},
	{"3.4 a bad cookie on a locked one", set(20, session.InvalidCookie), locked, badCookie, unchanged},
	{"3.4 locked: no cookie is not enough", set(20, session.NoCookie), locked, held, unchanged},
	{"3.4 locked: another cookie is not enough", set(20, 1), locked, held, unchanged},
	{"3.4 locked: 0 is not enough", set(20, 0), locked, held, unchanged},
	{"3.4 no lock: any cookie will do", set(20, 57), unlocked, done, rewritten(20)},
	{"3.4 no lock: none will do", set(20, session.NoCookie), unlocked, done, rewritten(20)},
	{"3.4 the right cookie rewrites and unlocks", set(20, 2), locked, done, rewritten(20)},
	{"3.4 nobody has been told yet, and this does not tell", set(20, 0), uninitialised, done, rewritten(20)},
	{"3.4 another timeout, in place: the cookie's count stays", set(30, 2), locked, done, rewritten(30)},
	{"3.4 another timeout without a cookie: the count stays", set(30, session.NoCookie), unlocked, done, rewritten(30)},
	{"3.4 another timeout, a foreign cookie: the count stays", set(30, 57), unlocked, done, rewritten(30)},
	{"3.4 another timeout on a locked one: the lock counts", set(30, 1), locked, held, unchanged},
	{"3.4 another timeout: the flag stays", set(30, 0), uninitialised, done, rewritten(30)},

	{"3.5 created uninitialised", setUninitialised(20, 0), absent, done, createdUninitialised(20)},
	{"3.5 created uninitialised with a bad cookie", setUninitialised(20, session.InvalidCookie), absent, done, createdUninitialised(20)},
	{"3.5 created uninitialised where another has expired", setUninitialised(20, 0), expired, done, createdUninitialised(20)},
	{"3.5 something is there: touched only", setUninitialised(20, 0), unlocked, done, unchanged},
	{"3.5 locked: touched only, never Locked", setUninitialised(20, 0), locked, done, unchanged},
	{"3.5 something is there: the timeout stays", setUninitialised(30, 0), locked, done, unchanged},
	{"3.5 something is there: the cookie is not looked at", setUninitialised(20, session.InvalidCookie), locked, done, unchanged},
	{"3.5 uninitialised already: still nobody has been told", setUninitialised(20, 0), uninitialised, done, unchanged},

	{"3.6 nothing is there", remove(2), absent, notFound, gone},
	{"3.6 nothing is there: the cookie is not looked at", remove(session.InvalidCookie), absent, notFound, gone},
	{"3.6 what has expired is not there", remove(2), expired, notFound, gone},
	{"3.6 a bad cookie", remove(session.InvalidCookie), unlocked, badCookie, unchanged},
	{"3.6 a bad cookie on a locked one", remove(session.InvalidCookie), locked, badCookie, unchanged},
	{"3.6 a bad cookie does not tell that it is new", remove(session.InvalidCookie), uninitialised, badCookie, unchanged},
	{"3.6 locked: no cookie is not enough", remove(session.NoCookie), locked, held, unchanged},
	{"3.6 locked: another cookie is not enough", remove(3), locked, held, unchanged},
	{"3.6 no lock: any cookie will do", remove(57), unlocked, done, gone},
	{"3.6 no lock: none will do", remove(session.NoCookie), unlocked, done, gone},
	{"3.6 the right cookie", remove(2), locked, done, gone},

	{"3.7 nothing is there", touch(), absent, notFound, gone},
	{"3.7 what has expired is not there", touch(), expired, notFound, gone},
	{"3.7 touched", touch(), unlocked, done, unchanged},
	{"3.7 touched, locked or not", touch(), locked, done, unchanged},
	{"3.7 touched, and still nobody has been told", touch(), uninitialised, done, unchanged},
}

func TestProtocol_Tables(t *testing.T) {
	t.Parallel()
	for _, row := range tables {
		t.Run(row.section+", "+row.request.name+", "+row.given.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, session.Options{})
				row.given.make(f)
				time.Sleep(age)

				if got := row.request.do(f); got != row.want {
					t.Errorf("answer: got %v, want %v", got, row.want)
				}
				want := row.becomes(row.given.state)
				if want.Exists { // every operation that finds the session, or makes it, makes it live for its whole timeout
					want.Left = time.Duration(want.Timeout) * time.Minute
				}
				if got := f.Peek(key("s")); got != want {
					t.Errorf("the session is then: got %+v, want %+v", got, want)
				}
			})
		})
	}
}

// Section 5, where more than one request is needed. The numbers are the rows'.

func TestProtocol_Row8_APutWithACookieThatNobodyKnowsInsertsWithCookie1(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.set("s", "old", 20, 57))
	f.is("acquire", f.acquire("s"), old(2, false))
}

func TestProtocol_Row15_TheFirstAnswerOfThreeKindsSaysSoAndNoOther(t *testing.T) {
	t.Parallel()
	for _, first := range []request{get(), acquire(), unlock(0), unlock(session.NoCookie), unlock(session.InvalidCookie)} {
		t.Run(first.name, func(t *testing.T) {
			t.Parallel()
			f := open(t, session.Options{})
			f.must(f.setUninitialised("s", "old", 20, 0))
			f.touch("s")
			f.setUninitialised("s", "old", 20, 0)
			f.set("s", "old", 20, 0)
			f.remove("s", session.InvalidCookie)
			if got := first.do(f); !got.First {
				t.Errorf("%s does not tell that the session is new: %v", first.name, got)
			}
			f.unlock("s", 2)
			for _, later := range []request{get(), unlock(0), unlock(session.NoCookie), acquire(), unlock(2), acquire()} {
				if got := later.do(f); got.First {
					t.Errorf("%s tells again that the session is new: %v", later.name, got)
				}
			}
		})
	}
}

func TestProtocol_Row16_AnUninitialisedSessionIsNeverLocked(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.setUninitialised("s", "old", 20, 0))
	f.is("acquire", f.acquire("s"), old(2, true))
	f.must(f.setUninitialised("s", "old", 20, 0)) // does nothing to a session that is there
	if got := f.Peek(key("s")); got.New || !got.Locked {
		t.Errorf("after a second Set uninitialised: got %+v, want it locked, and told", got)
	}
}

func TestProtocol_Row19_PollingKeepsALockedSessionAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 1, 0))
		f.must(f.acquire("s"))
		for n := range 10 {
			time.Sleep(time.Minute - 1)
			if got := f.acquire("s"); got.Outcome != session.Locked {
				t.Fatalf("poll %d: got %v, want Locked", n, got)
			}
		}
	})
}

func TestProtocol_Section8_7_AStolenLockIsNotReleasedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 20, 0))
		f.is("A acquires", f.acquire("s"), old(2, false))
		time.Sleep(110 * time.Second)
		f.is("B finds it locked", f.acquire("s"), answer{Outcome: session.Locked, Cookie: 2, LockAge: 110 * time.Second})
		f.is("B steals", f.unlock("s", 2), done)
		f.is("B acquires", f.acquire("s"), old(3, false))
		f.is("C steals too late", f.unlock("s", 2), answer{Outcome: session.Locked, Cookie: 3})
		f.is("A writes too late", f.set("s", "A's", 20, 2), answer{Outcome: session.Locked, Cookie: 3})
		f.is("B writes", f.set("s", "B's", 20, 3), done)
		f.is("A writes late, to nobody's harm as it seems", f.set("s", "A's", 20, 2), done)
	})
}

func TestCookie_EachLockHasTheNext(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.set("s", "old", 20, 0))
	for want := int32(2); want < 10; want++ {
		if got := f.must(f.acquire("s")).Cookie; got != want {
			t.Fatalf("cookie: got %d, want %d", got, want)
		}
		switch want % 3 { // the count survives each way of unlocking
		case 0:
			f.must(f.unlock("s", want))
		case 1:
			f.must(f.set("s", "old", 20, want))
		case 2:
			f.must(f.set("s", "old", 20+want, want))
		}
	}
}

func TestCookie_BeginsAgainWithANewSession(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	for range 3 {
		f.must(f.set("s", "old", 20, 0))
		f.is("acquire", f.acquire("s"), old(2, false))
		f.must(f.remove("s", 2))
	}
}

func TestCookie_RollsOverTo2(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.must(f.set("s", "old", 20, 0))
	f.SetCookie(key("s"), 1<<31-3)
	for _, want := range []int32{1<<31 - 2, 1<<31 - 1, 2, 3} {
		if got := f.must(f.acquire("s")).Cookie; got != want {
			t.Fatalf("cookie: got %d, want %d", got, want)
		}
		f.must(f.unlock("s", want))
	}
}

func TestStats_CountWhatHappened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		for _, id := range []string{"a", "b", "c", "d"} {
			f.must(f.set(id, "12345", 20, 0))
		}
		f.must(f.set("d", "123", 1, 0))
		f.must(f.acquire("a"))
		f.must(f.acquire("b"))
		f.must(f.remove("b", 2))
		time.Sleep(time.Minute)
		f.is("d", f.get("d"), notFound)

		got := f.Stats()
		got.UsedBytes = 0
		want := session.Stats{Active: 2, Created: 4, TimedOut: 1, Abandoned: 1, Locked: 1, Apps: 1, BodyBytes: 10}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		f.must(f.remove("a", 2))
		if got := f.Stats().Locked; got != 0 {
			t.Errorf("locked: got %d, want 0: the locked one was removed", got)
		}
	})
}
