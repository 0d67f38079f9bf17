package service_test

import (
	"testing"
	"time"

	"statemesh/service"
	"statemesh/session"
	"statemesh/wire"
)

// What outcomes are told as, verb by verb. Replies that a store cannot give for a verb must still not end in a lie.
func TestRespond(t *testing.T) {
	t.Parallel()
	const (
		ok         = wire.StatusOK
		badRequest = wire.StatusBadRequest
		notFound   = wire.StatusNotFound
		locked     = wire.StatusLocked
	)
	ops := []wire.Op{wire.OpGet, wire.OpGetExclusive, wire.OpReleaseExclusive, wire.OpSet, wire.OpRemove, wire.OpResetTimeout}
	for _, row := range []struct {
		outcome session.Outcome
		want    [6]wire.Status // by ops
	}{
		{session.Done, [6]wire.Status{ok, ok, ok, ok, ok, ok}},
		{session.NotFound, [6]wire.Status{notFound, notFound, notFound, notFound, notFound, notFound}},
		{session.Locked, [6]wire.Status{locked, locked, locked, locked, locked, ok}},
		{session.BadCookie, [6]wire.Status{badRequest, badRequest, badRequest, badRequest, badRequest, badRequest}},
		{session.Full, [6]wire.Status{badRequest, badRequest, badRequest, badRequest, badRequest, badRequest}},
		{session.Busy, [6]wire.Status{locked, locked, badRequest, badRequest, badRequest, ok}},
		{session.Outcome(99), [6]wire.Status{badRequest, badRequest, badRequest, badRequest, badRequest, badRequest}},
	} {
		for i, op := range ops {
			got := service.Respond(op, &session.Reply{Outcome: row.outcome, Cookie: 7, LockAge: 3900 * time.Millisecond, Timeout: 20})
			if got.Status != row.want[i] {
				t.Errorf("%v, outcome %d: status %v, want %v", op, row.outcome, got.Status, row.want[i])
			}
			if got.HasLock != (got.Status == locked) {
				t.Errorf("%v, outcome %d: HasLock is %v with status %v", op, row.outcome, got.HasLock, got.Status)
			}
			if got.ContentLength != 0 {
				t.Errorf("%v, outcome %d: Content-Length is %d", op, row.outcome, got.ContentLength)
			}
		}
	}
}

func TestRespond_Done(t *testing.T) {
	t.Parallel()
	r := session.Reply{First: true, Cookie: 7, Timeout: 30}
	if got, want := service.Respond(wire.OpGet, &r), (wire.Response{ActionFlags: true, HasTimeout: true, Timeout: 30}); got.HasCookie || !got.ActionFlags || got.Timeout != want.Timeout || !got.HasTimeout {
		t.Errorf("get: %+v, want %+v", got, want)
	}
	if got := service.Respond(wire.OpGetExclusive, &r); !got.HasCookie || got.LockCookie != 7 || !got.HasTimeout || !got.ActionFlags {
		t.Errorf("acquire: %+v", got)
	}
	if got, want := service.Respond(wire.OpReleaseExclusive, &r), (wire.Response{ActionFlags: true}); got != want {
		t.Errorf("release: %+v, want %+v", got, want)
	}
	for _, op := range []wire.Op{wire.OpSet, wire.OpRemove, wire.OpResetTimeout} {
		if got := service.Respond(op, &session.Reply{}); got != (wire.Response{}) {
			t.Errorf("%v: %+v, want a bare 200", op, got)
		}
	}
}

// A release passes "this session is new" on, however it ends.
func TestRespond_ReleaseOfANewSession(t *testing.T) {
	t.Parallel()
	for _, outcome := range []session.Outcome{session.Done, session.Locked, session.BadCookie} {
		if got := service.Respond(wire.OpReleaseExclusive, &session.Reply{Outcome: outcome, First: true}); !got.ActionFlags {
			t.Errorf("outcome %d: no ActionFlags", outcome)
		}
	}
}

func TestRespond_LockIsDatedByItsAge(t *testing.T) {
	t.Parallel()
	before := time.Now()
	got := service.Respond(wire.OpGet, &session.Reply{Outcome: session.Locked, Cookie: 7, LockAge: 3900 * time.Millisecond})
	after := time.Now()
	if got.LockAge != 3 || got.LockCookie != 7 {
		t.Errorf("lock is %+v, want age 3, cookie 7", got)
	}
	if from, to := wire.Ticks(before.Add(-3900*time.Millisecond)), wire.Ticks(after.Add(-3900*time.Millisecond)); got.LockDate < from || got.LockDate > to {
		t.Errorf("LockDate is %d, want %d to %d", got.LockDate, from, to)
	}
}

// "Busy" must not look like a lock that can be broken, nor carry a cookie that could be one.
func TestRespond_BusyIsNoLock(t *testing.T) {
	t.Parallel()
	before := wire.Ticks(time.Now())
	got := service.Respond(wire.OpGetExclusive, &session.Reply{Outcome: session.Busy})
	if got.LockAge != 0 || got.LockCookie != 0 || got.LockDate < before || got.LockDate > wire.Ticks(time.Now()) {
		t.Errorf("busy is %+v, want age 0, cookie 0, dated now", got)
	}
}
