package cluster

import (
	"context"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// Request is a web server's, for a session that the store does not have.
type Request struct {
	Key     session.Key
	Purpose handoff.Purpose
	Cookie  int32     // that the request carries, or session.NoCookie
	Arrived time.Time // when it came, also if it has been Fetched before
}

// Answer says where the session is.
type Answer struct {
	Outcome handoff.Outcome
	// Grant, with Nowhere for a request that creates: lets Store.Set create the session.
	Grant session.Grant
	// Cookie and LockAge, with Held: the lock's.
	Cookie  int32
	LockAge time.Duration

	id uint64 // to be Done with; 0: nothing is
}

// fetch is where the answer to a request that waits goes; capacity 1.
type fetch chan Answer

// Fetch looks for a session in the cluster and brings it here, or says why not. It waits, as long as the options say or until ctx ends, which is
// Unknown. Done must be called after the operation has been tried again on the store.
func (n *Node) Fetch(ctx context.Context, r Request) Answer {
	id := n.lastFetch.Add(1)
	f := make(fetch, 1)
	key := handoff.Key(r.Key.Whole())
	n.mail.post(event{do: func(now time.Duration) {
		n.fetches[id] = f
		n.machine.Want(now, handoff.Request{ID: id, Key: key, Purpose: r.Purpose, Cookie: r.Cookie, Arrived: r.Arrived.Sub(n.started)})
	}})
	select {
	case a := <-f:
		return a
	case <-ctx.Done():
	case <-n.stopped:
	}
	n.mail.post(event{do: func(now time.Duration) {
		delete(n.fetches, id)
		n.machine.Cancel(now, id)
	}})
	return Answer{Outcome: handoff.Unknown}
}

// answer passes the machine's answer on. Of one that nobody waits for any more, Cancel is on its way.
func (n *Node) answer(a handoff.Answer) {
	f := n.fetches[a.Request]
	if f == nil {
		return
	}
	delete(n.fetches, a.Request)
	n.counts.outcomes[a.Outcome].Add(1)
	f <- Answer{
		Outcome: a.Outcome,
		Grant:   session.Grant{Epoch: uint64(a.Epoch), Term: a.Term},
		Cookie:  a.Cookie,
		LockAge: a.LockAge,
		id:      a.Request,
	}
}

// Done ends a Fetch, whatever its answer was and whatever has become of the operation since.
func (n *Node) Done(a Answer) {
	if a.Outcome == handoff.Here || a.Outcome == handoff.Nowhere && a.Grant.Epoch != 0 {
		n.mail.post(event{do: func(now time.Duration) { n.machine.Finished(now, a.id) }})
	}
}
