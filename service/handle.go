package service

import (
	"statemesh/session"
	"statemesh/wire"
)

// handle is the one way of every request from the wire to the store. What is not here may be with another node, and is fetched here, so that no
// verb can be forgotten. body is a PUT's, and handle's to give away unless it fails, or the outcome is Taken; nil if there was no memory for it.
func (c *conn) handle(body *session.Body) (reply session.Reply, err error) {
	var missed bool
	if c.phase == fetching {
		reply, missed = c.fetched(c.takeFound(), c.ops, body)
	} else {
		reply = do(c.ops, &c.req, c.key, body, session.Grant{})
		missed = reply.Outcome == session.NotFound && c.mesh != nil
	}
	if missed {
		if reply, err = c.fetch(body); err != nil {
			return reply, err
		}
	}
	switch reply.Outcome {
	case session.Full:
		c.noteFull()
	case session.Busy:
		c.noteBusy()
	case session.BadCookie:
		c.noteRefused("LockCookie is missing or no number")
	}
	return reply, nil
}

// do does what req asks for, if the session is here, or may be created.
func do(ops operations, req *wire.Request, key session.Key, body *session.Body, grant session.Grant) session.Reply {
	switch req.Op {
	case wire.OpGet:
		return ops.Get(key)
	case wire.OpGetExclusive:
		return ops.Acquire(key)
	case wire.OpReleaseExclusive:
		return ops.Unlock(key, cookie(req))
	case wire.OpSet:
		if body == nil {
			return session.Reply{Outcome: session.Full}
		}
		return ops.Set(key, session.Change{Body: body, Timeout: req.Timeout, Cookie: cookie(req), Uninitialised: req.Uninitialised, Grant: grant})
	case wire.OpRemove:
		return ops.Remove(key, cookie(req))
	case wire.OpResetTimeout:
		return ops.Touch(key)
	}
	panic("service: request without an operation")
}

// cookie says in session's words what the request's LockCookie is. The two packages share no names, so that neither has to
// change with the other.
func cookie(req *wire.Request) int32 {
	switch req.Cookie {
	case wire.NoCookie:
		return session.NoCookie
	case wire.InvalidCookie:
		return session.InvalidCookie
	}
	return req.Cookie
}
