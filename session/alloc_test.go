//go:build !race

package session_test // the race detector makes sync.Pool forget

import (
	"testing"
	"time"

	"statemesh/session"
)

// Not parallel: AllocsPerRun counts what anybody allocates.
func TestAllocs_NoneOnTheSteadyPath(t *testing.T) {
	f := open(t, session.Options{})
	for i := range 100 {
		f.must(f.set(id(i), text(i, 256), 20, 0))
	}
	t.Run("alone", func(t *testing.T) { noneOnTheSteadyPath(t, f) })
	m := join(t, session.Options{LockWait: time.Second, MaxHeldTotal: 1})
	for i := range 100 {
		r := m.Set(key(id(i)), session.Change{Body: m.body(text(i, 256)), Timeout: 20, Grant: grant(1)})
		m.must(answerOf(&r))
	}
	// Somebody is in line, so that nobody else may be.
	m.must(m.acquire(id(3)))
	m.Leave(whole(id(3)), 1, session.Terms{Wait: time.Hour})
	defer m.Recall(whole(id(3)), 1)
	t.Run("in a cluster", func(t *testing.T) { noneOnTheSteadyPath(t, m.farm) })
}

func noneOnTheSteadyPath(t *testing.T, f farm) {
	short, long, none := key(id(2)), key(id(1)), key("none") // the second one's id is kept outside its entry
	set := func(k session.Key, size int, cookie int32) {
		b, err := f.NewBody(size)
		if err != nil {
			t.Fatal(err)
		}
		b.Filled(len(b.Next()))
		if r := f.Set(k, session.Change{Body: b, Timeout: 20, Cookie: cookie}); r.Outcome != session.Done {
			t.Fatalf("set: got %v, want Done", answerOf(&r))
		}
	}
	try := f.Try()
	for _, k := range []session.Key{short, long} {
		for name, operation := range map[string]func(){
			"Get": func() {
				r := f.Get(k)
				f.Settle(k, &r, true)
			},
			"Get of none": func() {
				r := f.Get(none)
				f.Settle(k, &r, true)
			},
			"Acquire, Unlock": func() {
				r := f.Acquire(k)
				f.Settle(k, &r, true)
				f.Unlock(k, r.Cookie)
			},
			"Acquire, taken back": func() {
				r := f.Acquire(k)
				f.Settle(k, &r, false)
			},
			"Acquire of a locked one": func() {
				first := f.Acquire(k)
				f.Settle(k, &first, true)
				r := f.Acquire(k)
				f.Settle(k, &r, true)
				f.Unlock(k, first.Cookie)
			},
			"Acquire, Set": func() {
				r := f.Acquire(k)
				f.Settle(k, &r, true)
				set(k, 256, r.Cookie)
			},
			"Set": func() { set(k, 256, 0) },
			"Set, with another timeout": func() {
				b, _ := f.NewBody(256)
				b.Filled(len(b.Next()))
				f.Set(k, session.Change{Body: b, Timeout: 30})
				set(k, 256, 0)
			},
			"Touch": func() { f.Touch(k) },
			"Try": func() {
				r := try.Acquire(k)
				try.Touch(k)
				f.Settle(k, &r, true)
				try.Unlock(k, r.Cookie)
			},
			"Stats": func() { f.Stats() },
		} {
			if got := testing.AllocsPerRun(1000, operation); got != 0 {
				t.Errorf("%s: %v allocations, want none", name, got)
			}
		}
	}
}
