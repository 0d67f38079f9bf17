package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/farm"
)

// The measurements of clusters: cluster_meet.go, coming together; cluster_pages.go, single pages; cluster_load.go, load; cluster_drain.go, leaving.
// All processes share the machine's processors with one another and with the web farm, unless a section says otherwise.

// mesh is a cluster under measurement.
type mesh struct {
	*farm.Cluster
	dir   string
	farms []*bench.Farm
}

// mesh starts n nodes that have found each other; with alone, one that has nobody to find.
func (l *lab) mesh(ctx context.Context, n int, alone bool, cores *bench.Cores) (*mesh, error) {
	o := farm.ClusterOptions{Nodes: n, Alone: alone}
	if cores != nil {
		o.Place = func(_ int, o *farm.NodeOptions) { o.Host = pinned{cores} }
	}
	m, err := l.meshOf(o)
	if err != nil {
		return nil, err
	}
	if err = m.Start(ctx); err == nil && !alone {
		err = m.Joined(ctx)
	}
	if err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// meshOf makes a cluster that has not been started.
func (l *lab) meshOf(o farm.ClusterOptions) (_ *mesh, err error) {
	m := &mesh{}
	if m.dir, err = os.MkdirTemp("", "benchreport"); err != nil {
		return nil, err
	}
	o.Exe, o.Dir, o.Flags = l.exe, m.dir, []string{"--log-level", "info"}
	if m.Cluster, err = farm.NewCluster(o); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// pinned runs nodes on the servers' processor.
type pinned struct{ cores *bench.Cores }

func (p pinned) Start(cmd *exec.Cmd) error { return p.cores.Start(cmd) }

func (p pinned) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (m *mesh) stop() {
	for _, f := range m.farms {
		f.Close()
	}
	if m.Cluster != nil {
		m.Kill()
	}
	os.RemoveAll(m.dir)
}

// addrs are where nodes serve web servers.
func (m *mesh) addrs(nodes ...int) (addrs []string) {
	for _, i := range nodes {
		addrs = append(addrs, m.Nodes[i].State)
	}
	return addrs
}

// farm is a web farm on some of the nodes, whose sessions are stored.
func (m *mesh) farm(ctx context.Context, l *lab, o bench.FarmOptions, nodes ...int) (*bench.Farm, error) {
	o.Addrs = m.addrs(nodes...)
	if o.Size == (bench.Size{}) {
		o.Size = bench.Size{Min: 2400, Max: 2400}
	}
	o.Seed = uint64(len(m.farms) + 1)
	f, err := bench.NewFarm(o)
	if err != nil {
		return nil, err
	}
	m.farms = append(m.farms, f)
	if err := f.Dial(ctx); err != nil {
		return nil, err
	}
	return f, f.Fill(ctx, l.progress)
}

// turns has farms take turns: rounds of them, every second the other way round, so that none always has the better half of what the machine does
// meanwhile. It returns the results by farm.
func (l *lab) turns(ctx context.Context, farms []*bench.Farm, rounds int, warmup, duration time.Duration) ([][]*bench.Result, error) {
	results := make([][]*bench.Result, len(farms))
	order := make([]int, len(farms))
	for i := range order {
		order[i] = i
	}
	for range rounds {
		for _, i := range order {
			r := farms[i].Run(ctx, warmup, duration, l.progress)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err := right(r); err != nil {
				return nil, err
			}
			results[i] = append(results[i], r)
		}
		slices.Reverse(order)
	}
	return results, nil
}

// right is an error if there was a wrong answer.
func right(r *bench.Result) error {
	if r.Wrong() > 0 {
		return fmt.Errorf("wrong answers: %v %q", r.Faults, r.FirstFaults)
	}
	return nil
}

// The figures that are looked at, of a round.
func pagesPerSecond(r *bench.Result) float64 { return r.PagesPerSecond }
func pageP50(r *bench.Result) float64        { return r.Page.P50 }
func pageP99(r *bench.Result) float64        { return r.Page.P99 }
func waitP50(r *bench.Result) float64        { return r.Wait.P50 }
func waitP99(r *bench.Result) float64        { return r.Wait.P99 }

// ms shows microseconds.
func ms(us float64) string { return fmt.Sprintf("%.2f ms", us/1000) }
