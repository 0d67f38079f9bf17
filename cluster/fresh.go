package cluster

import "time"

const (
	// beatEvery is how often the machine shows that it runs, if there is nothing else for it to do.
	beatEvery = 100 * time.Millisecond
	// staleAfter is less than the shortest time after which others take a member for dead (gossip's suspicion, 2s).
	staleAfter = 1500 * time.Millisecond
)

// Fresh tells whether this node may still speak for the sessions it holds: it has run without a longer pause than the others wait before they
// take a member for dead. To be asked before an operation is begun and before its answer is written: if it is false, the operation is not to be
// done, or the connection to be closed. It never waits.
func (n *Node) Fresh() bool { return n.pause() < staleAfter }

// pause is how long nothing has been heard of the machine. A computer that was suspended, or whose hypervisor has stopped it, may not know: all of
// its clocks but the wall clock stand still meanwhile, and that is then set forward. So that it was set forward counts as well; if somebody
// has merely corrected it, this node asks for nothing.
func (n *Node) pause() time.Duration {
	now, lead := n.clocks()
	return now - time.Duration(n.beat.Load()) + max(0, lead-time.Duration(n.lead.Load()))
}

// clocks is the time on the machine's clock, and how far the wall clock has run ahead of that.
func (n *Node) clocks() (now, lead time.Duration) {
	t := time.Now()
	now = t.Sub(n.started)
	if n.o.clock != nil {
		t = n.o.clock()
	}
	return now, t.Round(0).Sub(n.started.Round(0)) - now
}

// showRunning is what Fresh goes by.
func (n *Node) showRunning() {
	now, lead := n.clocks()
	n.lead.Store(int64(lead))
	n.beat.Store(int64(now))
}

// keepFresh shows that the node runs. If it did not, for too long (stopped by a debugger or a hypervisor, say), everything it owns is made a mere
// copy first, that must be asked for; until that is done, Fresh stays false.
func (n *Node) keepFresh() {
	if pause := n.pause(); pause >= staleAfter {
		n.machine.Fence(n.now())
		n.act()
		if n.o.Fenced != nil {
			n.o.Fenced()
		}
		n.counts.fences.Add(1)
		n.note("warn", "this node stood still for %s; it asks for its sessions before it serves them again", pause.Round(100*time.Millisecond))
	}
	n.showRunning()
}
