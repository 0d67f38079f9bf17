package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// step undoes one thing that came up.
type step struct {
	name string
	stop func(context.Context) error
}

// onStop pushes a step. Stop runs them from the last to the first, as a function does its defers.
func (s *Service) onStop(name string, stop func(context.Context) error) {
	s.steps = append(s.steps, step{name, stop})
}

// stopLocked runs all steps, whatever becomes of each. They share one deadline: a step that finds it passed ends its
// thing by force.
func (s *Service) stopLocked() error {
	if s.stopped {
		return s.stopErr
	}
	s.stopped = true
	s.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.o.StopTimeout)
	defer cancel()
	for _, step := range slices.Backward(s.steps) {
		if err := step.stop(ctx); err != nil {
			s.log.Error("stopping: step failed", "step", step.name, "error", err)
			s.stopErr = errors.Join(s.stopErr, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	s.steps = nil
	return s.stopErr
}
