package bench

import (
	"os"
	"syscall"
)

// childAttr keeps the terminal's Ctrl-C from the child: the bench ends it when it is done with it, and the kernel if the bench
// is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
