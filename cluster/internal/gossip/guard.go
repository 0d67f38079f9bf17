package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// guard stands between the network and memberlist: only the current encryption version is accepted. memberlist would still take the one before, and
// decides by a byte that nothing authenticates: a packet of a member, captured, and sent again with that byte changed, ends the process.
// The guard also turns away other labels, messages that are too long, and too many connections at a time. What is left to memberlist is to decrypt.
//
// In front of every packet and every incoming stream stands the label, then:
//
//	packet: 1B encryption version = 1 | 12B nonce | ciphertext | 16B tag
//	stream: 1B message type = 10 (encrypted) | 4B length | 1B encryption version = 1 | nonce, ciphertext, tag
//
// The answer on a stream has the same form without the label.
type guard struct {
	memberlist.NodeAwareTransport
	label     string
	encrypted bool
	stranger  func(from, why string)
	member    func(from string) bool // a live one is at that address

	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	wg      sync.WaitGroup

	packetsIn, packetsOut, bytesIn, bytesOut, refused atomic.Uint64

	mu     sync.Mutex // guards what follows
	conns  map[*guarded]bool
	from   map[string]int // incoming ones, by address
	closed bool
}

const (
	labelType       = 244
	encryptedType   = 10
	currentVersion  = 1
	sealed          = 1 + 12 + 16 // version, nonce, tag
	maxStream       = 4 << 20     // a member is 300 bytes: room for ten thousand
	maxStreams      = 256         // at a time; but from members' addresses always some. Incoming ones last two seconds at most
	maxStreamsPerIP = 32
)

func newGuard(inner memberlist.NodeAwareTransport, label string, encrypted bool, stranger func(from, why string), member func(from string) bool) *guard {
	return &guard{
		NodeAwareTransport: inner, label: label, encrypted: encrypted, stranger: stranger, member: member,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{}),
		conns: map[*guarded]bool{}, from: map[string]int{},
	}
}

// start begins to let through. The goroutines end with Shutdown.
func (g *guard) start() {
	g.wg.Go(g.filterPackets)
	g.wg.Go(g.filterStreams)
}

// PacketCh has the packets that passed.
func (g *guard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh has the connections; what comes over them is checked as it is read.
func (g *guard) StreamCh() <-chan net.Conn { return g.streams }

func (g *guard) filterPackets() {
	for {
		select {
		case p := <-g.NodeAwareTransport.PacketCh():
			g.packetsIn.Add(1)
			g.bytesIn.Add(uint64(len(p.Buf)))
			if err := checkPacket(p.Buf, g.label, g.encrypted); err != nil {
				g.refuse(p.From, err.Error())
				continue
			}
			select {
			case g.packets <- p:
			case <-g.done:
				return
			}
		case <-g.done:
			return
		}
	}
}

// checkPacket tells what is wrong with a packet, from its first bytes.
func checkPacket(b []byte, label string, encrypted bool) error {
	rest, err := cutLabel(b, label)
	if err != nil {
		return err
	}
	if !encrypted {
		return nil
	}
	if len(rest) < sealed {
		return errShort
	}
	if rest[0] != currentVersion {
		return errVersion
	}
	return nil
}

var (
	errShort   = errors.New("too short to be encrypted")
	errLabel   = errors.New("not of this cluster: another cluster name, or none")
	errVersion = errors.New("not encrypted, or in a way that is not accepted")
	errLong    = errors.New("too long")
	errMany    = errors.New("too many connections")
)

func cutLabel(b []byte, label string) ([]byte, error) {
	n := 2 + len(label)
	if len(b) < n || b[0] != labelType || int(b[1]) != len(label) || string(b[2:n]) != label {
		return nil, errLabel
	}
	return b[n:], nil
}

func (g *guard) filterStreams() {
	for {
		select {
		case c := <-g.NodeAwareTransport.StreamCh():
			wrapped := &guarded{Conn: c, guard: g, label: true, source: host(c.RemoteAddr())}
			if !g.enroll(wrapped) {
				c.Close()
				g.refuse(c.RemoteAddr(), errMany.Error())
				continue
			}
			select {
			case g.streams <- wrapped:
			case <-g.done:
				wrapped.Close()
				return
			}
		case <-g.done:
			return
		}
	}
}

// DialTimeout connects, and checks what is answered.
func (g *guard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects, and checks what is answered.
func (g *guard) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := g.NodeAwareTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	wrapped := &guarded{Conn: c, guard: g}
	if !g.enroll(wrapped) {
		c.Close()
		return nil, net.ErrClosed
	}
	return wrapped, nil
}

// WriteTo counts.
func (g *guard) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress counts.
func (g *guard) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	g.packetsOut.Add(1)
	g.bytesOut.Add(uint64(len(b)))
	return g.NodeAwareTransport.WriteToAddress(b, a)
}

// Shutdown closes all connections and waits for the guard's goroutines. memberlist calls it first of all, and still reads until it returns.
func (g *guard) Shutdown() error {
	g.mu.Lock()
	g.closed = true
	conns := g.conns
	g.conns = map[*guarded]bool{}
	g.mu.Unlock()
	for c := range conns {
		c.Conn.Close() // memberlist does not wait for those that read from them: they end now
	}
	err := g.NodeAwareTransport.Shutdown() // its goroutines may be handing something over: the guard's still take it
	close(g.done)
	g.wg.Wait()
	return err
}

func (g *guard) refuse(from net.Addr, why string) {
	g.refused.Add(1)
	g.stranger(host(from), why)
}

func host(a net.Addr) string {
	if a == nil {
		return "unknown"
	}
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}

func (g *guard) enroll(c *guarded) bool {
	member := c.source != "" && g.member(c.source)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if c.source != "" {
		if g.from[c.source] >= maxStreamsPerIP || len(g.conns) >= maxStreams && !member {
			return false
		}
		g.from[c.source]++
	}
	g.conns[c] = true
	return true
}

func (g *guard) forget(c *guarded) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
	if c.source == "" {
		return
	}
	if g.from[c.source]--; g.from[c.source] <= 0 {
		delete(g.from, c.source)
	}
}

// guarded is a stream whose first bytes are checked when they are read. One goroutine reads it.
type guarded struct {
	net.Conn
	guard  *guard
	source string // of an incoming one; "" for those that this node dialed
	label  bool   // the label comes first
	once   sync.Once

	checked bool
	first   []byte // read and checked, not yet handed out
	err     error
}

// Close closes it, once.
func (c *guarded) Close() error {
	c.once.Do(func() { c.guard.forget(c) })
	return c.Conn.Close()
}

// Read reads; the first time it checks.
func (c *guarded) Read(p []byte) (int, error) {
	if !c.checked {
		c.checked = true
		c.first, c.err = readHeader(c.Conn, c.guard.label, c.label, c.guard.encrypted)
		if refusal := (*refusedError)(nil); errors.As(c.err, &refusal) {
			c.guard.refuse(c.RemoteAddr(), refusal.why.Error())
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// refusedError is what memberlist gets instead of bytes that are not for it.
type refusedError struct{ why error }

func (e *refusedError) Error() string { return "statemesh refused it: " + e.why.Error() }

func (e *refusedError) Unwrap() error { return e.why }

// readHeader reads the first bytes of a stream, up to the encryption version, and tells what is wrong with them.
func readHeader(r io.Reader, label string, labelled, encrypted bool) ([]byte, error) {
	var b []byte
	more := func(n int) ([]byte, error) {
		at := len(b)
		b = append(b, make([]byte, n)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, err
		}
		return b[at:], nil
	}
	if labelled {
		head, err := more(2)
		if err != nil {
			return nil, err
		}
		if head[0] != labelType || int(head[1]) != len(label) {
			return nil, &refusedError{errLabel}
		}
		name, err := more(len(label))
		if err != nil {
			return nil, err
		}
		if string(name) != label {
			return nil, &refusedError{errLabel}
		}
	}
	if !encrypted {
		return b, nil
	}
	kind, err := more(1)
	if err != nil {
		return nil, err
	}
	if kind[0] != encryptedType {
		return nil, &refusedError{errVersion}
	}
	length, err := more(4)
	if err != nil {
		return nil, err
	}
	switch n := binary.BigEndian.Uint32(length); {
	case n > maxStream:
		return nil, &refusedError{fmt.Errorf("%w: %d bytes", errLong, n)}
	case n < sealed:
		return nil, &refusedError{errShort}
	}
	version, err := more(1)
	if err != nil {
		return nil, err
	}
	if version[0] != currentVersion {
		return nil, &refusedError{errVersion}
	}
	return b, nil
}
