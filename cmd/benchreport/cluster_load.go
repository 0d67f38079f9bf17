package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"statemesh/cmd/internal/bench"
)

type wanderFigures struct {
	sticky, page, request []*bench.Result
}

// wander compares users who stay on their node with users who go to some node with each request.
func wander(ctx context.Context, l *lab) (figures, error) {
	m, err := l.mesh(ctx, 3, false, nil)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	var farms []*bench.Farm
	for _, spread := range []bench.Spread{bench.Sticky, bench.PerPage, bench.PerRequest} {
		f, err := m.farm(ctx, l, bench.FarmOptions{Conns: 48, Sessions: l.pick(10_000, 500), Spread: spread}, 0, 1, 2)
		if err != nil {
			return nil, err
		}
		farms = append(farms, f)
	}
	r, err := l.turns(ctx, farms, l.pick(7, 2), l.pickTime(time.Second, 50*time.Millisecond), l.pickTime(4*time.Second, 200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return wanderFigures{r[0], r[1], r[2]}, nil
}

func (f wanderFigures) section() section {
	sticky, request := bench.Median(f.sticky, pagesPerSecond), bench.Median(f.request, pagesPerSecond)
	s := section{
		how: fmt.Sprintf("Three nodes, 48 connections, 10,000 sessions of 2400 B. Users who stay on their node, users whose pages go to some node each, and users\n"+
			"whose requests do, so that a page is acquired on one node and written on another: in turns, medians of %d rounds.", len(f.sticky)),
		command: "statemesh bench --addr A --addr B --addr C --conns 48 --spread request\n    go run ./cmd/benchreport -only cluster-wander",
		rows: []row{{"pages/s without any stickiness, in ratio to sticky users", "at least 0.3",
			fmt.Sprintf("%.2f (%.0f to %.0f)", request/sticky, request, sticky), request/sticky >= 0.3}},
		details: "| users | pages/s | p50 | p99 |\n|---|--:|--:|--:|\n",
	}
	for _, side := range []struct {
		name string
		of   []*bench.Result
	}{{"sticky", f.sticky}, {"each page to some node", f.page}, {"each request to some node", f.request}} {
		s.details += fmt.Sprintf("| %s | %s | %s | %s |\n", side.name, count(int(bench.Median(side.of, pagesPerSecond))), ms(bench.Median(side.of, pageP50)), ms(bench.Median(side.of, pageP99)))
	}
	return s
}

type costFigures struct {
	alone, member []*bench.Result
	pinning       string
}

// cost compares a node that runs alone with one that is a member, both with all their users to themselves.
func cost(ctx context.Context, l *lab) (figures, error) {
	cores, pinning := bench.Pin()
	defer cores.Unpin()
	var farms []*bench.Farm
	for _, alone := range []bool{true, false} {
		n := 3
		if alone {
			n = 1
		}
		m, err := l.mesh(ctx, n, alone, cores)
		if err != nil {
			return nil, err
		}
		defer m.stop()
		f, err := m.farm(ctx, l, bench.FarmOptions{Conns: 32, Sessions: l.pick(10_000, 500)}, 0)
		if err != nil {
			return nil, err
		}
		farms = append(farms, f)
	}
	r, err := l.turns(ctx, farms, l.pick(15, 2), l.pickTime(500*time.Millisecond, 50*time.Millisecond), l.pickTime(3*time.Second, 200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return costFigures{r[0], r[1], pinning}, nil
}

func (f costFigures) section() section {
	alone, member := bench.Median(f.alone, pagesPerSecond), bench.Median(f.member, pagesPerSecond)
	return section{
		how: fmt.Sprintf("A node that runs alone, and a node of a cluster of three whose other two nodes have nothing to do: 32 connections, pages of 2400 B,\n"+
			"in turns, medians of %d rounds.", len(f.alone)),
		command: "statemesh bench --addr ALONE --conns 32\n    statemesh bench --addr A --conns 32\n    go run ./cmd/benchreport -only cluster-cost",
		rows: []row{{"pages/s of a member, in ratio to a node alone", "at least 0.97",
			fmt.Sprintf("%.3f (%.0f to %.0f)", member/alone, member, alone), member/alone >= 0.97}},
		details: fmt.Sprintf("p99: %s to %s. %s.", ms(bench.Median(f.member, pageP99)), ms(bench.Median(f.alone, pageP99)), f.pinning),
	}
}

type floodFigures struct {
	flooded, ordinary []*bench.Result // of the others
	flood, spread     []*bench.Result // of the 200 connections
}

// flood compares what others get while 200 connections ask for one session with what they get while those ask for 200 sessions.
func flood(ctx context.Context, l *lab) (figures, error) {
	m, err := l.mesh(ctx, 3, false, nil)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	others, err := m.farm(ctx, l, bench.FarmOptions{Conns: 60, Sessions: 600, Spread: bench.PerPage}, 0, 1, 2)
	if err != nil {
		return nil, err
	}
	one, err := m.farm(ctx, l, bench.FarmOptions{Conns: 200, Sessions: 1, Shared: true}, 0, 1, 2)
	if err != nil {
		return nil, err
	}
	many, err := m.farm(ctx, l, bench.FarmOptions{Conns: 200, Sessions: 200, Spread: bench.PerPage}, 0, 1, 2)
	if err != nil {
		return nil, err
	}
	var f floodFigures
	for i := range l.pick(9, 2) {
		turns := []func() error{
			func() error { return l.beside(ctx, others, one, &f.flooded, &f.flood) },
			func() error { return l.beside(ctx, others, many, &f.ordinary, &f.spread) },
		}
		for k := range turns {
			if err := turns[(k+i)%2](); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// beside measures the others while a crowd is at work too.
func (l *lab) beside(ctx context.Context, others, crowd *bench.Farm, of, ofCrowd *[]*bench.Result) error {
	crowded, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var c *bench.Result
	wg.Go(func() { c = crowd.Run(crowded, 0, time.Hour, nil) })
	r := others.Run(ctx, l.pickTime(time.Second, 50*time.Millisecond), l.pickTime(5*time.Second, 300*time.Millisecond), l.progress)
	cancel()
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, r := range []*bench.Result{r, c} {
		if err := right(r); err != nil {
			return err
		}
	}
	*of, *ofCrowd = append(*of, r), append(*ofCrowd, c)
	return nil
}

func (f floodFigures) section() section {
	pages := bench.Median(f.flooded, pagesPerSecond) / bench.Median(f.ordinary, pagesPerSecond)
	p99 := bench.Median(f.flooded, pageP99) / bench.Median(f.ordinary, pageP99)
	s := section{
		how: fmt.Sprintf("Three nodes. 60 users whose pages go to some node each, while 200 connections to all three nodes ask for pages of one session (they poll\n"+
			"one that is locked every millisecond), or, in turns, of 200 sessions that wander too: medians of %d rounds, of the 60 users.", len(f.flooded)),
		command: "statemesh bench --addr A --addr B --addr C --conns 60 --sessions 600 --spread page, beside\n" +
			"    statemesh bench --addr A --addr B --addr C --conns 200 --sessions 1 --shared, or --sessions 200 --spread page\n    go run ./cmd/benchreport -only cluster-flood",
		rows: []row{
			{"pages/s of others, in ratio to 200 ordinary sessions", "at least 0.80", fmt.Sprintf("%.2f", pages), pages >= 0.8},
			{"p99 of others, in ratio to 200 ordinary sessions", "at most 1.20", fmt.Sprintf("%.2f", p99), p99 <= 1.2},
		},
		details: "| beside | pages/s of the 60 | p50 | p99 | pages/s of the 200 |\n|---|--:|--:|--:|--:|\n",
	}
	for _, side := range []struct {
		name    string
		of, the []*bench.Result
	}{{"a flood of one session", f.flooded, f.flood}, {"200 ordinary sessions", f.ordinary, f.spread}} {
		s.details += fmt.Sprintf("| %s | %s | %s | %s | %s |\n", side.name, count(int(bench.Median(side.of, pagesPerSecond))),
			ms(bench.Median(side.of, pageP50)), ms(bench.Median(side.of, pageP99)), count(int(bench.Median(side.the, pagesPerSecond))))
	}
	return s
}
