package handoff

import (
	"maps"
	"slices"
	"time"
)

// departure is a session that leaves this node, or is in the store's queue to do so.
type departure struct {
	ticket Ticket
	key    Key
	why    errand
	to     NodeID

	stage  stage
	record Record // as the store gave it, with the epoch it has here
	frozen time.Duration
	tries  int
	timer  *timer

	undelivered int    // of the tries
	convoy      uint64 // with which the first was made; 0: with none
}

// errand is why a session is to leave.
type errand uint8

const (
	wanted  errand = iota // a member asked for it
	drained               // this node is leaving
	doubted               // another node may own it, at a higher epoch: it only leaves service here
)

type stage uint8

const (
	queued   stage = iota // in the store's queue
	underway              // frozen and pushed
	recalled              // frozen, aborted, and the receiver has not confirmed
)

// deafFor is how long nothing leaves for a member that has not acknowledged a session, nor confirmed anything since.
const deafFor = 2 * time.Second

// settlement is a commit or an abort that is repeated until it is confirmed.
type settlement struct {
	to    NodeID
	msg   Message
	tries int
	timer *timer
}

func (m *Machine) newDeparture(a *affair, why errand) *departure {
	d := &departure{ticket: m.number(), key: a.key, why: why}
	m.departures[d.ticket] = d
	if a.leaves == nil {
		a.leaves = map[Ticket]bool{}
	}
	a.leaves[d.ticket] = true
	m.affairs[a.key] = a
	m.touch(a)
	return d
}

func (m *Machine) dropDeparture(a *affair, d *departure) {
	m.timers.stop(d.timer)
	delete(m.departures, d.ticket)
	delete(a.leaves, d.ticket)
	if a.out == d {
		a.out = nil
	}
	m.touch(a)
}

// recall withdraws a Leave from the store's queue.
func (m *Machine) recall(a *affair, t Ticket) {
	m.sessions.Recall(a.key, t)
	m.dropDeparture(a, m.departures[t])
}

// Left tells what became of a Leave that was Pending or InLine.
func (m *Machine) Left(now time.Duration, k Key, t Ticket, l Leaving) {
	m.begin(now)
	defer m.end()
	d := m.departures[t]
	if d == nil || d.stage != queued || d.key != k {
		if l.Now == Frozen && d == nil { // granted just before it was recalled
			m.sessions.Stay(k, t, l.Record.Epoch)
			if a := m.affairs[k]; a != nil { // who was told Busy
				m.touch(a)
			}
		}
		return
	}
	a := m.affair(k)
	q := a.askWith(t)
	switch l.Now {
	case Pending:
	case InLine:
		if q != nil {
			q.inLine = true
			m.reply(q, m.inQueue(a, q))
		}
	case Frozen:
		if q != nil {
			a.dropAsk(q)
		}
		m.depart(a, d, l.Record)
	case StillLocked:
		m.dropDeparture(a, d)
		if q != nil {
			m.endWait(a, q)
		}
	case NotHere:
		m.dropDeparture(a, d)
		if q != nil {
			q.ticket, q.inLine = 0, false // to be considered anew
		}
	}
}

// endWait: the lock did not free in time for a question. But who holds it is looked up now: the store may have said so a while ago, and
// the question have been asked again since, for requests that came later.
func (m *Machine) endWait(a *affair, q *ask) {
	q.ticket, q.inLine = 0, false
	q.find.Wait = 0
	if look := m.sessions.Look(a.key); look.mine() && look.Locked && look.Cookie != q.find.Cookie {
		a.dropAsk(q)
		m.reply(q, Reply{Says: Locked, Cookie: look.Cookie, Age: look.LockAge})
	}
}

func (a *affair) askWith(t Ticket) *ask {
	i := slices.IndexFunc(a.asks, func(q *ask) bool { return q.ticket == t })
	if i < 0 {
		return nil
	}
	return a.asks[i]
}

// depart: the session is frozen. It is pushed, if there is still somebody to push it to.
func (m *Machine) depart(a *affair, d *departure, r Record) {
	d.record, d.frozen = r, m.now
	if d.why == drained {
		d.to = m.drainTarget()
	}
	switch {
	case a.out != nil: // not with a store that keeps its word
		m.stay(a, d, r.Epoch)
	case d.why == doubted:
		m.doubtFrozen(a, d)
	case !m.members.has(d.to):
		m.stay(a, d, r.Epoch) // nothing was pushed, so nothing need be undone
	default:
		delete(a.leaves, d.ticket)
		a.out, d.stage = d, underway
		m.push(a, d)
		if m.broken.forgetBeforeAck {
			m.commit(a, d)
		}
	}
}

// push sends the session, and again until it is acknowledged, or has been sent often enough.
func (m *Machine) push(a *affair, d *departure) {
	if d.tries >= m.o.PushTries {
		m.abort(a, d)
		return
	}
	d.tries++
	r := d.record.Aged(m.now - d.frozen)
	r.Epoch++
	m.send(d.to, Push{Key: d.key, Transfer: d.ticket, Record: r}, d.tries)
	d.timer = m.after(m.pushEvery(r), func() { m.push(a, d) })
}

// pushEvery gives a large body time.
func (m *Machine) pushEvery(r Record) time.Duration {
	return m.o.PushEvery + time.Duration(float64(r.Size)/float64(m.o.PushRate)*float64(time.Second))
}

// acknowledged: the receiver has the session, and asks whether it may serve it.
func (m *Machine) acknowledged(from NodeID, ack Ack) {
	if d := m.departure(ack.Transfer); d != nil && d.stage == underway && d.to == from && d.key == ack.Key {
		m.commit(m.affair(d.key), d)
		return
	}
	if s := m.settling[ack.Transfer]; s != nil && s.to == from {
		m.send(from, s.msg, 1)
		return
	}
	x := Transfer{From: m.self, N: ack.Transfer}
	if n := m.notes.of(ack.Key); n.kind == went && n.transfer == x && n.to == from {
		m.send(from, Commit(ack), 1)
		return
	}
	m.send(from, NoRecord(ack), 1)
}

// Undelivered tells that one try of pushing a session has certainly not reached the receiver and never will: there was no connection to send
// it over; or so of a convoy, whose number is in the place of the transfer's. If that is true of all tries, nobody has it but this node, which goes on serving it at once.
func (m *Machine) Undelivered(now time.Duration, p Push) {
	m.begin(now)
	defer m.end()
	if c := m.convoys[p.Transfer]; c != nil && !c.committed {
		m.members.unheard(c.to, m.now+m.o.PushEvery)
		m.stayAll(c)
		return
	}
	if p.Key != "" {
		m.notDelivered(m.departures[p.Transfer])
		return
	}
	for _, t := range slices.Sorted(maps.Keys(m.departures)) { // the convoy has been broken up
		if d := m.departures[t]; d.convoy == p.Transfer {
			m.notDelivered(d)
		}
	}
}

// notDelivered: so it was with one try.
func (m *Machine) notDelivered(d *departure) {
	if d == nil || d.stage == queued {
		return
	}
	if d.undelivered++; d.undelivered == d.tries {
		m.members.unheard(d.to, m.now+m.o.PushEvery)
		m.stats.Aborted++
		m.stay(m.affair(d.key), d, d.record.Epoch+2)
	}
}

// handOver: from now on the sessions are the receiver's. This node drops them and remembers where they went.
func (m *Machine) handOver(to NodeID, all []Push) {
	m.stats.MovedOut += uint64(len(all))
	m.sessions.Forget(all)
	if m.broken.noHints {
		return
	}
	for i := range all {
		p := &all[i]
		m.notes.set(m.now, p.Key, went, p.Record.Epoch, to, Transfer{From: m.self, N: p.Transfer})
	}
}

// commit hands the session over, and tells the receiver.
func (m *Machine) commit(a *affair, d *departure) {
	m.unknow()
	r := d.record
	r.Epoch++ // the receiver's
	m.handOver(d.to, []Push{{Key: d.key, Transfer: d.ticket, Record: r}})
	m.settle(d.ticket, d.to, Commit{Key: d.key, Transfer: d.ticket})
	m.dropDeparture(a, d)
}

// refused: the receiver did not take the session and never will, under this transfer. So it can be served again at once.
func (m *Machine) refused(from NodeID, r Refuse) {
	d := m.departure(r.Transfer)
	if d == nil || d.stage == queued || d.to != from || d.key != r.Key {
		return
	}
	m.stats.Refused++
	a := m.affair(d.key)
	switch r.Why {
	case Newer:
		m.doubtFrozen(a, d)
		return
	case Draining, Full:
		m.members.avoid(from, r.Why, m.now)
	}
	m.stay(a, d, d.record.Epoch+2)
}

// abort: the session stays. But it is served again only when the receiver knows, if it can be told: were this node to serve a change and
// then die, a receiver that still waits would take the session for one that nobody has changed.
func (m *Machine) abort(a *affair, d *departure) {
	m.stats.Aborted++
	d.stage = recalled
	m.members.unheard(d.to, m.now+deafFor)
	m.settle(d.ticket, d.to, Abort{Key: d.key, Transfer: d.ticket})
	d.timer = m.after(m.o.AbortPatience, func() { m.stay(a, d, d.record.Epoch+2) })
	if m.broken.noPatience {
		m.timers.stop(d.timer)
		m.stay(a, d, d.record.Epoch+2)
	}
}

// stay makes a session that was to leave owned again. Its epoch is above the one it was pushed with.
func (m *Machine) stay(a *affair, d *departure, e Epoch) {
	m.dropDeparture(a, d)
	m.owns(e)
	m.sessions.Stay(d.key, d.ticket, e)
}

// Underway are the sessions that are frozen here for a member that has not acknowledged them, with the times of now: for a process that is
// about to end. If the member has one after all, its epoch is the higher one.
func (m *Machine) Underway(now time.Duration) []Parcel {
	var all []Parcel
	for _, t := range slices.Sorted(maps.Keys(m.departures)) {
		if d := m.departures[t]; d.stage != queued {
			all = append(all, Parcel{d.key, d.record.Aged(now - d.frozen)})
		}
	}
	for _, c := range m.sortedConvoys() {
		if c.committed {
			continue
		}
		each(c.with, func(i int) {
			p := &c.pushes[i]
			r := p.Record.Aged(now - c.frozen)
			r.Epoch--
			all = append(all, Parcel{p.Key, r})
		})
	}
	return all
}

// Parcel is a session and its key.
type Parcel struct {
	Key    Key
	Record Record
}

// settle says what became of a transfer, until it is confirmed.
func (m *Machine) settle(t Ticket, to NodeID, msg Message) {
	s := &settlement{to: to, msg: msg}
	m.settling[t] = s
	m.repeat(s)
}

func (m *Machine) repeat(s *settlement) {
	s.tries++
	m.send(s.to, s.msg, s.tries)
	s.timer = m.after(m.o.PushEvery<<min(max(s.tries-4, 0), 4), func() { m.repeat(s) })
}

// confirmed: the receiver knows what became of the transfer.
func (m *Machine) confirmed(from NodeID, c Confirm) {
	s := m.settling[c.Transfer]
	if s == nil || s.to != from {
		return
	}
	m.timers.stop(s.timer)
	delete(m.settling, c.Transfer)
	m.members.unheard(from, 0)
	if d := m.departures[c.Transfer]; d != nil && d.stage == recalled {
		m.stay(m.affair(d.key), d, d.record.Epoch+2)
	}
	m.pumpDrain()
}

// receiverLost: a member is gone. What was on its way there stays here; what it was given was its own.
func (m *Machine) receiverLost(id NodeID) {
	for _, c := range m.sortedConvoys() {
		if c.to == id {
			m.stayAll(c)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(m.departures)) {
		d := m.departures[t]
		if d == nil || d.to != id {
			continue
		}
		a := m.affair(d.key)
		switch d.stage {
		case queued:
			if q := a.askWith(t); q != nil {
				a.dropAsk(q)
			}
			m.recall(a, t)
		case underway:
			m.stats.Aborted++
			m.stay(a, d, d.record.Epoch+2)
		case recalled:
			m.stay(a, d, d.record.Epoch+2)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(m.settling)) {
		if s := m.settling[t]; s.to == id {
			m.timers.stop(s.timer)
			delete(m.settling, t)
		}
	}
}
