package farm

import "syscall"

// childAttr has the kernel end the child if this process is killed, and keeps the terminal's Ctrl-C from it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
