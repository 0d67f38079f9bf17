package gossip

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegates are what memberlist calls. All but the first two are called while it holds nodeLock: they note things and return.
type delegates struct{ m *Membership }

// NodeMeta is what others are told of this node.
func (d *delegates) NodeMeta(int) []byte { return d.m.meta.Load().append(nil) }

// NotifyPingComplete says that a probe was answered.
func (d *delegates) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	d.m.heard()
	d.m.table.answered(n.Name, rtt)
}

// AckPayload is asked for when another probes this node.
func (d *delegates) AckPayload() []byte {
	d.m.heard()
	return nil
}

func (m *Membership) heard() { m.counts.heard.Store(time.Now().UnixNano()) }

// NotifyAlive may refuse a node that is said to be alive.
func (d *delegates) NotifyAlive(n *memberlist.Node) error {
	if n.Name == d.m.o.ID {
		return nil
	}
	own := *d.m.meta.Load()
	meta, addr, err := admit(n)
	if err == nil {
		err = d.m.table.speaks(n.Name, own, meta)
	}
	if err != nil {
		d.m.say.inadmissible(strings.ToValidUTF8(n.Name, "?"), n.Address(), err)
		return err
	}
	if addr == d.m.self && own.Started.After(meta.Started) || d.m.table.over(n.Name, addr, meta.Started) {
		return errOver // late news: nothing to speak of
	}
	return nil
}

var errOver = errors.New("that run of it has ended")

// NotifyMerge may refuse to compare notes with a node, and all that it knows: either of the two is not let in.
func (d *delegates) NotifyMerge(all []*memberlist.Node) error {
	own := *d.m.meta.Load()
	for _, n := range all {
		if n.State != memberlist.StateAlive || n.Name == d.m.o.ID {
			continue
		}
		meta, _, err := admit(n)
		if err == nil {
			err = d.m.table.speaks(n.Name, own, meta)
		}
		if err != nil {
			d.m.say.inadmissible(strings.ToValidUTF8(n.Name, "?"), n.Address(), err)
			return err
		}
	}
	return nil
}

// NotifyJoin says that a node is alive that was not.
func (d *delegates) NotifyJoin(n *memberlist.Node) { d.alive(n) }

// NotifyUpdate says that a node's meta changed.
func (d *delegates) NotifyUpdate(n *memberlist.Node) { d.alive(n) }

func (d *delegates) alive(n *memberlist.Node) {
	if d.m.table.set(n) {
		d.m.settle()
	}
}

// NotifyLeave says that a node left or failed: memberlist does not tell which.
func (d *delegates) NotifyLeave(n *memberlist.Node) {
	if d.m.table.gone(n.Name) {
		d.m.settle()
	}
}

// NotifyConflict says that two nodes claim the same ID. It is random: one of the two is not what it seems.
func (d *delegates) NotifyConflict(have, other *memberlist.Node) {
	d.m.say.inadmissible(other.Name, other.Address(), fmt.Errorf("%s has the same ID", have.Address()))
}

// What memberlist could carry for us, and does not.

func (d *delegates) NotifyMsg([]byte)                {}
func (d *delegates) GetBroadcasts(int, int) [][]byte { return nil }
func (d *delegates) LocalState(bool) []byte          { return nil }
func (d *delegates) MergeRemoteState([]byte, bool)   {}
