package handoff

import wirepeer "statemesh/wire/peer" // a peer here is a member that is asked

// What nodes say to each other. wire/peer explains every message, and makes bytes of it; here is what it means.
type (
	NodeID   = wirepeer.NodeID
	Key      = wirepeer.Key
	Epoch    = wirepeer.Epoch
	Transfer = wirepeer.Transfer
	Record   = wirepeer.Record

	Kind    = wirepeer.Kind
	Message = wirepeer.Message

	Find     = wirepeer.Find
	Priority = wirepeer.Priority
	Reply    = wirepeer.Reply
	Says     = wirepeer.Says
	Push     = wirepeer.Push
	Ack      = wirepeer.Ack
	Refuse   = wirepeer.Refuse
	Refusal  = wirepeer.Refusal
	Commit   = wirepeer.Commit
	Abort    = wirepeer.Abort
	Confirm  = wirepeer.Confirm
	NoRecord = wirepeer.NoRecord
	Claims   = wirepeer.Claims
	Claim    = wirepeer.Claim
	Heard    = wirepeer.Heard
	Know     = wirepeer.Know
	Known    = wirepeer.Known

	Convoy        = wirepeer.Convoy
	ConvoyAck     = wirepeer.ConvoyAck
	ConvoyCommit  = wirepeer.ConvoyCommit
	ConvoyConfirm = wirepeer.ConvoyConfirm
)

const (
	KindFind     = wirepeer.KindFind
	KindReply    = wirepeer.KindReply
	KindPush     = wirepeer.KindPush
	KindAck      = wirepeer.KindAck
	KindRefuse   = wirepeer.KindRefuse
	KindCommit   = wirepeer.KindCommit
	KindAbort    = wirepeer.KindAbort
	KindConfirm  = wirepeer.KindConfirm
	KindNoRecord = wirepeer.KindNoRecord
	KindClaims   = wirepeer.KindClaims
	KindHeard    = wirepeer.KindHeard
	KindKnow     = wirepeer.KindKnow
	KindKnown    = wirepeer.KindKnown

	KindConvoy        = wirepeer.KindConvoy
	KindConvoyAck     = wirepeer.KindConvoyAck
	KindConvoyCommit  = wirepeer.KindConvoyCommit
	KindConvoyConfirm = wirepeer.KindConvoyConfirm
)

// What a Reply says.
const (
	No     = wirepeer.No
	Gone   = wirepeer.Gone
	Hint   = wirepeer.Hint
	Locked = wirepeer.Locked
	Have   = wirepeer.Have
	Copy   = wirepeer.Copy
	Parked = wirepeer.Parked
	Coming = wirepeer.Coming
	Busy   = wirepeer.Busy
	Defer  = wirepeer.Defer
)

// Why a Push was not taken.
const (
	Draining = wirepeer.Draining
	Full     = wirepeer.Full
	Newer    = wirepeer.Newer
	NotNow   = wirepeer.NotNow
	Stranger = wirepeer.Stranger
)
