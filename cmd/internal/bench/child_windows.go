package bench

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// childAttr keeps the terminal's Ctrl-C from the child: the bench ends it when it is done with it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// terminate has no kind way on Windows: the child shares no console through which it could be asked.
func terminate(p *os.Process) { p.Kill() }
