package cluster

import (
	"time"

	"statemesh/cluster/handoff"
	"statemesh/wire/peer"
)

// What a node says of itself to operators who look at another one. It goes over the links like everything else, but past the machine: nothing is
// decided by it. Each of its sendings replaces the one before, so none is repeated, none waited for, and none kept of a member that is gone.

// Report is what another member last said of itself.
type Report struct {
	ID   string    `json:"id"` // as Member.ID
	Name string    `json:"name"`
	At   time.Time `json:"at"`   // when it arrived here
	Body []byte    `json:"body"` // what its Options.Report returned. Not to be changed
}

const (
	// MaxReport is the most bytes that Options.Report may return.
	MaxReport = peer.MaxReport
	// reportEvery is how often it is asked.
	reportEvery = 2 * time.Second
)

// tellReports is a goroutine: it tells the others how this node is.
func (n *Node) tellReports() {
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-n.reportDue:
		case <-n.stopped:
			return
		}
		n.tellReport()
	}
}

func (n *Node) tellReport() {
	if n.members.others() == 0 {
		return
	}
	body := n.o.Report()
	if len(body) > MaxReport {
		if !n.tooMuch {
			n.tooMuch = true
			n.log.Error("what this node would tell the others of itself is too much, and is not told", "bytes", len(body), "limit", MaxReport)
		}
		return
	}
	n.links.Tell(peer.Report{Body: body})
}

// reportSoon has the others told without waiting for the next time.
func (n *Node) reportSoon() {
	select {
	case n.reportDue <- struct{}{}:
	default:
	}
}

// received takes what comes over the links.
func (n *Node) received(from peer.NodeID, m peer.Message) {
	if r, ok := m.(peer.Report); ok {
		n.members.report(from, r.Body)
		return
	}
	n.mail.postWhenRoom(event{from: from, msg: m})
}

// Reports are what the live members have said of themselves, by ID; of one that has not said anything yet there is none.
func (n *Node) Reports() map[string]Report {
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	all := make(map[string]Report, len(n.members.reports))
	for _, r := range n.members.reports {
		all[r.ID] = r
	}
	return all
}

// report keeps what a live member says of itself.
func (r *registry) report(id handoff.NodeID, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.live[id]; ok {
		r.reports[id] = Report{ID: string(id), Name: m.Meta.Name, At: time.Now(), Body: body}
	}
}

// others is how many live members there are besides this node.
func (r *registry) others() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}
