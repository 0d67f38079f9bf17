package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/cluster"
)

// drain is this node handing all its sessions to others, and saying in the log how far it is. It is begun by an operator, who wants the
// node empty before it is stopped, or by Stop; who comes second finds it under way.
type drain struct {
	mesh mesh
	log  hclog.Logger
	wg   sync.WaitGroup

	mu     sync.Mutex // guards the rest
	ended  chan struct{}
	err    error // why the last one ended early; nil: nothing was left, or it has not ended
	cancel context.CancelFunc
	closed bool
}

func newDrain(m mesh, log hclog.Logger) *drain { return &drain{mesh: m, log: log} }

// begin begins it, unless it is under way. The channel is closed when it ends.
func (d *drain) begin() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended != nil {
		select {
		case <-d.ended: // what has come since is to go as well
		default:
			return d.ended
		}
	}
	ended := make(chan struct{})
	d.ended, d.err = ended, nil
	if d.closed {
		close(ended)
		return ended
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	d.wg.Go(func() { d.run(ctx, ended) })
	return ended
}

// last is the end of the last one that was begun; there need not have been any.
func (d *drain) last() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	return d.ended
}

// run drains to the end, whether that is a good one or not.
func (d *drain) run(ctx context.Context, ended chan struct{}) {
	stop := d.report()
	err := d.mesh.Drain(ctx)
	stop()
	d.mu.Lock()
	d.err = err
	d.mu.Unlock()
	close(ended)
}

// report writes a line now and then until the returned function is called.
func (d *drain) report() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p := d.mesh.Progress()
				pairs := []any{"sessions", p.Sessions, "size", megabytes(p.Bytes), "remaining", p.Remaining, "members", p.Members}
				if left := timeLeft(p); left > 0 {
					pairs = append(pairs, "left", left.String())
				}
				d.log.Info("draining", pairs...)
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}

const reportEvery = time.Second

// timeLeft is how long the rest will take at the pace so far; 0 if there is no telling.
func timeLeft(p cluster.DrainProgress) time.Duration {
	if p.Sessions == 0 || p.Remaining == 0 {
		return 0
	}
	return time.Duration(float64(p.Elapsed) / float64(p.Sessions) * float64(p.Remaining)).Round(time.Second)
}

// megabytes writes a number of bytes as operators compare them: "0.4 MB", "38 MB".
func megabytes(n int64) string {
	mb := float64(n) / 1e6
	if mb < 9.95 {
		return fmt.Sprintf("%.1f MB", mb)
	}
	return fmt.Sprintf("%.0f MB", mb)
}

// failed is why the last drain ended early, or nil.
func (d *drain) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// close ends one that is under way. None begins after it.
func (d *drain) close() {
	d.mu.Lock()
	d.closed = true
	cancel := d.cancel
	d.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	d.wg.Wait()
}

// beginHandOver is Stop's first step: web servers are not turned away before the others have been told, and sessions are under way to
// them. It returns soon, whatever happens.
func (s *Service) beginHandOver(ctx context.Context) error {
	s.handOverBy = time.Now().Add(s.o.Cluster.DrainTimeout)
	ended := s.drain.begin()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.mesh.Progress().Sessions > 0 {
				return nil
			}
		}
	}
}

// handOver waits until the others have all sessions, and looks after what they have not taken. No web server is served any more.
func (s *Service) handOver(ctx context.Context) error {
	if !s.handOverBy.IsZero() { // else this is a Start that failed
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, s.handOverBy)
		defer cancel()
	}
	await(ctx, s.drain.last())
	await(ctx, s.drain.begin()) // it may have ended before the last of them came
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.log.Warn("draining takes too long, giving up", "drain-timeout", s.o.Cluster.DrainTimeout.String())
	}
	s.drain.close()
	p := s.mesh.Progress()
	s.farewell = fmt.Sprintf("drained %d sessions (%s) to %d members in %v", p.Sessions, megabytes(p.Bytes), p.Members, p.Elapsed.Round(time.Millisecond))

	return s.keep(s.drain.failed())
}

func await(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// keep writes what is still here to where the next start finds it.
func (s *Service) keep(why error) error {
	left := s.store.Stats().Active
	if left == 0 {
		return nil
	}
	if s.o.SnapshotDir == "" {
		s.log.Error("sessions are lost: nobody took them, and no snapshot_dir is set", "sessions", left, "reason", reason(why))
		return logged{fmt.Errorf("%d sessions are lost", left)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTime) // also if Stop was told to hurry
	defer cancel()
	s.log.Info("writing the sessions that are left to disk", "sessions", left, "reason", reason(why), "folder", s.o.SnapshotDir)
	sessions, bytes, err := s.mesh.Snapshot(ctx)
	if sessions > 0 {
		s.log.Info("wrote sessions for the next start", "sessions", sessions, "size", megabytes(bytes), "folder", s.o.SnapshotDir)
	}
	if err != nil {
		lost := max(left-sessions, 0)
		s.log.Error("sessions are lost: nobody took them, and they cannot be written", "sessions", lost, "error", err)
		return logged{fmt.Errorf("%d sessions are lost: %w", lost, err)}
	}
	return nil
}

func reason(err error) string {
	switch {
	case err == nil:
		return "they came too late"
	case errors.Is(err, context.Canceled):
		return "there was no more time"
	}
	return err.Error()
}
