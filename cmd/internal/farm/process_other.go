//go:build !linux

package farm

import "syscall"

func childAttr() *syscall.SysProcAttr { return nil }
