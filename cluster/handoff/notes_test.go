package handoff

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The notes, against a map. Hashes are short, so that they collide.
func TestNotes_AreThoseOfAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ns := newNotes(Options{NoteLife: 60, NoteFloor: 10, MaxNotes: 1 << 20})
		ns.mask = rapid.SampledFrom([]uint64{3, 31, ^uint64(0)}).Draw(t, "hashes")
		ns.first = pageNotes + uint64(rapid.IntRange(0, pageNotes-1).Draw(t, "first"))
		ns.last = ns.first
		ns.pages = []*notePage{{}}
		if ns.first == pageNotes {
			ns.pages = nil
		}
		type fact struct {
			note
			at time.Duration
		}
		facts := map[Key]fact{}
		now := time.Duration(0)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 3).Draw(t, "time"))
			k := Key(fmt.Sprint("k", rapid.IntRange(0, 30).Draw(t, "key")))
			x := Transfer{From: NodeID(fmt.Sprint("n", rapid.IntRange(0, 2).Draw(t, "node"))), N: uint64(rapid.IntRange(1, 4).Draw(t, "n"))}
			f := facts[k]
			f.at = now
			if rapid.Bool().Draw(t, "refuse") {
				ns.refuse(now, k, x)
				if f.refused[0] != x {
					f.refused = [2]Transfer{x, f.refused[0]}
				}
			} else {
				kind := noteKind(rapid.IntRange(1, 3).Draw(t, "kind"))
				e := Epoch(rapid.IntRange(1, 5).Draw(t, "epoch"))
				ns.set(now, k, kind, e, x.From, x)
				if e >= f.epoch {
					f.kind, f.epoch, f.to, f.transfer = kind, e, x.From, x
				}
			}
			facts[k] = f
			ns.expire(now)
			for k, f := range facts {
				if f.at+60 <= now {
					delete(facts, k)
				}
			}
			for i := range 31 {
				k := Key(fmt.Sprint("k", i))
				if got := ns.of(k); got != facts[k].note {
					t.Fatalf("%s: got %+v, want %+v", k, got, facts[k].note)
				}
			}
			if ns.live != len(facts) {
				t.Fatalf("%d notes, want %d", ns.live, len(facts))
			}
		}
		ns.expire(now + 60)
		if ns.live+ns.index.len()+len(ns.refused) != 0 || len(ns.pages) > 1 {
			t.Fatalf("left behind: %d, %d, %d, %d pages", ns.live, ns.index.len(), len(ns.refused), len(ns.pages))
		}
	})
}

func TestNotes_TakeNoMoreRoomThanTheyNeed(t *testing.T) {
	ns := newNotes(Options{NoteLife: time.Minute, NoteFloor: 10 * time.Second, MaxNotes: 1 << 20})
	for i := range 10 * pageNotes {
		ns.set(time.Duration(i), Key(fmt.Sprint(i)), went, 1, "n", Transfer{From: "m", N: uint64(i)})
		ns.set(time.Duration(i), Key(fmt.Sprint(i-100)), went, 2, "n", Transfer{From: "m", N: uint64(i)})
		ns.expire(time.Duration(i) + time.Minute - 2000)
	}
	if len(ns.pages) > 6 {
		t.Errorf("%d pages for %d notes", len(ns.pages), ns.live)
	}
}

// All of many notes are found, and the index shrinks as they go.
func TestNotes_IndexGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	const n = 50 * pageNotes
	ns := newNotes(Options{NoteLife: time.Minute, NoteFloor: 10 * time.Second, MaxNotes: 1 << 20})
	ns.first = 1<<32 - n/2 // the lower halves of their numbers begin anew on the way
	ns.last = ns.first
	key := func(i int) Key { return Key(fmt.Sprint("k", i)) }
	for i := range n {
		ns.set(time.Duration(i), key(i), went, Epoch(i+1), "n", Transfer{From: "m", N: uint64(i)})
	}
	for gone := 0; gone <= n; gone += n / 5 {
		ns.expire(time.Minute + time.Duration(gone-1))
		for i := range n {
			if got := ns.of(key(i)); (got.epoch == Epoch(i+1)) != (i >= gone) {
				t.Fatalf("%d of %d are gone: %d is %+v", gone, n, i, got)
			}
		}
		room := 0
		for i := range ns.index.parts {
			room += len(ns.index.parts[i].entries)
		}
		if got, most := room, 8*(n-gone)+minIndex<<indexBits; ns.index.len() != n-gone || got > most {
			t.Errorf("%d of %d are gone: %d entries, and room for %d, want %d and at most %d", gone, n, ns.index.len(), got, n-gone, most)
		}
	}
}
