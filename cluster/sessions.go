package cluster

import (
	"statemesh/cluster/handoff"
	"statemesh/session"
)

// sessions is the node's store, in the words of the rules. The two have the same idea of what a session may do while it leaves or arrives, and
// nothing of it is decided here.
//
// A record's body is a *session.Stored. Of a session that leaves it is lent: whoever wants it for longer than it takes to send a push holds it.
// Of one that arrives the driver holds it, until the push has been received.
type sessions struct {
	moves *session.Moves
}

var _ handoff.Sessions = sessions{}

// told is where the store's news go: into the driver's mailbox. They come from any goroutine and must not wait.
type told struct {
	left    func(handoff.Key, handoff.Ticket, handoff.Leaving)
	removed func([]session.Removal)
}

// newSessions makes the store one of a cluster.
func newSessions(store *session.Store, t told) (sessions, error) {
	moves, err := store.Cluster(session.Events{
		Left: func(k string, ticket uint64, l session.Leaving) {
			t.left(handoff.Key(k), ticket, leaving(l))
		},
		Removed: t.removed,
	})
	return sessions{moves}, err
}

func (s sessions) Look(k handoff.Key) handoff.Look { return look(s.moves.Look(string(k))) }

func look(l session.Look) handoff.Look {
	return handoff.Look{
		State: states[l.Place], Epoch: handoff.Epoch(l.Epoch), Idle: l.Idle, Locked: l.Locked, Cookie: l.Cookie, LockAge: l.LockAge,
	}
}

var states = [...]handoff.State{
	session.Absent: handoff.Absent, session.Owned: handoff.Owned, session.Parting: handoff.Departing, session.Copied: handoff.Copied,
}

func (s sessions) Leave(k handoff.Key, t handoff.Ticket, terms handoff.Terms) handoff.Leaving {
	return leaving(s.moves.Leave(string(k), t, session.Terms{Any: terms.Any, Cookie: terms.Cookie, Wait: terms.Wait}))
}

func leaving(l session.Leaving) handoff.Leaving {
	h := handoff.Leaving{Now: leaves[l.Now], Cookie: l.Cookie, Age: l.Age}
	if l.Now == session.Frozen {
		h.Record = departing(l.Record)
	}
	return h
}

var leaves = [...]handoff.LeaveState{
	session.Pending: handoff.Pending, session.InLine: handoff.InLine, session.Frozen: handoff.Frozen,
	session.StillLocked: handoff.StillLocked, session.NotHere: handoff.NotHere,
}

func departing(r session.Record) handoff.Record {
	return handoff.Record{
		Epoch: handoff.Epoch(r.Epoch), Locked: r.Locked, Cookie: r.Cookie, LockAge: r.LockAge, Timeout: r.Timeout, TimeLeft: r.TimeLeft,
		New: r.New, Size: r.Body.Size(), Body: r.Body,
	}
}

func arriving(r handoff.Record) session.Record {
	return session.Record{
		Epoch: uint64(r.Epoch), Locked: r.Locked, Cookie: r.Cookie, LockAge: r.LockAge, Timeout: r.Timeout, TimeLeft: r.TimeLeft,
		New: r.New, Body: r.Body.(*session.Stored),
	}
}

func (s sessions) Recall(k handoff.Key, t handoff.Ticket) { s.moves.Recall(string(k), t) }

func (s sessions) Stay(k handoff.Key, t handoff.Ticket, e handoff.Epoch) {
	s.moves.Stay(string(k), t, uint64(e))
}

func (s sessions) Doubt(k handoff.Key, t handoff.Ticket) { s.moves.Doubt(string(k), t) }

func (s sessions) Admit(k handoff.Key, r handoff.Record, wanted bool) (there handoff.Look, ok bool) {
	l, ok := s.moves.Admit(string(k), arriving(r), wanted)
	return look(l), ok
}

func (s sessions) Own(k handoff.Key, r handoff.Record)     { s.moves.Own(string(k), arriving(r)) }
func (s sessions) Keep(k handoff.Key, r handoff.Record)    { s.moves.Keep(string(k), arriving(r)) }
func (s sessions) Discard(k handoff.Key, r handoff.Record) { s.moves.Discard(string(k), arriving(r)) }
func (s sessions) Adopt(k handoff.Key, e handoff.Epoch)    { s.moves.Adopt(string(k), uint64(e)) }
func (s sessions) Drop(k handoff.Key)                      { s.moves.Drop(string(k)) }
func (s sessions) Fence(term uint64)                       { s.moves.Fence(term) }
func (s sessions) Len() int                                { return s.moves.Len() }

// Forget looks at all bodies first: they lie all over the memory, and who does nothing else meanwhile is brought several at a time.
func (s sessions) Forget(gone []handoff.Push) {
	for i := range gone {
		gone[i].Record.Body.(*session.Stored).Size()
	}
	for i := range gone {
		s.moves.Forget(string(gone[i].Key), gone[i].Transfer)
	}
}

func (s sessions) Part(n, size int, first handoff.Ticket) (frozen []handoff.Push, rest []handoff.Key) {
	frozen = make([]handoff.Push, 0, n)
	left := s.moves.Part(n, size, first, func(k string, t uint64, r session.Record) {
		frozen = append(frozen, handoff.Push{Key: handoff.Key(k), Transfer: t, Record: departing(r)})
	})
	return frozen, keysOf(left)
}

func (s sessions) Pick(n int) []handoff.Key   { return keysOf(s.moves.Pick(n)) }
func (s sessions) Copies(n int) []handoff.Key { return keysOf(s.moves.Copies(n)) }

func keysOf(all []string) []handoff.Key {
	ks := make([]handoff.Key, len(all))
	for i, k := range all {
		ks[i] = handoff.Key(k)
	}
	return ks
}

func (s sessions) Recent(since handoff.Epoch, from uint64, n int) ([]handoff.Claim, uint64) {
	all, next := s.moves.Recent(uint64(since), from, n)
	cs := make([]handoff.Claim, len(all))
	for i, c := range all {
		cs[i] = handoff.Claim{Key: handoff.Key(c.Key), Epoch: handoff.Epoch(c.Epoch), Idle: c.Idle}
	}
	return cs, next
}
