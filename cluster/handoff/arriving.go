package handoff

import "time"

// arrival is a session that was pushed here and is not committed yet. It is not served.
type arrival struct {
	from     NodeID
	transfer uint64
	record   Record
	since    time.Duration
	term     uint64 // of this node, then
	acks     int
	timer    *timer
	caravan  *caravan // with which it came, and has not left yet
}

func (in *arrival) id() Transfer { return Transfer{From: in.from, N: in.transfer} }

// pushed takes a session in, or refuses it.
func (m *Machine) pushed(from NodeID, p Push) {
	a := m.affair(p.Key)
	switch m.receive(a, from, &p) {
	case knowsIt:
		m.send(from, Ack{Key: p.Key, Transfer: p.Transfer}, 1)
	case tookIt:
		in := &arrival{}
		m.arrive(a, in, from, &p)
		m.acknowledge(a, in)
		if m.broken.serveOnPush {
			m.own(a)
		}
	}
}

type received uint8

const (
	refusedIt received = iota // and has said so
	tookIt
	knowsIt // it has arrived before
)

// receive decides on a push. A transfer that was answered before is answered as before.
func (m *Machine) receive(a *affair, from NodeID, p *Push) received {
	x := Transfer{From: from, N: p.Transfer}
	note := m.noteFor(p.Key)
	switch {
	case a.in != nil && a.in.id() == x, note.kind == came && note.transfer == x:
		return knowsIt
	case note.hasRefused(x):
		m.send(from, Refuse{Key: p.Key, Transfer: p.Transfer, Why: NotNow}, 1)
		return refusedIt
	}
	if why := m.objection(a, note, from, p); why != 0 {
		m.refuse(p.Key, x, why)
		return refusedIt
	}
	if a.in != nil { // a higher epoch: that transfer is over, and its end is still on its way
		m.giveUpArrival(a)
	}
	return tookIt
}

// objection is why a push is not taken, or 0.
func (m *Machine) objection(a *affair, note note, from NodeID, p *Push) Refusal {
	e := p.Record.Epoch
	switch {
	case !m.members.has(from) && !m.broken.anyonePushes:
		// It may be from a member that has died since, and others may have concluded so that the session is lost.
		return Stranger
	case note.epoch >= e, a.in != nil && a.in.record.Epoch >= e:
		return Newer
	}
	why := m.notNowHere(a)
	var look Look
	if why != 0 {
		look = m.sessions.Look(p.Key)
	} else if there, ok := m.sessions.Admit(p.Key, p.Record, len(a.waiting) > 0); ok {
		return 0
	} else {
		look, why = there, Full
	}
	switch {
	case look.mine() && look.Epoch >= e:
		return Newer
	case look.mine(): // two owners; and this one is to give way
		m.doubt(a)
		return NotNow
	case look.InTheWayOf(e):
		m.mustAdopt(a)
		return NotNow
	}
	return why
}

// notNowHere is why nothing at all is taken for the affair now, or 0.
func (m *Machine) notNowHere(a *affair) Refusal {
	switch {
	case a.creator != nil:
		return NotNow
	case m.draining != nil && len(a.waiting) == 0:
		return Draining // but what was asked for here is taken, to be served and handed on
	case m.arriving >= m.o.MaxArriving:
		return Full
	}
	return 0
}

func (m *Machine) noteFor(k Key) note {
	if m.broken.lateDuplicates {
		return note{}
	}
	return m.notes.of(k)
}

func (m *Machine) refuse(k Key, x Transfer, why Refusal) {
	m.notes.refuse(m.now, k, x)
	m.send(x.From, Refuse{Key: k, Transfer: x.N, Why: why}, 1)
}

func (m *Machine) arrive(a *affair, in *arrival, from NodeID, p *Push) {
	m.arriving++
	*in = arrival{from: from, transfer: p.Transfer, record: p.Record, since: m.now, term: m.term}
	a.in = in
}

// acknowledge tells the sender that its session has arrived, until it says what became of it.
func (m *Machine) acknowledge(a *affair, in *arrival) {
	in.acks++
	m.send(in.from, Ack{Key: a.key, Transfer: in.transfer}, in.acks)
	in.timer = m.after(m.o.PushEvery<<min(max(in.acks-4, 0), 4), func() { m.acknowledge(a, in) })
}

// committed: the session is this node's.
func (m *Machine) committed(from NodeID, c Commit) {
	m.send(from, Confirm(c), 1)
	if a := m.affairs[c.Key]; a != nil && a.in != nil && a.in.from == from && a.in.transfer == c.Transfer {
		m.own(a)
	}
}

func (m *Machine) own(a *affair) {
	in := m.endArrival(a)
	r := in.record.Aged(m.now - in.since)
	if m.broken.resetCookie {
		r.Cookie = 1
	}
	m.stats.MovedIn++
	m.notes.set(m.now, a.key, came, r.Epoch, "", in.id())
	m.endRound(a)
	if in.term != m.term { // it may have been missed since
		m.sessions.Keep(a.key, r)
		m.mustAdopt(a)
		return
	}
	m.owns(r.Epoch)
	m.sessions.Own(a.key, r)
	m.claimMoved(a.key, r.Epoch)
	m.pumpDrain()
}

// aborted: the sender keeps its session.
func (m *Machine) aborted(from NodeID, b Abort) {
	m.send(from, Confirm(b), 1)
	m.notes.refuse(m.now, b.Key, Transfer{From: from, N: b.Transfer})
	if a := m.affairs[b.Key]; a != nil && a.in != nil && a.in.from == from && a.in.transfer == b.Transfer {
		m.discardArrival(a)
	}
}

// giveUpArrival drops an arrival for one with a higher epoch.
func (m *Machine) giveUpArrival(a *affair) {
	m.notes.refuse(m.now, a.key, a.in.id())
	m.discardArrival(a)
}

func (m *Machine) discardArrival(a *affair) {
	in := m.endArrival(a)
	m.sessions.Discard(a.key, in.record)
}

func (m *Machine) endArrival(a *affair) *arrival {
	in := a.in
	a.in = nil
	m.arriving--
	m.timers.stop(in.timer)
	m.leaveCaravan(in)
	m.touch(a)
	return in
}

// unrecorded: the sender has forgotten the transfer, so that nobody but the members together can say what became of it.
func (m *Machine) unrecorded(from NodeID, n NoRecord) {
	if a := m.affairs[n.Key]; a != nil && a.in != nil && a.in.from == from && a.in.transfer == n.Transfer {
		m.orphan(a)
	}
}

// orphan: nobody is left to commit or abort a session that has arrived. It is kept as a copy, and everybody is asked whether they know better.
func (m *Machine) orphan(a *affair) {
	in := m.endArrival(a)
	m.sessions.Keep(a.key, in.record.Aged(m.now-in.since))
	a.orphan = true
	m.mustAdopt(a)
	m.endRound(a)
}

// senderLost: a member is gone, and with it the word on what it has pushed.
func (m *Machine) senderLost(id NodeID) {
	for _, a := range m.sortedAffairs() {
		if a.in != nil && a.in.from == id {
			m.orphan(a)
		}
	}
}

// judgeCopy draws the conclusion of a round about a copy: dropped, if anybody knows an owner or a higher epoch; adopted, if everybody has
// answered and nobody does. Of two copies, the lesser is dropped.
func (m *Machine) judgeCopy(a *affair) {
	r := a.round
	look := m.sessions.Look(a.key)
	if look.State != Copied || look.Epoch != r.adopt {
		m.startOver(a)
		return
	}
	note := m.notes.of(a.key)
	seen, all, stale := note.epoch, !m.joining, note.epoch > r.adopt
	for _, p := range r.peers {
		if p.reply.Ask == 0 {
			all = false
			continue
		}
		seen = max(seen, p.reply.Epoch)
		switch p.reply.Says {
		case No:
		case Gone:
			stale = stale || p.reply.Epoch >= r.adopt
		case Hint:
			stale = stale || p.reply.Epoch > r.adopt
		case Have:
			stale = true
		case Copy:
			stale = stale || p.reply.Epoch > r.adopt || p.reply.Epoch == r.adopt && p.id > m.self
		default:
			all = false
		}
		all = m.agrees(p) && all
	}
	switch {
	case stale:
		m.dropCopy(a)
	case all:
		m.adopt(a, seen)
	}
}

func (m *Machine) dropCopy(a *affair) {
	if a.orphan {
		m.stats.Stale++
	} else {
		m.stats.Conflicts++
	}
	m.sessions.Drop(a.key)
	m.endAdoption(a)
}

func (m *Machine) adopt(a *affair, seen Epoch) {
	m.stats.Adopted++
	e := max(seen, a.round.adopt) + 1
	m.owns(e)
	m.sessions.Adopt(a.key, e)
	m.notes.set(m.now, a.key, came, e, "", Transfer{})
	m.endAdoption(a)
}

func (m *Machine) endAdoption(a *affair) {
	m.noAdopt(a)
	m.endRound(a)
	m.pumpDrain()
	m.reviewOn()
}

// mustAdopt: a copy that is here is to be asked for, whether or not anybody wants it.
func (m *Machine) mustAdopt(a *affair) {
	m.touch(a)
	if !a.adopt {
		a.adopt = true
		m.adopting++
	}
}

func (m *Machine) noAdopt(a *affair) {
	a.orphan = false
	if a.adopt {
		a.adopt = false
		m.adopting--
	}
}
