package session_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

// run lets the store expire sessions until the test ends.
func (f farm) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { f.Run(ctx); close(ended) }()
	f.t.Cleanup(func() { cancel(); <-ended })
}

func TestExpiry_ServedUntilTheInstantAndNotAtIt(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		for _, minutes := range []int32{1, 2, 20, 1440, session.MaxTimeout} {
			t.Run(fmt.Sprintf("%d minutes, Run is running: %v", minutes, running), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					if running {
						minutes = min(minutes, 30) // a day of seconds is long even in virtual time
					}
					f := open(t, session.Options{})
					if running {
						f.run()
					}
					window := time.Duration(minutes) * time.Minute
					time.Sleep(123456789) // instants that are not whole seconds
					f.must(f.set("read", "x", minutes, 0))
					f.must(f.set("left alone", "x", minutes, 0))
					time.Sleep(window - 1)
					f.is("just before", f.get("read"), answer{Timeout: minutes, Body: "x"})
					time.Sleep(time.Nanosecond)
					f.is("at the instant", f.get("left alone"), notFound)
					time.Sleep(window - 2)
					f.is("just before, again", f.touch("read"), done)
					time.Sleep(window)
					f.is("at the instant", f.touch("read"), notFound)
				})
			})
		}
	}
}

func TestExpiry_EveryRequestThatFindsTheSessionPutsItOff(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		locked  bool
		request request
		want    session.Outcome
	}{
		{false, get(), session.Done},
		{false, acquire(), session.Done},
		{false, touch(), session.Done},
		{false, unlock(0), session.Done},
		{false, unlock(session.NoCookie), session.BadCookie},
		{false, set(20, 0), session.Done},
		{false, set(20, session.InvalidCookie), session.BadCookie},
		{false, setUninitialised(20, 0), session.Done},
		{false, remove(session.InvalidCookie), session.BadCookie},
		{true, get(), session.Locked},
		{true, acquire(), session.Locked},
		{true, touch(), session.Done},
		{true, unlock(3), session.Locked},
		{true, unlock(2), session.Done},
		{true, set(20, 3), session.Locked},
		{true, set(20, 2), session.Done},
		{true, setUninitialised(20, 0), session.Done},
		{true, remove(3), session.Locked},
	} {
		t.Run(fmt.Sprintf("%s answered %s", row.request.name, outcomes[row.want]), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, session.Options{})
				f.run()
				f.must(f.set("s", "old", 20, 0))
				if row.locked {
					f.must(f.acquire("s"))
				}
				time.Sleep(20*time.Minute - 1)
				if got := row.request.do(f); got.Outcome != row.want {
					t.Fatalf("got %v, want %s", got, outcomes[row.want])
				}
				time.Sleep(20*time.Minute - 1)
				if !f.Peek(key("s")).Exists {
					t.Fatal("it expired as if it had not been touched")
				}
				time.Sleep(time.Nanosecond)
				f.is("at the instant", f.touch("s"), notFound)
			})
		})
	}
}

func TestExpiry_AShorterTimeoutCountsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		f.must(f.set("s", "old", session.MaxTimeout, 0))
		time.Sleep(3 * time.Hour)
		f.must(f.set("s", "new", 1, 0))
		time.Sleep(time.Minute + 5*time.Second)
		if got := f.Stats(); got.Active != 0 || got.UsedBytes != 0 {
			t.Errorf("5 s after it expired: got %+v, want nothing held", got)
		}
	})
}

func TestExpiry_ALongerTimeoutCountsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		f.must(f.set("s", "old", 1, 0))
		f.must(f.set("s", "new", 60, 0))
		time.Sleep(time.Hour - 1)
		f.is("just before", f.get("s"), answer{Timeout: 60, Body: "new"})
	})
}

func TestExpiry_Timeout0IsKeptAndLivesForAYear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.must(f.set("s", "old", 0, 0))
		time.Sleep(365*24*time.Hour - 1)
		f.is("after a year but an instant", f.get("s"), answer{Timeout: 0, Body: "old"})
		time.Sleep(365 * 24 * time.Hour)
		f.is("after another year", f.get("s"), notFound)
	})
}

func TestExpiry_ALockDoesNotKeepASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		f.must(f.set("s", "old", 1, 0))
		f.must(f.acquire("s"))
		time.Sleep(time.Minute + 5*time.Second)
		if got := f.Stats(); got.Active != 0 || got.Locked != 0 || got.TimedOut != 1 {
			t.Errorf("got %+v, want nothing held, one timed out", got)
		}
	})
}

func TestExpiry_ASessionInUseIsLeftUntilItIsSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		f.must(f.set("s", "old", 1, 0))
		r := f.Acquire(key("s"))
		time.Sleep(time.Hour)
		if got := string(r.Body()); got != "old" {
			t.Errorf("the body that is being written: got %q, want %q", got, "old")
		}
		f.Settle(key("s"), &r, true)
		time.Sleep(5 * time.Second)
		if got := f.Stats().Active; got != 0 {
			t.Errorf("5 s after it was settled: %d sessions, want 0", got)
		}
	})
}

func TestExpiry_ReturnsAllMemoryWithin5Seconds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{20, 400, 10_000} {
		t.Run(fmt.Sprintf("%d sessions", n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, session.Options{})
				f.run()
				f.must(f.set("stays", "x", 60, 0))
				before, live := f.Stats(), f.HeapLive()
				time.Sleep(700 * time.Millisecond)
				began := time.Now()
				for i := range n {
					f.must(f.set(fmt.Sprint(i), text(i, 1+i%3000), 1+int32(i%20), 0))
				}
				for minute := range 20 { // a twentieth of them expires each minute
					instant := began.Add(time.Duration(minute+1) * time.Minute)
					time.Sleep(time.Until(instant) - 1)
					if got, want := f.Stats().Active, int64(1+n-minute*n/20); got != want {
						t.Errorf("just before minute %d: %d sessions, want %d", minute+1, got, want)
					}
					time.Sleep(5 * time.Second)
					if got, want := f.Stats().Active, int64(1+n-(minute+1)*n/20); got != want {
						t.Errorf("5 s after minute %d: %d sessions, want %d", minute+1, got, want)
					}
				}
				got := f.Stats()
				if got.TimedOut != int64(n) || got.UsedBytes != before.UsedBytes || got.BodyBytes != before.BodyBytes || f.HeapLive() != live {
					t.Errorf("5 s after all but one have expired: got %+v and %d live bytes, want what was before, %+v and %d", got, f.HeapLive(), before, live)
				}
				if got := f.HeapWaste(); got > 64<<10 {
					t.Errorf("5 s after all but one have expired: %d bytes are held for nothing, want at most a span", got)
				}
			})
		})
	}
}

// The work is proportional to what expires or was used, not to what is stored.

func TestExpiry_LooksAtASessionOfAYearAFewTimesOnly(t *testing.T) {
	t.Parallel()
	days := 365
	if raceDetector {
		days = 20
	}
	f := open(t, session.Options{})
	const n = 3200
	ids := f.ids(n, 1)
	for _, id := range ids {
		f.must(f.set(id, "x", int32(days)*24*60, 0))
	}
	visits := 0
	for range days {
		f.Leap(24 * time.Hour)
		visits += f.Visits(key(ids[0]))
	}
	if got := f.Stats().Active; got != 0 {
		t.Errorf("after a year: %d sessions, want 0", got)
	}
	if least, most := n, 5*n; visits < least || visits > most {
		t.Errorf("%d looks at %d sessions in a year, want %d to %d: one for each level of the wheel", visits, n, least, most)
	}
}

func TestExpiry_LooksAtATouchedSessionAboutOnceInATimeout(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	const n, timeout, hours = 320, 20, 10
	ids := f.ids(n, 1)
	for _, id := range ids {
		f.must(f.set(id, "x", timeout, 0))
	}
	visits := 0
	for second := range hours * 3600 {
		f.Leap(time.Second)
		visits += f.Visits(key(ids[0]))
		if second%60 == 0 {
			for _, id := range ids {
				f.must(f.touch(id))
			}
		}
	}
	periods := hours * 3600 / (timeout*60 - 2*64)
	if least, most := n*hours*60/timeout/2, n*(periods+1); visits < least || visits > most {
		t.Errorf("%d looks at %d sessions in %d timeouts, want %d to %d", visits, n, hours*60/timeout, least, most)
	}
}

func TestExpiry_AfterAPauseOfTheProcessNothingIsForgotten(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	for i := range 2000 {
		f.must(f.set(fmt.Sprint(i), "x", 1+int32(i%100), 0))
	}
	f.Leap(50*time.Minute + time.Second)
	f.Expire()
	if got := f.Stats(); got.Active != 1000 || got.TimedOut != 1000 {
		t.Errorf("after 50 minutes: got %+v, want half the sessions", got)
	}
	f.Leap(50 * time.Minute)
	f.Expire()
	if got := f.Stats(); got.Active != 0 || got.UsedBytes != 0 {
		t.Errorf("after 100 minutes: got %+v, want none", got)
	}
}
