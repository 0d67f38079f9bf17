//go:build !linux

package service

import "context"

// loops are there on Linux only. Elsewhere a goroutine serves each connection.
type loops struct{}

func startLoops(*connections) (*loops, error) { return nil, nil }

func (*loops) stop(context.Context) error { return nil }

func (*loops) endIdle() {}

func (*loops) take(*conn) bool { return false }
