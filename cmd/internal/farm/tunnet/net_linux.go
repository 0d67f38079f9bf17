package tunnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Faults are what happens to packets.
type Faults struct {
	Loss, Dup float64       // the share of packets that are lost, or arrive twice
	Delay     time.Duration // of each
	Jitter    time.Duration // anything up to that, more; so packets overtake one another
}

// Stats count packets.
type Stats struct{ Carried, Lost, Doubled, Cut, Astray uint64 }

// Net is a network.
type Net struct {
	wg sync.WaitGroup

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	faults Faults
	cuts   map[[2]*Host]bool
	ports  map[toPort]bool
	hosts  map[netip.Addr]*Host

	carried, lost, doubled, cut, astray atomic.Uint64
}

// New makes a network without hosts. The error says what is missing on this machine, if something is.
func New(seed uint64) (*Net, error) {
	if err := Able(); err != nil {
		return nil, err
	}
	return &Net{random: rand.New(rand.NewPCG(seed, 0)), cuts: make(map[[2]*Host]bool), ports: make(map[toPort]bool), hosts: make(map[netip.Addr]*Host)}, nil
}

// Faults sets what happens to packets from now on.
func (n *Net) Faults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Cut lets nothing pass between two hosts.
func (n *Net) Cut(a, b *Host) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay lets nothing pass from one host to another; the other way packets still arrive.
func (n *Net) CutOneWay(from, to *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]*Host{from, to}] = true
}

// CutPort lets no TCP segment pass to a host's port: a firewall there that drops them.
func (n *Net) CutPort(to *Host, port uint16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[toPort{to, port}] = true
}

// Heal undoes all cuts.
func (n *Net) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	clear(n.ports)
}

// Stats are the counts so far.
func (n *Net) Stats() Stats {
	return Stats{n.carried.Load(), n.lost.Load(), n.doubled.Load(), n.cut.Load(), n.astray.Load()}
}

// Close ends all hosts. Processes that run there have no network from then on; they are whoever's who started them.
func (n *Net) Close() error {
	n.mu.Lock()
	hosts := n.hosts
	n.hosts = nil
	n.mu.Unlock()
	var errs []error
	for _, h := range hosts {
		errs = append(errs, h.close())
	}
	n.wg.Wait()
	return errors.Join(errs...)
}

// Host adds a host with that IPv4 address, in 10.0.0.0/8.
func (n *Net) Host(ip string) (*Host, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || !addr.Is4() || addr.As4()[0] != 10 {
		return nil, fmt.Errorf("tunnet: %q is no address within 10.0.0.0/8", ip)
	}
	h, err := newHost(n, addr)
	if err != nil {
		return nil, fmt.Errorf("tunnet: make host %s: %w", ip, err)
	}
	n.mu.Lock()
	n.hosts[addr] = h
	n.mu.Unlock()
	n.wg.Go(h.readPackets)
	n.wg.Go(h.writePackets)
	return h, nil
}

// carry decides what becomes of a packet that a host has sent.
func (n *Net) carry(from *Host, packet []byte) {
	const dst = 16 // in an IPv4 header of 20 bytes at least
	if len(packet) < 20 || packet[0]>>4 != 4 {
		n.astray.Add(1)
		return
	}
	n.mu.Lock()
	to := n.hosts[netip.AddrFrom4([4]byte(packet[dst:]))]
	f := n.faults
	isCut := n.cuts[[2]*Host{from, to}] || n.ports[toPort{to, tcpPort(packet)}]
	// Always the same number of draws, so that one packet's fate does not decide the next one's.
	lost, dup := n.random.Float64() < f.Loss, n.random.Float64() < f.Dup
	jitter := n.random.Float64()
	n.mu.Unlock()
	switch {
	case to == nil:
		n.astray.Add(1)
		return
	case isCut:
		n.cut.Add(1)
		return
	case lost:
		n.lost.Add(1)
		return
	}
	n.carried.Add(1)
	due := time.Now().Add(f.Delay + time.Duration(jitter*float64(f.Jitter)))
	to.deliver(packet, due)
	if dup {
		n.doubled.Add(1)
		to.deliver(packet, due.Add(f.Jitter))
	}
}

// toPort is a host's TCP port.
type toPort struct {
	host *Host
	port uint16
}

// tcpPort is the port that an IPv4 packet goes to, if it is of TCP; else 0.
func tcpPort(packet []byte) uint16 {
	const protocol, tcp = 9, 6
	head := int(packet[0]&15) * 4
	if packet[protocol] != tcp || len(packet) < head+4 {
		return 0
	}
	return binary.BigEndian.Uint16(packet[head+2:])
}
