package bench

import "time"

// pairPage is two pages of one user at the same moment, as a browser asks for them that loads a frame or runs scripts: the second asks
// for the session when the first has it, on a connection of its own to the same node, or, with Alternate, to the next, and is answered
// once the first has stored it. What counts is the wait of the second from then on.
func (c *conn) pairPage(session uint32) error {
	if err := c.acquireLock(session); err != nil {
		return err
	}
	s := c.second
	switch s.link = s.links[c.turn]; c.f.o.Spread {
	case Alternate, PerPage:
		s.link = s.links[(c.turn+1)%len(s.links)]
	}
	s.now, s.measuring = c.now, c.measuring
	var answered time.Duration
	secondEnds := make(chan error, 1)
	go func() {
		err := s.acquireLock(session)
		if answered = s.now; err == nil {
			err = s.store(session, s.held)
		}
		secondEnds <- err
	}()
	c.think()
	writing := c.f.clock()
	err := c.store(session, c.held)
	secondErr := <-secondEnds
	switch {
	case err != nil: // then the second, whose session has not been written, has waited in vain
		c.mendSecond(secondErr)
		return err
	case secondErr != nil:
		c.mendSecond(secondErr)
		return secondErr
	}
	if c.measuring {
		record(c.waits, answered-writing)
	}
	c.now = c.f.clock()
	return nil
}

// mendSecond gives the second a connection again, if it has lost its own.
func (c *conn) mendSecond(err error) {
	if brokenConnection(err) {
		c.second.redial(c.f.clock() + dialTimeout)
	}
}
