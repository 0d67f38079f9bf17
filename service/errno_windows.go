package service

import "syscall"

// What Windows returns from bind. The syscall package's names for them there are inventions that match nothing.
const (
	errAddrInUse     = syscall.Errno(10048) // WSAEADDRINUSE
	errAddrForbidden = syscall.Errno(10013) // WSAEACCES
	errNoSuchAddr    = syscall.Errno(10049) // WSAEADDRNOTAVAIL
)
