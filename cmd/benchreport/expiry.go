package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"statemesh/cmd/internal/bench"
)

type expiryFigures struct {
	sessions int
	window   time.Duration // within which they expired
	// From the last one's expiry until they were gone from the count, and until nearly all of the memory they had used was free.
	gone, free time.Duration
	rate       float64
	before     *bench.Result // of other requests
	during     *bench.Result
	pinning    string
}

const (
	background    = 10_000 // sessions that stay
	windowAllowed = 10 * time.Second
	expiryAllowed = 15 * time.Second       // from the first one's expiry
	askEvery      = 500 * time.Millisecond // for metrics, which costs the service something too: before as well as during
)

// expiry stores sessions as fast as it can, half of them for two minutes and a minute later the rest for one, so that all expire at once; and sees how
// long they stay and what other requests notice.
func expiry(ctx context.Context, l *lab) (figures, error) {
	cores, pinning := bench.Pin()
	defer cores.Unpin()
	f := expiryFigures{sessions: l.pick(1_000_000, 20_000), rate: 2000, pinning: pinning}
	size := bench.Size{Min: 256, Max: 256}
	s, err := l.service(ctx, cores, bench.FarmOptions{Conns: 16, Sessions: f.sessions / 2, Size: size, Minutes: 2, Seed: 1})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	others, err := s.farm(ctx, bench.FarmOptions{Conns: 16, Sessions: background, Size: size, Minutes: 60, Seed: 2, Rate: f.rate})
	if err != nil {
		return nil, err
	}
	defer others.Close()
	if err := others.Fill(ctx, l.progress); err != nil {
		return nil, err
	}
	empty, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}

	rest, err := s.farm(ctx, bench.FarmOptions{Conns: 16, Sessions: f.sessions / 2, Size: size, Minutes: 1, Seed: 3})
	if err != nil {
		return nil, err
	}
	defer rest.Close()
	firstExpiry := time.Now().Add(2 * time.Minute)
	if err := s.Fill(ctx, l.progress); err != nil {
		return nil, err
	}
	lastExpiry := time.Now().Add(2 * time.Minute)
	if err := sleep(ctx, time.Until(firstExpiry.Add(-time.Minute))); err != nil {
		return nil, err
	}
	if err := rest.Fill(ctx, l.progress); err != nil {
		return nil, err
	}
	if last := time.Now().Add(time.Minute); last.After(lastExpiry) {
		lastExpiry = last
	}
	f.window = lastExpiry.Sub(firstExpiry)
	full, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	low := empty[metricMemory] + (full[metricMemory]-empty[metricMemory])/20

	const margin = 2 * time.Second
	if f.before, err = l.meanwhile(ctx, s, others, func(map[string]float64) bool { return time.Until(firstExpiry) < margin }); err != nil {
		return nil, err
	}
	if err := sleep(ctx, time.Until(firstExpiry)); err != nil {
		return nil, err
	}
	f.during, err = l.meanwhile(ctx, s, others, func(held map[string]float64) bool {
		since := time.Since(lastExpiry)
		if f.gone == 0 && held[metricSessions] <= background {
			f.gone = max(since, 1)
		}
		if f.free == 0 && held[metricMemory] <= low {
			f.free = max(since, 1)
		}
		return f.gone != 0 && f.free != 0 || since > time.Minute
	})
	return f, err
}

// meanwhile has the others ask for pages until done says that it is enough, which is shown the service's metrics now and then.
func (l *lab) meanwhile(ctx context.Context, s *service, others *bench.Farm, done func(held map[string]float64) bool) (*bench.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var watchErr error
	wg.Go(func() {
		defer cancel()
		for sleep(ctx, askEvery) == nil {
			held, err := s.metrics(ctx)
			if err != nil {
				watchErr = err
				return
			}
			if done(held) {
				return
			}
		}
	})
	r := others.Run(ctx, 0, 2*time.Minute, l.progress)
	cancel()
	wg.Wait()
	if watchErr != nil {
		return r, watchErr
	}
	return r, right(r)
}

func (f expiryFigures) section() section {
	ratio := f.during.Page.P99 / f.before.Page.P99
	after := func(d time.Duration) string {
		if d == 0 {
			return "not within a minute"
		}
		return fmt.Sprintf("%.1f s after the last one's expiry", max(d.Seconds(), 0))
	}
	met := func(d time.Duration) bool { return d != 0 && d+min(f.window, windowAllowed) <= expiryAllowed }
	return section{
		how: fmt.Sprintf("%s sessions of 256 B that expire within the same %.1f s, while other web servers ask for %.0f pages/s of %s other\n"+
			"sessions.", count(f.sessions), f.window.Seconds(), f.rate, count(background)),
		command: "go run ./cmd/benchreport -only expiry",
		rows: []row{
			{"time in which they expire, which is that of storing half of them", fmt.Sprintf("at most %v", windowAllowed), fmt.Sprintf("%.1f s", f.window.Seconds()), f.window <= windowAllowed},
			{"sessions gone", "15 s after the first one's expiry", after(f.gone), met(f.gone)},
			{"95 % of their memory reusable", "15 s after the first one's expiry", after(f.free), met(f.free)},
			{"p99 of other pages meanwhile, in ratio to before", "at most 1.5", fmt.Sprintf("%.2f (%.0f to %.0f µs)", ratio, f.during.Page.P99, f.before.Page.P99), ratio <= 1.5},
		},
		details: fmt.Sprintf("p99 before: of %d pages in %.0f s; meanwhile: of %d pages in %.0f s. %s.", f.before.Pages, f.before.Seconds, f.during.Pages, f.during.Seconds, f.pinning),
	}
}
