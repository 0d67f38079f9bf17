package farm

import (
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cmd/internal/bench"
)

// A session is lost with its node and is there again, as it was, at the moment when its user makes it anew: an Insert leaves alone what is there, and
// is told the same.
func TestJudge_AnInsertMayHaveMetWhatCameBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then []uint32 // what is read, one after the other
		last faultKind
	}{
		"it made it anew":           {[]uint32{3, 3}, ""},
		"it was back":               {[]uint32{2, 2}, ""},
		"made anew, and lost again": {[]uint32{3, 2}, LostUpdate},
		"back, and lost again":      {[]uint32{2, 3}, WrongBody},
		"neither":                   {[]uint32{1}, LostUpdate},
		"nothing":                   {[]uint32{absent}, FalseNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &history{acked: 2, newest: 3, holders: map[*user]bool{}, stolen: map[int32]bool{}, at: map[string]time.Time{"b": time.Now()}, flying: map[string]int{}}
			h.doom([]string{"b"}, false)
			ask := func(verb bench.Verb, version uint32, a bench.Answer) verdict {
				return h.send(nil, "a", bench.Request{Verb: verb, Version: version}).answered(a)
			}
			if v := ask(bench.Get, 0, bench.Answer{Status: 404}); !v.lost {
				t.Fatalf("404: %+v, want it lost", v)
			}
			if v := ask(bench.Insert, 3, bench.Answer{Status: 200}); v.fault != nil {
				t.Fatalf("insert: %v", v.fault)
			}
			for i, version := range c.then {
				answer := bench.Answer{Status: 200, Version: version}
				if version == absent {
					answer.Status = 404
				}
				got := faultKind("")
				v := ask(bench.Get, 0, answer)
				if v.fault != nil {
					got = v.fault.kind
				}
				want := faultKind("")
				if i == len(c.then)-1 {
					want = c.last
				}
				if got != want || v.late {
					t.Errorf("read %d: %q, late %v; want %q", version, got, v.late, want)
				}
			}
		})
	}
}

// written is a session of version 1, last heard of at a node.
func written(node string) *history {
	h := &history{newest: 1, holders: map[*user]bool{}, stolen: map[int32]bool{}, at: map[string]time.Time{}, flying: map[string]int{}}
	h.send(&user{}, node, bench.Request{Verb: bench.Set, Version: 1}).answered(bench.Answer{Status: 200, Cookie: -1})
	return h
}

// A node that is being stopped may have fetched the session for a request that it does not answer any more.
func TestJudge_GoneWithANodeThatWasAskedForIt(t *testing.T) {
	t.Parallel()
	for node, lost := range map[string]bool{"b": true, "c": false} {
		synctest.Test(t, func(t *testing.T) {
			h := written("a")
			h.doom([]string{"b"}, false)
			time.Sleep(time.Millisecond)
			h.send(&user{}, node, bench.Request{Verb: bench.Get}) // and no answer
			v := h.send(&user{}, "a", bench.Request{Verb: bench.Get}).answered(bench.Answer{Status: 404})
			if v.lost != lost || (v.fault == nil) != lost {
				t.Errorf("asked for through %s: %+v", node, v)
			}
		})
	}
}

// On both sides of a cut there was an owner, and it takes a moment until the one knows of the other; but no longer.
func TestJudge_RefusedWhileTwoOwnersMeet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cut   bool
		after time.Duration
		right bool
	}{{true, settling / 2, true}, {true, settling * 2, false}, {false, settling / 2, false}} {
		synctest.Test(t, func(t *testing.T) {
			h, u := written("b"), &user{}
			h.doom([]string{"b"}, tt.cut)
			time.Sleep(time.Millisecond)
			h.send(u, "a", bench.Request{Verb: bench.GetExclusive}).answered(bench.Answer{Status: 200, Version: 1, Cookie: 2})
			time.Sleep(tt.after)
			v := h.send(u, "c", bench.Request{Verb: bench.Set, Version: 2, Cookie: 2}).answered(bench.Answer{Status: 423, Cookie: 5})
			if (v.fault == nil) != tt.right {
				t.Errorf("%+v: %+v", tt, v)
			}
		})
	}
}
