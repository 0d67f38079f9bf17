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

func (c *Cores) start(cmd *exec.Cmd) error { return cmd.Start() }
