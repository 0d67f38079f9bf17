package service

import (
	"context"
	"time"

	"statemesh/cluster"
)

// Mesh is what the service asks of a cluster.
type Mesh = mesh

// UseMesh puts another than a cluster.Node in its place. made sees what that would have been told.
func UseMesh(o *Options, m Mesh, made func(cluster.Options)) {
	o.newMesh = func(c cluster.Options) (mesh, error) {
		if made != nil {
			made(c)
		}
		return m, nil
	}
}

// StartMesh is the part of Start that has to do with the cluster, for a bubble, in which nothing can listen.
func (s *Service) StartMesh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startMesh(ctx); err != nil {
		return err
	}
	s.onStop("finish requests in flight", s.conns.stop)
	s.onStopWithin(handOverGrace, "begin to hand over sessions", s.beginHandOver)
	return nil
}

// Fetched counts a query that was answered.
func (s *Service) Fetched(a cluster.Answer, took time.Duration) { s.metrics.fetched(a, took) }
