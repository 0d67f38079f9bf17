package offheap_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"statemesh/session/internal/offheap"
)

// open makes an empty heap, which must be empty again in the end.
func open(t testing.TB) *offheap.Heap {
	h := offheap.NewHeap()
	t.Cleanup(func() {
		check(t, h)
		h.Trim()
		h.Trim()
		check(t, h)
		if h.Live() != 0 || h.HeldBytes() != 0 {
			t.Errorf("in the end: %d live bytes and %d held, want none", h.Live(), h.HeldBytes())
		}
		h.Close()
	})
	return h
}

func check(t testing.TB, h *offheap.Heap) {
	t.Helper()
	if err := h.Check(); err != nil {
		t.Fatalf("the heap is not sound: %v", err)
	}
}

// alloc makes a slot of n bytes, all usable.
func alloc(t testing.TB, h *offheap.Heap, n int) offheap.Ref {
	t.Helper()
	r, err := h.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	if ready, err := h.Commit(r, n); err != nil || ready != n || len(h.Bytes(r)) != n {
		t.Fatalf("%d bytes: got %d, of which %d are usable, %v", n, len(h.Bytes(r)), ready, err)
	}
	return r
}

// fill writes something that depends on seed and on the place.
func fill(b []byte, seed int) {
	for i := range b {
		b[i] = byte(seed + i + i>>8)
	}
}

func filled(b []byte, seed int) bool {
	for i := range b {
		if b[i] != byte(seed+i+i>>8) {
			return false
		}
	}
	return true
}

func TestClasses_AreFineEnoughAndFillTheirSlabs(t *testing.T) {
	t.Parallel()
	before := 0
	for _, c := range offheap.NewHeap().Classes() {
		if c.Size <= before || c.Size%8 != 0 {
			t.Errorf("class %d comes after %d", c.Size, before)
		}
		before = c.Size
		mem := c.Spans * offheap.SpanSize
		if rest := mem - c.Slots*c.Size; rest < 0 || rest >= c.Size || rest > mem/64 && c.Spans < 16 {
			t.Errorf("class %d: %d slots leave %d of %d bytes", c.Size, c.Slots, rest, mem)
		}
		if c.Slots < 7 || c.Slots > 1<<16 {
			t.Errorf("class %d: %d slots", c.Size, c.Slots)
		}
	}
	if before != offheap.MaxSlot {
		t.Errorf("the largest class is %d, want %d", before, offheap.MaxSlot)
	}
}

func TestClassFor_WastesLessThan8BytesOr3Percent(t *testing.T) {
	t.Parallel()
	h := offheap.NewHeap()
	for n := 1; n <= offheap.MaxSlot; n++ {
		size := h.ClassFor(n)
		most := max(16, (n+7)/8*8) // to the next multiple of 8
		if n > 512 {
			most = n + n/32
		}
		if size < n || size > most {
			t.Fatalf("%d bytes get a slot of %d, want at most %d", n, size, most)
		}
	}
}

func TestAlloc_GivesWhatWasAskedForAndTakesItBack(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 8, 9, 503, 504, 505, 520, 65_528, 65_529, offheap.MaxSlot - 8, offheap.MaxSlot - 7, offheap.MaxSlot, 300 << 10, 5 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			h := open(t)
			var all []offheap.Ref
			for i := range 20 {
				r := alloc(t, h, n)
				fill(h.Bytes(r), i)
				all = append(all, r)
			}
			if got, want := h.Live(), int64(20*h.Size(all[0])); got != want {
				t.Errorf("live: got %d, want %d", got, want)
			}
			check(t, h)
			for i, r := range all {
				if !filled(h.Bytes(r), i) {
					t.Errorf("slot %d has changed", i)
				}
				h.Drop(r)
			}
		})
	}
}

func TestAlloc_RefusesSizesThatCannotBe(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, n := range []int{-1, -1 << 62, 1 << 31, 1 << 40, 1<<63 - 1} {
		if _, err := h.Alloc(n); err == nil {
			t.Errorf("%d bytes: got no error", n)
		}
	}
}

func TestDrop_FreesWithTheLastHolder(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 400_000} {
		h := open(t)
		r := alloc(t, h, n)
		fill(h.Bytes(r), 1)
		h.Hold(r)
		h.Hold(r)
		for range 2 {
			h.Drop(r)
			if !filled(h.Bytes(r), 1) {
				t.Error("it has changed while it has a holder")
			}
		}
		h.Drop(r)
		if got := h.Live(); got != 0 {
			t.Errorf("without holders: %d live bytes", got)
		}
	}
}

func TestCommit_ALargeSlotTakesMemoryStepByStep(t *testing.T) {
	t.Parallel()
	h := open(t)
	const size = 10 << 20
	r, err := h.Alloc(size)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 100, offheap.SpanSize, offheap.SpanSize, 3, 1 << 20, size} {
		ready, err := h.Commit(r, n)
		if err != nil || ready < n || ready > n+2*offheap.SpanSize {
			t.Errorf("%d bytes: got %d, %v", n, ready, err)
		}
		if got := h.Live(); got > int64(max(n, 1<<20)+2*offheap.SpanSize) && n != size {
			t.Errorf("%d bytes: %d are live", n, got)
		}
		fill(h.Bytes(r)[:ready], 1)
	}
	if !filled(h.Bytes(r), 1) {
		t.Error("it has changed")
	}
	h.Drop(r)
}

// A heap under everything at once, beside a map of what must be in it.
func TestHeap_RandomSlotsNeverOverlapOrChange(t *testing.T) {
	t.Parallel()
	type slot struct {
		ref     offheap.Ref
		seed    int
		holders int
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			h := open(t)
			var all []slot
			verify := func(s slot) {
				if !filled(h.Bytes(s.ref), s.seed) {
					t.Fatalf("slot %x of %d bytes has changed", s.ref, len(h.Bytes(s.ref)))
				}
			}
			drop := func(i int) {
				s := &all[i]
				verify(*s)
				h.Drop(s.ref)
				if s.holders--; s.holders == 0 {
					all[i] = all[len(all)-1]
					all = all[:len(all)-1]
				}
			}
			size := func() int { // all sizes to 300 KiB, and a few that meet often
				if random.IntN(2) == 0 {
					return 1 + 100*random.IntN(4)
				}
				return 1 + random.IntN(1<<random.IntN(19))%(300<<10)
			}
			for step := range 6000 {
				switch op := random.IntN(100); {
				case op < 52:
					s := slot{alloc(t, h, size()), step, 1}
					fill(h.Bytes(s.ref), s.seed)
					all = append(all, s)
				case len(all) == 0:
				case op < 55:
					i := random.IntN(len(all))
					h.Hold(all[i].ref)
					all[i].holders++
				case op < 97:
					drop(random.IntN(len(all)))
				case op < 98: // compaction
					h.Mark(1 + random.IntN(32))
					for i, s := range all {
						if !h.Marked(s.ref) || random.IntN(10) == 0 {
							continue
						}
						to, err := h.Move(s.ref)
						if err != nil {
							t.Fatal(err)
						}
						if all[i].ref = to; s.holders > 1 { // the others keep the old one
							all[i].holders = 1
							s.holders--
							all = append(all, s)
						}
					}
					check(t, h)
					h.Unmark()
				default:
					h.Trim()
				}
				if step%1000 == 0 {
					check(t, h)
				}
			}
			for len(all) > 0 {
				drop(len(all) - 1)
			}
		})
	}
}

func TestHeap_ManyGoroutinesDoNotMeet(t *testing.T) {
	t.Parallel()
	h := open(t)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			var mine [30]offheap.Ref
			for step := range 3000 {
				i := random.IntN(len(mine))
				if r := mine[i]; r != 0 {
					if !filled(h.Bytes(r), g*30+i) {
						t.Errorf("a slot of goroutine %d has changed", g)
					}
					if h.Marked(r) && step%2 == 0 {
						to, err := h.Move(r)
						if err != nil {
							t.Error(err)
							return
						}
						mine[i] = to
						continue
					}
					h.Drop(r)
					mine[i] = 0
					continue
				}
				n := 1 + random.IntN(1<<random.IntN(18))
				r, err := h.Alloc(n)
				if err == nil {
					_, err = h.Commit(r, n)
				}
				if err != nil {
					t.Error(err)
					return
				}
				fill(h.Bytes(r), g*30+i)
				mine[i] = r
			}
			for _, r := range mine {
				if r != 0 {
					h.Drop(r)
				}
			}
		})
	}
	stop := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.Mark(8)
				h.Trim()
				h.Unmark()
			}
		}
	})
	all.Wait()
	close(stop)
	keeper.Wait()
}

func TestAbout_IsNearTheLength(t *testing.T) {
	t.Parallel()
	h := open(t)
	for n := 1; n < 200_000; n += 1 + n/200 {
		r := alloc(t, h, n)
		if off := math.Abs(float64(h.About(r) - n)); off > 4 && off > float64(n)/100 {
			t.Errorf("%d bytes are about %d", n, h.About(r))
		}
		h.Drop(r)
	}
}
