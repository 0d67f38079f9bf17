package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// step undoes one thing that came up.
type step struct {
	name   string
	within time.Duration // of its own; 0: it shares StopTimeout with the others
	stop   func(context.Context) error
}

// logged is an error that stands in the log already, in better words.
type logged struct{ error }

// onStop pushes a step. Stop runs them from the last to the first, as a function does its defers.
func (s *Service) onStop(name string, stop func(context.Context) error) {
	s.onStopWithin(0, name, stop)
}

// onStopWithin pushes a step that has a time of its own.
func (s *Service) onStopWithin(within time.Duration, name string, stop func(context.Context) error) {
	s.steps = append(s.steps, step{name, within, stop})
}

// keepRunning runs something in a goroutine of its own, until Stop comes to the step of that name.
func (s *Service) keepRunning(step string, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx) })
	s.onStop(step, func(context.Context) error {
		cancel()
		wg.Wait()
		return nil
	})
}

// How long the cluster's steps may take, besides what the options say.
const (
	handOverGrace = 2 * time.Second // until sessions are on their way to others
	leaveTime     = 5 * time.Second // others are told, which may take a few seconds if they leave as well, and a last one is for their questions
	snapshotTime  = 5 * time.Minute // even a large memory has been written by then
)

// StopLimit is how long Stop may take at most.
func (s *Service) StopLimit() time.Duration {
	limit := s.o.StopTimeout + forceGrace
	if c := s.o.Cluster; c != nil {
		limit += handOverGrace + c.DrainTimeout + leaveTime
	}
	if s.o.SnapshotDir != "" {
		limit += snapshotTime
	}
	return limit
}

// Hurry lets a Stop, under way or to come, wait for nobody any more: requests in flight are cut off, and sessions that have not been handed
// over go where Stop leaves those that nobody takes.
func (s *Service) Hurry() { s.hurry() }

// stopLocked runs all steps, whatever becomes of each. They share one deadline, but for those with a time of their own: a step that
// finds it passed ends its thing by force.
func (s *Service) stopLocked() error {
	if s.stopped {
		return s.stopErr
	}
	s.stopped = true
	s.stopping.Store(true)
	defer s.hurry()
	left := s.o.StopTimeout
	for _, step := range slices.Backward(s.steps) {
		within := left
		if step.within > 0 {
			within = step.within
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(s.hurried, within)
		err := step.stop(ctx)
		cancel()
		if step.within == 0 {
			left -= time.Since(began)
		}
		if err != nil {
			if !errors.As(err, new(logged)) {
				s.log.Error("stopping: step failed", "step", step.name, "error", err)
			}
			s.stopErr = errors.Join(s.stopErr, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	s.steps = nil
	return s.stopErr
}
