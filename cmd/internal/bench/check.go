package bench

import (
	"bytes"
	"context"
	"time"
)

// checkBody compares the body that was read with that of a version from oldest to newest.
func (c *conn) checkBody(session, oldest, newest uint32) error {
	version, seed := newest, c.f.o.Seed
	if oldest != newest && len(c.body) >= headerLen {
		_, version, _ = stampOf(c.body)
		version = min(max(version, oldest), newest)
	}
	n := c.f.o.Size.of(seed, session, version)
	want := c.expected(n, seed, session, version)
	if bytes.Equal(c.body, want) {
		return nil
	}
	return bodyFault(c.body, want, session)
}

// expected is the body that an answer should have.
func (c *conn) expected(n int, seed uint64, session, version uint32) []byte {
	if c.f.o.canned {
		session, version, seed = 0, 0, 0
	}
	return c.bodyOf(n, seed, session, version)
}

// bodyFault says what is wrong with a body.
func bodyFault(got, want []byte, session uint32) error {
	if len(got) < headerLen {
		return faultf(wrongLength, "session %d has %d bytes, want %d", session, len(got), len(want))
	}
	gotSession, gotVersion, gotSeed := stampOf(got)
	_, version, seed := stampOf(want)
	switch {
	case gotSession != session || gotSeed != seed:
		return faultf(wrongSession, "session %d has a body that was not stored under its key", session)
	case gotVersion < version:
		return faultf(lostUpdate, "session %d has version %d, but version %d was stored", session, gotVersion, version)
	case gotVersion > version:
		return faultf(wrongBody, "session %d has version %d, but only version %d was stored", session, gotVersion, version)
	case len(got) != len(want):
		return faultf(wrongLength, "session %d version %d has %d bytes, want %d", session, version, len(got), len(want))
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return faultf(wrongBody, "session %d version %d differs from byte %d on", session, version, at)
}

// mend counts a fault and makes its session and the connection fit for use again, so that one fault is counted once.
func (c *conn) mend(session uint32, err error, end time.Duration) {
	if c.f.stop.Load() && brokenConnection(err) {
		return // cut short by interrupt: no fault
	}
	c.measuring = false
	for {
		f, isFault := err.(*fault)
		if !isFault {
			f = faultf(closed, "%v", err)
		}
		c.f.faults.add(f)
		if brokenConnection(err) && !c.redial(end) {
			return
		}
		err = c.restore(session)
		if err == nil || !brokenConnection(err) || c.over(end) {
			return
		}
	}
}

func (c *conn) over(end time.Duration) bool { return c.f.stop.Load() || c.f.clock() >= end }

// redial connects again; false if there is no connection until end.
func (c *conn) redial(end time.Duration) bool {
	c.close()
	for {
		err := c.dial(context.Background())
		if err == nil {
			return true
		}
		c.f.faults.add(faultf(unreachable, "%s: %v", c.node, rootOf(err)))
		if c.over(end) {
			return false
		}
		time.Sleep(redialPause)
	}
}

// restore stores a session again that gave a wrong answer: a session of our own anew, whatever state it is in. One that others use
// only gets the write that its lock is for, which is harmless if the lock has ended.
func (c *conn) restore(session uint32) error {
	o := &c.f.o
	switch {
	case o.Mix == Create || o.Mix == Miss:
		return nil
	case o.Shared && c.held == noCookie:
		return nil
	case o.Shared:
		return c.storeAgain(session, c.held)
	}
	c.identify(session)
	if err := c.exchange(c.removeOf(&c.id, 0), "Remove"); err != nil {
		return err
	}
	if c.answer.status == 423 {
		if err := c.exchange(c.removeOf(&c.id, c.answer.cookie), "Remove"); err != nil {
			return err
		}
	}
	c.f.ledger[session].cookie.Store(0)
	return c.storeAgain(session, 0)
}
