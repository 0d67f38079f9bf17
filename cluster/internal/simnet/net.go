// Package simnet is a network in memory, for tests that run whole nodes, with their real goroutines, TLS and memberlist, inside a
// testing/synctest bubble.
//
// A Net holds machines, named by their IP addresses. A Host is one process on a machine: it listens, dials and gossips, and can be killed. Restarting
// it is a new Host on the same address.
//
//	net := simnet.New(seed)
//	a, b := net.Host("10.0.0.1"), net.Host("10.0.0.2")
//	l, _ := b.Listen("tcp", "10.0.0.2:42426")
//	c, _ := a.Dial(ctx, "tcp", "10.0.0.2:42426")
//	net.Cut("10.0.0.1", "10.0.0.2")   // c stalls, as TCP does
//	net.Heal()                        // and goes on
//
// # What is like the real thing
//
//   - Streams are ordered and lose nothing; they are late, they stall while a path is cut, they break. A window of 256 KiB per direction: a
//     reader that does not read stops the writer.
//   - Packets are lost, doubled, late and out of order, and dropped when the receiver does not keep up.
//   - A process that dies resets its connections, and dialing it is refused. A machine that dies (PowerOff) says nothing any more: its connections hang,
//     dialing it times out.
//   - A cut may be one way. Dialing needs both ways.
//   - Errors are those of package net, *net.OpError and deadlines included.
//
// What is not: no path has a bandwidth, a connection outlives any cut, and goroutines of a killed process go on running: it is its
// network that fails. Whoever kills a Host stops its node as well, before the bubble ends.
//
// # In a bubble
//
// Nothing here starts a goroutine, but for packets that are late (one timer each). Everything that waits does so on channels and timers, never
// holding a lock, so a bubble's clock runs on. Make the Net inside the bubble: channels do not cross its border. It works outside of one too, in real
// time.
//
// The fate of a path's nth packet or write follows from the seed, the path and n alone. What the nodes make of it is up to the Go scheduler, so
// a seed repeats a run mostly, not to the last packet.
package simnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Faults are what a Net does to packets and streams between machines. The zero value is a perfect network without any delay.
type Faults struct {
	Delay  time.Duration // one way, of packets and of writes to streams
	Jitter time.Duration // up to this much more, evenly distributed. Packets overtake each other, bytes of a stream do not

	Loss      float64 // chance of a packet to be lost
	Duplicate float64 // chance of a packet to come twice

	Stall    float64       // chance of a write to a stream to be late by StallFor, with all that follows it: a lost segment
	StallFor time.Duration // default 200 ms, TCP's least time to send again
	Reset    float64       // chance of a write to a stream to break the connection instead
}

// Net is a network. All methods may be called concurrently.
type Net struct {
	seed uint64

	mu      sync.RWMutex // guards what follows. Nothing else is locked while it is held
	faults  Faults
	cuts    map[path]bool
	fates   map[path]*rand.Rand
	off     map[netip.Addr]bool     // machines without power
	paused  map[netip.Addr][]func() // machines that are stopped, and the packets that wait for them to go on
	listens map[netip.AddrPort]*Listener
	packets map[netip.AddrPort]*Gossip
	conns   map[*Conn]bool
	port    uint16 // the latest that was picked
}

// path leads from one machine to another.
type path struct{ from, to netip.Addr }

// New makes a network without faults.
func New(seed uint64) *Net {
	return &Net{
		seed:    seed,
		cuts:    map[path]bool{},
		fates:   map[path]*rand.Rand{},
		off:     map[netip.Addr]bool{},
		paused:  map[netip.Addr][]func(){},
		listens: map[netip.AddrPort]*Listener{},
		packets: map[netip.AddrPort]*Gossip{},
		conns:   map[*Conn]bool{},
		port:    49151,
	}
}

// Faults sets the network's faults from now on.
func (n *Net) Faults(f Faults) {
	if f.StallFor == 0 {
		f.StallFor = 200 * time.Millisecond
	}
	n.mu.Lock()
	n.faults = f
	n.mu.Unlock()
}

// Cut severs two machines from each other.
func (n *Net) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay lets nothing come through from one machine to another, while the way back is open.
func (n *Net) CutOneWay(from, to string) {
	p := path{mustIP(from), mustIP(to)}
	n.mu.Lock()
	n.cuts[p] = true
	n.mu.Unlock()
	n.wake()
}

// Split severs every machine of one side from every machine of the other.
func (n *Net) Split(a, b []string) {
	for _, x := range a {
		for _, y := range b {
			n.Cut(x, y)
		}
	}
}

// Heal mends all cuts. Machines without power stay so.
func (n *Net) Heal() {
	n.mu.Lock()
	clear(n.cuts)
	n.mu.Unlock()
	n.wake()
}

// Pause is, to the others, as if all processes of a machine were stopped (SIGSTOP): nothing comes from it, and what is sent to it waits. Its
// goroutines run on, so what they send waits as well.
func (n *Net) Pause(machine string) {
	ip := mustIP(machine)
	n.mu.Lock()
	if n.paused[ip] == nil {
		n.paused[ip] = []func(){}
	}
	n.mu.Unlock()
	n.wake()
}

// Resume lets a paused machine go on, with all that has waited.
func (n *Net) Resume(machine string) {
	ip := mustIP(machine)
	n.mu.Lock()
	waiting := n.paused[ip]
	delete(n.paused, ip)
	n.mu.Unlock()
	for _, f := range waiting {
		f()
	}
	n.wake()
}

// heldLocked keeps a packet for when both machines run again, as many as a socket would.
func (n *Net) heldLocked(p path, deliver func()) bool {
	for _, ip := range []netip.Addr{p.to, p.from} {
		if waiting, is := n.paused[ip]; is {
			if len(waiting) < unread {
				n.paused[ip] = append(waiting, deliver)
			}
			return true
		}
	}
	return false
}

// flows tells whether a stream's bytes come through now.
func (n *Net) flows(p path) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.openLocked(p) && n.paused[p.from] == nil && n.paused[p.to] == nil
}

// wake lets everything that waits look again.
func (n *Net) wake() {
	n.mu.Lock()
	conns := make([]*Conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		c.in.wake()
		c.out.wake()
	}
}

// open tells whether anything comes through.
func (n *Net) open(p path) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.openLocked(p)
}

func (n *Net) openLocked(p path) bool { return !n.cuts[p] && !n.off[p.from] && !n.off[p.to] }

// fate is what becomes of one packet or write.
type fate struct {
	lost, reset bool
	after       time.Duration   // at the other end
	again       []time.Duration // of a packet: copies
}

func (n *Net) packetFate(p path) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.openLocked(p) {
		return fate{lost: true}
	}
	if p.from == p.to {
		return fate{}
	}
	r, f := n.fateLocked(p), n.faults
	// All is drawn, needed or not: the nth packet's fate does not depend on its predecessors'.
	lost, again := r.Float64() < f.Loss, r.Float64() < f.Duplicate
	first, second := f.delay(r), f.delay(r)
	if lost {
		return fate{lost: true}
	}
	if again {
		return fate{after: first, again: []time.Duration{second}}
	}
	return fate{after: first}
}

func (n *Net) writeFate(p path) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.from == p.to {
		return fate{}
	}
	r, f := n.fateLocked(p), n.faults
	reset, stall := r.Float64() < f.Reset, r.Float64() < f.Stall
	after := f.delay(r)
	if stall {
		after += f.StallFor
	}
	return fate{reset: reset, after: after}
}

func (f Faults) delay(r *rand.Rand) time.Duration {
	return f.Delay + time.Duration(r.Float64()*float64(f.Jitter))
}

func (n *Net) fateLocked(p path) *rand.Rand {
	r := n.fates[p]
	if r == nil {
		h := fnv.New64a()
		fmt.Fprint(h, p.from, p.to)
		r = rand.New(rand.NewPCG(n.seed, h.Sum64()))
		n.fates[p] = r
	}
	return r
}

// pickLocked finds a free port on a machine.
func (n *Net) pickLocked(ip netip.Addr) netip.AddrPort {
	for {
		n.port++
		if n.port < 49152 {
			n.port = 49152
		}
		at := netip.AddrPortFrom(ip, n.port)
		if n.listens[at] == nil && n.packets[at] == nil {
			return at
		}
	}
}

func mustIP(s string) netip.Addr {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		panic("simnet: a machine is named by its IP address: " + err.Error())
	}
	return ip.Unmap()
}

func tcpAddr(a netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(a) }

func udpAddr(a netip.AddrPort) net.Addr { return net.UDPAddrFromAddrPort(a) }
