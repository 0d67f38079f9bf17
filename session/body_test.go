package session_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"statemesh/session"
)

const span = 64 << 10 // what memory is taken by

func TestBody_ArrivesInPieces(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 7, 8, 9, 255, 256, 504, 505, 4096, 65_528, 131_063, 131_064, 131_065, 131_072, 300_000, 1 << 20, 5<<20 + 1} {
		for _, piece := range []int{1 << 30, 1 + size/3, 1000} {
			t.Run(fmt.Sprintf("%d bytes, %d at a time", size, piece), func(t *testing.T) {
				t.Parallel()
				f := open(t, session.Options{})
				want := text(size, size)
				b, err := f.NewBody(size)
				if err != nil {
					t.Fatal(err)
				}
				for rest := want; rest != ""; {
					if b.Full() {
						t.Fatalf("full with %d bytes to come", len(rest))
					}
					next := b.Next()
					if len(next) == 0 || len(next) > len(rest) {
						t.Fatalf("next: got %d bytes, with %d to come", len(next), len(rest))
					}
					n := copy(next[:min(piece, len(next))], rest)
					b.Filled(n)
					rest = rest[n:]
				}
				if !b.Full() || len(b.Next()) != 0 {
					t.Errorf("in the end: full %v, next %d bytes; want full, none", b.Full(), len(b.Next()))
				}
				if got := b.Size(); got < size || got > size+size/32+8+8 && got > (size+8+span-1)/span*span {
					t.Errorf("it takes %d bytes in the store, want little more than %d", got, size)
				}
				f.Set(key("s"), session.Change{Body: b, Timeout: 20})
				f.is("get", f.get("s"), answer{Timeout: 20, Body: want})
				if got := f.Stats().BodyBytes; got != int64(size) {
					t.Errorf("body bytes: got %d, want %d", got, size)
				}
			})
		}
	}
}

// A web server that claims much must send it.
func TestBody_CostsNoMoreThanTwiceWhatHasArrived(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	const size = 16 << 20
	b, err := f.NewBody(size)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.HeapLive(); got > span {
		t.Errorf("claimed: %d bytes are taken, want at most %d", got, span)
	}
	steps := 0
	for arrived := 0; arrived < size; steps++ {
		next := b.Next()
		if got := f.HeapLive(); got > int64(2*arrived)+span {
			t.Fatalf("%d bytes have arrived, %d are taken, want at most twice as much and a span", arrived, got)
		}
		for i := range next {
			next[i] = byte(arrived + i)
		}
		arrived += len(next)
		b.Filled(len(next))
	}
	if steps > 10 {
		t.Errorf("it took %d steps, want few", steps)
	}
	f.Set(key("s"), session.Change{Body: b, Timeout: 20})
	r := f.Get(key("s"))
	for i, c := range r.Body() {
		if c != byte(i) {
			t.Fatalf("byte %d: got %d, want %d", i, c, byte(i))
		}
	}
	f.Settle(key("s"), &r, true)
	f.must(f.set("s", "small", 20, 0))
	if got := f.HeapLive(); got > 100 {
		t.Errorf("after it was replaced by a small one: %d bytes are taken", got)
	}
}

func TestBody_DiscardedHalfWayLeavesNothing(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	for _, size := range []int{1, 1000, 100_000, 1 << 20} {
		b, err := f.NewBody(size)
		if err != nil {
			t.Fatal(err)
		}
		b.Filled(len(b.Next()) / 2)
		b.Discard()
		b.Discard() // twice does nothing
		if got := f.HeapLive(); got != 0 {
			t.Errorf("%d bytes: %d are still taken", size, got)
		}
	}
}

func TestBody_IsTakenOverByEverySet(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{MaxMemory: 100_000, MaxWaiting: 1, ChangeWait: 1, ReadWait: 1})
	f.must(f.set("s", "old", 20, 0))
	f.must(f.set("taken", "old", 20, 0))
	f.must(f.acquire("s"))
	defer f.take("taken")()
	live := f.HeapLive()
	for _, row := range []struct {
		id     string
		change session.Change
		want   session.Outcome
	}{
		{"s", session.Change{Timeout: 20, Cookie: 1}, session.Locked},
		{"s", session.Change{Timeout: 20, Cookie: session.InvalidCookie}, session.BadCookie},
		{"s", session.Change{Timeout: 20, Uninitialised: true}, session.Done},
		{"taken", session.Change{Timeout: 20}, session.Busy},
		{"new", session.Change{Timeout: 20}, session.Full},
	} {
		row.change.Body = f.body(text(1, 101_000))
		if got := f.Set(key(row.id), row.change); got.Outcome != row.want {
			t.Errorf("got %v, want %s", answerOf(&got), outcomes[row.want])
		}
		if got := f.HeapLive(); got != live {
			t.Errorf("after %s: %d bytes are taken, want %d as before", outcomes[row.want], got, live)
		}
	}
}

func TestBody_NoSuchSize(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	for _, n := range []int{-1, math.MinInt, 1 << 32, math.MaxInt} {
		if b, err := f.NewBody(n); !errors.Is(err, session.ErrNoMemory) {
			t.Errorf("%d bytes: got %v, %v, want an error", n, b, err)
		}
	}
}

// An answer is written straight from the stored bytes, so these must stay as they are whatever happens to the session meanwhile.
func TestBody_StaysWhileAnAnswerIsWrittenFromIt(t *testing.T) {
	t.Parallel()
	scribble := func(f farm, size int) { // into all memory that is free for it
		var all []*session.Body
		for range 40 {
			all = append(all, f.body(text(99, size)))
		}
		for _, b := range all {
			b.Discard()
		}
	}
	for _, size := range []int{1, 250, 60_000, 131_064, 131_065, 400_000} {
		for name, change := range map[string]func(farm){
			"replaced":  func(f farm) { f.must(f.set("s", text(2, size), 20, 0)) },
			"resized":   func(f farm) { f.must(f.set("s", text(2, size+size/2+1), 20, 0)) },
			"removed":   func(f farm) { f.must(f.remove("s", 0)) },
			"made anew": func(f farm) { f.must(f.remove("s", 0)); f.must(f.set("s", text(2, size), 20, 0)) },
			"expired":   func(f farm) { f.Leap(time.Hour); f.Expire() },
			"expired, and that was noticed by a request": func(f farm) { f.Leap(time.Hour); f.touch("s") },
			"compacted":           func(f farm) { f.Compact() },
			"compacted, replaced": func(f farm) { f.Compact(); f.must(f.set("s", text(2, size), 20, 0)); f.Compact() },
		} {
			t.Run(fmt.Sprintf("%d bytes, %s", size, name), func(t *testing.T) {
				t.Parallel()
				f := open(t, session.Options{})
				// Neighbours, most of which go: so the body lies in a sparse slab, which compaction empties.
				for i := range 40 {
					f.must(f.set(fmt.Sprint(i), text(i, size), 20, 0))
				}
				f.must(f.set("s", text(1, size), 20, 0))
				for i := range 40 {
					if i%20 != 0 {
						f.must(f.remove(fmt.Sprint(i), 0))
					}
				}
				replies := []session.Reply{f.Get(key("s")), f.Get(key("s")), f.Get(key("s"))}
				want := text(1, size)
				change(f)
				for i := range replies {
					scribble(f, size)
					f.Trim()
					f.Trim()
					if got := string(replies[i].Body()); got != want {
						t.Errorf("the body has changed: %.40q… is %.40q…", want, got)
					}
					f.Settle(key("s"), &replies[i], true)
				}
			})
		}
	}
}
