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

// Fetch looks for a session in the cluster and brings it here, or says why not. It waits, as long as the options say or until ctx ends, which is
// Unknown. Done must be called after the operation has been tried again on the store.
func (n *Node) Fetch(ctx context.Context, r Request) Answer {
	answer := make(chan Answer, 1)
	id := n.fetch(r, func(a Answer) { answer <- a })
	select {
	case a := <-answer:
		return a
	case <-ctx.Done():
	case <-n.stopped:
		return Answer{Outcome: handoff.Unknown}
	}
	n.post(event{do: func(now time.Duration) {
		delete(n.fetches, id)
		n.machine.Cancel(now, id)
	}})
	return Answer{Outcome: handoff.Unknown}
}

// FetchThen is Fetch for a caller that cannot wait: then is called with the answer, once, from another goroutine or this one, and must not wait either.
func (n *Node) FetchThen(r Request, then func(Answer)) { n.fetch(r, then) }

func (n *Node) fetch(r Request, then func(Answer)) (id uint64) {
	id = n.lastFetch.Add(1)
	key := handoff.Key(r.Key.Whole()) // r.Key may not outlive this call
	taken := n.post(event{do: func(now time.Duration) {
		n.fetches[id] = then
		n.machine.Want(now, handoff.Request{ID: id, Key: key, Purpose: r.Purpose, Cookie: r.Cookie, Arrived: r.Arrived.Sub(n.started)})
	}})
	if !taken {
		then(Answer{Outcome: handoff.Unknown})
	}
	return id
}

// answer passes the machine's answer on. Of one that nobody waits for any more, Cancel is on its way.
func (n *Node) answer(a handoff.Answer) {
	then := n.fetches[a.Request]
	if then == nil {
		return
	}
	delete(n.fetches, a.Request)
	n.counts.outcomes[a.Outcome].Add(1)
	then(Answer{
		Outcome: a.Outcome,
		Grant:   session.Grant{Epoch: uint64(a.Epoch), Term: a.Term},
		Cookie:  a.Cookie,
		LockAge: a.LockAge,
		id:      a.Request,
	})
}

// abandon answers everybody who still waits; at the end.
func (n *Node) abandon() {
	for id, then := range n.fetches {
		delete(n.fetches, id)
		then(Answer{Outcome: handoff.Unknown})
	}
}

// Done ends a Fetch, whatever its answer was and whatever has become of the operation since.
func (n *Node) Done(a Answer) {
	if a.Outcome == handoff.Here || a.Outcome == handoff.Nowhere && a.Grant.Epoch != 0 {
		n.post(event{do: func(now time.Duration) { n.machine.Finished(now, a.id) }})
	}
}
