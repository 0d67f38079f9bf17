package handoff

import "time"

// Sessions is the node's own store, as far as finding and moving need it. Web servers' operations run on the store beside the machine, at
// any moment; every method here is atomic for its session, returns at once and does not call the machine.
//
// A session in the store is owned (served), leaving (frozen for one Ticket: operations on it wait), a copy (not served, and missed
// like an absent one), or absent. One that has expired is absent; one that is leaving does not expire.
type Sessions interface {
	// Look says what is there, and touches nothing.
	Look(Key) Look

	// Leave asks for an owned session to be frozen for the ticket, once it is its turn among the operations on the session, and if the
	// terms allow it. What it cannot say at once (Pending, InLine) it says later, to Machine.Left, from outside any call of the
	// machine; and StillLocked only of a lock that is held when it says so. An operation that finds a session makes it live for
	// another timeout, and so does Leave, whatever its result.
	Leave(Key, Ticket, Terms) Leaving
	// Recall withdraws a Leave that is Pending or InLine. If it has been granted meanwhile, Machine.Left is told so all the same.
	Recall(Key, Ticket)
	// Stay makes a session that is leaving for the ticket owned again, at an epoch; the operations waiting for it go on.
	Stay(Key, Ticket, Epoch)
	// Doubt makes a session that is leaving for the ticket a copy.
	Doubt(Key, Ticket)
	// Forget drops sessions, as they were frozen, that are leaving for their Transfer's ticket. The operations waiting for them, and other
	// Leaves, learn that they are gone.
	Forget([]Push)

	// Admit says whether there is room for a session that has arrived, with more willingness if a request waits for it here, and if so takes the record's body over, until one of the
	// following three is called. It also is a Look, and nothing else if what is there stands in the record's way.
	Admit(k Key, r Record, wanted bool) (there Look, ok bool)
	// Own makes an admitted session owned, in place of a copy if there is one.
	Own(Key, Record)
	// Keep makes it a copy, in place of another if there is one.
	Keep(Key, Record)
	// Discard drops it.
	Discard(Key, Record)

	// Adopt makes a copy owned, at an epoch.
	Adopt(Key, Epoch)
	// Drop drops a copy.
	Drop(Key)
	// Fence makes every session a copy, and refuses what Answers with a lesser term allow. Leaves that are Pending or
	// InLine are forgotten.
	Fence(term uint64)

	// Len is the number of sessions: owned, leaving and copies.
	Len() int
	// Part freezes owned sessions, whatever their lock, for the tickets from first on, and returns them. Those that it comes by and that are
	// copies, or in an operation's turn, it only names. There are up to n of both, and no more than size bytes of keys and bodies,
	// unless it is one session. Repeated calls must come by every session.
	Part(n, size int, first Ticket) (frozen []Push, rest []Key)
	// Copies returns up to n copies, and none only if there are none. Repeated calls must come by every one.
	Copies(n int) []Key
	// Recent returns up to n owned sessions whose epoch is at least since, going on from a place it returned before (0: from the
	// beginning; returned 0: that was the last of them). It may return fewer, or none, rather than look at too many at once.
	Recent(since Epoch, from uint64, n int) ([]Claim, uint64)
}

// Ticket numbers a Leave, and the transfer that may follow.
type Ticket = uint64

// State is what the store has of a session.
type State uint8

const (
	Absent    State = iota
	Owned           // served here
	Departing       // frozen for a ticket
	Copied          // not served
)

// Look is what Sessions.Look returns.
type Look struct {
	State State
	Epoch Epoch         // unless Absent
	Idle  time.Duration // since it was last used
	// The lock, if it is held.
	Locked  bool
	Cookie  int32
	LockAge time.Duration
}

// InTheWayOf: what is there is not to be replaced by a session with this epoch.
func (l Look) InTheWayOf(e Epoch) bool { return l.mine() || l.State == Copied && l.Epoch >= e }

// mine: requests are to try the store.
func (l Look) mine() bool { return l.State == Owned || l.State == Departing }

// Terms say which session may leave: one that is not locked, or that is locked with Cookie, or any.
type Terms struct {
	Any    bool
	Cookie int32
	// Wait is how long to wait for the lock of a session that may not leave otherwise, if not too many wait for it already: among the
	// reads of this node that do so too, in order of arrival.
	Wait time.Duration
}

// Allow says whether the terms let a session with this lock leave.
func (t Terms) Allow(locked bool, cookie int32) bool { return t.Any || !locked || cookie == t.Cookie }

// Leaving is what became of a Leave.
type Leaving struct {
	Now LeaveState
	// Record, with Frozen: with the epoch of its owner.
	Record Record
	// Cookie and Age, with StillLocked: the lock's.
	Cookie int32
	Age    time.Duration
}

// LeaveState is a Leave's.
type LeaveState uint8

const (
	Pending     LeaveState = iota // it waits for its turn; Machine.Left will be told
	InLine                        // it waits for the lock to free; Machine.Left will be told
	Frozen                        // the session leaves
	StillLocked                   // it does not, because of its lock
	NotHere                       // there is no such session any more
)
