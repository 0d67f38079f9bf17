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

func (m *moving) Forget(gone []handoff.Push) {
	m.sessions.Forget(gone)
	for i := range gone {
		m.bytesOut.Add(int64(gone[i].Record.Size))
	}
}

func (m *moving) Admit(k handoff.Key, r handoff.Record, wanted bool) (there handoff.Look, ok bool) {
	if r.Body == nil { // there was no memory for it when it came
		return m.Look(k), false
	}
	there, ok = m.sessions.Admit(k, r, wanted)
	if ok && wanted { // so it was asked for: a drain asks nobody
		m.bounces.arrived(k, r.Epoch)
	}
	return there, ok
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
