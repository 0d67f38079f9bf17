package cluster

import (
	"sync/atomic"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// moving is sessions with the bytes counted that come and go, and how often they come.
type moving struct {
	sessions
	bytesIn, bytesOut atomic.Int64
	bounces           *bounces
}

func newMoving(s sessions) *moving {
	return &moving{sessions: s, bounces: newBounces()}
}

func (m *moving) Forget(k handoff.Key, t handoff.Ticket) {
	m.bytesOut.Add(int64(m.moves.Forget(string(k), t)))
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
