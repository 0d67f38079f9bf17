package session

import "time"

// AppStats are the figures of one application: of the sessions whose keys begin with Prefix.
type AppStats struct {
	Prefix    string // up to and with the last slash of a key; of a key with an id longer than any of ASP.NET's, a part of that too
	Sessions  int64  // owned; in a cluster, copies are not counted
	Locked    int64
	BodyBytes int64
	// Sizes of the bodies, within 3 %.
	SizeMedian, SizeP99, SizeLargest int64
}

// HeldLock is a session that has been locked for long.
type HeldLock struct {
	Session string // the key's Redacted
	App     string // its application's prefix
	Age     time.Duration
	Cookie  int32
}

// Apps are the figures of all applications that have sessions. The slice is shared and not to be changed.
func (st *Store) Apps() []AppStats { return nil }

// OldestLocks are up to max sessions that have been locked for at least over, the oldest lock first.
func (st *Store) OldestLocks(over time.Duration, max int) []HeldLock { return nil }
