//go:build !unix

package main

import "os"

// notifyReload has no signal to tell of. POST /api/v1/keys/reload does the same.
func notifyReload() (reload <-chan os.Signal, done func()) { return nil, func() {} }
