//go:build !linux

package bench

import "net"

// wakeAt would spare both sides wakes; see wake_linux.go.
func wakeAt(net.Conn, int) {}
