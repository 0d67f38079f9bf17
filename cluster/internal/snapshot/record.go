package snapshot

import (
	"encoding/binary"
	"errors"
	"time"
)

// Record is a session, but for its body.
type Record struct {
	Key      []byte
	Epoch    uint64
	Locked   bool
	Cookie   int32
	LockAge  time.Duration
	Timeout  int32 // minutes
	TimeLeft time.Duration
	New      bool
	// Size is the body's. Next sets it; Add takes the length of the body it is given.
	Size int
}

// maxKey bounds a key. None is as long: a request's head is at most 1 MiB.
const maxKey = 4 << 20

const (
	headLen   = 2
	headSize  = 1 + 4 + 4 + 4*8 + 4 + 4
	flagLock  = 1
	flagNew   = 2
	startSize = 8 // the time of writing
)

// appendHead appends a record's head, as of so long after the time of writing.
func appendHead(b []byte, r *Record, when time.Duration, body int) []byte {
	var flags byte
	if r.Locked {
		flags |= flagLock
	}
	if r.New {
		flags |= flagNew
	}
	b = binary.BigEndian.AppendUint16(b, headSize)
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Cookie))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Timeout))
	b = binary.BigEndian.AppendUint64(b, r.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(r.LockAge))
	b = binary.BigEndian.AppendUint64(b, uint64(r.TimeLeft))
	b = binary.BigEndian.AppendUint64(b, uint64(when))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Key)))
	return binary.BigEndian.AppendUint32(b, uint32(body))
}

// parseHead reads what appendHead wrote, behind the length.
func parseHead(b []byte) (r Record, when time.Duration, key int, err error) {
	r.Locked, r.New = b[0]&flagLock != 0, b[0]&flagNew != 0
	b = b[1:]
	u32 := func() uint32 { v := binary.BigEndian.Uint32(b); b = b[4:]; return v }
	u64 := func() uint64 { v := binary.BigEndian.Uint64(b); b = b[8:]; return v }
	r.Cookie, r.Timeout = int32(u32()), int32(u32())
	r.Epoch = u64()
	r.LockAge, r.TimeLeft, when = time.Duration(u64()), time.Duration(u64()), time.Duration(u64())
	k, size := u32(), u32()
	if k > maxKey || size > maxBody {
		return r, 0, 0, errors.New("a record longer than any")
	}
	r.Size = int(size)
	return r, when, int(k), nil
}

// maxBody is the most that Content-Length can say, in the protocol.
const maxBody = 1<<31 - 1
