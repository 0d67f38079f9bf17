package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"time"

	"statemesh/cmd/internal/bench"
)

type startFigures []time.Duration

const startAllowed = 100 * time.Millisecond

// start sees how long it takes from exec until the service accepts a connection.
func start(ctx context.Context, l *lab) (figures, error) {
	var f startFigures
	for range l.pick(20, 3) {
		took, err := startOnce(ctx, l)
		if err != nil {
			return nil, err
		}
		f = append(f, took)
	}
	return f, nil
}

func startOnce(ctx context.Context, l *lab) (time.Duration, error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	// A configuration only of ports that are free.
	cmd := exec.Command(l.exe, "serve", "--state-addr", addr, "--status-addr", "127.0.0.1:0", "--log-level", "warn")
	began := time.Now()
	s, err := bench.Start(cmd, nil)
	if err != nil {
		return 0, err
	}
	defer s.Stop()
	for {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
			return time.Since(began), nil
		}
		if time.Since(began) > 10*time.Second {
			return 0, fmt.Errorf("not listening after 10 s: %w", err)
		}
		if err := sleep(ctx, 200*time.Microsecond); err != nil {
			return 0, err
		}
	}
}

// freeAddr is an address nobody listens on, or did not a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (f startFigures) section() section {
	median := time.Duration(bench.Median(f, func(d time.Duration) float64 { return float64(d) }))
	return section{
		how:     fmt.Sprintf("From exec until the port accepts a connection, the median of %d starts.", len(f)),
		command: "go run ./cmd/benchreport -only start",
		rows: []row{{"time until listening", fmt.Sprintf("at most %v", startAllowed),
			fmt.Sprintf("%v", median.Round(100*time.Microsecond)), median <= startAllowed}},
	}
}
