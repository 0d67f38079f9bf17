//go:build !unix

package link

import (
	"errors"
	"net"
)

// writesNow: the sockets of this system are not asked whether a write would wait.
func writesNow(net.Conn) bool { return false }

func writeNow(net.Conn, []byte) (int, error) { return 0, errors.ErrUnsupported }
