//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/farm"
)

// figures are a node's metrics, those without labels.
func figures(t *testing.T, n *farm.Node) map[string]float64 {
	t.Helper()
	_, body, err := n.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	all := make(map[string]float64)
	for lines := bufio.NewScanner(strings.NewReader(string(body))); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			all[name] = value
		}
	}
	return all
}

// A user leans on the refresh key: 200 connections to all three nodes ask for one session, while others work. Their session must make
// progress, the others' pages too (how much is measured by benchreport), and when it is over nothing may be left of it.
func TestFlood_LeavesNothingBehind(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	var addrs []string
	before := make(map[string]map[string]float64)
	for _, n := range c.Nodes {
		addrs = append(addrs, n.State)
		before[n.Name] = figures(t, n)
	}
	size := bench.Size{Min: 2400, Max: 2400}
	join := func(o bench.FarmOptions) *bench.Farm {
		t.Helper()
		o.Addrs, o.Size = addrs, size
		f, err := bench.NewFarm(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		if err := f.Dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Fill(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return f
	}
	others := join(bench.FarmOptions{Conns: 60, Sessions: 600, Spread: bench.PerPage, Rate: 600, Seed: 1})
	flood := join(bench.FarmOptions{Conns: 200, Sessions: 1, Shared: true, Seed: 2})

	flooded := make(chan *bench.Result, 1)
	go func() { flooded <- flood.Run(t.Context(), 0, 6*time.Second, nil) }() // to its end: a page that is cut short leaves its lock
	r := others.Run(t.Context(), 0, 5*time.Second, nil)
	f := <-flooded
	t.Logf("others: %.0f pages/s, p99 %.1f ms, wrong %v; flooded: %.0f pages/s, %d polls, wrong %v",
		r.PagesPerSecond, r.Page.P99/1000, r.Faults, f.PagesPerSecond, f.Polls, f.Faults)
	if r.Wrong()+f.Wrong() > 0 {
		t.Errorf("wrong answers: %v %q, %v %q", r.Faults, r.FirstFaults, f.Faults, f.FirstFaults)
	}
	if r.Pages < 1000 {
		t.Errorf("others got %d pages in 5 s", r.Pages)
	}
	if f.Pages < 100 {
		t.Errorf("the flooded session got %d pages in 5 s", f.Pages)
	}
	flood.Close()
	others.Close()

	// At once, or nearly, nothing waits, moves, or is locked.
	clean(t, c, before, []string{"statemesh_requests_waiting", "statemesh_queries_waiting", "statemesh_sessions_locked", "statemesh_connections", "statemesh_copies"}, 0)
	clean(t, c, before, []string{"go_goroutines"}, 20)
	for _, n := range c.Nodes {
		if grown := figures(t, n)["process_resident_memory_bytes"] - before[n.Name]["process_resident_memory_bytes"]; grown > 200<<20 {
			t.Errorf("%s has grown by %.0f MB", n.Name, grown/1e6)
		}
	}
	// What is left are notes of where sessions went, which are kept for a minute. The other tests run meanwhile.
	t.Parallel()
	clean(t, c, before, []string{"statemesh_hints"}, 0)
}

// clean waits until figures are what they were, or not much above that.
func clean(t *testing.T, c *farm.Cluster, before map[string]map[string]float64, names []string, above float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
	defer cancel()
	for _, n := range c.Nodes {
		var last string
		err := n.Poll(ctx, "end of the flood", func() bool {
			now := figures(t, n)
			for _, name := range names {
				value, ok := now[name]
				if last = fmt.Sprintf("%s is %v, was %v", name, value, before[n.Name][name]); !ok || value > before[n.Name][name]+above {
					return false
				}
			}
			return true
		})
		if err != nil {
			t.Errorf("%v: %s", err, last)
		}
	}
}
