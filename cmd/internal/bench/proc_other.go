//go:build !linux

package bench

import (
	"errors"
	"time"
)

// CPUTime is the processor time a process has used, or -1: it is only shown where it is easy to know.
func CPUTime(int) time.Duration { return -1 }

// ResidentBytes is the physical memory that a process has.
func ResidentBytes(int) (int64, error) { return 0, errors.ErrUnsupported }
