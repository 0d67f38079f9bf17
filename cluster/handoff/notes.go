package handoff

import "time"

// notes are what a node remembers, for a minute, of sessions that it does not have any more, or has just received: where they went, that
// they were removed, which transfers are over. A note is found by its key, and forgotten in order of age.
type notes struct {
	byKey       map[Key]*note
	first, last *note // the oldest and the youngest
	life, floor time.Duration
	max         int
}

type note struct {
	key      Key
	kind     noteKind
	epoch    Epoch       // the highest known of this session
	to       NodeID      // with went
	transfer Transfer    // with went and came: the one that took it or brought it
	refused  [2]Transfer // those that were refused here or aborted, the last first
	at       time.Duration

	before, after *note
}

type noteKind uint8

const (
	nothing noteKind = iota // but refused transfers
	came                    // it arrived here
	went                    // it was handed over: a hint
	gone                    // it was removed here: a tombstone
)

func newNotes(o Options) notes {
	return notes{byKey: map[Key]*note{}, life: o.NoteLife, floor: o.NoteFloor, max: o.MaxNotes}
}

// of returns what is known of a session; never nil.
func (ns *notes) of(k Key) *note {
	if n := ns.byKey[k]; n != nil {
		return n
	}
	return &note{}
}

// set writes down the latest of a session, unless something later is known.
func (ns *notes) set(now time.Duration, k Key, kind noteKind, e Epoch, to NodeID, x Transfer) {
	n := ns.renew(now, k, kind == went)
	if n == nil || e < n.epoch {
		return
	}
	n.kind, n.epoch, n.to, n.transfer = kind, e, to, x
}

// refuse writes down that a transfer is not to be taken any more.
func (ns *notes) refuse(now time.Duration, k Key, x Transfer) {
	if n := ns.renew(now, k, false); n != nil && n.refused[0] != x {
		n.refused[0], n.refused[1] = x, n.refused[0]
	}
}

func (n *note) hasRefused(x Transfer) bool { return n.refused[0] == x || n.refused[1] == x }

// renew returns the session's note, made young again. It is nil if there is no room, which a hint may overstep: whoever lets a session leave
// asks for room first.
func (ns *notes) renew(now time.Duration, k Key, hint bool) *note {
	n := ns.byKey[k]
	if n == nil {
		if ns.full(now) && !hint {
			return nil
		}
		if len(ns.byKey) >= ns.max && !ns.full(now) {
			ns.forget(ns.first)
		}
		n = &note{key: k}
		ns.byKey[k] = n
	} else {
		ns.unlink(n)
	}
	n.at = now
	n.before = ns.last
	if n.before != nil {
		n.before.after = n
	} else {
		ns.first = n
	}
	ns.last = n
	return n
}

// full: there is no room but that of a hint which a round under way may need.
func (ns *notes) full(now time.Duration) bool {
	return len(ns.byKey) >= ns.max && ns.first.kind == went && ns.first.at+ns.floor > now
}

// expire forgets what is older than a minute.
func (ns *notes) expire(now time.Duration) {
	for ns.first != nil && ns.first.at+ns.life <= now {
		ns.forget(ns.first)
	}
}

func (ns *notes) forget(n *note) {
	ns.unlink(n)
	delete(ns.byKey, n.key)
}

func (ns *notes) unlink(n *note) {
	if n.before != nil {
		n.before.after = n.after
	} else {
		ns.first = n.after
	}
	if n.after != nil {
		n.after.before = n.before
	} else {
		ns.last = n.before
	}
	n.before, n.after = nil, nil
}
