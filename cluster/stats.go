package cluster

import (
	"sync/atomic"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/gossip"
)

// Stats are figures at one moment, or counts since the start.
type Stats struct {
	Joined    bool // the node has found its cluster, or there is none to find
	Members   int  // live ones, with this node
	Draining  bool
	Encrypted bool // there is a key: what nodes say to each other is encrypted, and they prove who they are

	Fetches  map[string]uint64 // by outcome: here, nowhere, held, unknown, shed
	MovedIn  uint64
	MovedOut uint64
	BytesIn  uint64 // of bodies moved in
	BytesOut uint64

	Rounds, RoundsRestarted uint64 // questions to all members
	Aborted, Refused        uint64 // transfers
	Adopted, Stale          uint64 // copies without an owner: taken over; dropped, since a later one was known
	Conflicts               uint64 // sessions with two owners after a split: the lesser one, dropped
	Fences                  uint64 // this node stood still for so long that others may have taken it for dead

	Waiting, Leaving, Arriving, Copies, Notes int // now

	Gossip Gossip // zero if the node is alone
}

// Gossip is how finding out who is there goes, and what memberlist, which does that, says of itself.
type Gossip = gossip.Stats

// counts are those that the machine does not keep.
type counts struct {
	outcomes [handoff.Shed + 1]atomic.Uint64
	fences   atomic.Uint64
}

// Stats returns them. After Stop they are zero.
func (n *Node) Stats() (s Stats) {
	n.ask(func(time.Duration) {
		m := n.machine.Stats()
		s = Stats{
			MovedIn: m.MovedIn, MovedOut: m.MovedOut, Rounds: m.Rounds, RoundsRestarted: m.RoundsRestarted, Aborted: m.Aborted, Refused: m.Refused,
			Adopted: m.Adopted, Stale: m.Stale, Conflicts: m.Conflicts, Waiting: m.Waiting, Leaving: m.Leaving, Arriving: m.Arriving, Notes: m.Notes,
			Joined: n.joined,
		}
	})
	n.members.mu.Lock()
	s.Members = 1 + len(n.members.live)
	n.members.mu.Unlock()
	s.Copies = int(n.o.Store.Stats().Copies)
	s.Draining = n.draining.Load() != nil
	s.Encrypted = n.ring != nil
	if n.addrs.Load() != nil {
		s.Gossip = n.gossip.Stats()
	}
	s.BytesIn, s.BytesOut = uint64(n.sessions.bytesIn.Load()), uint64(n.sessions.bytesOut.Load())
	s.Fences = n.counts.fences.Load()
	s.Fetches = map[string]uint64{}
	for o := handoff.Here; o <= handoff.Shed; o++ {
		s.Fetches[outcomeNames[o]] = n.counts.outcomes[o].Load()
	}
	return s
}

var outcomeNames = [...]string{handoff.Here: "here", handoff.Nowhere: "nowhere", handoff.Held: "held", handoff.Unknown: "unknown", handoff.Shed: "shed"}
