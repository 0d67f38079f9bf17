package bench

import (
	"net"

	"golang.org/x/sys/unix"
)

// wakeAt makes the kernel keep quiet about the connection until n bytes have arrived. Each wake costs both sides more than the
// answer it is about, where many are on their way.
func wakeAt(nc net.Conn, n int) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // the connection is closed, which the next read tells
	}
	raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) })
}
