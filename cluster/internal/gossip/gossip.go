package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// DefaultPort is a seed's if it names none.
const DefaultPort = "42425"

// Options configure a Membership.
type Options struct {
	// ID of this run of the node: its name and a random suffix. It must be a DNS label, as it is also the name in the node's certificate. Required.
	ID string
	// Meta is what others are told of this node. Required.
	Meta Meta
	// Listen is the ip:port for packets and streams; port 0 picks a free one. Required unless there is a Transport.
	Listen string
	// Advertise is the ip:port that others are told. Default: derived from Listen if there is only one possibility, else an error. Port 0 means
	// that of Listen.
	Advertise string
	// Label keeps clusters apart: "statemesh/" and the cluster's name. Default "statemesh/default".
	Label string
	// Keys are the ring: the first encrypts, all decrypt; 32 bytes each. It is called again by RotateKeys. Required unless Insecure.
	Keys func() (primary []byte, all [][]byte)
	// Insecure goes without encryption: anybody who can send a packet is a member.
	Insecure bool
	// Seeds are where to look for the cluster: host, host:port, ip or ip:port.
	Seeds []string
	// Events is told what happens, in order, from one goroutine. It may call everything here but Stop. Default: nobody is.
	Events func(Event)
	// Log is required.
	Log hclog.Logger
	// Transport is the network. Default: UDP and TCP at Listen. Start takes it over, and Stop shuts it down.
	Transport memberlist.NodeAwareTransport
	// Resolve finds a seed's addresses. Default: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

func (o *Options) validate() error {
	switch {
	case !isLabel(o.ID):
		return fmt.Errorf("gossip: the ID %q must be 1 to 63 lower case letters, digits and dashes", o.ID)
	case o.Log == nil:
		return errors.New("gossip: Log is required")
	case o.Keys == nil && !o.Insecure:
		return errors.New("gossip: Keys are required, unless Insecure")
	case o.Keys != nil && o.Insecure:
		return errors.New("gossip: Keys and Insecure exclude each other")
	case o.Listen == "" && o.Transport == nil:
		return errors.New("gossip: Listen is required")
	case len(o.Label) > memberlist.LabelMaxSize:
		return fmt.Errorf("gossip: the Label is longer than %d bytes", memberlist.LabelMaxSize)
	}
	if err := o.Meta.check(); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	for _, s := range o.Seeds {
		if host, _ := splitSeed(s); host == "" {
			return fmt.Errorf("gossip: the seed %q names no host", s)
		}
	}
	return nil
}

// isLabel tells whether a name is a DNS label, as TLS will check it.
func isLabel(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

// Membership is this node's part in the gossip. All methods may be called concurrently.
type Membership struct {
	o    Options
	log  hclog.Logger
	list *memberlist.Memberlist
	ring *memberlist.Keyring // nil if insecure
	net  *guard
	self netip.AddrPort // as others know it

	meta    atomic.Pointer[Meta]
	table   *table
	say     *strangers
	found   *finding
	counts  counts
	figures figures
	turn    chan struct{} // held by whoever changes what others are told: Update and Leave
	settled chan struct{} // has one in it if something changed, and notes are to be compared
	differs chan string   // a member that knows others, to compare notes with at once

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	look   context.Context // ends when seeds and the lost are no longer looked for: with Leave, or with ctx
	unlook context.CancelFunc
	wg     sync.WaitGroup
	ending atomic.Bool

	uncollect func() // ends figures; set with list
	ended     chan struct{}
}

// New checks the options. It starts nothing and opens nothing.
func New(o Options) (*Membership, error) {
	if o.Label == "" {
		o.Label = "statemesh/default"
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := &Membership{
		o:       o,
		log:     o.Log.Named("gossip"),
		turn:    make(chan struct{}, 1),
		settled: make(chan struct{}, 1),
		differs: make(chan string, 1),
		ended:   make(chan struct{}),
		found:   newFinding(),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.look, m.unlook = context.WithCancel(m.ctx)
	m.say = newStrangers(m.log)
	m.table = newTable(o.ID, m.log)
	m.meta.Store(&o.Meta)
	if !o.Insecure {
		ring, err := newRing(o.Keys())
		if err != nil {
			return nil, fmt.Errorf("gossip: %w", err)
		}
		m.ring = ring
	}
	return m, nil
}

// Start listens and begins to look for the cluster, in the background. Nobody is told of anything before.
func (m *Membership) Start() error {
	transport, ip, err := m.open()
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	m.net = newGuard(transport, m.o.Label, m.ring != nil, m.say.refused, m.table.liveAt)
	m.net.start()
	config := m.config(ip)
	config.MetricLabels, m.uncollect = m.figures.collect()
	if m.list, err = memberlist.Create(config); err != nil {
		m.uncollect()
		_ = m.net.Shutdown()
		return fmt.Errorf("gossip: %w", err)
	}
	m.wg.Go(func() { m.table.deliver(m.tell) })
	m.search()
	return nil
}

// tell tells an event. Members count as found when they have been told of, not before: whoever waits for Ready must not find himself alone then.
func (m *Membership) tell(e Event) {
	m.o.Events(e)
	if e.Kind == Joined {
		m.found.conclude(FoundMembers)
	}
}

// open makes the network, and finds out how others reach this node.
func (m *Membership) open() (memberlist.NodeAwareTransport, netip.Addr, error) {
	if m.o.Transport != nil {
		ip, port, err := m.o.Transport.FinalAdvertiseAddr("", 0)
		if err != nil {
			return nil, netip.Addr{}, err
		}
		addr, _ := netip.AddrFromSlice(ip)
		m.self = netip.AddrPortFrom(addr.Unmap(), uint16(port))
		return m.o.Transport, m.self.Addr(), nil
	}
	listen, err := netip.ParseAddrPort(m.o.Listen)
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("listen: %q is not ip:port", m.o.Listen)
	}
	ip, err := advertised(listen, m.o.Advertise, m.o.Seeds, net.InterfaceAddrs)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	s, err := openSockets(m.ctx, listen, m.logger())
	if err != nil {
		return nil, netip.Addr{}, err
	}
	port := uint16(s.GetAutoBindPort())
	if a, err := netip.ParseAddrPort(m.o.Advertise); err == nil && a.Port() != 0 {
		port = a.Port()
	}
	m.self = netip.AddrPortFrom(ip, port)
	return s, ip, nil
}

// sockets are UDP and TCP. Dialing ends with the node.
type sockets struct {
	*memberlist.NetTransport
	ctx context.Context
}

// openSockets binds both; with port 0 it tries a few times, as what is free for TCP may be taken for UDP.
func openSockets(ctx context.Context, listen netip.AddrPort, log *log.Logger) (*sockets, error) {
	var err error
	for range 10 {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{listen.Addr().String()}, BindPort: int(listen.Port()), Logger: log})
		if err == nil {
			return &sockets{t, ctx}, nil
		}
		if listen.Port() != 0 {
			break
		}
	}
	return nil, err
}

// DialTimeout connects.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	return d.DialContext(s.ctx, "tcp", addr)
}

// DialAddressTimeout connects.
func (s *sockets) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return s.DialTimeout(a.Addr, timeout)
}

// config is memberlist's, with the reason for everything that is not its default for a LAN.
func (m *Membership) config(ip netip.Addr) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.o.ID
	c.Transport = m.net
	c.Label = m.o.Label
	c.Keyring = m.ring
	c.AdvertiseAddr, c.AdvertisePort = ip.String(), int(m.self.Port())
	c.BindPort = int(m.self.Port())
	c.Logger = m.logger()

	// A crash is to be known by all within 4 s, and silence of 2 s is not to be taken for one. Suspicion lasts 11 intervals, 2.2 s, whatever
	// others say (MaxTimeoutMult 1): waiting longer for confirmations would, in a small cluster of which some have just left, mean waiting for
	// those that left. Everybody probes one random member per interval, so nobody probes a given one for k of them with a chance of e^-k, and it takes
	// more than 4 s once in 2,000 times.
	c.ProbeInterval = 200 * time.Millisecond
	c.ProbeTimeout = 100 * time.Millisecond
	c.SuspicionMult = 11
	c.SuspicionMaxTimeoutMult = 1
	c.AwarenessMaxMultiplier = 2

	// News is on its way at once, in 8 packets from everybody who hears it (4, the default, miss some member too often), and notes are compared
	// often: what packets lost comes by stream. All of it costs next to nothing at this size.
	c.GossipInterval = 50 * time.Millisecond
	c.RetransmitMult = 8
	c.PushPullInterval = 5 * time.Second
	// Those that left or died are remembered, and count as nodes, for so long: more of them make suspicion last longer (from 10 nodes on).
	c.GossipToTheDeadTime = 15 * time.Second

	c.QueueCheckInterval = 5 * time.Second // for Figures; nothing else looks at it

	c.TCPTimeout = 2 * time.Second // nobody is waited for longer than it takes to declare them dead
	c.EnableCompression = false    // packets are tiny, LZW is slow, and what is not there has no bugs
	c.DNSConfigPath = ""           // names are resolved here, not by memberlist

	// The version of what Meta looks like. That of the peer protocol is in Meta: two ranges may overlap without any version that both prefer, which
	// memberlist's check does not know.
	c.DelegateProtocolMin, c.DelegateProtocolMax, c.DelegateProtocolVersion = metaFormat, metaFormat, metaFormat

	d := &delegates{m}
	c.Delegate, c.Events, c.Alive, c.Merge, c.Ping, c.Conflict = d, d, d, d, d, d
	return c
}

// Addr is where others reach this node, ip:port. Valid after Start.
func (m *Membership) Addr() netip.AddrPort { return m.self }

// Members are all other members, those that left or failed within the last hour included, by ID.
func (m *Membership) Members() []Member { return m.table.all() }

// Update tells the others something new of this node, and waits, a second at most, until it is on its way.
func (m *Membership) Update(meta Meta) error {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	if m.ctx.Err() != nil {
		return errStopped
	}
	return m.update(meta)
}

var errStopped = errors.New("gossip has been stopped")

func (m *Membership) update(meta Meta) error {
	if err := meta.check(); err != nil {
		return err
	}
	m.meta.Store(&meta)
	if err := m.list.UpdateNode(time.Second); err != nil {
		return fmt.Errorf("tell members: %w", err)
	}
	return nil
}

// Leave tells the others that this node goes, and stays for another second to answer them, as long as there are any and ctx allows: who stops
// answering while some have not heard yet is taken for failed. Neither seeds nor lost members are looked for any more. Stop comes next; a node that left cannot come back.
func (m *Membership) Leave(ctx context.Context) error {
	m.unlook()
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	if m.ctx.Err() != nil {
		return errStopped // memberlist panics
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	alone := func() bool { return len(m.table.live()) == 0 }
	meta := *m.meta.Load()
	meta.Phase = Leaving
	told := m.update(meta)
	if !alone() {
		sleep(ctx, spread) // whoever hears of the end first takes it for a failure
	}
	if err := errors.Join(told, m.list.Leave(time.Second)); err != nil {
		// Those who should have heard of it leave at the same moment, or cannot be reached and find out by themselves. It is no failure of
		// this node's end.
		m.log.Warn("not everybody could be told that this node leaves", "error", err)
	}
	for left := linger; left > 0 && !alone(); left -= lookAround { // the others may be leaving as well
		if !sleep(ctx, lookAround) {
			break
		}
	}
	return nil
}

const (
	spread = 500 * time.Millisecond // after which all members have heard something, even if they lose packets
	linger = time.Second

	lookAround = 50 * time.Millisecond
)

// Stop ends everything and waits for it; Events is not called after it has returned. Without Leave the others take this node for failed.
func (m *Membership) Stop() {
	if !m.ending.CompareAndSwap(false, true) {
		<-m.ended
		return
	}
	m.cancel()
	m.turn <- struct{}{} // Leave gives it up now, Update within a second
	if m.list != nil {
		_ = m.list.Shutdown() // it only ever tells of its transport, whose errors at the end interest nobody
		m.uncollect()
	}
	<-m.turn
	m.table.close()
	m.wg.Wait()
	close(m.ended)
}

// RotateKeys takes the keys that Options.Keys has now.
func (m *Membership) RotateKeys() error {
	if m.ring == nil {
		return errors.New("gossip is not encrypted: there are no keys to rotate")
	}
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	return setRing(m.ring, m.o.Keys)
}

// Stats are figures at one moment, or counts since the start.
type Stats struct {
	Health                                   int       // 0: well; 1: this node, or its network, is slow to answer
	Heard                                    time.Time // when another member last answered or asked
	Suspicions                               uint64    // members that did not answer this node's probes
	Refuted                                  uint64    // times that others suspected this node, which then protested: it, or its network, is slow
	TCPOnly                                  uint64    // probes answered by TCP only: UDP is blocked, or lossy
	Refused                                  uint64    // packets and streams of strangers
	PacketsIn, PacketsOut, BytesIn, BytesOut uint64
	Figures                                  // memberlist's own
}

// counts are kept for Stats.
type counts struct {
	heard                        atomic.Int64 // Unix ns
	suspicions, refuted, tcpOnly atomic.Uint64
	sealed                       atomic.Uint64 // strangers' that did not decrypt
}

// Stats returns them. Valid after Start.
func (m *Membership) Stats() Stats {
	s := Stats{
		Health:     m.list.GetHealthScore(),
		Suspicions: m.counts.suspicions.Load(),
		Refuted:    m.counts.refuted.Load(),
		TCPOnly:    m.counts.tcpOnly.Load(),
		Refused:    m.net.refused.Load() + m.counts.sealed.Load(),
		PacketsIn:  m.net.packetsIn.Load(),
		PacketsOut: m.net.packetsOut.Load(),
		BytesIn:    m.net.bytesIn.Load(),
		BytesOut:   m.net.bytesOut.Load(),
		Figures:    m.figures.now(),
	}
	if ns := m.counts.heard.Load(); ns != 0 {
		s.Heard = time.Unix(0, ns)
	}
	return s
}
