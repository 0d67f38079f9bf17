package handoff

import (
	"maps"
	"slices"
	"time"
)

// Two owners of one session can meet only after a split, or after a member was taken for dead that was not. Then the higher epoch is right;
// if they are equal, the later use; then the greater node. Whoever finds that it is not right does not drop its session on the word of one
// member, but takes it out of service and asks everybody, as with any other copy: so that two that give way to each other
// at the same moment do not lose it.

// Fence tells that this node was stopped, or cut off, for longer than others wait before they take a member for dead. It may
// not serve anything that it owns until it has asked for it.
func (m *Machine) Fence(now time.Duration) {
	m.begin(now)
	defer m.end()
	m.term++
	m.sessions.Fence(m.term)
	for _, t := range slices.Sorted(maps.Keys(m.departures)) {
		d := m.departures[t]
		if d.stage == underway {
			m.settle(t, d.to, Abort{Key: d.key, Transfer: t})
		}
		m.dropDeparture(m.affair(d.key), d)
	}
	for _, c := range m.sortedConvoys() {
		if c.committed {
			continue
		}
		each(c.with, func(i int) {
			p := &c.pushes[i]
			m.settle(p.Transfer, c.to, Abort{Key: p.Key, Transfer: p.Transfer})
		})
		m.leaveConvoy(c, c.with)
	}
	for _, a := range m.sortedAffairs() {
		a.asks = nil // they will be repeated
		if len(a.served) > 0 {
			m.timers.stop(a.patient)
			m.endServing(a)
		}
		m.startOver(a)
	}
	if !m.reviewing {
		m.reviewing = true
		m.review()
	}
}

// review asks for all copies, by and by. They may not lie about until somebody wants them: the later session that stands against one may be gone
// by then, and nobody know that it was later.
func (m *Machine) review() {
	if m.pumpReview() {
		m.reviewAgain = m.after(m.o.PushEvery, m.review)
	} else {
		m.reviewing = false
	}
}

// reviewOn goes on without delay, now that there is room for another, but not within the same event: where there is nobody to ask, that would
// not end before all are done.
func (m *Machine) reviewOn() {
	if m.reviewing {
		m.timers.stop(m.reviewAgain)
		m.reviewAgain = m.after(1, m.review)
	}
}

// pumpReview asks for as many as there is room for. It is false if there are none.
func (m *Machine) pumpReview() bool {
	room := m.o.DrainWindow - m.adopting
	if room <= 0 {
		return true
	}
	keys := m.sessions.Copies(room)
	for _, k := range keys {
		m.mustAdopt(m.affair(k))
	}
	return len(keys) > 0
}

// claims is a batch of sessions that this node claims from a member, until it is heard.
type claims struct {
	to    NodeID
	batch []Claim
	tries int
	timer *timer
	then  func()
}

const (
	claimBatch = 256
	// A member that comes back is claimed from everything made here since it was lost. Sessions move meanwhile, and may so be missed: a second
	// pass finds those that moved once; and for a while after a member has come back, whoever receives a session claims it from everybody.
	claimPasses    = 2
	claimPassEvery = 10 * time.Second
	// What was made there before a member was lost here may yet be newer than that by the other's clock.
	claimSlack = time.Minute
	// maxClaims bounds the batches that are not heard yet.
	maxClaims = 4096
)

// claimAfterSplit begins to claim, if the member's coming is the end of a split.
func (m *Machine) claimAfterSplit(id NodeID) {
	if at, ok := m.members.lostSince(id, m.now, m.o.LossMemory); ok {
		m.healing = m.now + m.o.NoteLife
		m.claimPass(id, m.epochAt(at-claimSlack), 0, claimPasses)
	}
}

// claimPass goes through what was made since, from a place in the store on: a batch at a time, and a few times over.
func (m *Machine) claimPass(id NodeID, since Epoch, from uint64, passes int) {
	batch, next := m.sessions.Recent(since, from, claimBatch)
	pause := time.Millisecond // others want the store, too
	if next == 0 {
		pause = claimPassEvery
		passes--
	}
	goOn := func() {
		if m.members.has(id) && passes > 0 {
			m.claimPass(id, since, next, passes)
		}
	}
	m.claim(id, batch, func() { m.after(pause, goOn) })
}

// claimMoved claims a session that has just come here.
func (m *Machine) claimMoved(k Key, e Epoch) {
	if m.now < m.healing && len(m.claims) < maxClaims {
		for _, id := range m.members.others {
			m.claim(id, []Claim{{Key: k, Epoch: e}}, nil)
		}
	}
}

// claim sends a batch until it is heard, and then goes on.
func (m *Machine) claim(id NodeID, batch []Claim, then func()) {
	c := &claims{to: id, batch: batch, then: then}
	if len(batch) == 0 {
		m.endClaims(0, c) // nothing to hear
		return
	}
	n := m.number()
	m.claims[n] = c
	m.repeatClaims(n, c)
}

func (m *Machine) repeatClaims(n uint64, c *claims) {
	c.tries++
	m.send(c.to, Claims{Batch: n, Claims: c.batch}, c.tries)
	c.timer = m.after(4*m.o.AskAgain, func() { m.repeatClaims(n, c) })
}

func (m *Machine) endClaims(n uint64, c *claims) {
	m.timers.stop(c.timer)
	delete(m.claims, n)
	if c.then != nil {
		c.then()
	}
}

// dropClaims: the member is gone.
func (m *Machine) dropClaims(id NodeID) {
	for _, n := range slices.Sorted(maps.Keys(m.claims)) {
		if c := m.claims[n]; c.to == id {
			c.then = nil
			m.endClaims(n, c)
		}
	}
}

// claimed looks for sessions that have two owners: this node and the sender.
func (m *Machine) claimed(from NodeID, c Claims) {
	m.send(from, Heard{Batch: c.Batch, Claims: m.compare(from, c.Claims)}, 1)
}

// heard ends a batch; what comes back is what the other has the better claim to.
func (m *Machine) heard(from NodeID, h Heard) {
	if c := m.claims[h.Batch]; c != nil && c.to == from {
		m.compare(from, h.Claims)
		m.endClaims(h.Batch, c)
	}
}

// compare takes those sessions out of service here to which the other has the better claim, and returns our claims to the rest.
func (m *Machine) compare(other NodeID, theirs []Claim) (ours []Claim) {
	for _, their := range theirs {
		look := m.sessions.Look(their.Key)
		if !look.mine() {
			continue
		}
		our := Claim{Key: their.Key, Epoch: look.Epoch, Idle: look.Idle}
		if beats(their, other, our, m.self) {
			m.doubt(m.affair(their.Key))
		} else {
			ours = append(ours, our)
		}
	}
	return ours
}

func beats(a Claim, of NodeID, b Claim, ofB NodeID) bool {
	if a.Epoch != b.Epoch {
		return a.Epoch > b.Epoch
	}
	if a.Idle != b.Idle {
		return a.Idle < b.Idle
	}
	return of > ofB
}

// doubt takes a session that is owned here out of service, until everybody has been asked for it.
func (m *Machine) doubt(a *affair) {
	if a.out == nil && !m.leavesFor(a, doubted) {
		m.takeOut(a, doubted)
	}
}

// doubtFrozen makes a frozen session a copy, which seek asks everybody about.
func (m *Machine) doubtFrozen(a *affair, d *departure) {
	m.dropDeparture(a, d)
	m.sessions.Doubt(d.key, d.ticket)
	m.mustAdopt(a)
}
