package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cores are the two processors of a measurement: one for this process, the web farm, and one for the servers it starts. Nil: the
// system may move everything about.
type Cores struct {
	farm, servers int
	before        unix.CPUSet // what this process may use otherwise
	procs         int
}

// Pin holds this process to one processor and reserves another for the servers it will start. It says what it did, or why it
// could do nothing, in which case the result is nil. Unpin undoes it.
func Pin() (*Cores, string) {
	c := &Cores{procs: runtime.GOMAXPROCS(0)}
	if err := unix.SchedGetaffinity(0, &c.before); err != nil {
		return nil, fmt.Sprintf("not pinned: %v", err)
	}
	if !c.choose() {
		return nil, "not pinned: there is one processor only"
	}
	var set unix.CPUSet
	set.Set(c.farm)
	if err := setAllThreads(&set); err != nil {
		c.Unpin()
		return nil, fmt.Sprintf("not pinned: %v", err)
	}
	runtime.GOMAXPROCS(1)
	return c, fmt.Sprintf("pinned: servers to processor %d, web farm to processor %d", c.servers, c.farm)
}

// Unpin lets this process use all processors again.
func (c *Cores) Unpin() {
	if c != nil {
		setAllThreads(&c.before)
		runtime.GOMAXPROCS(c.procs)
	}
}

// choose takes two processors, of different cores if there are, from the end: the system's own work tends to be at the beginning.
func (c *Cores) choose() bool {
	var allowed []int
	for i := len(c.before)*64 - 1; i >= 0; i-- {
		if c.before.IsSet(i) {
			allowed = append(allowed, i)
		}
	}
	if len(allowed) < 2 {
		return false
	}
	c.servers, c.farm = allowed[0], allowed[1]
	for _, other := range allowed[1:] {
		if coreOf(other) != coreOf(c.servers) {
			c.farm = other
			break
		}
	}
	return true
}

// coreOf names the core that a processor is a thread of.
func coreOf(cpu int) string {
	text, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	if err != nil {
		return strconv.Itoa(cpu)
	}
	return string(text)
}

// setAllThreads binds the threads of this process. New ones are like the thread that makes them, so it looks again until there are
// none it has not seen.
func setAllThreads(set *unix.CPUSet) error {
	seen := make(map[string]bool)
	for found := true; found; {
		found = false
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		for _, task := range tasks {
			if seen[task] {
				continue
			}
			seen[task], found = true, true
			tid, _ := strconv.Atoi(filepath.Base(task))
			if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("sched_setaffinity: %w", err)
			}
		}
	}
	if len(seen) == 0 {
		return errors.New("no /proc")
	}
	return nil
}

// Start starts a child on the servers' processor, which it inherits from the thread that starts it.
func (c *Cores) Start(cmd *exec.Cmd) error {
	// Also when nothing is pinned: with Pdeathsig the child lives only as long as the thread that started it, which the
	// runtime keeps if it is not locked when its goroutine ends.
	if c == nil {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var mine, servers unix.CPUSet
	servers.Set(c.servers)
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, &servers); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &mine)
	return cmd.Start()
}
