package offheap_test

import (
	"math/rand/v2"
	"testing"

	"statemesh/session/internal/offheap"
)

// sparse makes a heap of n slots of some sizes and drops all but one in keep.
func sparse(t *testing.T, h *offheap.Heap, n, keep int) []offheap.Ref {
	var all []offheap.Ref
	for i := range n {
		all = append(all, alloc(t, h, 100+i%5*100))
	}
	var left []offheap.Ref
	for i, n := range rand.New(rand.NewPCG(1, 2)).Perm(len(all)) {
		if i%keep == 0 {
			fill(h.Bytes(all[n]), len(left))
			left = append(left, all[n])
		} else {
			h.Drop(all[n])
		}
	}
	return left
}

func dropAll(h *offheap.Heap, all []offheap.Ref) {
	for _, r := range all {
		h.Drop(r)
	}
}

func TestMark_AndMoveEmptySparseSlabs(t *testing.T) {
	t.Parallel()
	h := open(t)
	left := sparse(t, h, 20_000, 10)
	before := h.Waste()
	if !h.Mark(32) {
		t.Fatal("nothing is marked, with nine tenths free")
	}
	moved := 0
	for i, r := range left {
		if h.Marked(r) {
			to, err := h.Move(r)
			if err != nil {
				t.Fatal(err)
			}
			if h.Marked(to) {
				t.Error("a slot was moved to where it must be moved away from")
			}
			left[i] = to
			moved++
		}
	}
	h.Unmark()
	check(t, h)
	// What is left over is a thirty-second and a slab for each of 5 sizes.
	if got, most := h.Waste(), h.Live()/32+5*2*offheap.SpanSize; got > most {
		t.Errorf("%d bytes are wasted, %d before, want at most %d", got, before, most)
	}
	if moved == 0 {
		t.Error("nothing was moved")
	}
	for i, r := range left {
		if !filled(h.Bytes(r), i) {
			t.Fatalf("slot %d has changed", i)
		}
	}
	if h.Mark(32) {
		t.Error("there is something to be compacted again")
	}
	h.Unmark()
	dropAll(h, left)
}

func TestMark_ChoosesTheSparsest(t *testing.T) {
	t.Parallel()
	h := open(t)
	var all, full, sparse []offheap.Ref
	for range 20_000 {
		all = append(all, alloc(t, h, 250))
	}
	for i, r := range all { // by turns, 400 with a fifth free and 400 with four fifths
		switch fifth := i % 5; {
		case i%800 < 400 && fifth > 0:
			full = append(full, r)
		case i%800 >= 400 && fifth == 0:
			sparse = append(sparse, r)
		default:
			h.Drop(r)
		}
	}
	h.Mark(32)
	marked := func(all []offheap.Ref) (n int) {
		for _, r := range all {
			if h.Marked(r) {
				n++
			}
		}
		return n
	}
	if f, s := marked(full), marked(sparse); f > len(full)/3 || s < len(sparse)*2/3 {
		t.Errorf("%d of %d slots are to be moved out of fuller slabs, %d of %d out of sparser ones", f, len(full), s, len(sparse))
	}
	h.Unmark()
	dropAll(h, full)
	dropAll(h, sparse)
}

func TestMark_LeavesADenseHeapAlone(t *testing.T) {
	t.Parallel()
	h := open(t)
	var all []offheap.Ref
	for range 50_000 {
		all = append(all, alloc(t, h, 250))
	}
	for i := range all {
		if i%50 == 0 { // 2 % are free
			h.Drop(all[i])
		}
	}
	if h.Mark(32) {
		t.Error("something is marked")
	}
	for i := range all {
		if i%50 != 0 {
			h.Drop(all[i])
		}
	}
}

func TestUnmark_SlotsOfSlabsThatWereNotEmptiedAreHandedOutAgain(t *testing.T) {
	t.Parallel()
	h := open(t)
	left := sparse(t, h, 5000, 10)
	marked := func() (n int) {
		for _, r := range left {
			if h.Marked(r) {
				n++
			}
		}
		return n
	}
	h.Mark(32)
	if marked() == 0 {
		t.Fatal("nothing is marked")
	}
	held := h.HeldBytes()
	r := alloc(t, h, 100)
	if h.Marked(r) {
		t.Error("a slot of a marked slab was handed out")
	}
	left = append(left, r)
	h.Unmark()
	if got := marked(); got != 0 {
		t.Errorf("%d slots are marked after Unmark", got)
	}
	check(t, h)
	before := h.HeldBytes()
	for i := range 3000 {
		left = append(left, alloc(t, h, 100+i%5*100))
	}
	if got := h.HeldBytes(); got > before || before < held {
		t.Errorf("%d bytes are held, %d before, although there were free slots", got, before)
	}
	dropAll(h, left)
}

func TestMark_ASlabThatRunsEmptyMeanwhileIsGivenBack(t *testing.T) {
	t.Parallel()
	h := open(t)
	left := sparse(t, h, 5000, 10)
	h.Mark(32)
	dropAll(h, left)
	h.Trim() // what is spare goes
	h.Trim()
	if got := h.HeldBytes(); got != 0 {
		t.Errorf("%d bytes are held after all was dropped", got)
	}
	h.Unmark()
	check(t, h)
	h.Drop(alloc(t, h, 100))
}

func TestTrim_KeepsARunForARoundAndThenGivesItBack(t *testing.T) {
	t.Parallel()
	h := open(t)
	const n = 10 * offheap.SpanSize / 256
	load := func() (all []offheap.Ref) {
		for range n {
			all = append(all, alloc(t, h, 248))
		}
		return all
	}
	runs := func(what string, dirty, clean int) {
		t.Helper()
		if d, c := h.Runs(); d != dirty || c != clean {
			t.Errorf("%s: %d runs are free and committed, %d not; want %d and %d", what, d, c, dirty, clean)
		}
	}
	dropAll(h, load())
	runs("dropped", 9, 0) // the class keeps the last
	h.Trim()
	runs("trimmed once", 9, 0)
	all := load()
	runs("wanted again", 0, 0)
	dropAll(h, all)
	runs("dropped again", 9, 0)
	h.Trim()
	h.Trim()
	runs("trimmed twice", 1, 9) // not for ever
	h.Trim()
	h.Trim()
	runs("trimmed four times", 0, 10)
	all = load()
	runs("wanted again", 0, 0)
	if got := h.Reserved(); got > 64<<20 {
		t.Errorf("%d bytes of address space, want one reservation", got)
	}
	dropAll(h, all)
}

func TestTrim_KeepsWhatWasUsedSinceTheLastRound(t *testing.T) {
	t.Parallel()
	h := open(t)
	const slots = offheap.SpanSize / 256
	var all []offheap.Ref
	for range 4 * slots {
		all = append(all, alloc(t, h, 248))
	}
	dropAll(h, all) // 3 runs are free, and the class keeps the fourth
	h.Trim()
	var again []offheap.Ref
	for range slots + 1 { // that and the latest are wanted, and come back
		again = append(again, alloc(t, h, 248))
	}
	dropAll(h, again)
	h.Trim()
	if dirty, clean := h.Runs(); dirty != 1 || clean != 2 {
		t.Errorf("%d runs are kept and %d given back, want 1 and 2", dirty, clean)
	}
}

// A body of a size that nobody else has comes and goes at every request of its session.
func TestSpare_OneSlabOfAClassStays(t *testing.T) {
	t.Parallel()
	h := open(t)
	r := alloc(t, h, 5000)
	slab := h.SlabOf(r)
	for range 10 {
		h.Drop(r)
		check(t, h)
		if r = alloc(t, h, 5000); h.SlabOf(r) != slab {
			t.Fatal("the slab was ended and made anew")
		}
		h.Trim()
	}
	h.Mark(1)
	h.Drop(r)
	h.Unmark()
	check(t, h)
}

// What was claimed counts as it arrives.
func TestClaim_CountsWhatHasArrived(t *testing.T) {
	t.Parallel()
	h := open(t)
	r, size, err := h.Claim(5000)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Live(); got != 0 {
		t.Errorf("nothing has come: %d bytes are live", got)
	}
	h.Arrived(size)
	check(t, h)
	h.Drop(r)
}
