package cluster

import (
	"sync/atomic"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// moving is sessions with the bytes counted that come and go, and how often they come.
type moving struct {
	sessions
	sizes map[handoff.Ticket]int // of bodies that are leaving; guarded by Node.machineMu

	bytesIn, bytesOut atomic.Int64
	bounces           *bounces
}

func newMoving(s sessions) *moving {
	return &moving{sessions: s, sizes: map[handoff.Ticket]int{}, bounces: newBounces()}
}

func (m *moving) Leave(k handoff.Key, t handoff.Ticket, terms handoff.Terms) handoff.Leaving {
	l := m.sessions.Leave(k, t, terms)
	m.leaving(t, l)
	return l
}

// leaving notes the size of what has been frozen.
func (m *moving) leaving(t handoff.Ticket, l handoff.Leaving) {
	if l.Now == handoff.Frozen {
		m.sizes[t] = l.Record.Size
	}
}

func (m *moving) Part(n, size int, first handoff.Ticket) ([]handoff.Parcel, []handoff.Key) {
	frozen, rest := m.sessions.Part(n, size, first)
	for i := range frozen {
		m.sizes[first+handoff.Ticket(i)] = frozen[i].Record.Size
	}
	return frozen, rest
}

func (m *moving) Stay(k handoff.Key, t handoff.Ticket, e handoff.Epoch) {
	delete(m.sizes, t)
	m.sessions.Stay(k, t, e)
}

func (m *moving) Doubt(k handoff.Key, t handoff.Ticket) {
	delete(m.sizes, t)
	m.sessions.Doubt(k, t)
}

func (m *moving) Forget(k handoff.Key, t handoff.Ticket) {
	m.bytesOut.Add(int64(m.sizes[t]))
	delete(m.sizes, t)
	m.sessions.Forget(k, t)
}

func (m *moving) Fence(term uint64) {
	clear(m.sizes) // nothing is leaving any more
	m.sessions.Fence(term)
}

func (m *moving) Admit(k handoff.Key, r handoff.Record, wanted bool) bool {
	if r.Body == nil || !m.sessions.Admit(k, r, wanted) { // without a body: there was no memory for it when it came
		return false
	}
	if wanted { // so it was asked for: a drain asks nobody
		m.bounces.arrived(k, r.Epoch)
	}
	return true
}

func (m *moving) Own(k handoff.Key, r handoff.Record) {
	m.bytesIn.Add(int64(r.Size))
	m.sessions.Own(k, r)
}

// store makes a pushed body, which the links have filled, one of the store's, to be released by the caller.
func store(all []*session.Stored, r *handoff.Record) []*session.Stored {
	b, ok := r.Body.(*session.Body)
	if !ok {
		r.Body = nil
		return all
	}
	stored := b.Stored()
	r.Body = stored
	return append(all, stored)
}
