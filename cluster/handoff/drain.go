package handoff

import "time"

// drain is a node's leaving: everything it owns is handed to the others, in turn, many at a time.
type drain struct {
	next int // of the members, in turn
	done bool
	// When nothing is left, every member is asked whether it knows all the others. What it says counts until something leaves, or
	// somebody joins.
	version uint64
	asking  bool
	knows   map[NodeID]bool
}

// Drain begins it. The node goes on serving; what web servers still ask for comes here, is served, and leaves again. Everybody else must
// be told, by the node's meta, that it takes no sessions any more. Drained is among the actions when nothing is left, and again if
// more came after that.
func (m *Machine) Drain(now time.Duration) {
	m.begin(now)
	defer m.end()
	if m.draining == nil {
		m.draining = &drain{}
		m.unknow()
		m.keepDraining()
	}
}

// Drained says whether nothing is left here, and everybody knows what became of what was sent.
func (m *Machine) Drained() bool { return m.draining != nil && m.draining.done }

func (m *Machine) keepDraining() {
	m.draining.asking = false
	m.pumpDrain()
	m.after(m.o.PushEvery, m.keepDraining)
}

// pumpDrain lets as many sessions leave as there is room for.
func (m *Machine) pumpDrain() {
	for m.draining != nil && m.drainRoom() && m.drainSome() {
	}
}

func (m *Machine) drainRoom() bool {
	pushed := len(m.convoys) - m.committedConvoys
	return max(pushed, m.committedConvoys) < m.o.DrainConvoys && len(m.departures)+len(m.settling)+m.adopting < m.o.DrainWindow &&
		!m.notes.full(m.now) && m.haveTarget()
}

// notNow: the session has something else to do than to leave.
func (m *Machine) notNow(a *affair) bool {
	return a.in != nil || a.out != nil || a.creator != nil || len(a.waiting) > 0 || len(a.served) > 0 || m.leavesFor(a, drained)
}

// drainOne lets a session leave that could not be frozen at once.
func (m *Machine) drainOne(k Key) {
	a := m.affair(k)
	if m.notNow(a) {
		return
	}
	if m.sessions.Look(k).State == Copied {
		m.mustAdopt(a) // it leaves when it is known whose it is
		return
	}
	m.takeOut(a, drained)
}

// takeOut asks the store for a session whatever its lock.
func (m *Machine) takeOut(a *affair, why errand) {
	d := m.newDeparture(a, why)
	switch l := m.sessions.Leave(a.key, d.ticket, Terms{Any: true}); l.Now {
	case Frozen:
		m.depart(a, d, l.Record)
	case NotHere, StillLocked:
		m.dropDeparture(a, d)
	}
}

// leavesFor says whether the session is in the store's queue on this errand.
func (m *Machine) leavesFor(a *affair, why errand) bool {
	for t := range a.leaves {
		if m.departures[t].why == why {
			return true
		}
	}
	return false
}

func (m *Machine) haveTarget() bool {
	for _, id := range m.members.others {
		if m.members.takes(id, m.now) {
			return true
		}
	}
	return false
}

// drainTarget is the next member in turn that takes sessions, or "".
func (m *Machine) drainTarget() NodeID {
	others := m.members.others
	for range others {
		id := others[m.draining.next%len(others)]
		m.draining.next++
		if m.members.takes(id, m.now) {
			return id
		}
	}
	return ""
}

func (ms *members) takes(id NodeID, now time.Duration) bool {
	k := ms.known[id]
	return !k.draining && !k.full && k.avoid <= now && k.deaf <= now
}

// checkDrained looks whether the last has gone, and whether what has gone will be found.
func (m *Machine) checkDrained() {
	if m.draining == nil {
		return
	}
	empty := len(m.affairs) == 0 && len(m.departures)+len(m.convoys)+len(m.settling) == 0 && m.sessions.Len() == 0
	done := empty && m.allKnown()
	if done && !m.draining.done {
		m.do(Drained{})
	}
	m.draining.done = done
}

// allKnown says whether every member knows all the others, and asks those that have not said so.
func (m *Machine) allKnown() bool {
	d := m.draining
	all := true
	for _, id := range m.members.others {
		if !d.knows[id] {
			all = false
			if !d.asking {
				m.send(id, Know{Version: d.version, Members: m.members.others}, 1)
			}
		}
	}
	d.asking = true
	return all || m.broken.noFarewell
}

// unknow: something has changed since the members were asked.
func (m *Machine) unknow() {
	if d := m.draining; d != nil {
		d.version, d.knows, d.asking = m.number(), map[NodeID]bool{}, false
	}
}

func (m *Machine) askedToKnow(from NodeID, k Know) {
	for _, id := range k.Members {
		if id != m.self && !m.members.has(id) {
			return
		}
	}
	m.send(from, Known{Version: k.Version}, 1)
}

func (m *Machine) known(from NodeID, k Known) {
	if d := m.draining; d != nil && d.version == k.Version {
		d.knows[from] = true
	}
}
