package gossip

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// State of a member, as this node sees it.
type State uint8

const (
	StateAlive  State = iota // its phase tells more
	StateLeft                // it said so
	StateFailed              // without a word
)

func (s State) String() string { return [...]string{"alive", "left", "failed"}[s] }

// Member is another node.
type Member struct {
	ID        string
	Addr      netip.AddrPort // of gossip
	Meta      Meta
	State     State
	Since     time.Time     // of State and of the phase in Meta, as this node saw it come
	Suspected time.Time     // since when it has not answered this node's probes; zero: it does
	RTT       time.Duration // of the last probe that was answered by packet, 0 if there was none
}

// Transfer is where it takes sessions.
func (m Member) Transfer() netip.AddrPort { return m.at(m.Meta.Transfer) }

// Status is where its status page is; invalid if it has none.
func (m Member) Status() netip.AddrPort {
	if m.Meta.Status.Port() == 0 {
		return netip.AddrPort{}
	}
	return m.at(m.Meta.Status)
}

func (m Member) at(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().IsValid() {
		return netip.AddrPortFrom(m.Addr.Addr(), a.Port())
	}
	return a
}

// EventKind is what happened to a member.
type EventKind uint8

const (
	Joined  EventKind = iota // it is new, or back
	Changed                  // it tells something new of itself
	Left                     // it said so
	Failed                   // it is taken for dead
)

func (k EventKind) String() string { return [...]string{"joined", "changed", "left", "failed"}[k] }

// Event is something that happened to a member; Member is as it was then.
type Event struct {
	Kind   EventKind
	Member Member
}

const (
	remembered     = time.Hour // how long those that are gone are tried again, and shown
	maxRemembered  = 1000
	maxUndelivered = 1 << 16
)

// table is what this node knows of the others, and the events that nobody has been told yet.
type table struct {
	self string
	log  hclog.Logger

	mu      sync.Mutex // guards what follows. Taken by delegates, under memberlist's nodeLock
	members map[string]*Member
	queue   []Event
	closed  bool
	ready   chan struct{} // has one in it if there is something in queue, or it is closed
}

func newTable(self string, log hclog.Logger) *table {
	return &table{self: self, log: log, members: map[string]*Member{}, ready: make(chan struct{}, 1)}
}

// set notes a member that is alive. It returns false if nothing changed.
func (t *table) set(n *memberlist.Node) bool {
	if n.Name == t.self {
		return false
	}
	meta, addr, err := admit(n)
	if err != nil {
		return false // NotifyAlive has refused it already, so this cannot be
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.members[n.Name]
	kind := Changed
	if m == nil || m.State != StateAlive {
		m = &Member{ID: n.Name, Since: time.Now()}
		t.members[n.Name] = m
		kind = Joined
	} else if m.Meta == meta && m.Addr == addr {
		return false
	} else if m.Meta.Phase != meta.Phase {
		m.Since = time.Now()
	}
	m.Meta, m.Addr = meta, addr
	t.enqueueLocked(Event{kind, *m})
	return true
}

// gone notes that a member left or failed.
func (t *table) gone(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.members[id]
	if m == nil || m.State != StateAlive {
		return false
	}
	kind := Failed
	m.State, m.Since, m.Suspected = StateFailed, time.Now(), time.Time{}
	if m.Meta.Phase == Leaving {
		kind = Left
		m.State = StateLeft
	}
	t.enqueueLocked(Event{kind, *m})
	t.forgetLocked()
	return true
}

// forgetLocked drops those that are long gone, and the longest gone if there are too many.
func (t *table) forgetLocked() {
	var gone []*Member
	for id, m := range t.members {
		if m.State == StateAlive {
			continue
		}
		if time.Since(m.Since) > remembered {
			delete(t.members, id)
			continue
		}
		gone = append(gone, m)
	}
	if len(gone) <= maxRemembered {
		return
	}
	slices.SortFunc(gone, func(a, b *Member) int { return a.Since.Compare(b.Since) })
	for _, m := range gone[:len(gone)-maxRemembered] {
		delete(t.members, m.ID)
	}
}

func (t *table) enqueueLocked(e Event) {
	if t.closed || len(t.queue) >= maxUndelivered {
		return
	}
	t.queue = append(t.queue, e)
	t.signal()
}

func (t *table) signal() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// deliver tells the events until the table is closed.
func (t *table) deliver(tell func(Event)) {
	for range t.ready {
		t.mu.Lock()
		events, closed := t.queue, t.closed
		t.queue = nil
		t.mu.Unlock()
		if closed {
			return
		}
		for _, e := range events {
			tell(e)
		}
	}
}

func (t *table) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.signal()
}

func (t *table) all() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked()
	all := make([]Member, 0, len(t.members))
	for _, m := range t.members {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// suspect notes that a member did not answer, answered that it did.
func (t *table) suspect(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.members[id]; m != nil && m.State == StateAlive && m.Suspected.IsZero() {
		m.Suspected = time.Now()
	}
}

func (t *table) answered(id string, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.members[id]; m != nil && m.State == StateAlive {
		m.Suspected, m.RTT = time.Time{}, rtt
	}
}

// leaving tells whether somebody has just left who is still there to answer, but for nothing else.
func (t *table) leaving(a netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.members {
		if m.State == StateLeft && m.Addr == a && time.Since(m.Since) < linger+linger/2 {
			return true
		}
	}
	return false
}

// live are the addresses of those that are alive.
func (t *table) live() map[netip.AddrPort]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	live := make(map[netip.AddrPort]bool, len(t.members))
	for _, m := range t.members {
		if m.State == StateAlive {
			live[m.Addr] = true
		}
	}
	return live
}

// liveAt tells whether somebody alive has an address of this host.
func (t *table) liveAt(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.members {
		if m.State == StateAlive && m.Addr.Addr().String() == host {
			return true
		}
	}
	return false
}

// addr is where a member is, if it is alive.
func (t *table) addr(id string) (netip.AddrPort, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.members[id]
	if m == nil || m.State != StateAlive {
		return netip.AddrPort{}, false
	}
	return m.Addr, true
}

// lost are the addresses of those that failed, where nobody is alive now.
func (t *table) lost() []netip.AddrPort {
	live := t.live()
	t.mu.Lock()
	defer t.mu.Unlock()
	var lost []netip.AddrPort
	for _, m := range t.members {
		if m.State == StateFailed && !live[m.Addr] && time.Since(m.Since) < remembered && !slices.Contains(lost, m.Addr) {
			lost = append(lost, m.Addr)
		}
	}
	return lost
}

// over tells whether a run of a node is known to have ended: it said so, or a later run is alive at its address. Nobody protests any more when such a
// one is said to be alive, as by a packet that was recorded then and is sent again: all would wait for its answers until it is taken for dead.
func (t *table) over(id string, at netip.AddrPort, started time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.members[id]; m != nil && m.State != StateFailed {
		return m.State == StateLeft
	}
	for _, m := range t.members {
		if m.State == StateAlive && m.Addr == at && m.Meta.Started.After(started) {
			return true
		}
	}
	return false
}

// speaks tells whether a node with these protocol versions can talk to this one and all others that are alive.
func (t *table) speaks(id string, own, other Meta) error {
	low, high := own.ProtoMin, own.ProtoMax
	t.mu.Lock()
	for _, m := range t.members {
		if m.State == StateAlive && m.ID != id {
			low, high = max(low, m.Meta.ProtoMin), min(high, m.Meta.ProtoMax)
		}
	}
	t.mu.Unlock()
	return overlap(low, high, other)
}

func overlap(low, high uint8, other Meta) error {
	if other.ProtoMax < low || other.ProtoMin > high {
		return &VersionError{low, high, other}
	}
	return nil
}

// VersionError is why a node of another protocol version is not let in.
type VersionError struct {
	Min, Max uint8 // what this cluster speaks
	Other    Meta
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("protocol versions do not match: this cluster speaks %d to %d, %s (statemesh %s) speaks %d to %d",
		e.Min, e.Max, e.Other.Name, e.Other.Version, e.Other.ProtoMin, e.Other.ProtoMax)
}

// admit checks what a node says of itself.
func admit(n *memberlist.Node) (Meta, netip.AddrPort, error) {
	if !isLabel(n.Name) {
		return Meta{}, netip.AddrPort{}, errors.New("its ID is not a DNS label")
	}
	ip, ok := netip.AddrFromSlice(n.Addr)
	if !ok || ip.IsUnspecified() || ip.IsMulticast() || n.Port == 0 {
		return Meta{}, netip.AddrPort{}, errors.New("its address is none")
	}
	meta, err := parseMeta(n.Meta)
	return meta, netip.AddrPortFrom(ip.Unmap(), n.Port), err
}
