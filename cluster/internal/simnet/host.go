package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Host is one process on a machine.
type Host struct {
	net *Net
	ip  netip.Addr

	mu        sync.Mutex // guards what follows
	dead      bool
	listeners map[*Listener]bool
	gossips   map[*Gossip]bool
	conns     map[*Conn]bool
}

// Host starts a process on the machine of that address, and the machine, if it had no power. Several may be on one machine.
func (n *Net) Host(ip string) *Host {
	h := &Host{net: n, ip: mustIP(ip), listeners: map[*Listener]bool{}, gossips: map[*Gossip]bool{}, conns: map[*Conn]bool{}}
	n.mu.Lock()
	was := n.off[h.ip]
	delete(n.off, h.ip)
	var old []*Conn // of the processes that the power cut ended: the machine knows nothing of them
	for c := range n.conns {
		if was && c.remote.Addr() == h.ip {
			old = append(old, c)
		}
	}
	n.mu.Unlock()
	for _, c := range old {
		c.breakOff(syscall.ECONNRESET)
	}
	n.wake()
	return h
}

// IP is the address of the process's machine.
func (h *Host) IP() string { return h.ip.String() }

// Kill ends the process as kill -9 does: whoever is connected to it sees a reset, and its ports are free again.
func (h *Host) Kill() { h.end(true) }

// PowerOff ends the process and its whole machine: nobody hears anything from it any more, connections to it hang.
func (h *Host) PowerOff() {
	h.net.mu.Lock()
	h.net.off[h.ip] = true
	h.net.mu.Unlock()
	h.end(false)
}

func (h *Host) end(tell bool) {
	h.mu.Lock()
	h.dead = true
	listeners, gossips, conns := h.listeners, h.gossips, h.conns
	h.listeners, h.gossips, h.conns = map[*Listener]bool{}, map[*Gossip]bool{}, map[*Conn]bool{}
	h.mu.Unlock()
	for g := range gossips {
		g.close()
	}
	for l := range listeners {
		l.Close()
	}
	for c := range conns {
		if tell {
			c.breakOff(syscall.ECONNRESET)
		} else {
			c.vanish()
		}
	}
	h.net.wake()
}

// Listen takes a port, for TCP. An unspecified address means the machine's; port 0 picks one.
func (h *Host) Listen(network, addr string) (net.Listener, error) {
	l, err := h.listen(network, addr)
	if err != nil {
		return nil, err // not a nil *Listener, which would not be nil any more
	}
	return l, nil
}

func (h *Host) listen(network, addr string) (*Listener, error) {
	fail := func(err error) (*Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: fmt.Errorf("%s: %w", addr, err)}
	}
	at, err := h.own(addr)
	if err != nil {
		return fail(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		return fail(errDead)
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if at.Port() == 0 {
		at = h.net.pickLocked(h.ip)
	}
	if h.net.listens[at] != nil {
		return fail(syscall.EADDRINUSE)
	}
	l := &Listener{host: h, addr: at, queue: make(chan net.Conn, backlog), done: make(chan struct{})}
	h.net.listens[at] = l
	h.listeners[l] = true
	return l, nil
}

// own makes an address to listen on of what was asked for.
func (h *Host) own(addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host != "" {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return netip.AddrPort{}, err
		}
		if !ip.IsUnspecified() && ip.Unmap() != h.ip {
			return netip.AddrPort{}, syscall.EADDRNOTAVAIL
		}
	}
	return netip.AddrPortFrom(h.ip, uint16(number)), nil
}

// Dial connects to ip:port. It takes a round trip; over a path that is cut, to a machine without power or to a listener that does not accept
// it tries again as TCP does, until ctx ends.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	fail := func(err error) (net.Conn, error) {
		if errors.Is(err, context.DeadlineExceeded) {
			err = os.ErrDeadlineExceeded
		}
		return nil, &net.OpError{Op: "dial", Net: network, Addr: tcpAddr(to), Err: err}
	}
	there, back := path{h.ip, to.Addr()}, path{to.Addr(), h.ip}
	if err := pause(ctx, h.net.writeFate(there).after+h.net.writeFate(back).after); err != nil {
		return fail(err)
	}
	for again := time.Second; ; again *= 2 { // TCP tries after 1, 3, 7 seconds
		h.net.mu.RLock()
		open := h.net.openLocked(there) && h.net.openLocked(back)
		l := h.net.listens[to]
		h.net.mu.RUnlock()
		if open && l == nil {
			return fail(syscall.ECONNREFUSED)
		}
		if open {
			c, err := h.connect(l, to)
			if err != nil {
				return fail(err)
			}
			if c != nil {
				return c, nil
			}
		}
		if err := pause(ctx, again); err != nil {
			return fail(err)
		}
	}
}

// connect makes both ends of a connection, or nothing if the listener's backlog is full.
func (h *Host) connect(l *Listener, to netip.AddrPort) (*Conn, error) {
	h.net.mu.Lock()
	from := h.net.pickLocked(h.ip)
	h.net.mu.Unlock()
	out, in := newHalf(h.net, path{h.ip, to.Addr()}), newHalf(h.net, path{to.Addr(), h.ip})
	here := &Conn{host: h, local: from, remote: to, in: in, out: out}
	there := &Conn{host: l.host, local: to, remote: from, in: out, out: in}
	if !here.enroll() {
		return nil, errDead
	}
	if there.enroll() {
		select {
		case <-l.done:
		default:
			select {
			case l.queue <- there:
				select {
				case <-l.done: // it may have been closed in between, and its queue emptied
					there.breakOff(syscall.ECONNRESET)
				default:
				}
				return here, nil
			default:
			}
		}
	}
	here.Close()
	there.Close()
	select {
	case <-l.done:
		return nil, syscall.ECONNREFUSED
	default:
		return nil, nil
	}
}

var errDead = errors.New("the process was killed")

// backlog is how many connections wait to be accepted.
const backlog = 1024

// Listener accepts connections.
type Listener struct {
	host  *Host
	addr  netip.AddrPort
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done: // first of all: the queue may hold some as well
		return nil, l.closed()
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, l.closed()
	}
}

func (l *Listener) closed() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: tcpAddr(l.addr), Err: net.ErrClosed}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return tcpAddr(l.addr) }

// Close frees the port, and resets what nobody has accepted.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		n := l.host.net
		n.mu.Lock()
		if n.listens[l.addr] == l {
			delete(n.listens, l.addr)
		}
		n.mu.Unlock()
		l.host.mu.Lock()
		delete(l.host.listeners, l)
		l.host.mu.Unlock()
		for {
			select {
			case c := <-l.queue:
				c.(*Conn).breakOff(syscall.ECONNRESET)
				continue
			default:
			}
			break
		}
		n.wake()
	})
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
