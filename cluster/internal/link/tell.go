package link

import "statemesh/wire/peer"

// Tell gives a message of which only the latest counts to every node that there is a connection to. It never waits, and never stands in line: it goes
// when what is being written has been; what has not gone by the next Tell, or by the end of the connection, never will. All connections share
// its bytes, so to tell fifty nodes takes no more memory than to tell one.
func (t *Transport) Tell(m peer.Message) {
	frame := peer.Append(nil, m)
	if len(frame) == 0 {
		return
	}
	t.mu.Lock()
	lanes := make([]*lane, 0, len(t.links))
	for _, l := range t.links {
		lanes = append(lanes, l.small)
	}
	t.mu.Unlock()
	for _, l := range lanes {
		l.tell(frame)
	}
}

func (l *lane) tell(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	if l.news != nil {
		l.out.dropped++
	}
	l.news = frame
	l.nudge()
}

// sendNews sends what was told last, if that has not been sent yet.
func (l *lane) sendNews(c *outgoing) error {
	l.mu.Lock()
	frame := l.news
	l.news = nil
	l.mu.Unlock()
	if frame == nil {
		return nil
	}
	c.sent += len(frame)
	if _, err := c.write(frame); err != nil {
		return err
	}
	l.mu.Lock()
	l.out.messages++
	l.out.bytes += uint64(len(frame))
	l.mu.Unlock()
	return nil
}
