package session_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"statemesh/session"
)

func TestMemory_EntryIsAsSmallAsItSays(t *testing.T) {
	t.Parallel()
	if got := session.EntrySize; got != 72 {
		t.Errorf("an entry takes %d bytes, doc.go and entrySize say 72", got)
	}
	if got := session.PlaceSize; got != 12 {
		t.Errorf("a place takes %d bytes, placeSize says 12", got)
	}
}

func TestMemory_OverTheLimitNewSessionsAreRefusedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	const limit, size = 1 << 20, 1000
	f := open(t, session.Options{MaxMemory: limit})
	n := 0
	for ; ; n++ {
		got := f.set(fmt.Sprint(n), text(n, size), 20, 0)
		if got.Outcome == session.Full {
			break
		}
		f.must(got)
	}
	if least, most := limit/(size+150), limit/size; n < least || n > most {
		t.Errorf("%d sessions of %d bytes were accepted, want %d to %d", n, size, least, most)
	}
	stats := f.Stats()
	if stats.UsedBytes > limit || stats.Refused != 1 || stats.Created != int64(n) || stats.MaxMemory != limit {
		t.Errorf("got %+v, want one refused and at most %d bytes used", stats, limit)
	}

	// Those that are there go on, all of them.
	for i := range n {
		id := fmt.Sprint(i)
		f.is("get", f.get(id), answer{Timeout: 20, Body: text(i, size)})
		f.is("acquire", f.acquire(id), answer{Cookie: 2, Timeout: 20, Body: text(i, size)})
		f.is("set", f.set(id, text(-i, size), 20, 2), done)
	}
	f.is("another new one", f.set("new", text(1, size), 20, 0), answer{Outcome: session.Full})
	f.is("an uninitialised new one", f.setUninitialised("new", text(1, size), 20, 0), answer{Outcome: session.Full})
	f.is("it is not there", f.get("new"), notFound)

	// Room is room, whether a session is removed or becomes smaller.
	f.must(f.remove("0", 0))
	f.is("a new one after one was removed", f.set("new", text(1, size), 20, 0), done)
	f.is("another", f.set("newer", text(1, size), 20, 0), answer{Outcome: session.Full})
	for i := 1; i <= 3; i++ {
		f.must(f.set(fmt.Sprint(i), text(1, size/2), 20, 0))
	}
	f.is("a new one after three have shrunk", f.set("newer", text(1, size), 20, 0), done)
}

func TestMemory_ExistingSessionsGrowAnEighthOverTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	f := open(t, session.Options{MaxMemory: limit})
	f.must(f.set("s", text(1, 1000), 20, 0))
	f.must(f.set("s", text(1, 1_100_000), 20, 0)) // over the limit, but by less than an eighth
	f.is("a new one", f.set("new", "x", 20, 0), answer{Outcome: session.Full})
	f.must(f.set("s", text(1, 1_100_000), 20, 0)) // both are there for a moment
	b, err := f.NewBody(200_000)
	if err != nil {
		t.Fatalf("the store is over its limit by less than an eighth: %v", err)
	}
	fill(b, text(1, 200_000))
	if b, err := f.NewBody(1); !errors.Is(err, session.ErrNoMemory) {
		t.Errorf("with more than an eighth over the limit: got %v, %v, want ErrNoMemory", b, err)
	}
	b.Discard()
	f.must(f.set("s", text(1, 1000), 20, 0))
	f.is("a new one, now that there is room", f.set("new", "x", 20, 0), done)
}

// Bodies that were announced and do not come take nothing from those that do.
func TestMemory_WhatHasNotArrivedCountsForNothing(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{MaxMemory: 1 << 20})
	var stalled []*session.Body
	for range 100 {
		b := f.claim(100_000)
		copy(b.Next(), "the beginning")
		b.Filled(13)
		stalled = append(stalled, b)
	}
	if got := f.HeapLive(); got != 1300 {
		t.Errorf("%d bytes are live, want the 1300 that came", got)
	}
	f.is("set", f.set("s", text(1, 1000), 20, 0), done)
	for len(stalled) > 0 { // now they come
		b := stalled[0]
		stalled = stalled[1:]
		b.Filled(len(b.Next()))
		defer b.Discard()
		one, err := f.NewBody(1)
		if err != nil {
			break
		}
		one.Discard()
	}
	if got := 100 - len(stalled); got < 10 || got > 12 {
		t.Errorf("it took %d bodies that came, of 100,000 bytes, to have the next refused: want 11 or 12", got)
	}
	if got := f.Stats().Refused; got != 1 {
		t.Errorf("refused: got %d, want 1", got)
	}
	for _, b := range stalled {
		b.Discard()
	}
}

// claim makes room for a body of which nothing has come.
func (f farm) claim(n int) *session.Body {
	f.t.Helper()
	b, err := f.NewBody(n)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func TestMemory_AHugeLimitIsALimit(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{MaxMemory: math.MaxInt64})
	f.is("set", f.set("s", "x", 20, 0), done)
}

func TestMemory_NegativeOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []session.Options{{MaxMemory: -1}, {MaxWaiting: -1}, {ReadWait: -1}, {ChangeWait: -1}} {
		if _, err := session.New(o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

var bytes200k = text(1, 200_000)

func TestMemory_IsWhatItWasAfterEverythingIsRemoved(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	f := open(t, session.Options{})
	ids := make([]string, 1000)
	for i := range ids { // short, long and very long ids, and other applications
		ids[i] = fmt.Sprintf("%d", i)
		for range random.IntN(4) {
			ids[i] += "............................................................................................"
		}
		if i%10 == 0 {
			ids[i] = fmt.Sprintf("app%d/", i) + ids[i]
		}
	}
	changes := 5000
	if raceDetector {
		changes = 1500
	}
	for range 2 {
		for range changes {
			id := ids[random.IntN(len(ids))]
			switch random.IntN(10) {
			case 0:
				f.remove(id, 0)
			case 1:
				f.get(id)
			default:
				f.set(id, bytes200k[:1+int(math.Pow(200_000, random.Float64()))], 20, 0)
			}
		}
		if err := f.Check(0); err != nil {
			t.Fatal(err)
		}
		for i, n := range random.Perm(len(ids)) {
			f.remove(ids[n], 0)
			if i == len(ids)*9/10 {
				f.Compact()
				if err := f.Check(0); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.Trim() // what is spare goes
		f.Trim()
		got := f.Stats()
		if got.Active != 0 || got.UsedBytes != 0 || got.BodyBytes != 0 || got.Apps != 0 || f.HeapLive() != 0 || f.HeapWaste() != 0 {
			t.Fatalf("after all were removed: got %+v, %d live, %d wasted; want nothing", got, f.HeapLive(), f.HeapWaste())
		}
	}
}

func TestMemory_CompactionKeepsEveryBody(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	const n = 10_000
	for i := range n {
		f.must(f.set(id(i), text(i, 200+i%100), 20, 0))
	}
	for i := range n {
		if i%10 != 0 {
			f.must(f.remove(id(i), 0))
		}
	}
	before := f.HeapWaste()
	c := f.NewCompaction()
	for steps := 0; !c.Done(); steps++ {
		c.Step()
		if steps%10 == 0 { // sessions come and go meanwhile
			i := steps * 10 % n
			f.must(f.remove(id(i), 0))
			f.must(f.set(id(i), text(i, 200+i%100), 20, 0))
		}
	}
	f.Trim() // what is spare goes
	f.Trim()
	if got := f.HeapWaste(); got > before/4 {
		t.Errorf("wasted: %d bytes after compaction, %d before, want at most a quarter", got, before)
	}
	for i := 0; i < n; i += 10 {
		f.is(id(i), f.get(id(i)), answer{Timeout: 20, Body: text(i, 200+i%100)})
	}
}

// id is an id that does not fit into an entry if i is odd or divisible by 20.
func id(i int) string {
	if i%2 == 1 || i%20 == 0 {
		return fmt.Sprintf("%030d", i)
	}
	return fmt.Sprint(i)
}
