package cluster

import (
	"sync"
	"time"

	"statemesh/cluster/handoff"
)

// event is something for the machine: a message from another node, or anything else as a function.
type event struct {
	from handoff.NodeID
	msg  handoff.Message
	do   func(now time.Duration)
}

// mailbox is what waits for the machine. Whoever brings another node's messages is made to wait when it is full, so that a flood of them
// fills that node's connection and not this one's memory.
type mailbox struct {
	mu     sync.Mutex
	room   sync.Cond // signalled when events have been taken, and at the end
	events []event
	closed bool
	wake   chan struct{} // capacity 1: there are events
}

// mailboxSize bounds the messages of other nodes that wait.
const mailboxSize = 16 << 10

func newMailbox() *mailbox {
	m := &mailbox{wake: make(chan struct{}, 1)}
	m.room.L = &m.mu
	return m
}

// post adds an event, and is false if the mailbox is closed.
func (m *mailbox) post(e event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addLocked(e)
}

// postMessage waits for room.
func (m *mailbox) postMessage(e event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.events) >= mailboxSize && !m.closed {
		m.room.Wait()
	}
	m.addLocked(e)
}

func (m *mailbox) addLocked(e event) bool {
	if m.closed {
		return false
	}
	m.events = append(m.events, e)
	if len(m.events) == 1 {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take returns what has come. empty, which was taken before, is the next to be filled.
func (m *mailbox) take(empty []event) []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.events
	m.events = empty[:0]
	m.room.Broadcast()
	return taken
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.room.Broadcast()
}

// run is the machine's goroutine: it alone touches the machine. What comes while it is at work is worked off in one go, and what that says to
// a member goes out in one piece.
func (n *Node) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []event
	for {
		select {
		case <-n.stopped:
			for _, e := range n.mail.take(nil) { // requests that had come by then
				n.take(&e)
			}
			n.abandon()
			return
		case <-n.mail.wake:
		case <-timer.C:
		}
		batch = n.mail.take(batch)
		for i := range batch {
			n.keepFresh()
			n.take(&batch[i])
		}
		clear(batch)
		n.keepFresh()
		timer.Reset(n.tick())
		if n.links != nil {
			n.links.Flush()
		}
	}
}

func (n *Node) take(e *event) {
	if e.do != nil {
		e.do(n.now())
	} else {
		n.receive(e.from, e.msg)
	}
	n.act()
}

// receive gives a message to the machine.
func (n *Node) receive(from handoff.NodeID, msg handoff.Message) {
	if p, ok := msg.(handoff.Push); ok {
		if body := stored(&p.Record); body != nil {
			defer body.Release() // by now the store holds it, if it wants it
		}
		msg = p
	}
	n.machine.Receive(n.now(), from, msg)
}

// tick does what has become due, and returns when to look again.
func (n *Node) tick() time.Duration {
	if at, ok := n.machine.NextTick(); ok && at <= n.now() {
		n.machine.Tick(n.now())
		n.act()
	}
	if at, ok := n.machine.NextTick(); ok {
		return min(max(at-n.now(), 0), beatEvery)
	}
	return beatEvery
}

// act does what the machine wants done.
func (n *Node) act() {
	for _, a := range n.machine.Actions() {
		switch a := a.(type) {
		case handoff.Send:
			n.links.Send(a.To, a.Message)
			n.noteSent(a)
		case handoff.Answer:
			n.answer(a)
		case handoff.Reconcile:
			n.gossip.Reconcile(string(a.With))
		case handoff.Drained:
			select {
			case n.emptied <- struct{}{}:
			default:
			}
		}
	}
	n.empty.Store(n.machine.Drained())
}

// ask runs f with the machine, and waits. It is false if the node has been stopped.
func (n *Node) ask(f func(now time.Duration)) bool {
	done := make(chan struct{})
	n.mail.post(event{do: func(now time.Duration) {
		f(now)
		close(done)
	}})
	select {
	case <-done:
		return true
	case <-n.stopped:
		return false
	}
}

// now is the time on the machine's clock.
func (n *Node) now() time.Duration { return time.Since(n.started) }
