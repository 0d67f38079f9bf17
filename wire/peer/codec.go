package peer

import (
	"encoding/binary"
	"math"
	"time"
)

// Each message's writer stands above its reader. A writer appends the fields to b; a reader takes them off f, which notes if they are not all
// there, or make no sense.

const (
	flagCreate = 1 << 0 // of a Find

	flagLocked = 1 << 0 // of a Push
	flagNew    = 1 << 1

	minPush = 8 + 8 + 1 + 4 + 8 + 4 + 8 + 4 + 2 + 1 // bytes of a Push
)

func (m Find) append(b []byte) []byte {
	b = appendU64(b, m.Round)
	b = appendU32(b, m.Ask)
	b = append(b, flag(m.Create, flagCreate))
	b = appendU32(b, uint32(m.Cookie))
	b = appendU64(b, uint64(m.Wait))
	b = appendU64(b, uint64(m.Adopt))
	b = appendU64(b, uint64(m.Priority.Arrived))
	b = appendName(b, m.Priority.Node)
	return appendKey(b, m.Key)
}

func (f *fields) find() (m Find) {
	m.Round = f.u64()
	m.Ask = f.u32()
	m.Create = f.u8()&flagCreate != 0
	m.Cookie = int32(f.u32())
	m.Wait = f.duration()
	m.Adopt = Epoch(f.u64())
	m.Priority.Arrived = f.duration()
	m.Priority.Node = f.name()
	m.Key = f.key()
	return m
}

func (m Reply) append(b []byte) []byte {
	b = appendU64(b, m.Round)
	b = appendU32(b, m.Ask)
	b = appendU32(b, m.Nth)
	b = append(b, byte(m.Says))
	b = appendU64(b, uint64(m.Epoch))
	b = appendU32(b, uint32(m.Cookie))
	b = appendU64(b, uint64(m.Age))
	b = appendU64(b, m.View)
	b = appendName(b, m.Holder)
	b = appendKey(b, m.Key)
	if m.Horizon == 0 {
		return b
	}
	return appendU64(b, uint64(m.Horizon))
}

func (f *fields) reply() (m Reply) {
	m.Round = f.u64()
	m.Ask = f.u32()
	m.Nth = f.u32()
	m.Says = Says(f.some())
	m.Epoch = Epoch(f.u64())
	m.Cookie = int32(f.u32())
	m.Age = f.duration()
	m.View = f.u64()
	m.Holder = f.name()
	m.Key = f.key()
	if len(f.rest) > 0 {
		m.Horizon = Epoch(f.u64())
	}
	return m
}

func (m Push) append(b []byte) []byte {
	r := &m.Record
	b = appendU64(b, m.Transfer)
	b = appendU64(b, uint64(r.Epoch))
	b = append(b, flag(r.Locked, flagLocked)|flag(r.New, flagNew))
	b = appendU32(b, uint32(r.Cookie))
	b = appendU64(b, uint64(r.LockAge))
	b = appendU32(b, uint32(r.Timeout))
	b = appendU64(b, uint64(r.TimeLeft))
	b = appendU32(b, uint32(r.Size))
	return appendKey(b, m.Key)
}

func (f *fields) push() (m Push) {
	r := &m.Record
	m.Transfer = f.u64()
	r.Epoch = Epoch(f.u64())
	flags := f.u8()
	r.Locked, r.New = flags&flagLocked != 0, flags&flagNew != 0
	r.Cookie = int32(f.u32())
	r.LockAge = f.duration()
	r.Timeout = int32(f.u32())
	r.TimeLeft = f.duration()
	size := f.u32()
	f.check(size <= math.MaxInt32)
	r.Size = int(size)
	m.Key = f.key()
	return m
}

// The messages about a transfer are alike: Ack, Commit, Abort, Confirm and NoRecord.

func (m Ack) append(b []byte) []byte {
	b = appendU64(b, m.Transfer)
	return appendKey(b, m.Key)
}

func (f *fields) ack() (m Ack) {
	m.Transfer = f.u64()
	m.Key = f.key()
	return m
}

func (m Refuse) append(b []byte) []byte {
	b = appendU64(b, m.Transfer)
	b = append(b, byte(m.Why))
	return appendKey(b, m.Key)
}

func (f *fields) refuse() (m Refuse) {
	m.Transfer = f.u64()
	m.Why = Refusal(f.some())
	m.Key = f.key()
	return m
}

// Claims and Heard are alike.

func (m Claims) append(b []byte) []byte {
	b = appendU64(b, m.Batch)
	b = appendU32(b, uint32(len(m.Claims)))
	for i := range m.Claims {
		c := &m.Claims[i]
		b = appendU64(b, uint64(c.Epoch))
		b = appendU64(b, uint64(c.Idle))
		b = appendKey(b, c.Key)
	}
	return b
}

func (f *fields) claims() (m Claims) {
	m.Batch = f.u64()
	if n := f.count(8 + 8 + 2 + 1); n > 0 {
		m.Claims = make([]Claim, n)
		for i := range m.Claims {
			c := &m.Claims[i]
			c.Epoch = Epoch(f.u64())
			c.Idle = f.duration()
			c.Key = f.key()
		}
	}
	return m
}

func (m Know) append(b []byte) []byte {
	b = appendU64(b, m.Version)
	b = appendU32(b, uint32(len(m.Members)))
	for _, id := range m.Members {
		b = appendName(b, id)
	}
	return b
}

func (f *fields) know() (m Know) {
	m.Version = f.u64()
	if n := f.count(1); n > 0 {
		m.Members = make([]NodeID, n)
		for i := range m.Members {
			m.Members[i] = f.name()
		}
	}
	return m
}

func (m Known) append(b []byte) []byte { return appendU64(b, m.Version) }

func (f *fields) known() (m Known) {
	m.Version = f.u64()
	return m
}

func (m Convoy) append(b []byte) []byte {
	b = appendU64(b, m.N)
	b = appendU32(b, uint32(len(m.Pushes)))
	for i := range m.Pushes {
		b = m.Pushes[i].append(b)
	}
	return b
}

func (f *fields) convoy() (m Convoy) {
	m.N = f.u64()
	n := f.count(minPush)
	f.check(n <= MaxConvoy)
	if f.bad || n == 0 {
		return m
	}
	f.text = string(f.rest) // of which all keys are parts
	m.Pushes = make([]Push, n)
	for i := range m.Pushes {
		m.Pushes[i] = f.push()
	}
	return m
}

// ConvoyAck, ConvoyCommit and ConvoyConfirm are alike.

func (m ConvoyAck) append(b []byte) []byte { return appendU64(appendU64(b, m.N), m.Which) }

func (f *fields) convoyAck() (m ConvoyAck) {
	m.N = f.u64()
	m.Which = f.u64()
	return m
}

func (m Report) append(b []byte) []byte {
	b = appendU32(b, uint32(len(m.Body)))
	return append(b, m.Body...)
}

func (f *fields) report() (m Report) {
	n := f.u32()
	f.check(n <= MaxReport)
	if f.bad {
		return m
	}
	m.Body = append(m.Body, f.take(int(n))...)
	return m
}

// magic tells a Hello from whatever else might come to a node's port.
const magic = "statemesh"

func (m Hello) append(b []byte) []byte {
	b = append(b, magic...)
	b = appendVersions(b, m.Speaks)
	b = append(b, byte(m.Lane))
	b = appendU64(b, m.Generation)
	b = appendName(b, m.Self)
	return appendName(b, m.To)
}

func (f *fields) hello() (m Hello) {
	f.check(string(f.take(len(magic))) == magic)
	m.Speaks = f.versions()
	m.Lane = Lane(f.some())
	m.Generation = f.u64()
	m.Self = f.name()
	m.To = f.name()
	return m
}

func (m Denied) append(b []byte) []byte {
	b = append(b, magic...)
	b = appendVersions(b, m.Speaks)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Why)))
	return append(b, m.Why...)
}

func (f *fields) denied() (m Denied) {
	f.check(string(f.take(len(magic))) == magic)
	m.Speaks = f.versions()
	m.Why = string(f.take(int(f.u16())))
	return m
}

func (m Ping) append(b []byte) []byte { return appendU64(b, m.N) }

func (f *fields) ping() (m Ping) {
	m.N = f.u64()
	return m
}

// A Pong without a clock is what it was before there were clocks in it.
func (m Pong) append(b []byte) []byte {
	b = appendU64(b, m.N)
	if m.Clock == 0 {
		return b
	}
	return appendU64(b, uint64(m.Clock))
}

func (f *fields) pong() (m Pong) {
	m.N = f.u64()
	if len(f.rest) > 0 {
		m.Clock = int64(f.u64())
	}
	return m
}

// The parts that messages are made of.

func appendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func appendKey(b []byte, k Key) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(k)))
	return append(b, k...)
}

func appendName(b []byte, id NodeID) []byte {
	b = append(b, byte(len(id)))
	return append(b, id...)
}

func appendVersions(b []byte, v Versions) []byte {
	b = binary.BigEndian.AppendUint16(b, v.Min)
	return binary.BigEndian.AppendUint16(b, v.Max)
}

// fields are those of a frame that have not been read yet.
type fields struct {
	rest  []byte
	text  string // if not empty, its end is rest
	bad   bool   // they ended too early, or made no sense
	names *names
}

func (f *fields) check(ok bool) { f.bad = f.bad || !ok }

// take returns the next n bytes, or fewer if that is all there is.
func (f *fields) take(n int) []byte {
	f.check(n <= len(f.rest))
	b := f.rest[:min(n, len(f.rest))]
	f.rest = f.rest[len(b):]
	return b
}

func (f *fields) u8() byte {
	if len(f.rest) < 1 {
		f.bad = true
		return 0
	}
	v := f.rest[0]
	f.rest = f.rest[1:]
	return v
}

func (f *fields) u16() uint16 {
	if len(f.rest) < 2 {
		f.bad = true
		return 0
	}
	v := binary.BigEndian.Uint16(f.rest)
	f.rest = f.rest[2:]
	return v
}

func (f *fields) u32() uint32 {
	if len(f.rest) < 4 {
		f.bad = true
		return 0
	}
	v := binary.BigEndian.Uint32(f.rest)
	f.rest = f.rest[4:]
	return v
}

func (f *fields) u64() uint64 {
	if len(f.rest) < 8 {
		f.bad = true
		return 0
	}
	v := binary.BigEndian.Uint64(f.rest)
	f.rest = f.rest[8:]
	return v
}

// some reads a number of which 0 is none.
func (f *fields) some() byte {
	v := f.u8()
	f.check(v != 0)
	return v
}

func (f *fields) duration() time.Duration { return time.Duration(f.u64()) }

// count reads the length of a list whose elements have at least size bytes each: it cannot be longer than what is there to fill it.
func (f *fields) count(size int) int {
	n := f.u32()
	f.check(uint64(n)*uint64(size) <= uint64(len(f.rest)))
	if f.bad {
		return 0
	}
	return int(n)
}

func (f *fields) key() Key {
	n := int(f.u16())
	f.check(0 < n && n <= MaxKey)
	b := f.take(n)
	switch {
	case f.bad:
		return ""
	case f.text != "":
		end := len(f.text) - len(f.rest)
		return Key(f.text[end-n : end])
	}
	return Key(b)
}

func (f *fields) name() NodeID { return f.names.of(f.take(int(f.u8()))) }

func (f *fields) versions() (v Versions) {
	v.Min = f.u16()
	v.Max = f.u16()
	return v
}

// names are those of nodes that have been read before: there are few, and they come in every Find.
type names struct{ known map[string]NodeID }

const maxNames = 1024

func (n *names) of(b []byte) NodeID {
	if len(b) == 0 {
		return ""
	}
	if n == nil {
		return NodeID(b)
	}
	id, ok := n.known[string(b)] // takes no memory
	if !ok {
		if n.known == nil || len(n.known) == maxNames {
			n.known = map[string]NodeID{}
		}
		id = NodeID(b)
		n.known[string(id)] = id
	}
	return id
}
