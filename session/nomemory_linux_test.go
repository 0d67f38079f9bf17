//go:build !race

package session_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"statemesh/session"
)

// In a process of its own, which may then have no more memory: the system refuses to make more of what is reserved usable, as Windows
// does when its commit limit is reached.
func TestMemory_WhenTheSystemRefusesNewSessionsAreRefusedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	const variable = "SESSION_TEST_WITHOUT_MEMORY"
	if os.Getenv(variable) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.parallel=1")
		cmd.Env = append(os.Environ(), variable+"=yes", "GOGC=off")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("in a process without memory: %v\n%s", err, out)
		}
		return
	}

	f := open(t, session.Options{})
	const n = 100
	for i := range n {
		f.must(f.set(id(i), text(i, 3000), 20, 0))
	}
	live := f.HeapLive()
	limitData(t, 8<<20) // some for Go itself

	// Bodies, until there are no more.
	var full []*session.Body
	for {
		b, err := f.NewBody(100_000)
		if err != nil {
			if !errors.Is(err, session.ErrNoMemory) {
				t.Errorf("got %v, want ErrNoMemory", err)
			}
			break
		}
		full = append(full, b)
		if len(full) > 1000 {
			t.Fatal("100 MB came from nowhere")
		}
	}
	// A large one gets no further than there is memory, and says so.
	if b, err := f.NewBody(64 << 20); err == nil {
		for len(b.Next()) > 0 {
			b.Filled(len(b.Next()))
		}
		if b.Full() {
			t.Error("64 MiB came from nowhere")
		}
		b.Discard()
	}
	// New sessions, until there are no more: of long ids, whose entries, slots and index all need memory.
	small := 0
	for ; ; small++ {
		b, err := f.NewBody(1)
		if err != nil {
			break
		}
		b.Filled(1)
		got := f.Set(key(fmt.Sprintf("%0200d", small)), session.Change{Body: b, Timeout: 20})
		if got.Outcome == session.Full {
			break
		}
		f.must(answerOf(&got))
		if small > 100_000 {
			t.Fatal("memory for 100,000 sessions came from nowhere")
		}
	}
	// Those that are there go on.
	for i := range n {
		f.is("get", f.get(id(i)), answer{Timeout: 20, Body: text(i, 3000)})
		f.must(f.acquire(id(i)))
		f.must(f.unlock(id(i), 2))
		f.must(f.touch(id(i)))
	}
	f.Compact()
	for _, b := range full {
		b.Discard()
	}
	f.must(f.set("new", text(1, 3000), 20, 0))
	for i := range small {
		f.must(f.remove(fmt.Sprintf("%0200d", i), 0))
	}
	f.must(f.remove("new", 0))
	if got := f.HeapLive(); got != live {
		t.Errorf("%d bytes are live, want %d as before", got, live)
	}
}

// limitData lets this process have so many bytes more than it has now.
func limitData(t *testing.T, more uint64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmData:")
	var kib uint64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: kib<<10 + more, Max: unix.RLIM_INFINITY}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &old); err != nil {
		t.Fatal(err)
	}
	limit.Max = old.Max
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		t.Fatal(err)
	}
}
