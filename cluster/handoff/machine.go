package handoff

import (
	"time"
)

// Machine is one node's part in finding sessions and handing them over. It is not safe for concurrent use: the driver calls one method at a
// time, with a clock that never goes back, and after each call does what Actions returns, in order. Sessions are independent of each other,
// so a node may run several machines, each for a part of the keys.
type Machine struct {
	o        Options
	self     NodeID
	sessions Sessions
	now      time.Duration
	timers   timers
	actions  []Action

	members members
	joining bool
	term    uint64 // rises with every Fence

	affairs  map[Key]*affair
	touched  []*affair // to be brought forward before the event ends
	requests map[uint64]*request
	waiting  int
	notes    notes

	lastNumber       uint64 // of rounds, tickets and batches: none is used twice
	lastEpoch        Epoch  // the highest that a session was made with, or owned at, here
	departures       map[Ticket]*departure
	convoys          map[uint64]*convoy    // that leave
	committedConvoys int                   // of them
	caravans         map[Transfer]*caravan // that have arrived
	settling         map[Ticket]*settlement
	arriving         int
	adopting         int  // affairs with adopt
	reviewing        bool // what a fence has made copies is being asked for
	reviewAgain      *timer

	draining *drain
	claims   map[uint64]*claims // by the number of the batch
	healing  time.Duration      // until then, a split is being mended

	stats  Stats
	broken broken
}

// affair is one session that is being looked for or is under way. There is none for a session at rest.
type affair struct {
	key     Key
	touched bool

	waiting []*request      // in order of arrival
	creator *request        // told Nowhere, and has not said what it did
	served  map[uint64]bool // told Here, and have not tried the store yet
	patient *timer          // ends served
	round   *round          // the question going round, if there is one
	asks    []*ask          // other members' questions, in order of arrival
	in      *arrival        // pushed here, not committed
	out     *departure      // frozen: pushed, or aborted and not confirmed
	leaves  map[Ticket]bool // Leaves in the store's queue
	adopt   bool            // there is a copy whose owner must be found out
	orphan  bool            // that copy only ever arrived here, and was never owned
}

// Action is something the driver is to do.
type Action interface{ action() }

// Send a message to a member.
type Send struct {
	To      NodeID
	Message Message
	// Try counts how often this was said, from 1. What was lost twice should go a safer way.
	Try int
}

// Answer ends a request's waiting.
type Answer struct {
	Request uint64
	Outcome Outcome
	// Epoch and Term, with Nowhere for a request that creates: the session may be created, with this epoch, while the store's term is this.
	Epoch Epoch
	Term  uint64
	// Cookie and LockAge, with Held.
	Cookie  int32
	LockAge time.Duration
}

// Reconcile the view of members with a member that has a different one.
type Reconcile struct{ With NodeID }

// Drained says that everything has been handed over.
type Drained struct{}

func (Send) action()      {}
func (Answer) action()    {}
func (Reconcile) action() {}
func (Drained) action()   {}

// Stats count what happened, and what there is now.
type Stats struct {
	Rounds, RoundsRestarted   uint64
	MovedIn, MovedOut         uint64
	Aborted, Refused          uint64 // transfers
	Adopted, Stale, Conflicts uint64 // copies adopted; arrived and dropped, since a later one was known; owned, and dropped for another's
	Unknown, Shed             uint64 // requests that ended so

	Affairs, Waiting, Running, Leaving, Arriving, Settling, Notes int
}

// New makes a machine. It starts nothing.
func New(o Options) (*Machine, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	m := &Machine{
		o: o, self: o.Self, sessions: o.Sessions, joining: o.Joining,
		affairs: map[Key]*affair{}, requests: map[uint64]*request{}, notes: newNotes(o),
		departures: map[Ticket]*departure{}, convoys: map[uint64]*convoy{}, caravans: map[Transfer]*caravan{}, settling: map[Ticket]*settlement{}, claims: map[uint64]*claims{},
	}
	m.members.init(o.Self)
	return m, nil
}

// Receive takes a message from a member.
func (m *Machine) Receive(now time.Duration, from NodeID, msg Message) {
	m.begin(now)
	defer m.end()
	if from == m.self {
		return
	}
	switch msg := msg.(type) {
	case Find:
		m.asked(from, msg)
	case Reply:
		m.replied(from, msg)
	case Push:
		m.pushed(from, msg)
	case Ack:
		m.acknowledged(from, msg)
	case Refuse:
		m.refused(from, msg)
	case Commit:
		m.committed(from, msg)
	case Abort:
		m.aborted(from, msg)
	case Confirm:
		m.confirmed(from, msg)
	case NoRecord:
		m.unrecorded(from, msg)
	case Convoy:
		m.convoyed(from, msg)
	case ConvoyAck:
		m.convoyAcknowledged(from, msg)
	case ConvoyCommit:
		m.convoyCommitted(from, msg)
	case ConvoyConfirm:
		m.convoyConfirmed(from, msg)
	case Claims:
		m.claimed(from, msg)
	case Heard:
		m.heard(from, msg)
	case Know:
		m.askedToKnow(from, msg)
	case Known:
		m.known(from, msg)
	}
}

// Tick does what has become due.
func (m *Machine) Tick(now time.Duration) {
	m.begin(now)
	defer m.end()
	m.notes.expire(m.now)
	for t := m.timers.due(m.now); t != nil; t = m.timers.due(m.now) {
		t.do()
		m.bringForward()
	}
}

// NextTick says when Tick is due; ok is false if nothing is to happen by itself.
func (m *Machine) NextTick() (at time.Duration, ok bool) {
	if len(m.timers.heap) > 0 {
		at, ok = m.timers.heap[0].at, true
	}
	if oldest, is := m.notes.nextExpiry(); is && (!ok || oldest < at) {
		at, ok = oldest, true
	}
	return at, ok
}

// Removed tells that a session was removed from this node's store, by a web server or because it expired; it leaves a tombstone.
func (m *Machine) Removed(now time.Duration, k Key, e Epoch) {
	m.begin(now)
	defer m.end()
	m.notes.set(m.now, k, gone, e, "", Transfer{})
	if a := m.affairs[k]; a != nil {
		m.touch(a)
	}
}

// Actions returns what is to be done since the last call.
func (m *Machine) Actions() []Action {
	as := m.actions
	m.actions = nil
	return as
}

// Stats returns the counts.
func (m *Machine) Stats() Stats {
	s := m.stats
	leaving, settling := m.inConvoys()
	s.Affairs, s.Waiting, s.Leaving, s.Arriving = len(m.affairs), m.waiting, len(m.departures)+leaving, m.arriving
	s.Settling, s.Notes = len(m.settling)+settling, m.notes.live
	for _, a := range m.affairs {
		if a.round != nil {
			s.Running++
		}
	}
	return s
}

func (m *Machine) begin(now time.Duration) { m.now = max(m.now, now) }

func (m *Machine) end() {
	m.bringForward()
	m.checkDrained()
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) send(to NodeID, msg Message, try int) { m.do(Send{To: to, Message: msg, Try: try}) }

func (m *Machine) after(d time.Duration, do func()) *timer { return m.timers.add(m.now+d, do) }

func (m *Machine) number() uint64 {
	m.lastNumber++
	return m.lastNumber
}

// affair returns the session's, made if there is none, to be brought forward before the event ends.
func (m *Machine) affair(k Key) *affair { return m.affairOr(k, nil) }

// affairOr is affair, but with the memory for one that is to be made.
func (m *Machine) affairOr(k Key, empty *affair) *affair {
	a := m.affairs[k]
	if a == nil {
		if a = empty; a == nil {
			a = &affair{}
		}
		a.key = k
		m.affairs[k] = a
	}
	m.touch(a)
	return a
}

func (m *Machine) touch(a *affair) {
	if !a.touched {
		a.touched = true
		m.touched = append(m.touched, a)
	}
}

// bringForward does, for every session that this event touched, whatever can be done now.
func (m *Machine) bringForward() {
	for i := 0; i < len(m.touched); i++ { // they become more meanwhile
		a := m.touched[i]
		a.touched = false
		if m.affairs[a.key] != a {
			continue
		}
		m.serve(a)
		m.answerAsks(a)
		m.seek(a)
		if a.idle() {
			delete(m.affairs, a.key)
		}
	}
	clear(m.touched)
	m.touched = m.touched[:0]
}

func (a *affair) idle() bool {
	return len(a.waiting) == 0 && a.creator == nil && len(a.served) == 0 && a.round == nil && len(a.asks) == 0 &&
		a.in == nil && a.out == nil && len(a.leaves) == 0 && !a.adopt
}
