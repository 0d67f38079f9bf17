package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

func TestRun_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan time.Time)
		go func() { f.Run(ctx); ended <- time.Now() }()
		time.Sleep(1234 * time.Millisecond)
		cancel()
		if took := time.Until(<-ended); took != 0 {
			t.Errorf("it took %v to end, want no time", took)
		}
	})
}

// sparse fills a store with n sessions of a KiB and removes nine tenths of them, evenly.
func (f farm) sparse(n int) {
	for i := range n {
		f.must(f.set(id(i), text(i, 1024), 60, 0))
	}
	for i := range n {
		if i%10 != 0 {
			f.must(f.remove(id(i), 0))
		}
	}
}

func TestRun_CompactsSoonWhenMuchIsWasted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		const n = 20_000
		f.sparse(n)
		before := f.HeapWaste()
		if before < 10<<20 || !f.WorthCompacting() {
			t.Fatalf("%d bytes are wasted, worth compacting: %v", before, f.WorthCompacting())
		}
		f.run()
		time.Sleep(10 * time.Second)
		if got, most := f.HeapWaste(), f.HeapLive()/32+1<<20; got > most {
			t.Errorf("10 s later %d bytes are wasted, %d before, want at most %d", got, before, most)
		}
		for i := 0; i < n; i += 10 {
			f.is(id(i), f.get(id(i)), answer{Timeout: 60, Body: text(i, 1024)})
		}
	})
}

func TestRun_LeavesASmallStoreAlone(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.sparse(100)
	if f.WorthCompacting() {
		t.Errorf("%d wasted bytes are worth compacting", f.HeapWaste())
	}
}

func TestRun_EndedInTheMiddleOfACompactionLeavesNothingMarked(t *testing.T) {
	t.Parallel()
	f := open(t, session.Options{})
	f.sparse(20_000)
	c := f.NewCompaction()
	for range 3 {
		c.Step()
	}
	c.End()
	before := f.HeapLive() + f.HeapWaste()
	for i := range 20_000 {
		if i%10 == 5 {
			f.must(f.set(id(i), text(i, 1024), 60, 0))
		}
	}
	if got := f.HeapLive() + f.HeapWaste(); got > before {
		t.Errorf("%d bytes are held, %d before: the free slots were not used", got, before)
	}
}
