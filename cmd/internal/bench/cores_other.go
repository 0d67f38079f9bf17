//go:build !linux

package bench

import (
	"os/exec"
	"runtime"
)

// Cores would be the processors of the two sides of a measurement, if this system could hold processes to them.
type Cores struct{}

// Pin does nothing here, and says so.
func Pin() (*Cores, string) { return nil, "not pinned: not done on " + runtime.GOOS }

// Unpin undoes Pin.
func (c *Cores) Unpin() {}

// Start starts a child.
func (c *Cores) Start(cmd *exec.Cmd) error { return cmd.Start() }
