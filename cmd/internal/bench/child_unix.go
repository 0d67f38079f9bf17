//go:build unix && !linux

package bench

import (
	"os"
	"syscall"
)

// childAttr keeps the terminal's Ctrl-C from the child: the bench ends it when it is done with it.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
