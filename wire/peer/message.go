package peer

import (
	"fmt"
	"time"
)

// NodeID names a node for one run of it: a node that was restarted has lost its memory and so is another node.
type NodeID string

// Key names a session.
type Key string

// Epoch rises with every change of a session's owner, and is never used twice for one key. Of two that claim a session, the one with the
// higher epoch is right. A creation's is taken from the clock where nothing higher is known, so that a session made anew after everybody
// has forgotten its predecessor still stands above any straggler. No session has epoch 0.
type Epoch uint64

// Transfer names one attempt to move one session: the sender, and a number the sender never uses again.
type Transfer struct {
	From NodeID
	N    uint64
}

// Record is a session on its way. Nothing in it is a date: clocks of two nodes need not agree.
type Record struct {
	// Epoch is the receiver's to be, in a Push.
	Epoch Epoch
	// Locked, Cookie, LockAge: the lock travels with the session, so that the page that holds it can write through any node. Cookie is
	// the counter of cookies when nobody holds the lock.
	Locked  bool
	Cookie  int32
	LockAge time.Duration
	// Timeout is the sliding window in minutes, TimeLeft what is left of it.
	Timeout  int32
	TimeLeft time.Duration
	// New: created uninitialised, and nobody has been told yet.
	New bool
	// Size is the body's, in bytes; a large one is given more time.
	Size int
	// Body is whatever the driver knows the bytes by. It is not part of the frame.
	Body any
}

// Aged is the record after it has been under way for d.
func (r Record) Aged(d time.Duration) Record {
	if r.Locked {
		r.LockAge += d
	}
	r.TimeLeft -= d
	return r
}

// Kind says which message it is.
type Kind uint8

// Numbers are only ever appended.
const (
	KindFind Kind = 1 + iota
	KindReply
	KindPush
	KindAck
	KindRefuse
	KindCommit
	KindAbort
	KindConfirm
	KindNoRecord
	KindClaims
	KindHeard
	KindKnow
	KindKnown
	KindReport
	KindConvoy
	KindConvoyAck
	KindConvoyCommit
	KindConvoyConfirm
)

// These are the connection's own. Numbers are only ever appended.
const (
	KindHello Kind = 0x80 + iota
	KindDenied
	KindPing
	KindPong
)

var kindNames = [256]string{
	KindFind: "Find", KindReply: "Reply", KindPush: "Push", KindAck: "Ack", KindRefuse: "Refuse", KindCommit: "Commit", KindAbort: "Abort",
	KindConfirm: "Confirm", KindNoRecord: "NoRecord", KindClaims: "Claims", KindHeard: "Heard", KindKnow: "Know", KindKnown: "Known",
	KindReport: "Report", KindConvoy: "Convoy", KindConvoyAck: "ConvoyAck", KindConvoyCommit: "ConvoyCommit", KindConvoyConfirm: "ConvoyConfirm",
	KindHello: "Hello", KindDenied: "Denied", KindPing: "Ping", KindPong: "Pong",
}

func (k Kind) String() string {
	if k.known() {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

func (k Kind) known() bool { return kindNames[k] != "" }

// Message is what nodes say to each other: one of the structs below, by value. Any of them may be lost, doubled, late or overtaken.
type Message interface{ Kind() Kind }

// Find asks a member whether it has a session, or knows where it went. It goes to every member at once.
type Find struct {
	Key   Key
	Round uint64 // of the asker: a round that starts over has another number
	Ask   uint32 // numbers the questions put to this member by the round, so that an answer shows how late it was asked
	// Create: the asker means to create the session if nobody has it. Of two such, the one with the lesser Priority goes first.
	Create   bool
	Priority Priority
	// Cookie is that of a change waiting at the asker, or NoCookie: a locked session moves only for the cookie of its lock.
	Cookie int32
	// Wait is how long the question may be held if the session is locked.
	Wait time.Duration
	// Adopt, unless zero: the asker has a copy with this epoch and no owner, and will take it for its own if nobody knows better.
	// Nothing moves.
	Adopt Epoch
}

// Priority orders those who want to create one session. The times are of different nodes' clocks; they decide who goes first, and nothing
// else.
type Priority struct {
	Arrived time.Duration
	Node    NodeID
}

// Before tells whether p goes first.
func (p Priority) Before(o Priority) bool {
	return p.Arrived < o.Arrived || p.Arrived == o.Arrived && p.Node < o.Node
}

// Reply is a member's answer to a Find.
type Reply struct {
	Key    Key
	Round  uint64
	Ask    uint32 // the latest question of the round that this member had heard
	Nth    uint32 // of its answers to that, for a later one may overtake
	Says   Says
	Epoch  Epoch         // with Gone, Hint, Have, Copy
	Holder NodeID        // with Hint; later, when there are backups, the owner, with Copy
	Cookie int32         // with Locked, Parked
	Age    time.Duration // with Locked, Parked
	View   uint64        // digest of the members that the answerer knows
	// Horizon is no lower than any epoch that the answerer has had the session at, also if that was a moment ago; 0 if it does not say.
	Horizon Epoch
}

// Says is what a Reply says. The first six end the question; after the others the answerer will say more.
type Says uint8

// Numbers are only ever appended.
const (
	No     Says = 1 + iota // not here
	Gone                   // it was here and was removed, with Epoch
	Hint                   // I handed it to Holder, for whom it has Epoch
	Locked                 // it is here and stays: somebody else holds its lock
	Have                   // to an adopter: I own it, with Epoch
	Copy                   // to an adopter: I have such a copy too, with Epoch
	Parked                 // it is here, and locked; yours when the lock frees, if that is soon
	Coming                 // it is here, and yours when its turn has come
	Busy                   // it is just leaving here, or arriving; ask again
	Defer                  // I am about to create it, and go before you
)

var saysNames = [...]string{"", "No", "Gone", "Hint", "Locked", "Have", "Copy", "Parked", "Coming", "Busy", "Defer"}

func (s Says) String() string {
	if int(s) < len(saysNames) {
		return saysNames[s]
	}
	return fmt.Sprintf("Says(%d)", uint8(s))
}

// Final: the answerer has no more to say to this question.
func (s Says) Final() bool { return s <= Copy }

// Push carries a session to the node that is to own it, which may not serve it yet.
type Push struct {
	Key      Key
	Transfer uint64
	Record   Record
}

// Ack says that a pushed session has arrived. It is repeated until the sender says what became of the transfer.
type Ack struct {
	Key      Key
	Transfer uint64
}

// Refuse says that a pushed session was not taken, and that this transfer never will be.
type Refuse struct {
	Key      Key
	Transfer uint64
	Why      Refusal
}

// Refusal is the reason.
type Refusal uint8

// Numbers are only ever appended.
const (
	Draining Refusal = 1 + iota // this node is leaving and did not ask for it
	Full                        // no room
	Newer                       // a higher epoch, or the same, is known for this session
	NotNow                      // another transfer of this session is under way here
	Stranger                    // the sender is not in this node's view
)

// Commit says that the receiver owns the session from now on. It is repeated until confirmed.
type Commit struct {
	Key      Key
	Transfer uint64
}

// Abort says that the sender keeps it. It is repeated until confirmed.
type Abort struct {
	Key      Key
	Transfer uint64
}

// Confirm ends the repetition of a Commit or an Abort.
type Confirm struct {
	Key      Key
	Transfer uint64
}

// NoRecord answers an Ack for a transfer the sender has forgotten: the receiver must ask everybody.
type NoRecord struct {
	Key      Key
	Transfer uint64
}

// Claims tells a member that has come back which sessions the sender owns that were made since, for two owners to find each other.
// It is repeated until heard.
type Claims struct {
	Batch  uint64
	Claims []Claim
}

// Claim is one of them.
type Claim struct {
	Key   Key
	Epoch Epoch
	Idle  time.Duration // since it was last used
}

// Heard answers Claims, with those of them that the answerer owns and has the better claim to.
type Heard struct {
	Batch  uint64
	Claims []Claim
}

// Know asks whether a member knows these others. A node that leaves asks so, because what it has handed to a member of which another has not
// heard yet could not be found there, once the hints have left with it.
type Know struct {
	Version uint64
	Members []NodeID
}

// Known says yes. There is no saying no: the question is repeated.
type Known struct{ Version uint64 }

// Report is what a member tells every other of itself, now and then: for operators, in the service's own words. Nothing depends on it, and a later one
// replaces it.
type Report struct{ Body []byte }

// Convoy is many Pushes at once, of small sessions. It and what is said of it are never repeated: each session goes on alone, by the messages
// above, if something is lost, refused or late.
type Convoy struct {
	N      uint64 // the sender's number of it, never used again
	Pushes []Push
}

// MaxConvoy is the most Pushes of a Convoy.
const MaxConvoy = 64

// ConvoyAck is an Ack for some of a convoy's sessions: bit i of Which stands for Pushes[i].
type ConvoyAck struct{ N, Which uint64 }

// ConvoyCommit is a Commit for some of them.
type ConvoyCommit struct{ N, Which uint64 }

// ConvoyConfirm is a Confirm for those that a ConvoyCommit was for.
type ConvoyConfirm struct{ N, Which uint64 }

// Hello is the first frame of a connection, both ways.
type Hello struct {
	Speaks     Versions
	Lane       Lane
	Generation uint64 // of the dialer's connections; the answer repeats it
	Self       NodeID // who says it
	To         NodeID // whom it is meant for: a connection that was steered to somebody else ends here
}

// Denied answers a Hello that cannot be accepted, in words for the other node's log.
type Denied struct {
	Speaks Versions
	Why    string
}

// Versions are those of this protocol that a node speaks.
type Versions struct{ Min, Max uint16 }

// Spoken are those that this package speaks.
var Spoken = Versions{Min: 1, Max: 1}

// Common is the highest version that both speak.
func (v Versions) Common(o Versions) (version uint16, ok bool) {
	version = min(v.Max, o.Max)
	return version, v.Min <= v.Max && o.Min <= o.Max && version >= v.Min && version >= o.Min
}

func (v Versions) String() string {
	if v.Min == v.Max {
		return fmt.Sprintf("version %d", v.Min)
	}
	return fmt.Sprintf("versions %d to %d", v.Min, v.Max)
}

// Lane is what a connection is for.
type Lane uint8

// Numbers are only ever appended.
const (
	Small Lane = 1 + iota // messages, and sessions that are not large; open all the time
	Bulk                  // what would delay the others; open when there is such
)

func (l Lane) String() string {
	switch l {
	case Small:
		return "small"
	case Bulk:
		return "bulk"
	}
	return fmt.Sprintf("Lane(%d)", uint8(l))
}

// Ping asks the accepter of a connection for a Pong, in order to see whether it is still there, and how far away.
type Ping struct{ N uint64 }

// Pong repeats the Ping's number.
type Pong struct {
	N uint64
	// Clock is what time it is where the Pong comes from, in nanoseconds since 1970; 0 if it does not say. For operators, whose logs of two
	// nodes should fit together: nothing depends on it.
	Clock int64
}

func (Find) Kind() Kind          { return KindFind }
func (Reply) Kind() Kind         { return KindReply }
func (Push) Kind() Kind          { return KindPush }
func (Ack) Kind() Kind           { return KindAck }
func (Refuse) Kind() Kind        { return KindRefuse }
func (Commit) Kind() Kind        { return KindCommit }
func (Abort) Kind() Kind         { return KindAbort }
func (Confirm) Kind() Kind       { return KindConfirm }
func (NoRecord) Kind() Kind      { return KindNoRecord }
func (Claims) Kind() Kind        { return KindClaims }
func (Heard) Kind() Kind         { return KindHeard }
func (Know) Kind() Kind          { return KindKnow }
func (Known) Kind() Kind         { return KindKnown }
func (Report) Kind() Kind        { return KindReport }
func (Convoy) Kind() Kind        { return KindConvoy }
func (ConvoyAck) Kind() Kind     { return KindConvoyAck }
func (ConvoyCommit) Kind() Kind  { return KindConvoyCommit }
func (ConvoyConfirm) Kind() Kind { return KindConvoyConfirm }
func (Hello) Kind() Kind         { return KindHello }
func (Denied) Kind() Kind        { return KindDenied }
func (Ping) Kind() Kind          { return KindPing }
func (Pong) Kind() Kind          { return KindPong }
