package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/session"
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
	size   atomic.Int32 // of events
}

const (
	// mailboxSize bounds the messages of other nodes that wait.
	mailboxSize = 16 << 10
	// fewEvents are worked off by whoever brings them; more by the machine's own goroutine.
	fewEvents = 128
)

func newMailbox() *mailbox {
	m := &mailbox{}
	m.room.L = &m.mu
	return m
}

// post adds an event, and is false if the mailbox is closed.
func (m *mailbox) post(e event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addLocked(e)
}

// postWhenRoom is post, but waits for room.
func (m *mailbox) postWhenRoom(e event) {
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
	m.size.Add(1)
	return true
}

// take returns what has come. empty, which was taken before, is the next to be filled.
func (m *mailbox) take(empty []event) []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.events
	m.events = empty[:0]
	m.size.Store(0)
	m.room.Broadcast()
	return taken
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.room.Broadcast()
}

// post gives the machine an event, and is false if the node has been stopped.
func (n *Node) post(e event) bool {
	posted := n.mail.post(e)
	n.pump()
	return posted
}

// pump works off what has come, unless somebody else is at the machine, who then does that as well. So a message goes through the machine in
// the goroutine that has read it, and an answer that the machine has at once needs nobody to be woken for it. (To wake a goroutine takes longer
// than all the machine does for a message.) If there is a lot, the machine's own goroutine takes it on: the caller has other things to do.
func (n *Node) pump() {
	for size := n.mail.size.Load(); size > 0; size = n.mail.size.Load() {
		if size > fewEvents {
			n.nudge()
			return
		}
		if !n.machineMu.TryLock() { // whoever has it looks again after giving it back
			return
		}
		n.work()
		at, ok := n.machine.NextTick()
		early := ok && at < n.armed
		n.machineMu.Unlock()
		n.flush()
		if early {
			n.nudge()
		}
	}
}

// nudge wakes the machine's goroutine.
func (n *Node) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run is the machine's goroutine: it does what has become due, and what there is too much of for those who bring it.
func (n *Node) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.stopped:
			n.machineMu.Lock()
			defer n.machineMu.Unlock()
			n.work() // requests that had come by then
			n.abandon()
			n.flush()
			return
		case <-n.wake:
		case <-timer.C:
		}
		n.machineMu.Lock()
		n.work()
		wait := n.tick()
		n.armed = n.now() + wait
		n.machineMu.Unlock()
		n.flush()
		n.pump() // what has come meanwhile, and was left to us
		timer.Reset(wait)
	}
}

// work has the machine take all that has come. What it says to a member goes out in one piece, with the next flush.
func (n *Node) work() {
	batch := n.mail.take(n.spare)
	for i := range batch {
		n.keepFresh()
		n.take(&batch[i])
	}
	clear(batch)
	n.spare = batch
}

func (n *Node) flush() {
	if n.links != nil {
		n.links.Flush()
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
	var bodies []*session.Stored
	switch m := msg.(type) {
	case handoff.Push:
		bodies = store(bodies, &m.Record)
		msg = m
	case handoff.Convoy:
		bodies = make([]*session.Stored, 0, len(m.Pushes))
		for i := range m.Pushes {
			bodies = store(bodies, &m.Pushes[i].Record)
		}
	}
	n.machine.Receive(n.now(), from, msg)
	for _, b := range bodies {
		b.Release() // by now the store holds it, if it wants it
	}
}

// tick does what has become due, and returns when to look again.
func (n *Node) tick() time.Duration {
	n.keepFresh()
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

// ask runs f with the machine, and waits. It is false if the node has been stopped, and f will not run.
func (n *Node) ask(f func(now time.Duration)) bool {
	done := make(chan struct{})
	var taken atomic.Bool // by f, or by who does not wait for it any more
	n.post(event{do: func(now time.Duration) {
		if taken.CompareAndSwap(false, true) {
			defer close(done)
			f(now)
		}
	}})
	select {
	case <-done:
		return true
	case <-n.stopped:
	}
	if taken.CompareAndSwap(false, true) {
		return false
	}
	<-done
	return true
}

// now is the time on the machine's clock.
func (n *Node) now() time.Duration { return time.Since(n.started) }
