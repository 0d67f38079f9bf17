package service

import (
	"context"
	"errors"

	"statemesh/cluster"
	"statemesh/cluster/handoff"
	"statemesh/session"
	"statemesh/wire"
)

// errStale ends a connection whose request was done by a node that may not have been entitled to: it had stood still, and others may have
// taken it for dead. Nothing is known of the request, and that is what an answer that never comes says.
var errStale = errors.New("this node stood still, and may speak for its sessions only when it has asked for them")

// errCut ends a connection that was cut off while its request was on its way.
var errCut = errors.New("it was cut off")

// errFetching is what a loop's connection returns while others are asked for its session: it is to be called again when found is
// their answer.
var errFetching = errors.New("the session has to be fetched")

// fetch goes on with a request whose session is not here: it is brought here and the request tried again, as often as it takes, or it is
// created if all others say that they have none. It waits, but for a loop, which is told to come back (errFetching) as it must not. body is fetch's to
// give away.
func (c *conn) fetch(body *session.Body) (session.Reply, error) {
	arrived := c.clock.start.Add(c.whole)
	want := cluster.Request{Key: c.key, Purpose: purpose(&c.req), Cookie: cookie(&c.req), Arrived: arrived}
	c.asked = c.clock.now()
	if !c.mayWait {
		c.body = body
		c.phase = fetching
		c.nc.(interface{ fetch(cluster.Request) }).fetch(want)
		return session.Reply{}, errFetching
	}
	ops := c.store.Since(arrived)
	for {
		a := c.mesh.Fetch(context.Background(), want)
		if err := c.entitled(); err != nil { // any more: that may have taken seconds
			c.mesh.Done(a)
			c.body = body
			return session.Reply{}, err
		}
		reply, again := c.fetched(a, ops, body)
		if !again {
			return reply, nil
		}
		c.asked = c.clock.now()
	}
}

// dropFound is done with an answer for which the loop has come back, if the request is not gone on with.
func (c *conn) dropFound() {
	if a := c.takeFound(); a != (cluster.Answer{}) {
		c.mesh.Done(a)
	}
}

func (c *conn) takeFound() cluster.Answer {
	a := c.found
	c.found = cluster.Answer{}
	return a
}

// fetched does what the others' answer calls for. again says that the session has moved on meanwhile, and they have to be asked once more.
func (c *conn) fetched(a cluster.Answer, ops operations, body *session.Body) (r session.Reply, again bool) {
	defer c.mesh.Done(a)
	c.metrics.fetched(a, c.clock.now()-c.asked)
	req := &c.req
	switch {
	case a.Outcome == handoff.Here, a.Outcome == handoff.Nowhere && req.Op == wire.OpSet:
		r = do(ops, req, c.key, body, a.Grant)
		return r, r.Outcome == session.NotFound
	case a.Outcome == handoff.Nowhere:
		return session.Reply{Outcome: session.NotFound}, false
	}
	if body != nil {
		body.Discard()
	}
	switch {
	case a.Outcome != handoff.Held: // nobody knows, or too many ask
		return session.Reply{Outcome: session.Busy}, false
	case req.Op == wire.OpResetTimeout, req.Op == wire.OpSet && req.Uninitialised:
		return session.Reply{}, false // its holder has done the one; and for the other there is nothing to be done
	}
	return session.Reply{Outcome: session.Locked, Cookie: a.Cookie, LockAge: a.LockAge}, false
}

// purpose says in the cluster's words what a request is for.
func purpose(req *wire.Request) handoff.Purpose {
	switch req.Op {
	case wire.OpGet:
		return handoff.Read
	case wire.OpGetExclusive:
		return handoff.Acquire
	case wire.OpReleaseExclusive:
		return handoff.Release
	case wire.OpRemove:
		return handoff.Remove
	case wire.OpResetTimeout:
		return handoff.Touch
	}
	if req.Uninitialised {
		return handoff.Insert
	}
	return handoff.Put
}
