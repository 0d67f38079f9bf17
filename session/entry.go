package session

import (
	"statemesh/session/internal/offheap"
)

// entry is what a shard keeps of one session besides its body: 72 bytes, no pointers. Entries are numbered from 1; 0 means none. A number
// is good only while the shard's lock is held, because removing one entry moves another.
type entry struct {
	id       [shortID]byte // or, if it is longer, the Ref of a slot that holds it
	next     uint32        // in the index's chain
	app      uint32
	before   uint32 // in the wheel's list: an entry, or slotMark and the wheel's slot
	after    uint32 // in the wheel's list
	cookie   int32  // the last one handed out
	timeout  int32  // minutes
	slab     uint32 // the body's Ref, in two parts
	slot     uint16
	idLen    uint8
	flags    flags
	expires  int64 // nanoseconds on the store's clock
	lockedAt int64 // the same; only while locked
}

// entrySize is unsafe.Sizeof(entry{}), checked by a test.
const entrySize = 72

// shortID is the length up to which an id is kept in the entry itself: ASP.NET's own are this long.
const shortID = 24

type flags uint8

const (
	isLocked  flags = 1 << iota // a web server holds the lock
	isNew                       // created uninitialised, and nobody has been told yet
	isTaken                     // a request has its turn and goes on beyond the shard's lock
	isAwaited                   // others wait for their turn, or the lock: there is a queue
	isLeaving                   // it is on its way to another node, and may come back
)

func (e *entry) has(f flags) bool { return e.flags&f != 0 }
func (e *entry) set(f flags)      { e.flags |= f }
func (e *entry) clear(f flags)    { e.flags &^= f }

func (e *entry) body() offheap.Ref { return offheap.Ref(e.slab)<<16 | offheap.Ref(e.slot) }

func (e *entry) setBody(r offheap.Ref) { e.slab, e.slot = uint32(r>>16), uint16(r) }

func (e *entry) isLong() bool { return e.idLen > shortID }

// longID is the slot that holds an id of more than shortID bytes.
func (e *entry) longID() offheap.Ref {
	var r offheap.Ref
	for i := range 8 {
		r |= offheap.Ref(e.id[i]) << (8 * i)
	}
	return r
}

func (e *entry) setLongID(r offheap.Ref) {
	for i := range 8 {
		e.id[i] = byte(r >> (8 * i))
	}
}
