package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// CPUTime is the processor time a process has used, in steps of 10 ms, or -1 if that is not known.
func CPUTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return -1
	}
	const utime, stime, tick = 11, 12, 10 * time.Millisecond // fields after the command's name; USER_HZ is 100
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= stime {
		return -1
	}
	user, err1 := strconv.ParseInt(string(fields[utime]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[stime]), 10, 64)
	if err1 != nil || err2 != nil {
		return -1
	}
	return time.Duration(user+system) * tick
}

// ResidentBytes is the physical memory that a process has.
func ResidentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(text, []byte("\nVmRSS:"))
	line, _, found := bytes.Cut(after, []byte(" kB\n"))
	kb, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("no VmRSS of process %d", pid)
	}
	return kb << 10, nil
}
