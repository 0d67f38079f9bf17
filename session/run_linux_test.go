//go:build !race

package session_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/session"
)

// Not parallel: it looks at the whole process.
func TestRun_ReturnsMemoryToTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, session.Options{})
		f.run()
		before := resident(t)
		const n = 64 << 10
		for i := range n {
			f.must(f.set(id(i), text(i, 1000), 1+int32(i%2), 0))
		}
		full := resident(t) - before
		if full < 64<<20 {
			t.Fatalf("64 MiB are stored, and %d bytes more are resident", full)
		}
		time.Sleep(time.Minute + 30*time.Second)
		if got, most := resident(t)-before, full*2/3; got > most {
			t.Errorf("half of the sessions have expired, and %d bytes of %d are resident, want at most %d", got, full, most)
		}
		time.Sleep(30*time.Second + 5*time.Second)
		if got := resident(t) - before; got > 12<<20 {
			t.Errorf("5 s after all have expired %d bytes of %d are resident", got, full)
		}
	})
}

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
