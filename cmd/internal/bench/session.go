package bench

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
)

// A session is known by its number. Everything else follows from it and the farm's seed: its id, and, with the number of times
// it has been written, its body. So checking an answer takes no copy of what was stored.

// entry is what a farm remembers of one session.
type entry struct {
	version atomic.Uint32 // of the body, counted up with each write
	cookie  atomic.Int32  // of the last lock that was granted
}

const idLen = 24

// putID writes the session id that ASP.NET might have drawn: 120 random bits in 24 of [a-z0-5].
func putID(dst *[idLen]byte, seed uint64, session uint32) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz012345"
	a := mix64(seed ^ uint64(session)*0x9e3779b97f4a7c15)
	b := mix64(a + seed)
	for i := 0; i < idLen; i += 2 {
		dst[i], dst[i+1] = alphabet[a&31], alphabet[b&31]
		a, b = a>>5, b>>5
	}
}

// mix64 is the finaliser of splitmix64.
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// targetPrefix is the request target of a session of the application, up to the session id.
func targetPrefix(app string) string {
	hash := sha256.Sum256([]byte(app))
	return urlEncode(app + "(" + base64.StdEncoding.EncodeToString(hash[:]) + ")/")
}

// urlEncode is System.Web's UrlEncode.
func urlEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.!*()", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// Size is the length of bodies: all the same, or spread evenly from Min to Max.
type Size struct{ Min, Max int }

func (s Size) String() string {
	if s.Min == s.Max {
		return fmt.Sprint(s.Min)
	}
	return fmt.Sprintf("%d-%d", s.Min, s.Max)
}

// ParseSize reads "2400" or "1000-4000".
func ParseSize(text string) (Size, error) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	from, err := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	if err != nil || err2 != nil {
		return Size{}, usagef("--size: %q is neither a number of bytes nor a range like 1000-4000", text)
	}
	return Size{from, to}, nil
}

// of is the length of one version of one session's body.
func (s Size) of(seed uint64, session, version uint32) int {
	if s.Min == s.Max {
		return s.Min
	}
	return s.Min + int(mix64(seed^(uint64(session)<<32|uint64(version)))%uint64(s.Max-s.Min+1))
}

// A body is 4 bytes session, 4 bytes version, 8 bytes seed, then filler, which is the same in all bodies but for 8 bytes every
// stampEvery: those tell a body that was put together from two.
const (
	headerLen  = 16
	stampEvery = 128
	stampLen   = 8
)

// newFiller returns room for a body of n bytes, and the stampLen bytes beyond that stamp may write.
func newFiller(n int) []byte {
	b := make([]byte, n+headerLen+stampLen)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// stamp makes the first n bytes of filler the body of a session's version.
func stamp(filler []byte, n int, seed uint64, session, version uint32) []byte {
	binary.LittleEndian.PutUint32(filler, session)
	binary.LittleEndian.PutUint32(filler[4:], version)
	binary.LittleEndian.PutUint64(filler[8:], seed)
	tag := (uint64(session)<<32 | uint64(version)) * 0x9e3779b97f4a7c15
	for i := stampEvery; i < n; i += stampEvery {
		binary.LittleEndian.PutUint64(filler[i:], tag)
	}
	return filler[:n]
}

// stampOf reads a body's header.
func stampOf(body []byte) (session, version uint32, seed uint64) {
	return binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[4:]), binary.LittleEndian.Uint64(body[8:])
}
