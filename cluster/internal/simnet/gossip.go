package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// Gossip is a transport for memberlist: a port for packets and one for streams. Memberlist's own mock has neither loss nor delay nor cuts, and two nodes
// on it deadlock in sending to each other.
type Gossip struct {
	host *Host
	addr netip.AddrPort
	in   chan *memberlist.Packet
	l    *Listener
	shut atomic.Bool
}

var _ memberlist.NodeAwareTransport = (*Gossip)(nil)

// unread is how many packets wait for a receiver that does not read; more are dropped, as a socket does.
const unread = 1024

// Gossip takes a port for membership; port 0 picks one.
func (h *Host) Gossip(addr string) (*Gossip, error) {
	l, err := h.listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	g := &Gossip{host: h, addr: l.addr, l: l, in: make(chan *memberlist.Packet, unread)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		return nil, errDead
	}
	h.gossips[g] = true
	h.net.mu.Lock()
	h.net.packets[g.addr] = g
	h.net.mu.Unlock()
	return g, nil
}

// Addr is where it is reached, ip:port.
func (g *Gossip) Addr() string { return g.addr.String() }

// FinalAdvertiseAddr is what was configured, or where it listens.
func (g *Gossip) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return g.addr.Addr().AsSlice(), int(g.addr.Port()), nil
	}
	parsed, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, err
	}
	return parsed.Unmap().AsSlice(), port, nil
}

// WriteTo sends a packet.
func (g *Gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	fail := func(err error) (time.Time, error) {
		return now, &net.OpError{Op: "write", Net: "udp", Source: udpAddr(g.addr), Err: err}
	}
	to, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return fail(err)
	case g.shut.Load():
		return fail(net.ErrClosed)
	case len(b) > 65507:
		return fail(syscall.EMSGSIZE)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	p := path{g.addr.Addr(), to.Addr()}
	f := g.host.net.packetFate(p)
	if f.lost {
		return now, nil
	}
	buf := append([]byte(nil), b...)
	for _, after := range append(f.again, f.after) {
		if after == 0 {
			g.deliver(p, to, buf)
		} else {
			time.AfterFunc(after, func() { g.deliver(p, to, buf) })
		}
	}
	return now, nil
}

// deliver brings a packet to whoever listens there now. Each gets bytes of its own: memberlist decrypts in place.
func (g *Gossip) deliver(p path, to netip.AddrPort, b []byte) {
	n := g.host.net
	n.mu.Lock()
	dest, open := n.packets[to], n.openLocked(p)
	held := dest != nil && open && n.heldLocked(p, func() { g.deliver(p, to, b) })
	n.mu.Unlock()
	if dest == nil || !open || held {
		return
	}
	select {
	case dest.in <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: udpAddr(g.addr), Timestamp: time.Now()}:
	default:
	}
}

// WriteToAddress sends a packet.
func (g *Gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

// PacketCh has the packets that arrive.
func (g *Gossip) PacketCh() <-chan *memberlist.Packet { return g.in }

// DialTimeout connects to another's streams.
func (g *Gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if g.shut.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("the transport is shut down")}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return g.host.Dial(ctx, "tcp", addr)
}

// DialAddressTimeout connects to another's streams.
func (g *Gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.DialTimeout(a.Addr, timeout)
}

// StreamCh has the connections that arrive.
func (g *Gossip) StreamCh() <-chan net.Conn { return g.l.queue }

// Shutdown frees the port.
func (g *Gossip) Shutdown() error {
	g.close()
	g.host.mu.Lock()
	delete(g.host.gossips, g)
	g.host.mu.Unlock()
	return nil
}

func (g *Gossip) close() {
	g.shut.Store(true)
	n := g.host.net
	n.mu.Lock()
	if n.packets[g.addr] == g {
		delete(n.packets, g.addr)
	}
	n.mu.Unlock()
	g.l.Close()
}
