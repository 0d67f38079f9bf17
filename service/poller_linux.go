package service

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll descriptor: a list of sockets, of which the kernel says which have something to read.
//
// It is itself in the list of Go's own poller, which is what the loop's goroutine sleeps in.
type poller struct {
	file   *os.File // fd
	raw    syscall.RawConn
	fd     int
	waker  int32 // an eventfd; nobody reads what is written to it
	events [maxEvents]unix.EpollEvent
	n      int                // of events
	ask    func(uintptr) bool // for events; a field, so that it is made once
	asked  int                // times, during this wait
	alarm  bool               // is set
}

const (
	// maxEvents are taken at a time. What is over comes the next time.
	maxEvents = 128
	// sweepEvery is how late a time limit may be noticed.
	sweepEvery = time.Second
)

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	waker, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{fd: fd, waker: int32(waker)}
	err = errors.Join(
		unix.SetNonblock(fd, true), // os.NewFile asks for that
		unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, waker, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: p.waker}),
	)
	p.file = os.NewFile(uintptr(fd), "epoll")
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("epoll", err)
	}
	p.ask = func(uintptr) bool {
		p.asked++
		p.n = sysEpollWait(p.fd, &p.events)
		return p.n > 0
	}
	return p, nil
}

func (p *poller) close() {
	p.file.Close()
	unix.Close(int(p.waker))
}

// add has wait say when there is something to read from fd, as long as there is.
func (p *poller) add(fd int32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd})
}

// remove is for a socket that lives on. One that is closed is forgotten by itself.
func (p *poller) remove(fd int32) {
	unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(fd), nil)
}

// wake makes wait return the waker. Any goroutine may call it.
func (p *poller) wake() {
	unix.Write(int(p.waker), binary.NativeEndian.AppendUint64(nil, 1))
}

// wait returns once there is something to read, or, if it is timed, it is time to look at time limits: at the latest sweepEvery from
// when it was timed first.
func (p *poller) wait(timed bool) (events []unix.EpollEvent, due bool) {
	if timed && !p.alarm {
		p.alarm = true
		p.file.SetReadDeadline(time.Now().Add(sweepEvery))
	}
	if p.asked == 1 { // the loop did not sleep: let those goroutines run which have work too, for it might never sleep
		runtime.Gosched()
	}
	p.n, p.asked = 0, 0
	err := p.raw.Read(p.ask)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		due, p.alarm = true, false
		p.file.SetReadDeadline(time.Time{})
	}
	return p.events[:p.n], due
}

// The system calls of the steady path. None of them waits, so they do without what unix's own do for calls that may: those tell the
// scheduler, which each time wakes the thread that watches over calls, if that has gone to sleep.

// sysEpollWait does not wait. Its errors but EINTR are mistakes of ours.
func sysEpollWait(fd int, events *[maxEvents]unix.EpollEvent) int {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(events)), maxEvents, 0, 0, 0)
		switch err {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			panic(os.NewSyscallError("epoll_pwait", err))
		}
	}
}

func sysRead(fd int32, p []byte) (int, unix.Errno) {
	return again(unix.SYS_READ, fd, unsafe.Pointer(&p[0]), len(p))
}

func sysWrite(fd int32, p []byte) (int, unix.Errno) {
	return again(unix.SYS_WRITE, fd, unsafe.Pointer(&p[0]), len(p))
}

func sysWritev(fd int32, iov []unix.Iovec) (int, unix.Errno) {
	return again(unix.SYS_WRITEV, fd, unsafe.Pointer(&iov[0]), len(iov))
}

// again makes a call until no signal gets in between.
func again(call uintptr, fd int32, p unsafe.Pointer, n int) (int, unix.Errno) {
	for {
		done, _, err := unix.RawSyscall(call, uintptr(fd), uintptr(p), uintptr(n))
		if err == 0 {
			return int(done), 0
		}
		if err != unix.EINTR {
			return 0, err
		}
	}
}
