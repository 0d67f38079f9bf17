package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/gossip"
)

// Member is what this node knows of a member.
type Member struct {
	ID       string    `json:"id"`   // of this run of it
	Name     string    `json:"name"` // as operators know it
	Self     bool      `json:"self,omitempty"`
	State    string    `json:"state"` // up, suspect, draining, leaving, left, failed
	Gossip   string    `json:"gossip"`
	Transfer string    `json:"transfer"`
	Status   string    `json:"status,omitempty"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Since    time.Time `json:"since"` // of State, as this node saw it come
	// Connected: messages can be sent to it, and it answers. RoundTrip is that of the last probe over its transfer connection, 0 if there was none.
	Connected bool          `json:"connected"`
	RoundTrip time.Duration `json:"round_trip_ns"`
	LastError string        `json:"last_error,omitempty"` // of connecting to it
	// ClockAhead is how far its clock is ahead of this node's, negative: behind; accurate to half a round trip. 0 as long as it is not known.
	ClockAhead time.Duration `json:"clock_ahead_ns,omitempty"`
}

// Event is something that happened to the cluster, in words for the operator.
type Event struct {
	At    time.Time `json:"at"`
	Level string    `json:"level"` // info, warn, error
	Text  string    `json:"text"`  // "web03 joined"
}

// registry is where live members are reached, and what has happened.
type registry struct {
	mu      sync.Mutex // guards all; a leaf
	live    map[handoff.NodeID]gossip.Member
	reports map[handoff.NodeID]Report // of live members
	meta    gossip.Meta               // this node's
	since   time.Time                 // of the phase in it; zero: of the start
	events  []Event
}

// maxEvents are kept.
const maxEvents = 200

// heard takes gossip's news, from its goroutine. A member can be spoken to before the machine hears of it.
func (n *Node) heard(e gossip.Event) {
	id, m := handoff.NodeID(e.Member.ID), e.Member
	meta := handoff.Meta{Draining: m.Meta.Phase != gossip.Up}
	switch e.Kind {
	case gossip.Joined:
		n.members.set(id, m)
		n.links.Connect(id)
		n.post(event{do: func(now time.Duration) { n.machine.MemberUp(now, id, meta) }})
		n.note("info", "%s joined", m.Meta.Name)
	case gossip.Changed:
		was := n.members.set(id, m)
		n.post(event{do: func(now time.Duration) { n.machine.MemberMeta(now, id, meta) }})
		if was.Meta.Phase == gossip.Up && m.Meta.Phase == gossip.Draining {
			n.note("info", "%s drains: it hands its sessions to the others", m.Meta.Name)
		}
	case gossip.Left, gossip.Failed:
		n.members.remove(id)
		left := e.Kind == gossip.Left
		n.post(event{do: func(now time.Duration) { n.machine.MemberDown(now, id, left) }})
		n.links.Forget(id)
		if left {
			n.note("info", "%s left", m.Meta.Name)
		} else {
			n.note("warn", "%s failed: it does not answer any more; the sessions it held are out of reach", m.Meta.Name)
		}
	}
}

// set notes a live member, and returns what was known of it.
func (r *registry) set(id handoff.NodeID, m gossip.Member) (was gossip.Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was = r.live[id]
	r.live[id] = m
	return was
}

func (r *registry) remove(id handoff.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, id)
	delete(r.reports, id)
}

// transferAddr is where a live member takes sessions.
func (r *registry) transferAddr(id handoff.NodeID) (addr string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.live[id]
	return m.Transfer().String(), ok
}

// takers is how many live members take sessions.
func (r *registry) takers() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.live {
		if m.Meta.Phase == gossip.Up {
			n++
		}
	}
	return n
}

// setPhase makes this node's meta say how far it is, and returns it.
func (r *registry) setPhase(p gossip.Phase) gossip.Meta {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.meta.Phase != p {
		r.meta.Phase, r.since = p, time.Now()
	}
	return r.meta
}

// note remembers an event and logs it.
func (n *Node) note(level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch level {
	case "info":
		n.log.Info(text)
	case "warn":
		n.log.Warn(text)
	default:
		n.log.Error(text)
	}
	r := &n.members
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == maxEvents {
		r.events = slices.Delete(r.events, 0, 1)
	}
	r.events = append(r.events, Event{At: time.Now(), Level: level, Text: text})
}

// Events are the latest, oldest first; at most 200.
func (n *Node) Events() []Event {
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	return slices.Clone(n.members.events)
}

// Members are this node and all others, those that left or failed within the last hour included, by name.
func (n *Node) Members() []Member {
	addrs := n.Addrs()
	n.members.mu.Lock()
	phase, since := n.members.meta.Phase, n.members.since
	n.members.mu.Unlock()
	all := []Member{{
		ID: string(n.id), Name: n.o.Name, Self: true, State: phase.String(), Gossip: addrs.Gossip, Transfer: addrs.Transfer,
		Status: n.o.Status, Version: n.o.Version, Started: n.started, Since: cmp.Or(since, n.started), Connected: true,
	}}
	if n.o.alone() || addrs == (Addrs{}) {
		return all
	}
	for _, m := range n.gossip.Members() {
		state, since := stateOf(&m)
		all = append(all, Member{
			ID: m.ID, Name: m.Meta.Name, State: state, Gossip: m.Addr.String(), Transfer: m.Transfer().String(),
			Status: addrOrNone(m), Version: m.Meta.Version, Started: m.Meta.Started, Since: since,
		})
	}
	for _, p := range n.links.Peers() {
		i := slices.IndexFunc(all, func(m Member) bool { return m.ID == string(p.ID) })
		if i >= 0 {
			all[i].Connected, all[i].RoundTrip, all[i].LastError, all[i].ClockAhead = p.Connected, p.RoundTrip, p.LastError, p.Ahead
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all
}

// stateOf is a member's state, and since when it is in it.
func stateOf(m *gossip.Member) (state string, since time.Time) {
	switch {
	case m.State != gossip.StateAlive:
		return m.State.String(), m.Since
	case !m.Suspected.IsZero():
		return "suspect", m.Suspected
	}
	return m.Meta.Phase.String(), m.Since
}

func addrOrNone(m gossip.Member) string {
	if a := m.Status(); a.IsValid() {
		return a.String()
	}
	return ""
}
