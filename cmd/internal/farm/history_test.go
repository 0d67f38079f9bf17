package farm

import (
	"testing"
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
			h.doom([]string{"b"})
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
