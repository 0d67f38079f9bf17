package service

import (
	"context"
	"errors"
	"fmt"

	"statemesh/cluster"
)

// mesh is this node's part in a cluster: a *cluster.Node. Tests have others.
type mesh interface {
	SetStatus(addr string)
	Start(context.Context) error
	Stop(context.Context) error
	Addrs() cluster.Addrs
	ReloadKeys() error

	Fetch(context.Context, cluster.Request) cluster.Answer
	FetchThen(cluster.Request, func(cluster.Answer))
	Done(cluster.Answer)
	Fresh() bool

	Members() []cluster.Member
	Stats() cluster.Stats
	Events() []cluster.Event
	Reports() map[string]cluster.Report
	Bouncing() []cluster.Bouncing

	Drain(context.Context) error
	Progress() cluster.DrainProgress
	Snapshot(context.Context) (sessions, bytes int64, err error)
}

var _ mesh = (*cluster.Node)(nil)

// newMesh makes the node's part in its cluster. One that runs alone has none, unless it is to keep its sessions: then it is the only one of a
// cluster of its own, without listeners.
func (s *Service) newMesh() error {
	if s.o.Cluster == nil && s.o.SnapshotDir == "" {
		return nil
	}
	o := cluster.Options{
		Name:        s.o.NodeName,
		Version:     s.o.Version,
		Store:       s.store,
		Status:      s.o.StatusAddr,
		LockWait:    s.o.LockWait,
		MaxBody:     s.o.MaxBody,
		SnapshotDir: s.o.SnapshotDir,
		Fenced:      s.fenced,
		Log:         s.o.Log,
	}
	if o.LockWait == 0 {
		o.LockWait = -1 // there, 0 is the default
	}
	if c := s.o.Cluster; c != nil {
		o.Gossip, o.Advertise, o.Transfer = c.Gossip, c.Advertise, c.Transfer
		o.Cluster, o.Join = c.Name, c.Join
		o.KeyFile, o.Insecure = c.KeyFile, c.Insecure
		o.CAFile, o.CertFile, o.CertKeyFile = c.CAFile, c.CertFile, c.CertKeyFile
		o.QueryTimeout = c.QueryTimeout
		o.Report = s.sampler.reporter.report
	}
	m, err := s.o.newMesh(o)
	if err != nil {
		return fmt.Errorf("set up the cluster: %w", err)
	}
	s.mesh = m
	s.conns.mesh = m // before any connection
	s.drain = newDrain(m, s.log)
	return nil
}

// fenced ends all connections: this node stood still, and web servers have given up on what they asked of it meanwhile. Done now, it would
// be done behind their backs, and a lock would be taken that nobody knows of.
func (s *Service) fenced() {
	s.log.Warn("closed all connections of web servers: what they asked while this node stood still is not done any more", "connections", s.conns.startAnew())
}

// clustered tells whether there are others.
func (s *Service) clustered() bool { return s.o.Cluster != nil }

// startMesh joins the cluster, or begins to: that goes on in the background. Until then web servers are served all the same.
func (s *Service) startMesh(ctx context.Context) error {
	if s.mesh == nil {
		return nil
	}
	if err := s.mesh.Start(ctx); err != nil {
		return hinted(fmt.Errorf("join the cluster: %w", err))
	}
	s.meshUp.Store(true)
	if s.clustered() {
		s.metrics.watch(s.mesh, s.o.Cluster.ExpectMembers)
	}
	s.onStopWithin(leaveTime, "leave the cluster", func(ctx context.Context) error {
		// Also in a hurry: others would take a node that does not say goodbye for a crashed one, and wait for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		defer cancel()
		return s.mesh.Stop(ctx)
	})
	if s.clustered() {
		s.onStopWithin(s.o.Cluster.DrainTimeout, "hand over sessions", s.handOver)
	} else {
		s.onStop("keep sessions", func(context.Context) error { return s.keep(errAlone) })
	}
	return nil
}

// NewKey makes a key for a cluster's key file, a line of text.
func NewKey() string { return cluster.NewKey() }

var errAlone = errors.New("this node runs alone: it is in no cluster")

// ReloadKeys reads the cluster's key file again. If it cannot be used, the keys stay as they are.
func (s *Service) ReloadKeys() error {
	if !s.clustered() {
		return errAlone
	}
	if err := s.mesh.ReloadKeys(); err != nil {
		s.log.Error("the keys stay as they are: the key file cannot be used", "file", s.o.Cluster.KeyFile, "error", err)
		return fmt.Errorf("reload keys: %w", err)
	}
	return nil // the cluster has logged what has changed
}
