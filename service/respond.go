package service

import (
	"time"

	"statemesh/session"
	"statemesh/wire"
)

// This file alone decides what a web server is told. There are four statuses and no others, because of what web servers make
// of them (OutOfProcStateClientManager.cs):
//
//	      a GET makes of it                  anything else makes of it
//	200   the session                        done
//	400   an error page                      an error page
//	404   no such session: start a new one   done
//	423   ask again in half a second         done
//
// So 404 is said only when the store is certain; and a write that was not done is answered 400, since after a 423 its changes
// would be lost without a word. The one 423 to a write is Microsoft's own: somebody has broken the writer's lock.

// respond says how op went.
func respond(op wire.Op, r *session.Reply) wire.Response {
	switch op {
	case wire.OpGet, wire.OpGetExclusive:
		return respondToGet(op, r)
	case wire.OpReleaseExclusive:
		return respondToRelease(r)
	case wire.OpResetTimeout:
		return respondToHead(r)
	}
	return respondToChange(r)
}

func respondToGet(op wire.Op, r *session.Reply) wire.Response {
	switch r.Outcome {
	case session.Done:
		return wire.Response{
			ActionFlags:   r.First,
			HasCookie:     op == wire.OpGetExclusive,
			LockCookie:    r.Cookie,
			HasTimeout:    true,
			Timeout:       r.Timeout,
			ContentLength: len(r.Body()),
		}
	case session.NotFound:
		return wire.Response{Status: wire.StatusNotFound}
	case session.Locked:
		return locked(r)
	case session.Busy:
		return busyLocked()
	}
	return refused()
}

// respondToRelease passes the news that the session is new on with any status, as Microsoft's server does (DoGet in StateRuntime.cs).
func respondToRelease(r *session.Reply) wire.Response {
	resp := respondToChange(r)
	resp.ActionFlags = r.First
	return resp
}

// respondToHead never says 423. A session that is too busy to be touched is there, and those who keep it busy keep it alive.
func respondToHead(r *session.Reply) wire.Response {
	switch r.Outcome {
	case session.Done, session.Locked, session.Busy:
		return wire.Response{}
	}
	return respondToChange(r)
}

// respondToChange says 400 to whatever certainly was not done: BadCookie, Full, Busy.
func respondToChange(r *session.Reply) wire.Response {
	switch r.Outcome {
	case session.Done:
		return wire.Response{}
	case session.NotFound:
		return wire.Response{Status: wire.StatusNotFound}
	case session.Locked:
		return locked(r)
	}
	return refused()
}

// locked names the lock in the way. Its date is the age seen from now, by the wall clock: so a clock that was set cannot make a lock
// look old, and web servers break old locks.
func locked(r *session.Reply) wire.Response {
	return wire.Response{
		Status:     wire.StatusLocked,
		HasLock:    true,
		LockDate:   wire.Ticks(time.Now().Add(-r.LockAge)),
		LockAge:    int64(r.LockAge / time.Second),
		LockCookie: r.Cookie,
	}
}

// busyLocked makes the web server ask again. The age 0 keeps it from breaking the lock, and no lock has the cookie 0.
func busyLocked() wire.Response {
	return wire.Response{Status: wire.StatusLocked, HasLock: true, LockDate: wire.Ticks(time.Now())}
}

// refused is the answer to what was not done.
func refused() wire.Response { return wire.Response{Status: wire.StatusBadRequest} }
