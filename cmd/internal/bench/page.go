package bench

import "time"

// run asks for pages until end, and measures those that begin at begin or later.
func (c *conn) run(begin, end time.Duration) {
	c.pages.Reset()
	c.trips.Reset()
	c.waits.Reset()
	c.polls, c.sent, c.received = 0, 0, 0
	c.done.Store(0)
	for each := c; each != nil; each = each.second {
		for _, each.link = range each.links {
			each.armed = -time.Hour
			if each.nc == nil && !each.redial(end) {
				return
			}
		}
	}
	schedule := c.schedule()
	for c.now = c.f.clock(); ; {
		start := schedule.next(c, end)
		if start >= end || c.f.stop.Load() {
			return
		}
		c.measuring = start >= begin
		session := c.pick()
		c.move(session)
		c.held = noCookie
		if err := c.page(session); err != nil {
			if c.f.o.Mix == Create {
				c.created-- // it has not been created
			}
			c.mend(session, err, end)
			c.now = c.f.clock()
			continue
		}
		if c.measuring {
			record(c.pages, c.now-start)
		}
		c.done.Add(1)
	}
}

// schedule is when a connection's pages begin: at the farm's rate, or each when the one before has ended.
type schedule struct {
	interval, due time.Duration
}

func (c *conn) schedule() schedule {
	if c.f.o.Rate == 0 {
		return schedule{}
	}
	interval := time.Duration(float64(len(c.f.conns)) / c.f.o.Rate * float64(time.Second))
	return schedule{interval, c.f.clock() + time.Duration(c.random.Int64N(int64(interval)+1))}
}

// next returns when the next page begins. A page that the one before has held up began when it was due: its user has waited.
func (s *schedule) next(c *conn, end time.Duration) time.Duration {
	if s.interval == 0 {
		return c.now
	}
	start := min(s.due, end)
	s.due += s.interval
	for start > c.now && !c.f.stop.Load() {
		time.Sleep(min(start-c.now, redialPause))
		c.now = c.f.clock()
		if c.now >= start {
			return c.now
		}
	}
	return start
}

func (c *conn) pick() uint32 {
	switch {
	case c.f.o.Mix == Create || c.f.o.Mix == Miss:
		c.created++
		return c.newSession(c.created - 1)
	case c.f.o.Shared:
		return c.random.Uint32N(uint32(len(c.f.ledger)))
	default:
		return c.first + c.random.Uint32N(c.sessions)
	}
}

// newSession is the i-th session that pages on this connection create.
func (c *conn) newSession(i uint32) uint32 {
	return uint32(len(c.f.ledger)) + i*uint32(len(c.f.conns)) + uint32(c.index)
}

// move chooses the node for the next page.
func (c *conn) move(session uint32) {
	switch c.f.o.Spread {
	case Alternate:
		if int(session) < len(c.f.at) {
			at := &c.f.at[session]
			*at = uint8((int(*at) + 1) % len(c.links))
			c.turn = int(*at)
		} else {
			c.turn = (c.turn + 1) % len(c.links)
		}
	case PerPage:
		c.turn = c.random.IntN(len(c.links))
	}
	c.link = c.links[c.turn]
}

func (c *conn) page(session uint32) error {
	switch c.f.o.Mix {
	case Typical:
		return c.typicalPage(session)
	case ReadOnly:
		return c.readPage(session)
	case Create:
		return c.createPage(session)
	case Miss:
		return c.missPage(session)
	case Pair:
		return c.pairPage(session)
	default:
		return c.writePage(session)
	}
}

func (c *conn) typicalPage(session uint32) error {
	switch dice := c.random.Uint32N(100); {
	case dice < 60:
		return c.writePage(session)
	case dice < 85:
		return c.readPage(session)
	case dice < 95:
		return c.unchangedPage(session)
	default:
		return c.sessionlessPage(session)
	}
}

func (c *conn) writePage(session uint32) error {
	if err := c.acquireLock(session); err != nil {
		return err
	}
	c.think()
	return c.store(session, c.held)
}

func (c *conn) unchangedPage(session uint32) error {
	if err := c.acquireLock(session); err != nil {
		return err
	}
	c.think()
	if err := c.exchange(c.releaseOf(&c.id, c.held), "ReleaseExclusive"); err != nil {
		return err
	}
	return c.expectOK("ReleaseExclusive", session)
}

func (c *conn) readPage(session uint32) error {
	e := &c.f.ledger[session]
	oldest := e.version.Load()
	if err := c.poll(c.get.to(c.identify(session)), "Get"); err != nil {
		return err
	}
	if err := c.expectOK("Get", session); err != nil {
		return err
	}
	return c.checkBody(session, oldest, e.version.Load())
}

func (c *conn) sessionlessPage(session uint32) error {
	if err := c.exchange(c.touch.to(c.identify(session)), "ResetTimeout"); err != nil {
		return err
	}
	return c.expectOK("ResetTimeout", session)
}

func (c *conn) createPage(session uint32) error {
	return c.storeAgain(session, 0)
}

func (c *conn) missPage(session uint32) error {
	if err := c.exchange(c.acquire.to(c.identify(session)), "GetExclusive"); err != nil {
		return err
	}
	if c.answer.status != 404 {
		return faultf(otherStatus, "GetExclusive of session %d, which does not exist, was answered %d", session, c.answer.status)
	}
	return nil
}

// think is what the page does with its session.
func (c *conn) think() {
	if c.f.o.Think > 0 {
		time.Sleep(c.f.o.Think)
		c.now = c.f.clock()
	}
}

// acquireLock gets a session with its lock, whose cookie is then in held.
func (c *conn) acquireLock(session uint32) error {
	if err := c.poll(c.acquire.to(c.identify(session)), "GetExclusive"); err != nil {
		return err
	}
	if err := c.expectOK("GetExclusive", session); err != nil {
		return err
	}
	c.held = c.answer.cookie
	e := &c.f.ledger[session]
	last := e.cookie.Load()
	e.cookie.Store(c.held)
	if c.held <= last && !c.f.o.canned {
		return faultf(badCookie, "GetExclusive of session %d was answered cookie %d after %d", session, c.held, last)
	}
	// Nobody else can have written since: we have the lock.
	version := e.version.Load()
	return c.checkBody(session, version, version)
}

// store writes a session's next version.
func (c *conn) store(session uint32, cookie int32) error {
	c.f.ledger[session].version.Add(1) // before it is sent: whoever reads it then must not think it is too new
	return c.storeAgain(session, cookie)
}

// storeAgain writes a session's version as the ledger has it.
func (c *conn) storeAgain(session uint32, cookie int32) error {
	if err := c.exchange(c.setRequest(session, c.f.o.Minutes, cookie), "Set"); err != nil {
		return err
	}
	return c.expectOK("Set", session)
}

// setRequest is the Set of a session's version as the ledger has it.
func (c *conn) setRequest(session uint32, minutes int, cookie int32) []byte {
	o := &c.f.o
	version := uint32(1) // of those that pages create
	if int(session) < len(c.f.ledger) {
		version = c.f.ledger[session].version.Load()
	}
	n := o.Size.of(o.Seed, session, version)
	c.bodyOf(n, o.Seed, session, version)
	return c.setOf(c.identify(session), n, minutes, 0, cookie)
}

// poll is exchange for a Get that other connections' locks may hold up.
func (c *conn) poll(req []byte, doing string) error {
	for giveUp := c.now + answerTimeout; ; {
		err := c.exchange(req, doing)
		if err != nil || c.answer.status != 423 || c.pollPause == 0 || c.now > giveUp {
			return err
		}
		c.polls++
		time.Sleep(c.pollPause)
		c.now = c.f.clock()
	}
}

func (c *conn) expectOK(doing string, session uint32) error {
	if c.answer.status != 200 {
		return statusFault(doing, session, c.answer.status)
	}
	return nil
}
