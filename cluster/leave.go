package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/gossip"
)

// ErrNobody: there is no other member that takes sessions.
var ErrNobody = errors.New("no other member takes sessions")

// DrainProgress is how far a drain has come.
type DrainProgress struct {
	Sessions  int64         `json:"sessions"`   // handed over since it began
	Bytes     int64         `json:"bytes"`      // of their bodies
	Remaining int64         `json:"remaining"`  // sessions still here
	Members   int           `json:"members"`    // that took any
	Elapsed   time.Duration `json:"elapsed_ns"` // until now, or until it was done
	Done      bool          `json:"done"`
}

// drain is what there is to tell of one.
type drain struct {
	began     time.Time
	moved     uint64 // before it began
	bytes     int64
	mu        sync.Mutex // guards what follows
	ended     time.Time
	receivers map[handoff.NodeID]bool
}

// drainLook is how often a drain that waits looks whether there is still somebody to take sessions.
const drainLook = 50 * time.Millisecond

// Drain hands all sessions to the other members, and goes on doing so with what comes later. It returns when nothing is left; with an error
// if ctx ends before (the drain goes on), or at once with ErrNobody if sessions are left that no member is there to take. Web servers are served all the
// while. Further calls join the first: they return when nothing is left again.
func (n *Node) Drain(ctx context.Context) error {
	if !n.beginDrain() {
		return errStopped
	}
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		if n.empty.Load() {
			n.draining.Load().end()
			return nil
		}
		if n.members.takers() == 0 && n.sessions.Len() > 0 {
			return ErrNobody
		}
		select {
		case <-n.emptied:
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.stopped:
			return errStopped
		}
	}
}

var errStopped = errors.New("this node has been stopped")

// beginDrain lets the machine drain, and has it look anew whether anything is left. The others hear of it by gossip, the sooner the less
// they send in vain.
func (n *Node) beginDrain() bool {
	return n.ask(func(now time.Duration) {
		if n.draining.Load() == nil {
			n.draining.Store(&drain{
				began: time.Now(), moved: n.machine.Stats().MovedOut, bytes: n.sessions.bytesOut.Load(), receivers: map[handoff.NodeID]bool{},
			})
			n.note("info", "draining: handing %d sessions to the other members", n.sessions.Len())
			n.tellPhase(gossip.Draining)
		}
		n.machine.Drain(now)
		n.machine.Tick(now)                // or it was draining already
		n.empty.Store(n.machine.Drained()) // and what was empty once need not be now
	})
}

// tellPhase tells the members how far this node is, without waiting for them.
func (n *Node) tellPhase(p gossip.Phase) {
	meta := n.members.setPhase(p)
	n.reportSoon()
	if n.gossip == nil {
		return
	}
	n.wg.Go(func() {
		if err := n.gossip.Update(meta); err != nil {
			n.log.Warn("telling the other members failed; they will hear of it later", "phase", p.String(), "error", err)
		}
	})
}

func (d *drain) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended.IsZero() {
		d.ended = time.Now()
	}
}

// noteSent remembers who was given sessions while draining.
func (n *Node) noteSent(s handoff.Send) {
	switch s.Message.(type) {
	case handoff.Commit, handoff.ConvoyCommit:
	default:
		return
	}
	if d := n.draining.Load(); d != nil {
		d.mu.Lock()
		d.receivers[s.To] = true
		d.mu.Unlock()
	}
}

// Progress of the drain; zero before Drain.
func (n *Node) Progress() DrainProgress {
	d := n.draining.Load()
	if d == nil {
		return DrainProgress{}
	}
	moved := n.Stats().MovedOut
	d.mu.Lock()
	defer d.mu.Unlock()
	p := DrainProgress{
		Sessions: int64(moved - d.moved), Bytes: n.sessions.bytesOut.Load() - d.bytes, Remaining: int64(n.sessions.Len()),
		Members: len(d.receivers), Elapsed: time.Since(d.began), Done: n.empty.Load(),
	}
	if p.Done && !d.ended.IsZero() {
		p.Elapsed = d.ended.Sub(d.began)
	}
	return p
}

// Stop leaves the cluster, if that has not been done, and closes everything. What the node still holds is gone for the others: Drain first. It takes
// a second and a half at most, or as long as ctx allows, and then returns what went wrong. The second call returns what the first did.
func (n *Node) Stop(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopLocked(ctx)
	return n.stopErr
}

// stopLocked ends what tells the others first, and the machine, which everything else speaks to, last.
func (n *Node) stopLocked(ctx context.Context) {
	if n.isStopped() {
		return
	}
	if n.gossip != nil {
		n.members.setPhase(gossip.Leaving)
		n.reportSoon()
		n.stopErr = n.gossip.Leave(ctx)
		n.gossip.Stop()
	}
	if n.links != nil {
		n.stopErr = errors.Join(n.stopErr, n.links.Stop(ctx))
	}
	n.mail.close()
	close(n.stopped)
	n.wg.Wait()
	if n.dir != nil {
		n.stopErr = errors.Join(n.stopErr, n.dir.Close())
	}
}
