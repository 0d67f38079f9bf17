package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"
)

// Phase is how far a member is in its life. Numbers are only appended: members of other versions read them.
type Phase uint8

const (
	Up       Phase = 0
	Draining Phase = 1 // takes no sessions, gives away those it has
	Leaving  Phase = 2 // has given them away; whatever happens to it now is no failure
)

func (p Phase) String() string {
	switch p {
	case Up:
		return "up"
	case Draining:
		return "draining"
	case Leaving:
		return "leaving"
	default:
		return fmt.Sprintf("phase %d", uint8(p))
	}
}

// Meta is what a member tells of itself. It travels with every alive message, so it is small, and changes seldom.
type Meta struct {
	Name     string         // as operators know it; at most 64 bytes
	Version  string         // of the program; at most MaxVersion bytes
	Phase    Phase          //
	ProtoMin uint8          // the peer protocol's versions that it speaks
	ProtoMax uint8          //
	Started  time.Time      // to the millisecond
	Transfer netip.AddrPort // where sessions go; an invalid or unspecified address means that of gossip
	Status   netip.AddrPort // the status page; port 0: none
}

// MaxVersion is the most bytes of the program's version that a Meta carries.
const MaxVersion = 34

const (
	maxName    = 64
	maxVersion = MaxVersion
	// maxMeta is the longest that append makes. memberlist's limit is 512, beyond which it panics.
	maxMeta = 1 + 1 + 2 + 8 + 2*(2+1+16) + 1 + maxName + 1 + maxVersion

	metaFormat = 1
)

// append makes the bytes that parseMeta reads:
//
//	1B format = 1 | 1B phase | 1B lowest, 1B highest protocol version | 8B started, Unix ms
//	2B transfer port | 1B length of address (0, 4, 16) | address
//	2B status port   | 1B length of address            | address
//	1B length | name | 1B length | program version
//
// Numbers are big-endian. Fields are only ever appended, and what follows those that a reader knows is ignored.
func (m Meta) append(b []byte) []byte {
	b = append(b, metaFormat, byte(m.Phase), m.ProtoMin, m.ProtoMax)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Started.UnixMilli()))
	b = appendAddr(b, m.Transfer)
	b = appendAddr(b, m.Status)
	b = appendString(b, m.Name)
	return appendString(b, m.Version)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	b = binary.BigEndian.AppendUint16(b, a.Port())
	raw := specified(a.Addr()).AsSlice()
	b = append(b, byte(len(raw)))
	return append(b, raw...)
}

// specified is an address that others can use, or none: not 0.0.0.0, which a node may listen on.
func specified(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); ip.IsUnspecified() {
		return netip.Addr{}
	}
	return ip
}

func appendString(b []byte, s string) []byte {
	b = append(b, byte(len(s)))
	return append(b, s...)
}

// parseMeta reads what append made. It refuses what must not be shown to an operator or used as an address.
func parseMeta(b []byte) (Meta, error) {
	r := reader{b: b}
	if format := r.byte(); r.err == nil && format != metaFormat {
		return Meta{}, fmt.Errorf("meta has the unknown format %d", format)
	}
	m := Meta{Phase: Phase(r.byte()), ProtoMin: r.byte(), ProtoMax: r.byte()}
	m.Started = time.UnixMilli(int64(binary.BigEndian.Uint64(r.take(8))))
	m.Transfer = r.addr()
	m.Status = r.addr()
	m.Name = r.string(maxName)
	m.Version = r.string(maxVersion)
	if r.err != nil {
		return Meta{}, r.err
	}
	if err := m.check(); err != nil {
		return Meta{}, err
	}
	return m, nil
}

// check is what both the sender and the receivers of a meta insist on.
func (m Meta) check() error {
	switch {
	case !printable(m.Name, maxName) || m.Name == "":
		return fmt.Errorf("meta: the name must be 1 to %d bytes that can be printed", maxName)
	case !printable(m.Version, maxVersion):
		return fmt.Errorf("meta: the program's version must be at most %d bytes that can be printed", maxVersion)
	case m.ProtoMin == 0 || m.ProtoMin > m.ProtoMax:
		return fmt.Errorf("meta: impossible protocol versions %d to %d", m.ProtoMin, m.ProtoMax)
	case m.Transfer.Port() == 0:
		return errors.New("meta: no transfer port")
	}
	return nil
}

func printable(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// reader takes a message apart. After the first error it yields zeros.
type reader struct {
	b   []byte
	err error
}

var zeros [16]byte

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.b) < n {
		r.err = errors.New("meta is truncated")
	}
	if r.err != nil {
		return zeros[:n]
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) addr() netip.AddrPort {
	port := binary.BigEndian.Uint16(r.take(2))
	switch n := int(r.byte()); n {
	case 0:
		return netip.AddrPortFrom(netip.Addr{}, port)
	case 4, 16:
		ip, _ := netip.AddrFromSlice(r.take(n))
		return netip.AddrPortFrom(specified(ip), port)
	default:
		r.err = errors.Join(r.err, fmt.Errorf("meta has an address of %d bytes", n))
		return netip.AddrPort{}
	}
}

func (r *reader) string(limit int) string {
	n := int(r.byte())
	if n > limit {
		r.err = errors.Join(r.err, fmt.Errorf("meta has a text of %d bytes", n))
	}
	if r.err != nil || len(r.b) < n {
		r.err = errors.Join(r.err, errors.New("meta is truncated"))
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
