package offheap_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"statemesh/session/internal/offheap"
)

type record struct {
	a uint64
	b [64]byte
}

func TestTable_KeepsItsElementsAsItGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	const most = 200_000
	table, err := offheap.NewTable[record](most)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	random := rand.New(rand.NewPCG(1, 2))
	size := 0
	for range 100 {
		n := random.IntN(1 << random.IntN(18))
		if n > most {
			continue
		}
		if err := table.Resize(n); err != nil {
			t.Fatal(err)
		}
		for i := size; i < n; i++ {
			*table.At(uint32(i)) = record{a: uint64(i), b: [64]byte{63: byte(i)}}
		}
		size = n
		if got, most := table.Ready(), n*72+2*os.Getpagesize(); offheap.Lazy && got > most {
			t.Errorf("%d elements: %d bytes are usable, want at most %d", n, got, most)
		}
		for i := range n {
			if e := table.At(uint32(i)); e.a != uint64(i) || e.b[63] != byte(i) {
				t.Fatalf("element %d of %d has changed: %v", i, n, e)
			}
		}
	}
}

func TestTable_FullIsAnError(t *testing.T) {
	t.Parallel()
	if !offheap.Lazy {
		t.Log("where memory is Go's own a table has no maximum")
		return
	}
	table, err := offheap.NewTable[uint64](1000)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	most := table.Max()
	if most < 1000 || most > 1000+64<<10 {
		t.Errorf("at most %d elements, want 1000 and few more", most)
	}
	if err := table.Resize(most); err != nil {
		t.Errorf("%d elements: %v", most, err)
	}
	*table.At(uint32(most - 1)) = 7
	if err := table.Resize(most + 1); err == nil {
		t.Errorf("%d elements: got no error", most+1)
	}
	if got := *table.At(uint32(most - 1)); got != 7 {
		t.Errorf("after the error: got %d, want 7", got)
	}
}

func TestTable_ClosedTwiceIsClosed(t *testing.T) {
	t.Parallel()
	table, err := offheap.NewTable[uint64](1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Resize(10); err != nil {
		t.Fatal(err)
	}
	table.Close()
	table.Close()
}
