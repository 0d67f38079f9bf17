package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"statemesh/cmd/internal/bench"
)

// fetchFigures are pages whose session is elsewhere, and pages whose session is here.
type fetchFigures struct {
	local, moved []*bench.Result
}

// fetch has one connection ask for pages on one node, and one that alternates between two nodes of three, so that each page's session is on the
// other one. What is added is the fetch.
func fetch(ctx context.Context, l *lab) (figures, error) {
	m, err := l.mesh(ctx, 3, false, nil)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	local, err := m.farm(ctx, l, bench.FarmOptions{Conns: 1, Sessions: 100}, 0)
	if err != nil {
		return nil, err
	}
	moved, err := m.farm(ctx, l, bench.FarmOptions{Conns: 1, Sessions: 100, Spread: bench.Alternate}, 0, 1)
	if err != nil {
		return nil, err
	}
	r, err := l.turns(ctx, []*bench.Farm{local, moved}, l.pick(9, 2), l.pickTime(time.Second, 50*time.Millisecond), l.pickTime(4*time.Second, 200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return fetchFigures{r[0], r[1]}, nil
}

func (f fetchFigures) section() section {
	p50 := bench.Median(f.moved, pageP50) - bench.Median(f.local, pageP50)
	p99 := bench.Median(f.moved, pageP99) - bench.Median(f.local, pageP50)
	return section{
		how: fmt.Sprintf("Three nodes, sessions of 2400 B. One connection asks for pages (GetExclusive, Set) of 100 sessions; then, in turns, one that asks\n"+
			"for each page of a session on the other of two nodes than for the one before, so that each is fetched. Medians of %d rounds.", len(f.local)),
		command: "statemesh bench --addr A --addr B --spread alternate --conns 1 --sessions 100\n    go run ./cmd/benchreport -only cluster-fetch",
		rows: []row{
			{"a fetch, added to the page: p50 to p50", "at most 0.6 ms", ms(p50), p50 <= 600},
			{"a fetch, added to the page: p99, to the p50 of pages without", "at most 4 ms", ms(p99), p99 <= 4000},
		},
		details: fmt.Sprintf("| page | p50 | p99 | p99.9 |\n|---|--:|--:|--:|\n%s%s", latencyRow("session is here", f.local), latencyRow("session is fetched", f.moved)),
	}
}

func latencyRow(name string, all []*bench.Result) string {
	return fmt.Sprintf("| %s | %s | %s | %s |\n", name, ms(bench.Median(all, pageP50)), ms(bench.Median(all, pageP99)),
		ms(bench.Median(all, func(r *bench.Result) float64 { return r.Page.P999 })))
}

// missFigures are, by the number of members, requests for what is nowhere.
type missFigures struct {
	members      []int
	miss, create [][]*bench.Result
}

// miss has one connection ask for sessions that do not exist, and another store brand-new ones: both must ask every member.
func miss(ctx context.Context, l *lab) (figures, error) {
	f := missFigures{members: []int{3, 9}}
	for _, n := range f.members {
		r, err := l.missWith(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%d members: %w", n, err)
		}
		f.miss, f.create = append(f.miss, r[0]), append(f.create, r[1])
	}
	return f, nil
}

func (l *lab) missWith(ctx context.Context, members int) ([][]*bench.Result, error) {
	m, err := l.mesh(ctx, members, false, nil)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	var farms []*bench.Farm
	for _, mix := range []bench.Mix{bench.Miss, bench.Create} {
		f, err := m.farm(ctx, l, bench.FarmOptions{Conns: 1, Sessions: 100, Mix: mix}, 0)
		if err != nil {
			return nil, err
		}
		farms = append(farms, f)
	}
	return l.turns(ctx, farms, l.pick(7, 2), l.pickTime(time.Second, 50*time.Millisecond), l.pickTime(3*time.Second, 200*time.Millisecond))
}

func (f missFigures) section() section {
	s := section{
		how: fmt.Sprintf("One connection to one node of the cluster asks for sessions that are nowhere, or stores brand-new ones of 2400 B, in turns:\n"+
			"medians of %d rounds.", len(f.miss[0])),
		command: "statemesh bench --addr A --mix miss --conns 1\n    statemesh bench --addr A --mix create --conns 1\n    go run ./cmd/benchreport -only cluster-miss",
	}
	limits := map[int]float64{3: 400, 9: 1200}
	var details strings.Builder
	details.WriteString("| members | request | p50 | p99 | p99.9 |\n|--:|---|--:|--:|--:|\n")
	for i, n := range f.members {
		for _, side := range []struct {
			what string
			of   []*bench.Result
		}{{"a session that does not exist", f.miss[i]}, {"a new user's first write", f.create[i]}} {
			p50 := bench.Median(side.of, pageP50)
			s.rows = append(s.rows, row{fmt.Sprintf("%s, %d members: p50", side.what, n), "at most " + ms(limits[n]), ms(p50), p50 <= limits[n]})
			details.WriteString(fmt.Sprintf("| %d ", n) + latencyRow(side.what, side.of))
		}
	}
	s.details = details.String()
	return s
}

// pairFigures are waits of the second of two requests.
type pairFigures struct {
	same, other []*bench.Result
}

const pairThink = 20 * time.Millisecond

// pair has two requests of one user meet: the second is asked when the first has the lock, and is to be answered when that is written.
func pair(ctx context.Context, l *lab) (figures, error) {
	m, err := l.mesh(ctx, 3, false, nil)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	same, err := m.farm(ctx, l, bench.FarmOptions{Conns: 4, Sessions: 100, Mix: bench.Pair, Think: pairThink}, 0)
	if err != nil {
		return nil, err
	}
	other, err := m.farm(ctx, l, bench.FarmOptions{Conns: 4, Sessions: 100, Mix: bench.Pair, Think: pairThink, Spread: bench.Alternate}, 0, 1)
	if err != nil {
		return nil, err
	}
	r, err := l.turns(ctx, []*bench.Farm{same, other}, l.pick(7, 2), l.pickTime(time.Second, 50*time.Millisecond), l.pickTime(5*time.Second, 500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return pairFigures{r[0], r[1]}, nil
}

func (f pairFigures) section() section {
	s := section{
		how: fmt.Sprintf("Three nodes; four users, each with two requests at the same moment for a page that takes %v. From sending the first one's Set until\n"+
			"the second, which has waited since the beginning, is answered: medians of %d rounds. Microsoft's service: 0 to 500 ms.", pairThink, len(f.same)),
		command: fmt.Sprintf("statemesh bench --addr A --mix pair --think %v --conns 4\n    statemesh bench --addr A --addr B --mix pair --spread alternate --think %v --conns 4\n"+
			"    go run ./cmd/benchreport -only cluster-pair", pairThink, pairThink),
	}
	for _, side := range []struct {
		where string
		of    []*bench.Result
	}{{"on the same node", f.same}, {"on another node", f.other}} {
		p50, p99 := bench.Median(side.of, waitP50), bench.Median(side.of, waitP99)
		s.rows = append(s.rows,
			row{"the second is answered, " + side.where + ": p50", "within 2 ms", ms(p50), p50 <= 2000},
			row{"the second is answered, " + side.where + ": p99", "within 10 ms", ms(p99), p99 <= 10000})
		polls := 0
		for _, r := range side.of {
			polls += int(r.Polls)
		}
		s.details += fmt.Sprintf("%s: %d of the second requests were told 423 and came again 500 ms later. ", strings.ToUpper(side.where[:1])+side.where[1:], polls)
	}
	return s
}
