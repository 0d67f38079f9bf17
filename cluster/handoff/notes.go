package handoff

import (
	"hash/maphash"
	"time"
)

// notes are what a node remembers, for a minute, of sessions that it does not have any more, or has just received: where they went, that
// they were removed, which transfers are over. A note is found by its key, and forgotten in order of age.
//
// After a drain there are millions. So they are kept without pointers, which every garbage collection would follow: numbered in order of
// age, in pages that go when the last of their notes has gone, and found by the key's hash.
type notes struct {
	seed    maphash.Seed
	mask    uint64                 // of hashes; a test makes them collide
	index   *noteIndex             // by the key's hash
	pages   []*notePage            // of which the first holds note first
	first   uint64                 // the oldest that is alive, or last
	last    uint64                 // the number that the next will have
	live    int                    // notes between the two that are not dead
	refused map[uint64][2]Transfer // by number of the note: those that were refused here or aborted, the last first
	names   []NodeID               // that slots speak of by number
	numbers map[NodeID]uint32      // of them
	latest  [2]uint32              // that were looked up
	life    time.Duration          // of a note
	floor   time.Duration          // of a hint, whatever happens
	max     int                    // notes
}

// note is what is known of a session.
type note struct {
	kind     noteKind
	epoch    Epoch       // the highest known of this session
	to       NodeID      // with went
	transfer Transfer    // with went and came: the one that took it or brought it
	refused  [2]Transfer // that were refused here or aborted
}

type noteKind uint8

const (
	nothing noteKind = iota // but refused transfers
	came                    // it arrived here
	went                    // it was handed over: a hint
	gone                    // it was removed here: a tombstone
	dead                    // there is a later note of this session
)

// slot is a note as it is kept.
type slot struct {
	at       time.Duration
	epoch    Epoch
	transfer uint64
	to, from uint32 // in names; from is the transfer's
	key      uint32 // where it begins in the page's keys
	keyLen   uint16
	kind     noteKind
}

const (
	pageNotes = 1024
	// keyGuess is how long keys are, or a little more: IIS's are 87 bytes.
	keyGuess = 96
)

type notePage struct {
	keys  []byte // first: the rest need not be looked through for pointers
	slots [pageNotes]slot
}

func newNotes(o Options) notes {
	return notes{
		seed: maphash.MakeSeed(), mask: ^uint64(0), index: &noteIndex{}, refused: map[uint64][2]Transfer{},
		names: []NodeID{""}, numbers: map[NodeID]uint32{"": 0},
		first: pageNotes, last: pageNotes, // 0 is none
		life: o.NoteLife, floor: o.NoteFloor, max: o.MaxNotes,
	}
}

func (ns *notes) page(n uint64) *notePage { return ns.pages[n/pageNotes-ns.first/pageNotes] }
func (ns *notes) slot(n uint64) *slot     { return &ns.page(n).slots[n%pageNotes] }

func (ns *notes) key(n uint64) []byte {
	s := ns.slot(n)
	return ns.page(n).keys[s.key:][:s.keyLen]
}

// find returns the number of a session's note, or 0.
func (ns *notes) find(k Key, hash uint64) uint64 {
	p, e := ns.index.part(hash), makeEntry(hash, 0)
	if p.used == 0 {
		return 0
	}
	for i := e.home() & p.mask(); p.entries[i] != 0; i = (i + 1) & p.mask() {
		if !p.entries[i].sameHash(e) {
			continue
		}
		n := ns.first + uint64(p.entries[i].number()-uint32(ns.first)) // it is among the four billion from the first on
		if string(ns.key(n)) == string(k) {
			return n
		}
	}
	return 0
}

// of returns what is known of a session.
func (ns *notes) of(k Key) note {
	if ns.live == 0 {
		return note{}
	}
	n := ns.find(k, ns.hash(k))
	if n == 0 {
		return note{}
	}
	s := ns.slot(n)
	return note{
		kind: s.kind, epoch: s.epoch, to: ns.names[s.to], transfer: Transfer{From: ns.names[s.from], N: s.transfer}, refused: ns.refused[n],
	}
}

// set writes down the latest of a session, unless something later is known.
func (ns *notes) set(now time.Duration, k Key, kind noteKind, e Epoch, to NodeID, x Transfer) {
	n := ns.renew(now, k, kind == went)
	if n == 0 {
		return
	}
	if s := ns.slot(n); e >= s.epoch {
		s.kind, s.epoch, s.to, s.from, s.transfer = kind, e, ns.name(to, 0), ns.name(x.From, 1), x.N
	}
}

// refuse writes down that a transfer is not to be taken any more.
func (ns *notes) refuse(now time.Duration, k Key, x Transfer) {
	if n := ns.renew(now, k, false); n != 0 && ns.refused[n][0] != x {
		ns.refused[n] = [2]Transfer{x, ns.refused[n][0]}
	}
}

func (n note) hasRefused(x Transfer) bool { return n.refused[0] == x || n.refused[1] == x }

// name is a node's number in names. Mostly it is the same again, in its place.
func (ns *notes) name(id NodeID, place int) uint32 {
	if i := ns.latest[place]; ns.names[i] == id {
		return i
	}
	i, ok := ns.numbers[id]
	if !ok {
		i = uint32(len(ns.names))
		ns.names, ns.numbers[id] = append(ns.names, id), i
	}
	ns.latest[place] = i
	return i
}

// renew returns the number of the session's note, made young again. It is 0 if there is no room, which a hint may overstep: whoever lets a session
// leave asks for room first.
func (ns *notes) renew(now time.Duration, k Key, hint bool) uint64 {
	hash := ns.hash(k)
	young := slot{keyLen: uint16(len(k))} // and no names: their number is 0
	var refused [2]Transfer
	if old := ns.find(k, hash); old != 0 {
		young, refused = *ns.slot(old), ns.refused[old]
		ns.forget(old, hash)
	} else if ns.full(now) {
		if !hint {
			return 0
		}
	} else if ns.live >= ns.max {
		ns.forgetFirst()
	}
	if ns.last%pageNotes == 0 {
		ns.pages = append(ns.pages, &notePage{keys: make([]byte, 0, pageNotes*keyGuess)})
	}
	n, page := ns.last, ns.pages[len(ns.pages)-1]
	ns.last++
	ns.live++
	young.at, young.key = now, uint32(len(page.keys))
	page.keys = append(page.keys, k...)
	page.slots[n%pageNotes] = young
	ns.index.add(hash, n)
	if refused != [2]Transfer{} {
		ns.refused[n] = refused
	}
	return n
}

func (ns *notes) hash(k Key) uint64 { return maphash.String(ns.seed, string(k)) & ns.mask }

func (ns *notes) forgetFirst() { ns.forget(ns.first, maphash.Bytes(ns.seed, ns.key(ns.first))&ns.mask) }

// full: there is no room but that of a hint which a round under way may need.
func (ns *notes) full(now time.Duration) bool {
	if ns.live < ns.max {
		return false
	}
	oldest := ns.slot(ns.first)
	return oldest.kind == went && oldest.at+ns.floor > now
}

// nextExpiry is when the oldest note is to be forgotten; ok is false if there is none.
func (ns *notes) nextExpiry() (at time.Duration, ok bool) {
	if ns.live == 0 {
		return 0, false
	}
	return ns.slot(ns.first).at + ns.life, true
}

// expire forgets what is older than a minute.
func (ns *notes) expire(now time.Duration) {
	for at, ok := ns.nextExpiry(); ok && at <= now; at, ok = ns.nextExpiry() {
		ns.forgetFirst()
	}
}

// forget ends a note, and with the last of a page the page.
func (ns *notes) forget(n, hash uint64) {
	ns.index.remove(hash, n)
	ns.slot(n).kind = dead
	delete(ns.refused, n)
	ns.live--
	for ns.first < ns.last && ns.slot(ns.first).kind == dead {
		if ns.first++; ns.first%pageNotes == 0 {
			ns.pages[0] = nil
			ns.pages = ns.pages[1:]
		}
	}
}
