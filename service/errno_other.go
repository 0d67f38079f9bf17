//go:build !windows

package service

import "syscall"

const (
	errAddrInUse     = syscall.EADDRINUSE
	errAddrForbidden = syscall.EACCES
	errNoSuchAddr    = syscall.EADDRNOTAVAIL
)
