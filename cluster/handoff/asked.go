package handoff

import (
	"slices"
	"time"
)

// ask is a member's question that could not be answered for good yet: the session is leaving or arriving here, is locked, or is about
// to be created. There is one of each member at most for a session.
type ask struct {
	from   NodeID
	find   Find
	at     time.Duration // when it was last heard
	ticket Ticket        // unless zero, the session is in the store's queue for it
	inLine bool          // for the lock
	said   Says          // the latest answer
	times  uint32        // answers so far
}

// askMemory is how long a question is kept that is not repeated: its asker has given up.
const askMemory = time.Second

// asked takes a member's question.
func (m *Machine) asked(from NodeID, f Find) {
	if f.Create {
		m.giveWay(from, f)
	}
	a := m.affairs[f.Key]
	if a == nil {
		a = &affair{key: f.Key} // not kept unless there is more to do
	}
	q, known := m.question(a, from, f)
	if q == nil {
		return
	}
	reply, wait := m.consider(a, q)
	if reply.Says != 0 {
		m.reply(q, reply)
	}
	switch {
	case !wait || !m.members.has(from):
		a.dropAsk(q)
	case !known:
		a.asks = append(a.asks, q)
	}
	if !a.idle() {
		m.affairs[f.Key] = a
		m.touch(a)
	}
}

// question returns the member's open question, brought up to date, or a new one; or nil if it has been overtaken by a later one. A question of
// another round takes the earlier one's place, also in the queue for the lock unless it shows another cookie.
func (m *Machine) question(a *affair, from NodeID, f Find) (q *ask, known bool) {
	i := slices.IndexFunc(a.asks, func(q *ask) bool { return q.from == from })
	if i < 0 {
		return &ask{from: from, find: f, at: m.now}, false
	}
	q = a.asks[i]
	if f.Round < q.find.Round || f.Round == q.find.Round && f.Ask < q.find.Ask {
		return nil, true
	}
	if q.ticket != 0 && (f.Cookie != q.find.Cookie || f.Adopt != q.find.Adopt) {
		m.recall(a, q.ticket)
		q.ticket, q.inLine = 0, false
	}
	q.find, q.at = f, m.now
	return q, true
}

// giveWay: two nodes are about to create the same session, and the other goes first. What it said before it knew of us does not count.
func (m *Machine) giveWay(from NodeID, f Find) {
	a := m.affairs[f.Key]
	if a == nil || a.round == nil || !a.round.create || !f.Priority.Before(a.round.priority) || m.broken.noPriority {
		return
	}
	for _, p := range a.round.peers {
		if p.id == from && p.deferredTo != f.Round {
			p.deferredTo = f.Round
			m.mustAsk(a, p)
		}
	}
}

// answerAsks answers the open questions that can be answered now, or otherwise than before.
func (m *Machine) answerAsks(a *affair) {
	for _, q := range slices.Clone(a.asks) {
		if q.ticket == 0 && q.at+askMemory <= m.now {
			a.dropAsk(q)
			continue
		}
		reply, wait := m.consider(a, q)
		if reply.Says != 0 && reply.Says != q.said {
			m.reply(q, reply)
		}
		if !wait {
			a.dropAsk(q)
		}
	}
}

// consider says what to answer to a question, and whether there will be more to say. If the session may leave for it, it does.
func (m *Machine) consider(a *affair, q *ask) (reply Reply, wait bool) {
	switch {
	case q.ticket != 0:
		return m.inQueue(a, q), true
	case q.find.Create && m.goesFirst(a, q.find):
		return Reply{Says: Defer}, true
	case q.find.Adopt != 0:
		return m.considerCopy(a, q)
	case a.in != nil, a.out != nil:
		return Reply{Says: Busy}, true
	}
	switch look := m.sessions.Look(a.key); {
	case look.State == Absent:
		return m.fromNotes(a.key), false
	case look.State == Departing, look.State == Copied: // with a convoy; or seek asks whose it is
		return Reply{Says: Busy}, true
	case len(a.served) > 0 && !look.Locked:
		// Those who fetched it go first. But if it is locked they have had their turn, or can only wait for the lock as this asker can,
		// or for the write that frees it, which may be what the asker wants it for.
		return Reply{Says: Busy}, true
	}
	return m.leaveFor(a, q)
}

// goesFirst: this node creates the session, or will, before the asker may.
func (m *Machine) goesFirst(a *affair, f Find) bool {
	if m.broken.noPriority {
		return false
	}
	return a.creator != nil || a.round != nil && a.round.create && !f.Priority.Before(a.round.priority)
}

// considerCopy answers one who holds a copy without an owner.
func (m *Machine) considerCopy(a *affair, q *ask) (reply Reply, wait bool) {
	look := m.sessions.Look(a.key)
	switch {
	case look.mine() && look.Epoch < q.find.Adopt: // two owners, once; and this one is to give way
		m.doubt(a)
		return Reply{Says: Busy}, true
	case look.mine():
		return Reply{Says: Have, Epoch: look.Epoch}, false
	case a.in != nil, a.creator != nil:
		return Reply{Says: Busy}, true
	case look.State == Copied:
		m.mustAdopt(a)
		return Reply{Says: Copy, Epoch: look.Epoch}, false
	}
	return m.fromNotes(a.key), false
}

// fromNotes is the answer of a node that does not have the session.
func (m *Machine) fromNotes(k Key) Reply {
	switch n := m.notes.of(k); n.kind {
	case went:
		return Reply{Says: Hint, Holder: n.to, Epoch: n.epoch}
	case came, gone: // it came, and is here no more: the store has not told yet
		return Reply{Says: Gone, Epoch: n.epoch}
	}
	return Reply{Says: No}
}

// leaveFor lets a session leave for the member that asks for it, at once or when its turn has come.
func (m *Machine) leaveFor(a *affair, q *ask) (reply Reply, wait bool) {
	if !m.members.hears(q.from, m.now) || len(m.departures) >= m.o.MaxLeaving || m.notes.full(m.now) {
		return Reply{Says: Busy}, false // without a promise
	}
	d := m.newDeparture(a, wanted)
	d.to = q.from
	l := m.sessions.Leave(a.key, d.ticket, Terms{Cookie: q.find.Cookie, Wait: q.find.Wait})
	switch l.Now {
	case Frozen:
		m.depart(a, d, l.Record)
		return Reply{}, false // the push is the answer
	case Pending, InLine:
		q.ticket, q.inLine = d.ticket, l.Now == InLine
		return m.inQueue(a, q), true
	case StillLocked:
		m.dropDeparture(a, d)
		return Reply{Says: Locked, Cookie: l.Cookie, Age: l.Age}, false
	}
	m.dropDeparture(a, d)
	return m.fromNotes(a.key), false
}

// inQueue is the answer to a question for which the session will leave when it is its turn. The lock is looked at anew each time: since the
// queue was joined it may have had several holders, and requests that came later than that are answered by this.
func (m *Machine) inQueue(a *affair, q *ask) Reply {
	if look := m.sessions.Look(a.key); q.inLine && look.Locked {
		return Reply{Says: Parked, Cookie: look.Cookie, Age: look.LockAge}
	}
	return Reply{Says: Coming}
}

func (m *Machine) reply(q *ask, r Reply) {
	q.times++
	q.said = r.Says
	r.Key, r.Round, r.Ask, r.Nth, r.View = q.find.Key, q.find.Round, q.find.Ask, q.times, m.members.digest
	r.Horizon = m.horizon()
	m.send(q.from, r, int(q.find.Ask))
}

func (a *affair) dropAsk(q *ask) {
	a.asks = slices.DeleteFunc(a.asks, func(o *ask) bool { return o == q })
}
