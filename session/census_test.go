package session_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"statemesh/session"
)

// appKey is a session of one of many applications.
func appKey(app int, id string) session.Key {
	return session.KeyOf(fmt.Appendf(nil, "/LM/W3SVC/%d/ROOT(hash)/%s", app, id))
}

func appPrefix(app int) string { return fmt.Sprintf("/LM/W3SVC/%d/ROOT(hash)/", app) }

func (f farm) setIn(app int, id, body string) {
	f.t.Helper()
	r := f.Set(appKey(app, id), session.Change{Body: f.body(body), Timeout: 20, Grant: grant(1)})
	f.must(answerOf(&r))
}

// counted are the figures of a census that is made now.
func (f farm) counted() map[string]session.AppStats {
	f.Count()
	all := map[string]session.AppStats{}
	for _, a := range f.Apps() {
		all[a.Prefix] = a
	}
	return all
}

// near says whether a size is as right as was promised.
func near(got, want int64) bool {
	return math.Abs(float64(got-want)) <= max(5, 0.03*float64(want))
}

// censusModel is what an application has.
type censusModel struct {
	sizes  map[string]int
	locked map[string]bool
}

func (m *censusModel) disagrees(got session.AppStats) string {
	var all []int64
	var bytes int64
	locked := 0
	for id, size := range m.sizes {
		all = append(all, int64(size))
		bytes += int64(size)
		if m.locked[id] {
			locked++
		}
	}
	if len(all) == 0 {
		if got != (session.AppStats{}) {
			return fmt.Sprintf("got %+v, want nothing", got)
		}
		return ""
	}
	slices.Sort(all)
	last := len(all) - 1
	median, p99, largest := all[int(0.5*float64(last))], all[int(0.99*float64(last))], all[last]
	if got.Sessions != int64(len(all)) || got.Locked != int64(locked) || !near(got.BodyBytes, bytes) ||
		!near(got.SizeMedian, median) || !near(got.SizeP99, p99) || !near(got.SizeLargest, largest) {
		return fmt.Sprintf("got %+v, want %d sessions, %d locked, %d bytes, sizes %d, %d, %d", got, len(all), locked, bytes, median, p99, largest)
	}
	return ""
}

func TestCensus_CountsWhatIsThere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		st, err := session.New(session.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer st.Close()
		f := farm{t, st}
		const apps = 3
		var models [apps]censusModel
		for i := range models {
			models[i] = censusModel{sizes: map[string]int{}, locked: map[string]bool{}}
		}
		for range rapid.IntRange(0, 250).Draw(rt, "steps") {
			app := rapid.IntRange(0, apps-1).Draw(rt, "app")
			id := fmt.Sprint(rapid.IntRange(0, 150).Draw(rt, "id"))
			m, k := &models[app], appKey(app, id)
			switch rapid.IntRange(0, 9).Draw(rt, "op") {
			case 0:
				st.Remove(k, session.NoCookie)
				if !m.locked[id] {
					delete(m.sizes, id)
				}
			case 1:
				r := st.Acquire(k)
				st.Settle(k, &r, true)
				if m.sizes[id] > 0 {
					m.locked[id] = true
				}
			case 2:
				if r := st.Acquire(k); r.Outcome == session.Locked { // whoever it is gives it back
					st.Unlock(k, r.Cookie)
					delete(m.locked, id)
				} else {
					st.Settle(k, &r, false)
				}
			default:
				size := int(math.Exp(rapid.Float64Range(0, math.Log(300_000)).Draw(rt, "size")))
				if m.locked[id] {
					break
				}
				f.setIn(app, id, text(0, size))
				m.sizes[id] = size
			}
		}
		all := f.counted()
		for app := range models {
			if wrong := models[app].disagrees(all[appPrefix(app)]); wrong != "" {
				rt.Fatalf("application %d: %s", app, wrong)
			}
		}
	})
}

// Many sessions: of most, the size is a guess.
func TestCensus_GuessesSizesWell(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]func(i int) int{
		"all alike":      func(int) int { return 256 },
		"the smallest":   func(int) int { return 7 },
		"of every size":  func(i int) int { return i },
		"of two sizes":   func(i int) int { return 300 + i%5/4*5000 },
		"a few are huge": func(i int) int { return 100 + i%500/499*200_000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, session.Options{})
			m := censusModel{sizes: map[string]int{}}
			for i := 1; i <= 5_000; i++ {
				m.sizes[fmt.Sprint(i)] = size(i)
				f.setIn(1, fmt.Sprint(i), text(0, size(i)))
			}
			got := f.counted()[appPrefix(1)]
			if wrong := m.disagrees(got); wrong != "" {
				t.Error(wrong)
			}
			if exact := float64(f.Stats().BodyBytes); math.Abs(float64(got.BodyBytes)-exact) > 0.002*exact {
				t.Errorf("got %d bytes in all, want %v, give or take 0.2 %%", got.BodyBytes, exact)
			}
		})
	}
}

func TestCensus_MissesNothingWhileOthersComeAndGo(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	const stay, others = 10_000, 10_000
	for i := range stay {
		f.setIn(1, fmt.Sprint("stays", i), "x")
		f.setIn(2, fmt.Sprint("goes", i), "x")
	}
	c, gone := f.NewCensus(), 0
	for !c.Step() {
		for range 100 {
			if gone < others {
				f.Remove(appKey(2, fmt.Sprint("goes", gone)), 0)
				f.setIn(2, fmt.Sprint("comes", gone), "x")
				gone++
			}
		}
	}
	if gone < others/2 {
		t.Errorf("only %d have gone meanwhile", gone)
	}
	c.Publish()
	for _, a := range f.Apps() {
		if a.Prefix == appPrefix(1) && (a.Sessions < stay || a.Sessions > stay+stay/500) { // some have been seen twice
			t.Errorf("%d were seen, want %d or hardly more", a.Sessions, stay)
		}
	}
}

func TestCensus_AnApplicationsNumberBecomesAnothers(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	ids := f.ids(1, 1) // in the first shard that is looked at
	f.setIn(1, ids[0], "x")
	c := f.NewCensus()
	c.Step()
	f.Remove(appKey(1, ids[0]), 0)
	f.setIn(2, "another", "xyz")
	for !c.Step() {
	}
	c.Publish()
	for _, a := range f.Apps() {
		if a.Prefix == appPrefix(1) || a.Sessions != 1 {
			t.Errorf("got %+v, want nothing of the application that has gone", a)
		}
	}
}

func TestCensus_ApplicationsBeyondAThousandAreOne(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	for app := range 1200 {
		f.setIn(app, "s", "x")
		f.setIn(app, "t", "x")
	}
	all := f.counted()
	if len(all) > 1001 || all[""].Sessions < 2*200 {
		t.Errorf("%d applications were counted, and %d sessions together", len(all), all[""].Sessions)
	}
	if got := all[appPrefix(0)].Sessions; got != 2 {
		t.Errorf("one that came early has %d sessions, want 2", got)
	}
	var sum int64
	for _, a := range all {
		sum += a.Sessions
	}
	if sum != 2400 {
		t.Errorf("%d sessions were counted, want 2400", sum)
	}
}

func TestCensus_CopiesAreNotCounted(t *testing.T) {
	t.Parallel()
	m := join(t, session.Options{})
	for i := range 100 {
		m.make(fmt.Sprint(i), 1)
	}
	if got := m.counted()[app].Sessions; got != 100 {
		t.Errorf("%d sessions were counted, want 100", got)
	}
	m.Fence(2)
	if got := m.counted(); len(got) != 0 {
		t.Errorf("after a fence %+v was counted, want nothing", got)
	}
	for i := range 40 {
		m.Adopt(whole(fmt.Sprint(i)), 2)
	}
	if got := m.counted()[app].Sessions; got != 40 {
		t.Errorf("%d sessions were counted, want 40", got)
	}
}

func TestCensus_IsMadeEverySecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		for i := range 10 {
			f.setIn(i, "s", "x")
			time.Sleep(1100 * time.Millisecond)
			if got := len(f.Apps()); got != i+1 {
				t.Fatalf("after %d seconds, %d applications are known, want %d", i+1, got, i+1)
			}
		}
	})
}

func TestCensus_GoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	n := 200_000 // more than a slice of time is enough for
	if raceDetector {
		n = 30_000
	}
	for i := range n {
		f.setIn(i%7, fmt.Sprint(i), "x")
	}
	if got := f.KeepCounting(); got < 2 {
		t.Errorf("it was done in %d slices of time", got)
	}
	var sum int64
	for _, a := range f.Apps() {
		sum += a.Sessions
	}
	if sum != int64(n) {
		t.Errorf("%d sessions were counted, want %d", sum, n)
	}
}

// What Run keeps from one census to the next is not counted twice.
func TestCensus_BeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		for i := range 70 {
			f.setIn(1, fmt.Sprint(i), text(i, 1000))
			f.setIn(2, fmt.Sprint(i), "x")
		}
		time.Sleep(5 * time.Second)
		for i := range 69 {
			f.Remove(appKey(1, fmt.Sprint(i)), 0)
		}
		for i := range 70 {
			f.Remove(appKey(2, fmt.Sprint(i)), 0)
		}
		time.Sleep(5 * time.Second)
		want := session.AppStats{Prefix: appPrefix(1), Sessions: 1, BodyBytes: 1000, SizeMedian: 1000, SizeP99: 1000, SizeLargest: 1000}
		if got := f.Apps(); len(got) != 1 || got[0] != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestOldestLocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		const n = 100
		for i := range n {
			f.must(f.set(id(i), "x", 60, 0))
		}
		cookie := map[int]int32{}
		for i := range n { // those with the lowest numbers first
			cookie[i] = f.must(f.acquire(id(i))).Cookie
			time.Sleep(time.Second)
		}
		f.Count()
		if got := f.OldestLocks(110*time.Second, 5); len(got) != 0 {
			t.Errorf("after %d seconds, locks are said to be older than 110: %v", n, got)
		}
		time.Sleep(15 * time.Second) // the first is 115 s old
		want := func(what string, max int, ids ...int) {
			t.Helper()
			var all []session.HeldLock
			for _, i := range ids {
				all = append(all, session.HeldLock{Session: key(id(i)).Redacted(), App: app, Age: time.Duration(115-i) * time.Second, Cookie: cookie[i]})
			}
			if got := f.OldestLocks(110*time.Second, max); !slices.Equal(got, all) {
				t.Errorf("%s: got %v, want %v", what, got, all)
			}
		}
		want("all", 32, 0, 1, 2, 3, 4, 5)
		want("no more than three", 3, 0, 1, 2)
		f.must(f.unlock(id(0), cookie[0]))
		f.must(f.remove(id(2), cookie[2]))
		f.must(f.unlock(id(4), cookie[4]))
		f.must(f.acquire(id(4)))
		want("but for what has been given back since", 32, 1, 3, 5)
		for _, l := range f.OldestLocks(0, 100) {
			if strings.Contains(fmt.Sprint(l), id(1)) {
				t.Errorf("a session's id is in %+v", l)
			}
		}
		if got := len(f.OldestLocks(0, 100)); got != 32-3 {
			t.Errorf("%d locks are remembered, want %d", got, 32-3)
		}
	})
}

func TestOldestLocks_OfCopiesAreNobodys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := join(t, session.Options{})
		m.make("s", 1)
		m.must(m.acquire("s"))
		time.Sleep(2 * time.Minute)
		m.Count()
		if got := m.OldestLocks(time.Minute, 1); len(got) != 1 {
			t.Errorf("got %v, want a lock", got)
		}
		m.Fence(2)
		if got := m.OldestLocks(time.Minute, 1); len(got) != 0 {
			t.Errorf("after a fence, got %v, want none", got)
		}
	})
}
