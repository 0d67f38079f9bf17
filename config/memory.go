package config

import (
	"fmt"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Memory is an amount of memory: a share of the machine's, or a number of bytes.
type Memory struct {
	Percent int   // if not 0, the share
	Bytes   int64 // else the number of bytes
}

// Of is the amount in bytes on a machine that has so many.
func (m Memory) Of(machine int64) int64 {
	if m.Percent == 0 {
		return m.Bytes
	}
	return machine / 100 * int64(m.Percent)
}

// String is how the amount is written in the file.
func (m Memory) String() string {
	if m.Percent == 0 {
		return sizeText(m.Bytes)
	}
	return fmt.Sprintf("%d%%", m.Percent)
}

// MachineMemory is how many bytes of memory this process can have: the machine's, or less where the system's
// administrator has set a limit (a cgroup's, on Linux).
func MachineMemory() (int64, error) {
	total, err := memlimit.FromSystem()
	if err != nil {
		return 0, fmt.Errorf("ask the system for its memory: %w", err)
	}
	// An error is the ordinary case here: no cgroup, no limit in it, or a system that has no such thing.
	if limit, err := memlimit.FromCgroup(); err == nil && limit > 0 {
		total = min(total, limit)
	}
	return int64(min(total, math.MaxInt64)), nil
}
