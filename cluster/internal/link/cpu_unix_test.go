//go:build unix

package link

import (
	"syscall"
	"time"
)

// processCPU is how much processor time this process has taken.
func processCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
