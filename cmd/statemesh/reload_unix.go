//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyReload tells of SIGHUP, the signal to read the key file again, until done is called.
func notifyReload() (reload <-chan os.Signal, done func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
