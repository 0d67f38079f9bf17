//go:build !race

package offheap_test

import (
	"fmt"
	"os"
	"testing"

	"statemesh/session/internal/offheap"
)

// resident is the process's physical memory in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

const mega = 1 << 20

func TestTrim_ReturnsMemoryToTheSystem(t *testing.T) {
	h := open(t)
	before := resident(t)
	var all []offheap.Ref
	for range 64 * mega / 1024 {
		r := alloc(t, h, 1000)
		fill(h.Bytes(r), 1)
		all = append(all, r)
	}
	if got := resident(t) - before; got < 60*mega {
		t.Errorf("64 MiB are filled, and %d bytes more are resident", got)
	}
	dropAll(h, all)
	h.Trim()
	h.Trim()
	if got := resident(t) - before; got > 8*mega {
		t.Errorf("all is free and trimmed, and %d bytes more are resident", got)
	}
}

func TestAlloc_CostsNothingUntilItIsFilled(t *testing.T) {
	h := open(t)
	before := resident(t)
	var all []offheap.Ref
	for range 16 {
		all = append(all, alloc(t, h, 16*mega), alloc(t, h, 100<<10))
	}
	if got := resident(t) - before; got > 4*mega {
		t.Errorf("256 MiB are claimed and nothing of it is filled, and %d bytes are resident", got)
	}
	dropAll(h, all)
}

func TestDrop_OfALargeSlotReturnsItsMemoryAtOnce(t *testing.T) {
	h := open(t)
	before := resident(t)
	r := alloc(t, h, 64*mega)
	fill(h.Bytes(r), 1)
	h.Drop(r)
	if got := resident(t) - before; got > 8*mega {
		t.Errorf("%d bytes more are resident", got)
	}
}

func TestTable_ReturnsMemoryAsItShrinks(t *testing.T) {
	table, err := offheap.NewTable[uint64](16 * mega)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	before := resident(t)
	const n = 8 * mega
	if err := table.Resize(n); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(n) {
		*table.At(i) = 1
	}
	if got := resident(t) - before; got < 60*mega {
		t.Errorf("64 MiB are filled, and %d bytes more are resident", got)
	}
	for i := n; i >= 1000; i -= 1000 {
		if err := table.Resize(i); err != nil {
			t.Fatal(err)
		}
	}
	if got := resident(t) - before; got > 8*mega {
		t.Errorf("1000 elements are left, and %d bytes more are resident", got)
	}
}
