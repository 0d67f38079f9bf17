package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/farm"
)

type drainFigures struct {
	sessions, held int // before, on the one; after, on the others
	rate           float64
	took           time.Duration // until all were with others, as the node says
	gone           time.Duration // from the signal until the process had ended
	line           string        // its own
	start, highest int64         // resident memory
	before, during *bench.Result // of other nodes' web servers
}

const othersSessions = 10_000

// drain fills one of three nodes and tells it to stop, while the other two have users of their own.
func drain(ctx context.Context, l *lab) (figures, error) {
	m, err := l.meshOf(farm.ClusterOptions{Nodes: 3, Place: func(_ int, o *farm.NodeOptions) {
		o.Flags = append(o.Flags, "--drain-timeout", "3m") // so that there is a figure in any case
	}})
	if err != nil {
		return nil, err
	}
	defer m.stop()
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	if err := m.Joined(ctx); err != nil {
		return nil, err
	}
	f := &drainFigures{sessions: l.pick(1_000_000, 20_000), rate: 1000}
	others, err := m.farm(ctx, l, bench.FarmOptions{Conns: 16, Sessions: othersSessions, Rate: f.rate, Depth: 16}, 1, 2)
	if err != nil {
		return nil, err
	}
	full, err := m.farm(ctx, l, bench.FarmOptions{Conns: 256, Sessions: f.sessions, Size: bench.Size{Min: 1024, Max: 1024}, Minutes: 60, Depth: 64}, 0)
	if err != nil {
		return nil, err
	}
	full.Close() // its users have gone home
	leaving := m.Nodes[0]
	if err := sleep(ctx, l.pickTime(3*time.Second, 100*time.Millisecond)); err != nil {
		return nil, err
	}
	f.before = others.Run(ctx, time.Second, l.pickTime(15*time.Second, 500*time.Millisecond), l.progress)
	if err := right(f.before); err != nil {
		return nil, err
	}
	if f.start, err = bench.ResidentBytes(leaving.PID()); err != nil {
		return nil, err
	}
	if err := f.leave(ctx, l, leaving, others); err != nil {
		return nil, err
	}
	return f, f.lookFor(ctx, l, m)
}

// leave tells the node to stop, and watches it and the users of the others.
func (f *drainFigures) leave(ctx context.Context, l *lab, leaving *farm.Node, others *bench.Farm) error {
	// The others are watched until nothing is left, and no longer: afterwards there is nothing to disturb them.
	draining, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { f.during = others.Run(draining, 0, 2*time.Minute, l.progress) })
	wg.Go(func() { f.highest = highest(draining, leaving) })
	began := time.Now()
	if err := leaving.Terminate(); err != nil {
		return err
	}
	line, err := leaving.Log().Await(ctx, `"@message":"drained `)
	cancel()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, leaving.Log())
	}
	f.line = line.Message
	if f.took, err = time.ParseDuration(f.line[strings.LastIndexByte(f.line, ' ')+1:]); err != nil {
		return fmt.Errorf("the node's last line %q: %w", f.line, err)
	}
	status, err := leaving.Wait(ctx)
	f.gone = time.Since(began)
	if err != nil || status != 0 {
		return fmt.Errorf("the node ended with status %d, %v\n%s", status, err, leaving.Log())
	}
	return right(f.during)
}

// lookFor counts the sessions on the other nodes, and reads some: all must be there, as they were.
func (f *drainFigures) lookFor(ctx context.Context, l *lab, m *mesh) error {
	for _, n := range m.Nodes[1:] {
		held, err := (&service{Server: &bench.Server{Status: n.Status}}).metrics(ctx)
		if err != nil {
			return err
		}
		f.held += int(held[metricSessions])
	}
	f.held -= othersSessions
	found, err := bench.NewFarm(bench.FarmOptions{Addrs: m.addrs(1, 2), Conns: 64, Sessions: f.sessions, Size: bench.Size{Min: 1024, Max: 1024}, Mix: bench.ReadOnly, Seed: 2})
	if err != nil {
		return err
	}
	defer found.Close()
	if err := found.Dial(ctx); err != nil {
		return err
	}
	return found.Check(ctx, l.progress, 20)
}

// highest is the most resident memory that the node has until ctx ends.
func highest(ctx context.Context, n *farm.Node) (most int64) {
	for sleep(ctx, 50*time.Millisecond) == nil {
		if now, err := bench.ResidentBytes(n.PID()); err == nil {
			most = max(most, now)
		}
	}
	return most
}

func (f drainFigures) section() section {
	const limit = 12 * time.Second
	p99 := f.during.Page.P99 / f.before.Page.P99
	memory := float64(f.highest) / float64(f.start)
	return section{
		how: fmt.Sprintf("Three nodes on this machine, one with %s sessions of 1 KiB, the other two with web servers of their own that ask for %.0f pages/s together. The\n"+
			"first is told to stop (SIGTERM). Then its sessions are counted on the other two, and one in 20 is read.", count(f.sessions), f.rate),
		command: "go run ./cmd/benchreport -only cluster-drain",
		rows: []row{
			{"time until all its sessions are with others", fmt.Sprintf("at most %v", limit), fmt.Sprintf("%.1f s", f.took.Seconds()), f.took <= limit},
			{"memory of the leaving node, highest, in ratio to its start", "at most 1.2", fmt.Sprintf("%.2f (%.0f to %.0f MB)", memory, float64(f.highest)/1e6, float64(f.start)/1e6), memory <= 1.2},
			{"p99 of other nodes' pages meanwhile, in ratio to before", "at most 2", fmt.Sprintf("%.2f (%s to %s)", p99, ms(f.during.Page.P99), ms(f.before.Page.P99)), p99 <= 2},
			{"sessions lost", "none", count(f.sessions - f.held), f.held == f.sessions},
		},
		details: fmt.Sprintf("The node says: `%s`. Its process had ended %.1f s after the signal: it also takes leave of the others. p99 of %d pages before, of %d meanwhile.", f.line, f.gone.Seconds(), f.before.Pages, f.during.Pages),
	}
}
