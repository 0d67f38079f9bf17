package handoff

import (
	"maps"
	"math/bits"
	"slices"
	"time"
)

// A node that leaves has a million small sessions to hand over. Those go in convoys: up to MaxConvoy at once, with one message, one
// acknowledgement, one commit and one confirmation for all. What is true of a session that is pushed is true of each of a convoy: it has a
// transfer of its own, it is refused, aborted and committed by itself, and other messages may be about it alone. But that is rare, so it is not
// the convoy's business: what is said of a convoy is said once, and where the answer is missing or the session's fate another than the
// others', the session leaves the convoy and goes on alone, by the rules in leaving.go and arriving.go.

const (
	maxConvoy = 64
	// convoySize is how many bytes of keys and bodies a convoy has at most: as long as one, other messages may have to wait.
	convoySize = 96 << 10
)

// convoy is sessions that leave this node together, frozen and pushed. There are no affairs of theirs, unless somebody asks.
type convoy struct {
	n         uint64
	to        NodeID
	pushes    []Push // as said
	with      uint64 // those that have not left it: a bit each
	committed bool   // with: to be confirmed
	frozen    time.Duration
	timer     *timer // breaks it up
}

// drainSome lets a convoy of sessions leave, or a large session, and is false if none did.
func (m *Machine) drainSome() bool {
	first := m.lastNumber + 1
	m.lastNumber += maxConvoy
	frozen, rest := m.sessions.Part(maxConvoy, convoySize, first)
	for _, k := range rest {
		m.drainOne(k)
	}
	c := &convoy{n: m.number(), to: m.drainTarget(), pushes: frozen[:0], frozen: m.now}
	size := 0
	for i := range frozen {
		p := frozen[i]
		if a := m.affairs[p.Key]; c.to == "" || a != nil && m.notNow(a) {
			m.sessions.Stay(p.Key, p.Transfer, p.Record.Epoch)
			continue
		}
		c.with |= 1 << len(c.pushes)
		size += p.Record.Size
		p.Record.Epoch++
		c.pushes = append(c.pushes, p)
	}
	switch len(c.pushes) {
	case 0:
		return false
	case 1:
		m.goAlone(c, 0, 0)
		return true
	}
	m.convoys[c.n] = c
	m.send(c.to, Convoy{N: c.n, Pushes: c.pushes}, 1)
	c.timer = m.after(m.pushEvery(Record{Size: size}), func() { m.breakUp(c) })
	return true
}

// goAlone takes the i-th session out of a convoy that is not committed. It will be pushed again, by itself.
func (m *Machine) goAlone(c *convoy, i int, wait time.Duration) *departure {
	m.leaveConvoy(c, 1<<i)
	p := &c.pushes[i]
	a := m.affair(p.Key)
	d := &departure{ticket: p.Transfer, key: p.Key, why: drained, to: c.to, stage: underway, record: p.Record, frozen: c.frozen}
	d.record.Epoch--
	if c.timer != nil { // it has been sent
		d.tries, d.convoy = 1, c.n
	}
	m.departures[d.ticket] = d
	a.out = d
	if wait == 0 {
		m.push(a, d)
	} else {
		d.timer = m.after(wait, func() { m.push(a, d) })
	}
	return d
}

// leaveConvoy takes sessions out; the last ends it.
func (m *Machine) leaveConvoy(c *convoy, which uint64) {
	if c.with &^= which; c.with == 0 {
		m.timers.stop(c.timer)
		delete(m.convoys, c.n)
		if c.committed {
			m.committedConvoys--
		}
	}
}

// remaining are the sessions that have not left it.
func (c *convoy) remaining() []Push {
	if bits.OnesCount64(c.with) == len(c.pushes) {
		return c.pushes
	}
	var all []Push
	each(c.with, func(i int) { all = append(all, c.pushes[i]) })
	return all
}

// each calls f with the place of every bit that is set.
func each(which uint64, f func(i int)) {
	for ; which != 0; which &= which - 1 {
		f(bits.TrailingZeros64(which))
	}
}

// departure is the one of a ticket; if that is with a convoy, it is not any more.
func (m *Machine) departure(t Ticket) *departure {
	if d := m.departures[t]; d != nil {
		return d
	}
	for _, c := range m.convoys {
		i := slices.IndexFunc(c.pushes, func(p Push) bool { return p.Transfer == t })
		if i >= 0 && !c.committed && c.with&(1<<i) != 0 {
			return m.goAlone(c, i, m.o.PushEvery)
		}
	}
	return nil
}

// breakUp: no answer has come in time, to the push or to the commit.
func (m *Machine) breakUp(c *convoy) {
	each(c.with, func(i int) {
		if !c.committed {
			m.goAlone(c, i, 0)
			return
		}
		p := &c.pushes[i]
		m.leaveConvoy(c, 1<<i)
		m.settle(p.Transfer, c.to, Commit{Key: p.Key, Transfer: p.Transfer})
	})
}

// convoyAcknowledged: these sessions have arrived. The others have been refused, or cannot be told from such.
func (m *Machine) convoyAcknowledged(from NodeID, ack ConvoyAck) {
	c := m.convoys[ack.N]
	if c == nil || c.to != from || c.committed {
		return
	}
	each(c.with&^ack.Which, func(i int) { m.goAlone(c, i, m.o.PushEvery) })
	if c.with == 0 {
		return
	}
	m.unknow()
	gone := c.remaining()
	m.handOver(c.to, gone)
	for i := range gone {
		if a := m.affairs[gone[i].Key]; a != nil {
			m.touch(a)
		}
	}
	c.committed = true
	m.committedConvoys++
	m.send(c.to, ConvoyCommit{N: c.n, Which: c.with}, 1)
	m.timers.stop(c.timer)
	c.timer = m.after(m.o.PushEvery, func() { m.breakUp(c) })
	m.pumpDrain() // what comes next goes out together with the commit
}

// convoyConfirmed: the receiver knows what it owns.
func (m *Machine) convoyConfirmed(from NodeID, confirm ConvoyConfirm) {
	c := m.convoys[confirm.N]
	if c == nil || c.to != from || !c.committed {
		return
	}
	m.members.unheard(from, 0)
	m.leaveConvoy(c, confirm.Which)
	m.pumpDrain()
}

// stayAll makes those of a convoy's sessions owned again that have not been committed. The receiver is gone, or has not been told of them.
func (m *Machine) stayAll(c *convoy) {
	if !c.committed {
		each(c.with, func(i int) {
			p := &c.pushes[i]
			m.stats.Aborted++
			m.owns(p.Record.Epoch + 1)
			m.sessions.Stay(p.Key, p.Transfer, p.Record.Epoch+1)
			if a := m.affairs[p.Key]; a != nil {
				m.touch(a)
			}
		})
	}
	m.leaveConvoy(c, c.with)
}

// sortedConvoys are all of them, in the order in which they left.
func (m *Machine) sortedConvoys() []*convoy {
	all := make([]*convoy, 0, len(m.convoys))
	for _, n := range slices.Sorted(maps.Keys(m.convoys)) {
		all = append(all, m.convoys[n])
	}
	return all
}

// inConvoys counts the sessions that are frozen for convoys, and those whose commit is to be confirmed.
func (m *Machine) inConvoys() (leaving, settling int) {
	for _, c := range m.convoys {
		if c.committed {
			settling += bits.OnesCount64(c.with)
		} else {
			leaving += bits.OnesCount64(c.with)
		}
	}
	return leaving, settling
}

// caravan is a convoy that has arrived and is not committed yet.
type caravan struct {
	id       Transfer // the convoy's sender and number
	arrivals []arrival
	affairs  []*affair // theirs
	left     int       // that are with it
	timer    *timer    // breaks it up
}

// convoyed takes in what it can of a convoy.
func (m *Machine) convoyed(from NodeID, c Convoy) {
	if len(c.Pushes) > maxConvoy {
		return
	}
	v := &caravan{id: Transfer{From: from, N: c.N}, arrivals: make([]arrival, len(c.Pushes)), affairs: make([]*affair, len(c.Pushes))}
	again := m.caravans[v.id] != nil
	affairs := make([]affair, len(c.Pushes)) // all at once
	var arrived uint64
	for i := range c.Pushes {
		p := &c.Pushes[i]
		a := m.affairOr(p.Key, &affairs[i])
		switch m.receive(a, from, p) {
		case refusedIt:
		case knowsIt:
			arrived |= 1 << i
		case tookIt:
			in := &v.arrivals[i]
			v.affairs[i] = a
			m.arrive(a, in, from, p)
			if again { // not under the same number: the sender has forgotten it
				m.acknowledge(a, in)
				continue
			}
			arrived |= 1 << i
			in.caravan = v
			v.left++
		}
	}
	if v.left > 0 {
		m.caravans[v.id] = v
		v.timer = m.after(m.o.PushEvery, func() { m.disperse(v) })
	}
	if arrived != 0 {
		m.send(from, ConvoyAck{N: c.N, Which: arrived}, 1)
	}
}

// disperse: the sender has not said what became of the convoy. It is asked about each of the sessions.
func (m *Machine) disperse(v *caravan) {
	for i := range v.arrivals {
		if in := &v.arrivals[i]; in.caravan == v {
			m.leaveCaravan(in)
			m.acknowledge(v.affairs[i], in)
		}
	}
}

// leaveCaravan lets an arrival go on alone.
func (m *Machine) leaveCaravan(in *arrival) {
	if v := in.caravan; v != nil {
		in.caravan = nil
		if v.left--; v.left == 0 {
			m.timers.stop(v.timer)
			delete(m.caravans, v.id)
		}
	}
}

// convoyCommitted: these sessions are this node's. If they have gone on alone it says nothing: the sender will ask about each.
func (m *Machine) convoyCommitted(from NodeID, c ConvoyCommit) {
	v := m.caravans[Transfer{From: from, N: c.N}]
	if v == nil {
		return
	}
	for i := range v.arrivals {
		if in := &v.arrivals[i]; in.caravan == v && c.Which&(1<<i) != 0 {
			m.own(v.affairs[i])
		}
	}
	m.send(from, ConvoyConfirm(c), 1)
}
