//go:build unix

package link

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// writesNow tells whether writeNow can write to a connection.
func writesNow(c net.Conn) bool {
	_, ok := c.(syscall.Conn)
	return ok
}

// writeNow writes as much as the socket's buffer has room for, and does not wait.
func writeNow(c net.Conn, b []byte) (n int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		n, failed = unix.Write(int(fd), b)
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case failed == unix.EAGAIN || failed == unix.EINTR:
		return 0, nil
	}
	return max(n, 0), failed
}
