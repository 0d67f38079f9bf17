package main

import (
	"context"
	"fmt"
	"time"

	"statemesh/cmd/internal/farm"
)

// meetFigures are times until everybody knows.
type meetFigures struct {
	shapes []string
	meet   []time.Duration
	crash  []time.Duration
}

// meet starts nine nodes at once with seed lists of each shape, waits until each sees all, and kills one.
func meet(ctx context.Context, l *lab) (figures, error) {
	var f meetFigures
	for _, shape := range []struct {
		name string
		of   farm.Shape
	}{{"ring", farm.Ring}, {"star", farm.Star}, {"stars of stars", farm.Stars}, {"everyone", farm.Everyone}} {
		met, crash, err := l.meetIn(ctx, shape.of)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shape.name, err)
		}
		f.shapes, f.meet, f.crash = append(f.shapes, shape.name), append(f.meet, met), append(f.crash, crash)
	}
	return f, nil
}

func (l *lab) meetIn(ctx context.Context, shape farm.Shape) (met, noticed time.Duration, err error) {
	m, err := l.meshOf(farm.ClusterOptions{Nodes: 9, Shape: shape})
	if err != nil {
		return 0, 0, err
	}
	defer m.stop()
	if err := m.Start(ctx); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := m.Joined(ctx); err != nil {
		return 0, 0, err
	}
	met = time.Since(began)
	began = time.Now()
	victim := m.Nodes[4]
	victim.Kill()
	if err := m.Joined(ctx); err != nil { // with those that still run
		return 0, 0, err
	}
	return met, time.Since(began), nil
}

func (f meetFigures) section() section {
	s := section{
		how:     "Nine nodes are started at once, with seed lists of each shape, until each of them sees all others and is connected to them; then one is killed,\nuntil each of the others knows.",
		command: "go run ./cmd/benchreport -only cluster-meet",
	}
	for i, name := range f.shapes {
		s.rows = append(s.rows,
			row{"full membership after the last start: " + name, "within 3 s", fmt.Sprintf("%.2f s", f.meet[i].Seconds()), f.meet[i] <= 3*time.Second},
			row{"a crash noticed by all: " + name, "within 4 s", fmt.Sprintf("%.2f s", f.crash[i].Seconds()), f.crash[i] <= 4*time.Second})
	}
	return s
}
