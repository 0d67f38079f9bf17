package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/service/api"
	"statemesh/service/page"
	"statemesh/session"
	"statemesh/wire"
)

// Addrs are the addresses a running node listens on (host:port).
type Addrs = api.Addrs

// Service is one node.
type Service struct {
	o       Options
	log     hclog.Logger
	store   *session.Store
	metrics *metrics
	guard   *guard
	conns   *connections
	mesh    mesh   // nil: the node runs alone, and keeps nothing when it stops
	drain   *drain // nil: the same
	sampler *sampler
	page    *page.Page
	started time.Time // for operators

	stopping atomic.Bool           // for /readyz
	meshUp   atomic.Bool           // mesh answers: it may take long to start, with many sessions to read from SnapshotDir
	addrs    atomic.Pointer[Addrs] // nil before Start
	hurried  context.Context       // ended by hurry
	hurry    context.CancelFunc

	mu       sync.Mutex // held by Start and by Stop from begin to end; guards the rest
	steps    []step     // what Stop has to undo
	stopped  bool
	stopErr  error
	farewell string // what Stop has come to

	handOverBy time.Time // when Stop gives up handing sessions over
}

// New checks the options and makes a node that listens to nothing yet. It starts no goroutine and opens no socket, but
// has its store: ServeConn works, and Stop is what gives the store's memory back.
func New(o Options) (*Service, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("service options: %w", err)
	}
	format, err := wire.NewFormat(o.StatusLine, o.AspNetVersion)
	if err != nil {
		return nil, fmt.Errorf("service options: StatusLine or AspNetVersion: %w", err)
	}
	store, err := session.New(session.Options{MaxMemory: o.MaxMemory, MaxWaiting: o.MaxWaiting, LockWait: o.LockWait})
	if err != nil {
		return nil, fmt.Errorf("make session store: %w", err)
	}
	log := o.Log.Named("service")
	metrics := newMetrics(store, o.Version)
	guard, err := newGuard(o.Status, log, metrics.refusedAtStatus)
	if err != nil {
		store.Close()
		return nil, err
	}
	metrics.watchCertificate(guard.cert)
	h := &handler{
		store:          store,
		format:         format,
		limits:         wire.Limits{MaxHead: o.MaxHead, MaxBody: o.MaxBody},
		requestTimeout: o.RequestTimeout,
		idleTimeout:    o.IdleTimeout,
		metrics:        metrics,
		usage:          newUsage(),
		log:            log,
		notices:        newNotices(log),
	}
	s := &Service{o: o, log: log, store: store, metrics: metrics, guard: guard, conns: newConnections(h, o.MaxConnections), started: time.Now()}
	s.hurried, s.hurry = context.WithCancel(context.Background())
	s.sampler = newSampler(s)
	s.page = page.New(s.sampler)
	if err := s.newMesh(); err != nil {
		store.Close()
		return nil, err
	}
	s.onStop("close the store", s.closeStore)
	s.onStop("end connections", s.conns.stop) // those of ServeConn, if there was no Start
	return s, nil
}

// Start listens and serves. It returns once web servers can connect; ctx bounds only that. If it fails, nothing is left
// of what it began, and the node is stopped.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("start node %s: it has been stopped", s.o.NodeName)
	}
	if s.addrs.Load() != nil {
		return fmt.Errorf("start node %s: it has been started", s.o.NodeName)
	}
	if err := s.startLocked(ctx); err != nil {
		_ = s.stopLocked() // logged there
		return fmt.Errorf("start node %s: %w", s.o.NodeName, err)
	}
	addrs := s.Addrs()
	pairs := []any{"state", addrs.State, "status", addrs.Status, "node", addrs.Node}
	if s.clustered() {
		pairs = append(pairs, "gossip", addrs.Gossip, "transfer", addrs.Transfer)
	}
	s.log.Info("listening", pairs...)
	return nil
}

// startLocked brings things up in an order that is right to take down from its end: web servers lose their listener
// first and find everything else in place until their last request has been answered. Ports that may be taken come before the cluster,
// which nobody should see come and go.
func (s *Service) startLocked(ctx context.Context) error {
	if err := s.removeAddrFile(); err != nil {
		return err
	}
	s.startExpiry()
	status, err := listen(ctx, s.o.StatusAddr)
	if err != nil {
		return err
	}
	if s.mesh != nil {
		s.mesh.SetStatus(status.Addr().String())
	}
	s.startStatus(status)
	s.startSampler()
	state, err := listen(ctx, s.o.StateAddr)
	if err != nil {
		return err
	}
	if err := s.startServing(ctx, state); err != nil {
		state.Close() // which may have been done
		return err
	}
	addrs := Addrs{Node: s.o.NodeName, State: state.Addr().String(), Status: status.Addr().String()}
	if s.clustered() {
		a := s.mesh.Addrs()
		addrs.Gossip, addrs.Transfer = a.Gossip, a.Transfer
	}
	s.addrs.Store(&addrs)
	return s.writeAddrFile()
}

func (s *Service) startServing(ctx context.Context, state net.Listener) error {
	if err := s.startMesh(ctx); err != nil {
		return err
	}
	if err := s.startLoops(); err != nil {
		return err
	}
	s.onStop("finish requests in flight", s.conns.stop) // with the status listener still up, to say that and how it goes
	s.startAccepting(state)
	if s.clustered() {
		s.onStopWithin(handOverGrace, "begin to hand over sessions", s.beginHandOver)
	}
	return nil
}

// startExpiry runs the store's own work: expired sessions out, memory back.
func (s *Service) startExpiry() { s.keepRunning("end expiry", s.store.Run) }

func (s *Service) startStatus(l net.Listener) {
	srv := s.statusServer()
	s.guard.warnOf(l.Addr(), s.log)
	var wg sync.WaitGroup
	wg.Go(func() {
		serve := srv.Serve
		if srv.TLSConfig != nil {
			serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("status listener failed", "error", err)
		}
	})
	s.onStop("close the status listener", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, statusGrace)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close()
		}
		wg.Wait()
		return nil
	})
}

// startLoops lets connections be served by event loops, where there are any.
func (s *Service) startLoops() error {
	if s.o.GoroutinePerConn {
		return nil
	}
	loops, err := startLoops(s.conns)
	if err != nil {
		return err
	}
	s.conns.loops = loops
	s.onStop("end event loops", loops.stop)
	return nil
}

func (s *Service) startAccepting(l net.Listener) {
	loop := newAcceptLoop(l, s.conns)
	var wg sync.WaitGroup
	wg.Go(loop.run)
	s.onStop("stop accepting web servers", func(context.Context) error {
		err := loop.stop()
		wg.Wait()
		return err
	})
}

// removeAddrFile removes what another run has left: whoever waits for the addresses is not to find that one's.
func (s *Service) removeAddrFile() error {
	info, err := os.Lstat(s.o.AddrFile)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("write addresses to %s: that is a folder; name a file in it", s.o.AddrFile)
	case err != nil || !info.Mode().IsRegular():
		return nil // what else is wrong with it, writeAddrFile says
	}
	if err := os.Remove(s.o.AddrFile); err != nil {
		return fmt.Errorf("replace the addresses in %s: %w", s.o.AddrFile, cause(err))
	}
	return nil
}

// writeAddrFile tells scripts the addresses. It writes beside the file and renames, so that nobody reads half of it.
func (s *Service) writeAddrFile() error {
	if s.o.AddrFile == "" {
		return nil
	}
	line, err := json.Marshal(s.Addrs())
	if err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	written := s.o.AddrFile + ".new"
	if err = os.WriteFile(written, append(line, '\n'), 0o644); err == nil {
		if err = os.Rename(written, s.o.AddrFile); err != nil {
			os.Remove(written)
		}
	}
	if err != nil {
		return fmt.Errorf("write addresses to %s: %w", s.o.AddrFile, cause(err))
	}
	return nil
}

// cause is a file's error without its name, which the operator does not know if it was made here.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Addrs are the addresses that the node listens on. Valid after Start.
func (s *Service) Addrs() Addrs {
	if addrs := s.addrs.Load(); addrs != nil {
		return *addrs
	}
	return Addrs{}
}

// ServeConn serves one web server's connection until it ends, and closes it. It needs no Start, and Stop ends it.
func (s *Service) ServeConn(nc net.Conn) {
	c, err := s.conns.admit(nc)
	if err != nil {
		nc.Close()
		return
	}
	s.conns.serve(c)
}

// Stop stops accepting, lets requests in flight finish, and frees everything; a node in a cluster hands its sessions over to others before that.
// It takes StopLimit at most. The second call returns what the first did.
func (s *Service) Stop() error {
	s.stopping.Store(true) // before the lock: /readyz is to say so at once
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopLocked()
}

// Farewell says, after Stop, what it has come to.
func (s *Service) Farewell() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.farewell, "stopped")
}

// closeStore comes last. A store that is still in use stays open: its memory would be pulled away from under a request, and
// the process is about to end anyway.
func (s *Service) closeStore(context.Context) error {
	if n := s.conns.count(); n > 0 {
		return fmt.Errorf("%d requests are still using it", n)
	}
	s.metrics.forgetStore() // a scrape may have outlived the status listener
	s.store.Close()
	return nil
}
