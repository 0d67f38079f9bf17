package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"statemesh/cmd/internal/bench"
)

type flatFigures struct {
	sessions [2]int // few, many
	rounds   [2][]*bench.Result
	pinning  string
}

const few, many = 0, 1

// flat compares a service that holds many sessions with one that holds few, both asked for pages of all of them at random, in turns.
func flat(ctx context.Context, l *lab) (figures, error) {
	cores, pinning := bench.Pin()
	defer cores.Unpin()
	f := flatFigures{sessions: [2]int{10_000, l.pick(5_000_000, 50_000)}, pinning: pinning}
	var farms [2]*bench.Farm
	for i, sessions := range f.sessions {
		s, err := l.service(ctx, cores, bench.FarmOptions{Conns: 16, Sessions: sessions, Size: bench.Size{Min: 256, Max: 256}, Minutes: 60})
		if err != nil {
			return nil, err
		}
		defer s.stop()
		if err := s.Fill(ctx, l.progress); err != nil {
			return nil, err
		}
		farms[i] = s.Farm
	}
	order := []int{few, many}
	for range l.pick(9, 2) {
		for _, i := range order {
			r := farms[i].Run(ctx, l.pickTime(time.Second, 50*time.Millisecond), l.pickTime(5*time.Second, 200*time.Millisecond), l.progress)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if r.Wrong() > 0 {
				return nil, fmt.Errorf("wrong answers: %v %q", r.Faults, r.FirstFaults)
			}
			f.rounds[i] = append(f.rounds[i], r)
		}
		slices.Reverse(order)
	}
	return f, nil
}

func (f flatFigures) section() section {
	side := func(i int) (pages, p999 float64) {
		return bench.Median(f.rounds[i], func(r *bench.Result) float64 { return r.PagesPerSecond }),
			bench.Median(f.rounds[i], func(r *bench.Result) float64 { return r.Page.P999 })
	}
	fewPages, fewP999 := side(few)
	manyPages, manyP999 := side(many)
	pages, p999 := manyPages/fewPages, manyP999/fewP999
	return section{
		how: fmt.Sprintf("Two services, one with %s and one with %s sessions of 256 B, take turns with 16 connections that ask for pages of\n"+
			"sessions at random: medians of %d rounds.", count(f.sessions[few]), count(f.sessions[many]), len(f.rounds[few])),
		command: "go run ./cmd/benchreport -only flat",
		rows: []row{
			{"pages/s, in ratio to few sessions", "at least 0.95", fmt.Sprintf("%.3f (%.0f to %.0f)", pages, manyPages, fewPages), pages >= 0.95},
			{"p99.9 of pages, in ratio to few sessions", "at most 1.25", fmt.Sprintf("%.2f (%.0f to %.0f µs)", p999, manyP999, fewP999), p999 <= 1.25},
		},
		details: f.pinning + ".",
	}
}
