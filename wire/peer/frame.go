package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// MaxFrame is the most bytes of a frame, the length's own included; but a Claims, Heard, Know or Convoy may have MaxLong, which is enough
	// for 256 claims with the longest keys, and a Report as many as its body takes.
	MaxFrame = 64 << 10
	MaxLong  = 5 << 20
	// MaxBody is the most bytes of a session.
	MaxBody = math.MaxInt32
	// MaxKey is the most bytes of a key: more than the head of a web server's request may have.
	MaxKey = 16 << 10
	// MaxName is the most bytes of a node's name.
	MaxName = 255
	// MaxReport is the most bytes of a Report's body.
	MaxReport = 256 << 10
	// MaxWhy is the most bytes of a Denied's explanation; more are cut off.
	MaxWhy = 1 << 10

	lengthSize = 4
	headSize   = lengthSize + 1 // and the kind
)

// ErrUnknown is Parse's answer to a frame of a kind that it does not know, which is to be skipped: the sender is a newer version.
var ErrUnknown = errors.New("a kind of frame that this version does not know")

// Append appends m's frame; of a Push without its body, which has to follow, and so of a Convoy. A message that no node may send, since a key or a name in it is too long, or
// all of it is, appends nothing.
func Append(dst []byte, m Message) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(m.Kind()))
	ok := true
	switch m := m.(type) {
	case Find:
		ok = sayable(m.Key) && len(m.Priority.Node) <= MaxName
		dst = m.append(dst)
	case Reply:
		ok = sayable(m.Key) && len(m.Holder) <= MaxName
		dst = m.append(dst)
	case Push:
		ok = sayablePush(&m)
		dst = m.append(dst)
	case Ack:
		ok = sayable(m.Key)
		dst = m.append(dst)
	case Refuse:
		ok = sayable(m.Key)
		dst = m.append(dst)
	case Commit:
		ok = sayable(m.Key)
		dst = Ack(m).append(dst)
	case Abort:
		ok = sayable(m.Key)
		dst = Ack(m).append(dst)
	case Confirm:
		ok = sayable(m.Key)
		dst = Ack(m).append(dst)
	case NoRecord:
		ok = sayable(m.Key)
		dst = Ack(m).append(dst)
	case Claims:
		ok = sayableAll(m.Claims)
		dst = m.append(dst)
	case Heard:
		ok = sayableAll(m.Claims)
		dst = Claims(m).append(dst)
	case Know:
		for _, id := range m.Members {
			ok = ok && len(id) <= MaxName
		}
		dst = m.append(dst)
	case Known:
		dst = m.append(dst)
	case Convoy:
		ok = sayableConvoy(m)
		dst = m.append(dst)
	case ConvoyAck:
		dst = m.append(dst)
	case ConvoyCommit:
		dst = ConvoyAck(m).append(dst)
	case ConvoyConfirm:
		dst = ConvoyAck(m).append(dst)
	case Report:
		ok = len(m.Body) <= MaxReport
		dst = m.append(dst)
	case Hello:
		ok = len(m.Self) <= MaxName && len(m.To) <= MaxName
		dst = m.append(dst)
	case Denied:
		m.Why = m.Why[:min(len(m.Why), MaxWhy)]
		dst = m.append(dst)
	case Ping:
		dst = m.append(dst)
	case Pong:
		dst = m.append(dst)
	default:
		ok = false
	}
	size := len(dst) - start
	if !ok || size > maxSize(Kind(dst[start+lengthSize])) {
		return dst[:start]
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size-lengthSize))
	return dst
}

func sayable(k Key) bool { return 0 < len(k) && len(k) <= MaxKey }

func sayablePush(p *Push) bool {
	return sayable(p.Key) && 0 <= p.Record.Size && p.Record.Size <= MaxBody
}

func sayableConvoy(m Convoy) bool {
	for i := range m.Pushes {
		if !sayablePush(&m.Pushes[i]) {
			return false
		}
	}
	return len(m.Pushes) <= MaxConvoy
}

func sayableAll(claims []Claim) bool {
	for i := range claims {
		if !sayable(claims[i].Key) {
			return false
		}
	}
	return true
}

// maxSize is the most bytes of a frame. Of kinds yet to come nothing is known.
func maxSize(k Kind) int {
	switch {
	case k == KindClaims, k == KindHeard, k == KindKnow, k == KindConvoy, !k.known():
		return MaxLong
	case k == KindReport:
		return MaxReport + MaxFrame // and what newer versions append
	}
	return MaxFrame
}

// Parse reads a whole frame, as Append made it. A Push, or one of a Convoy, has no body yet: the Size of its record says how many bytes follow. It keeps nothing
// of the frame. Its errors show no key.
func Parse(frame []byte) (Message, error) {
	f, k, err := open(frame, nil)
	if err != nil {
		return nil, err
	}
	switch k {
	case KindPush:
		return f.end(k, f.push())
	case KindConvoy:
		return f.end(k, f.convoy())
	}
	return f.message(k)
}

// open looks at a frame's head.
func open(frame []byte, names *names) (fields, Kind, error) {
	if len(frame) < headSize || binary.BigEndian.Uint32(frame) != uint32(len(frame)-lengthSize) {
		return fields{}, 0, fmt.Errorf("a frame of %d bytes does not say so", len(frame))
	}
	k := Kind(frame[lengthSize])
	if !k.known() {
		return fields{}, k, ErrUnknown
	}
	if len(frame) > maxSize(k) {
		return fields{}, k, fmt.Errorf("a %v of %d bytes is too long", k, len(frame))
	}
	return fields{rest: frame[headSize:], names: names}, k, nil
}

// message reads the fields of any message but a Push and a Convoy, which a Reader has to complete.
func (f *fields) message(k Kind) (Message, error) {
	switch k {
	case KindFind:
		return f.end(k, f.find())
	case KindReply:
		return f.end(k, f.reply())
	case KindAck:
		return f.end(k, f.ack())
	case KindRefuse:
		return f.end(k, f.refuse())
	case KindCommit:
		return f.end(k, Commit(f.ack()))
	case KindAbort:
		return f.end(k, Abort(f.ack()))
	case KindConfirm:
		return f.end(k, Confirm(f.ack()))
	case KindNoRecord:
		return f.end(k, NoRecord(f.ack()))
	case KindClaims:
		return f.end(k, f.claims())
	case KindHeard:
		return f.end(k, Heard(f.claims()))
	case KindKnow:
		return f.end(k, f.know())
	case KindKnown:
		return f.end(k, f.known())
	case KindConvoyAck:
		return f.end(k, f.convoyAck())
	case KindConvoyCommit:
		return f.end(k, ConvoyCommit(f.convoyAck()))
	case KindConvoyConfirm:
		return f.end(k, ConvoyConfirm(f.convoyAck()))
	case KindReport:
		return f.end(k, f.report())
	case KindHello:
		return f.end(k, f.hello())
	case KindDenied:
		return f.end(k, f.denied())
	case KindPing:
		return f.end(k, f.ping())
	case KindPong:
		return f.end(k, f.pong())
	}
	return nil, ErrUnknown
}

// end judges what has been read. What is left over is from a newer version.
func (f *fields) end(k Kind, m Message) (Message, error) {
	if f.bad {
		return nil, malformed(k)
	}
	return m, nil
}

func malformed(k Kind) error { return fmt.Errorf("a malformed %v", k) }
