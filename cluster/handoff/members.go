package handoff

import (
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// members is the view: who is in the cluster, as far as this node knows.
type members struct {
	self   NodeID
	others []NodeID // in order
	known  map[NodeID]*member
	digest uint64 // of all ids, this node's too
	lost   []loss // in order of time
}

type member struct {
	draining bool
	full     bool
	avoid    time.Duration // refused a session for want of room; no more of them before
	deaf     time.Duration // did not acknowledge one; nothing leaves for it before
}

// loss is a member that was declared dead. If it comes back, there were two clusters for a while.
type loss struct {
	id NodeID
	at time.Duration
}

// Meta is what members tell of themselves.
type Meta struct {
	// Draining: it is leaving, and takes no sessions.
	Draining bool
	// Full: it has no room for sessions.
	Full bool
}

// MemberUp tells that a member has joined, or is back.
func (m *Machine) MemberUp(now time.Duration, id NodeID, meta Meta) {
	m.begin(now)
	defer m.end()
	if id == m.self || m.members.has(id) {
		return
	}
	m.members.add(id, meta)
	m.unknow()
	m.membersChanged(id)
	m.claimAfterSplit(id)
	m.pumpDrain()
}

// MemberDown tells that a member has left (having handed over what it had), or is taken for dead.
func (m *Machine) MemberDown(now time.Duration, id NodeID, left bool) {
	m.begin(now)
	defer m.end()
	if !m.members.has(id) {
		return
	}
	m.members.remove(id)
	if !left {
		m.members.noteLoss(id, m.now, m.o.LossMemory)
	}
	m.senderLost(id)
	m.receiverLost(id)
	m.askerLost(id)
	m.dropClaims(id)
	m.membersChanged(id)
	m.pumpDrain()
}

// MemberMeta tells that a member's meta has changed.
func (m *Machine) MemberMeta(now time.Duration, id NodeID, meta Meta) {
	m.begin(now)
	defer m.end()
	if k := m.members.known[id]; k != nil {
		k.draining, k.full = meta.Draining, meta.Full
		m.pumpDrain()
	}
}

// Joined tells that the node has found its cluster, or that there is none to find.
func (m *Machine) Joined(now time.Duration) {
	m.begin(now)
	defer m.end()
	m.joining = false
	for _, a := range m.sortedAffairs() {
		m.startOver(a)
	}
}

// membersChanged: what a round has heard so far was of other members, or of what they had before a member handed its own over.
func (m *Machine) membersChanged(id NodeID) {
	for _, a := range m.sortedAffairs() {
		if m.broken.noRestart && a.round != nil {
			a.round.peers = slices.DeleteFunc(a.round.peers, func(p *peer) bool { return p.id == id })
			m.judge(a)
			continue
		}
		m.startOver(a)
	}
}

// askerLost drops the questions of a member that is gone.
func (m *Machine) askerLost(id NodeID) {
	for _, a := range m.sortedAffairs() {
		for _, q := range slices.Clone(a.asks) {
			if q.from == id {
				a.dropAsk(q)
			}
		}
	}
}

// sortedAffairs are all of them, to be brought forward. It is for events that happen seldom.
func (m *Machine) sortedAffairs() []*affair {
	as := make([]*affair, 0, len(m.affairs))
	for _, k := range slices.Sorted(maps.Keys(m.affairs)) {
		as = append(as, m.affair(k))
	}
	return as
}

func (ms *members) init(self NodeID) {
	ms.self = self
	ms.known = map[NodeID]*member{}
	ms.sum()
}

func (ms *members) has(id NodeID) bool { return ms.known[id] != nil }

func (ms *members) add(id NodeID, meta Meta) {
	ms.known[id] = &member{draining: meta.Draining, full: meta.Full}
	ms.others = append(ms.others, id)
	slices.Sort(ms.others)
	ms.sum()
}

func (ms *members) remove(id NodeID) {
	delete(ms.known, id)
	ms.others = slices.DeleteFunc(ms.others, func(o NodeID) bool { return o == id })
	ms.sum()
}

// sum computes the digest, by which two nodes see whether they know the same members.
func (ms *members) sum() {
	all := append([]NodeID{ms.self}, ms.others...)
	slices.Sort(all)
	h := fnv.New64a()
	for _, id := range all {
		h.Write([]byte(id))
		h.Write([]byte{0})
	}
	ms.digest = h.Sum64()
}

// avoid keeps drained sessions from a member that has just refused one.
func (ms *members) avoid(id NodeID, why Refusal, now time.Duration) {
	k := ms.known[id]
	switch {
	case k == nil:
	case why == Draining:
		k.draining = true
	default:
		k.avoid = now + time.Second
	}
}

// unheard: the member has acknowledged nothing. If it cannot be reached while its questions do come through, each of them would freeze a
// session in vain.
func (ms *members) unheard(id NodeID, until time.Duration) {
	if k := ms.known[id]; k != nil {
		k.deaf = until
	}
}

// hears says whether sessions may leave for a member.
func (ms *members) hears(id NodeID, now time.Duration) bool {
	k := ms.known[id]
	return k != nil && k.deaf <= now
}

func (ms *members) noteLoss(id NodeID, now, memory time.Duration) {
	ms.lost = slices.DeleteFunc(ms.lost, func(l loss) bool { return l.id == id || l.at+memory <= now })
	ms.lost = append(ms.lost, loss{id, now})
}

// lostSince is when the split began that a member now comes back from: when it was lost; or if it was never known, when the first was that
// has been lost lately, for it may have joined those.
func (ms *members) lostSince(id NodeID, now, memory time.Duration) (time.Duration, bool) {
	ms.lost = slices.DeleteFunc(ms.lost, func(l loss) bool { return l.at+memory <= now })
	for _, l := range ms.lost {
		if l.id == id {
			return l.at, true
		}
	}
	if len(ms.lost) > 0 {
		return ms.lost[0].at, true
	}
	return 0, false
}
