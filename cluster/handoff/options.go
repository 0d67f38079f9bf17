package handoff

import (
	"errors"
	"time"
)

// Options configure a Machine. A zero field means its default.
type Options struct {
	// Self is this node. Required.
	Self NodeID
	// Sessions is this node's store. Required.
	Sessions Sessions
	// Started is what the machine's time zero was on the wall clock, in microseconds since 1970. It only goes into the epochs of
	// sessions created here. Required.
	Started int64
	// Joining: the node has not yet heard from the cluster it belongs to, if there is one. It answers nothing with Nowhere until
	// Joined is called.
	Joining bool

	// AskAgain is how long a member may take to answer before it is asked again. Default 50ms.
	AskAgain time.Duration
	// QueryTimeout is how long a read may wait until it is Unknown. Default 2s.
	QueryTimeout time.Duration
	// ChangeTimeout is how long any other request may. Default 5s: half of what web servers wait (stateNetworkTimeout, 10s), and more
	// than it takes to notice that a member is dead.
	ChangeTimeout time.Duration
	// LockWait is how long a read waits for a lock to free before it is told Locked. Default 500ms; negative: not at all.
	LockWait time.Duration
	// MaxHeld is how many reads of one session a node lets wait for its lock. Default 4.
	MaxHeld int

	// PushEvery is how often a session is pushed until it is acknowledged, and an outcome until it is confirmed. Default 100ms.
	PushEvery time.Duration
	// PushTries is how often a session is pushed before the transfer is aborted. Default 6.
	PushTries int
	// PushRate, in bytes per second, is what the slowest peer must be able to take: a body of that size lengthens PushEvery by a
	// second. Default 4 MiB.
	PushRate int
	// AbortPatience is how long a sender that has aborted keeps its session frozen while the receiver has neither confirmed nor left the
	// view. Default 10s: longer than it takes to notice that a member is dead.
	AbortPatience time.Duration
	// ServeGrace is how long a session that was fetched for waiting requests cannot be fetched away from them. Default 50ms.
	ServeGrace time.Duration

	// NoteLife is how long it is remembered where a session went, that it came, or was removed. Default 1m.
	NoteLife time.Duration
	// NoteFloor is how long a hint is kept whatever happens: longer than any round takes. Default 10s; at least twice ChangeTimeout.
	NoteFloor time.Duration
	// MaxNotes bounds what is remembered, at about 150 bytes each. When it is reached by hints younger than NoteFloor, no session
	// leaves until they are older. Default 2^21.
	MaxNotes int
	// MaxWaiting bounds the requests waiting in all, MaxWaitingPerKey those for one session; changes may be twice as many as reads.
	// Default 65536 and 64.
	MaxWaiting, MaxWaitingPerKey int
	// MaxLeaving and MaxArriving bound the sessions on their way from and to this node at a time. Default 4096.
	MaxLeaving, MaxArriving int

	// DrainConvoys is how many convoys of small sessions wait to be acknowledged at a time while draining, and how many more, about, to be
	// confirmed. DrainWindow is how many sessions leave beside them. Default 8 and 256.
	DrainConvoys, DrainWindow int
	// LossMemory is how long after a member was declared dead its return counts as the end of a split. Default 1h.
	LossMemory time.Duration
}

func (o *Options) setDefaults() error {
	if o.Self == "" || o.Sessions == nil || o.Started <= 0 {
		return errors.New("handoff: Self, Sessions and Started are required")
	}
	or(&o.AskAgain, 50*time.Millisecond)
	or(&o.QueryTimeout, 2*time.Second)
	or(&o.ChangeTimeout, 5*time.Second)
	or(&o.LockWait, 500*time.Millisecond)
	or(&o.MaxHeld, 4)
	or(&o.PushEvery, 100*time.Millisecond)
	or(&o.PushTries, 6)
	or(&o.PushRate, 4<<20)
	or(&o.AbortPatience, 10*time.Second)
	or(&o.ServeGrace, 50*time.Millisecond)
	or(&o.NoteLife, time.Minute)
	or(&o.NoteFloor, 10*time.Second)
	or(&o.MaxNotes, 1<<21)
	or(&o.MaxWaiting, 1<<16)
	or(&o.MaxWaitingPerKey, 64)
	or(&o.MaxLeaving, 4096)
	or(&o.MaxArriving, 4096)
	or(&o.DrainConvoys, 8)
	or(&o.DrainWindow, 256)
	or(&o.LossMemory, time.Hour)
	o.LockWait = max(o.LockWait, 0)
	for _, v := range []int64{
		int64(o.AskAgain), int64(o.QueryTimeout), int64(o.ChangeTimeout), int64(o.MaxHeld), int64(o.PushEvery), int64(o.PushTries),
		int64(o.PushRate), int64(o.AbortPatience), int64(o.ServeGrace), int64(o.NoteLife), int64(o.NoteFloor), int64(o.MaxNotes),
		int64(o.MaxWaiting), int64(o.MaxWaitingPerKey), int64(o.MaxLeaving), int64(o.MaxArriving), int64(o.DrainWindow), int64(o.DrainConvoys),
		int64(o.LossMemory),
	} {
		if v < 0 {
			return errors.New("handoff: only LockWait may be negative")
		}
	}
	if o.NoteFloor < 2*o.ChangeTimeout || o.NoteFloor < 2*o.QueryTimeout || o.NoteLife < o.NoteFloor {
		return errors.New("handoff: NoteFloor must be at least twice QueryTimeout and ChangeTimeout, and at most NoteLife")
	}
	return nil
}

func or[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
