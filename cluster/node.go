package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/gossip"
	"statemesh/cluster/internal/keys"
	"statemesh/cluster/internal/link"
	"statemesh/cluster/internal/snapshot"
	"statemesh/session"
	"statemesh/wire/peer"
)

// Options configure a Node. Zero values mean the defaults named here.
type Options struct {
	Name    string         // this node's, as operators know it. Required
	Version string         // of the program, shown to other members
	Store   *session.Store // of this node. Required. No operation may have been run on it
	Status  string         // host:port of the status address, shown to other members

	Gossip    string // where to listen for membership, ip:port, TCP and UDP; port 0 picks a free one. Default "": the node is alone
	Advertise string // where other members reach that, ip:port. Default: derived from Gossip, if there is only one possibility
	Transfer  string // where to listen for sessions and questions about them, ip:port; port 0 picks a free one. Required unless alone

	Cluster string   // name of the cluster: nodes of another refuse each other. Default "default"
	Join    []string // seeds: host or host:port, a name may have several addresses. None: wait to be found
	KeyFile string   // the cluster's keys. Required unless alone, or Insecure
	// CAFile, CertFile and CertKeyFile, PEM: nodes prove who they are by certificates of the operator's own, in place of those derived from the
	// keys. Default: the latter
	CAFile, CertFile, CertKeyFile string
	Insecure                      bool // no encryption and no authentication between nodes: anybody who reaches a port is a member

	QueryTimeout time.Duration // how long a read waits for other members' answers. Default 2s
	LockWait     time.Duration // how long a read waits for a lock that another node's web server holds. Default 500ms; negative: not at all
	MaxBody      int           // bytes of a session that is taken from another node. Default: as many as the protocol allows

	// Fenced is called when the node finds that it stood still, before Fresh says so no more: what was asked of it by then is not to be done any
	// more. It must not wait, nor call the node. Default: nothing
	Fenced func()

	// Report is what this node tells the others of itself, every 2 seconds and when its phase changes: at most 256 KiB, for whoever reads their
	// Reports. Called from a goroutine of the node's own, which waits for it. Default: nothing is told
	Report func() []byte

	SnapshotDir string // where the last node standing leaves its sessions, and the next start finds them. Default "": nowhere

	Log hclog.Logger // Required

	network network          // of tests; nil is the machine's
	clock   func() time.Time // of tests: what time it is, for the others; nil is time.Now
}

// network is how nodes reach each other.
type network interface {
	Listen(network, addr string) (net.Listener, error)
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	// Transport is memberlist's, listening at addr; nil, if memberlist is to make its own.
	Transport(addr string) (memberlist.NodeAwareTransport, error)
}

// Node is this node's part in the cluster. All methods may be called concurrently.
type Node struct {
	o       Options
	id      handoff.NodeID
	log     hclog.Logger
	started time.Time // the machine's time zero

	ring   *keys.Ring    // nil: alone or insecure
	dir    *snapshot.Dir // nil: none
	gossip *gossip.Membership
	links  *link.Transport

	mail     *mailbox
	wake     chan struct{} // capacity 1: for run
	members  registry
	sessions *moving

	machineMu sync.Mutex // held by whoever is at the machine; guards what follows. Nobody waits with it held
	machine   *handoff.Machine
	fetches   map[uint64]func(Answer)
	joined    bool
	tickets   uint64        // of Snapshot, counting down from the greatest
	armed     time.Duration // when run will look at the machine by itself
	spare     []event       // for the mailbox to fill next

	lastFetch atomic.Uint64
	counts    counts
	beat      atomic.Int64 // when run last showed that it runs, on the machine's clock
	lead      atomic.Int64 // by how much the wall clock was ahead of that, then
	empty     atomic.Bool  // the machine has handed over everything
	emptied   chan struct{}
	draining  atomic.Pointer[drain]

	reportDue chan struct{} // capacity 1: for tellReports, whose tooMuch is
	tooMuch   bool          // that has been logged

	addrs atomic.Pointer[Addrs] // nil until gossip and links are there, which never change then

	mu      sync.Mutex // held by Start and Stop from begin to end; guards the rest
	running bool
	stopErr error
	stopped chan struct{} // closed at the end
	wg      sync.WaitGroup
}

// Addrs are the addresses that a node listens on for other nodes, ip:port; empty if it is alone.
type Addrs struct{ Gossip, Transfer string }

// New checks the options, reads the keys, and makes a node that does nothing yet: no goroutine, no socket. It makes the store one of a
// cluster.
func New(o Options) (*Node, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("cluster options: %w", err)
	}
	n := &Node{
		o: o, id: handoff.NodeID(keys.NodeID(o.Name)), log: o.Log.Named("cluster"), started: time.Now(),
		mail: newMailbox(), wake: make(chan struct{}, 1), fetches: map[uint64]func(Answer){}, emptied: make(chan struct{}, 1), stopped: make(chan struct{}),
		reportDue: make(chan struct{}, 1),
	}
	n.members.live, n.members.reports = map[handoff.NodeID]gossip.Member{}, map[handoff.NodeID]Report{}
	n.members.meta = gossip.Meta{
		Name: o.Name, Version: o.Version[:min(len(o.Version), gossip.MaxVersion)], Started: n.started, Status: addrPort(o.Status),
		ProtoMin: uint8(peer.Spoken.Min), ProtoMax: uint8(peer.Spoken.Max),
	}
	if err := n.makeMachine(); err != nil {
		return nil, err
	}
	if !o.alone() && !o.Insecure {
		ring, err := keys.Load(o.KeyFile, string(n.id))
		if err != nil {
			return nil, err
		}
		if o.CAFile != "" {
			if err := ring.UseCA(o.CAFile, o.CertFile, o.CertKeyFile); err != nil {
				return nil, err
			}
		}
		n.ring = ring
	}
	return n, nil
}

// SetStatus changes Options.Status before Start, for when it is known only then.
func (n *Node) SetStatus(addr string) {
	n.o.Status = addr
	n.members.meta.Status = addrPort(addr)
}

func (o *Options) alone() bool { return o.Gossip == "" }

func (o *Options) check() error {
	var errs []error
	required := func(name string, missing bool) {
		if missing {
			errs = append(errs, errors.New(name+": required"))
		}
	}
	required("Name", o.Name == "")
	required("Store", o.Store == nil)
	required("Log", o.Log == nil)
	required("Transfer", !o.alone() && o.Transfer == "")
	required("KeyFile", !o.alone() && !o.Insecure && o.KeyFile == "")
	if o.alone() && len(o.Join) > 0 {
		errs = append(errs, errors.New("to Join, Gossip is required"))
	}
	if o.Cluster == "" {
		o.Cluster = "default"
	}
	return errors.Join(errs...)
}

func (n *Node) makeMachine() error {
	moves, err := newSessions(n.o.Store, told{left: n.left, removed: n.removed})
	if err != nil {
		return err
	}
	n.sessions = newMoving(moves)
	n.machine, err = handoff.New(handoff.Options{
		Self: n.id, Sessions: n.sessions, Started: n.started.UnixMicro(), Joining: !n.o.alone(),
		QueryTimeout: n.o.QueryTimeout, LockWait: n.o.LockWait,
	})
	return err
}

// Start listens, and looks for the cluster in the background for as long as it takes: web servers can be served when it returns. A request
// for a session that is not here waits until the cluster is found, or it is certain that there is none to find yet. If it fails, nothing is left
// of what it began.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running || n.isStopped() {
		return errors.New("start cluster node: it has been started before")
	}
	n.running = true
	n.showRunning()
	n.machineMu.Lock() // what comes waits until all that the machine uses is there
	err := n.openSnapshot()
	if err == nil && !n.o.alone() {
		err = n.startMesh()
	}
	n.machineMu.Unlock()
	if err != nil {
		n.putBack(ctx)
		n.stopLocked(ctx)
		return fmt.Errorf("start cluster node: %w", err)
	}
	n.wg.Go(n.run)
	return nil
}

// startMesh brings up what takes other nodes' word before what tells them of this node.
func (n *Node) startMesh() error {
	listener, err := n.listen(n.o.Transfer)
	if err != nil {
		return fmt.Errorf("listen for sessions of other nodes: %w", err)
	}
	if err := n.startLinks(listener); err != nil {
		return err
	}
	if err := n.startGossip(listener.Addr()); err != nil {
		return err
	}
	n.addrs.Store(&Addrs{Gossip: n.gossip.Addr().String(), Transfer: listener.Addr().String()})
	if n.o.Report != nil {
		n.wg.Go(n.tellReports)
	}
	if n.ring != nil {
		if w := n.ring.Warning(); w != "" {
			n.log.Warn("key file", "warning", w)
		}
		n.log.Info("keys", "fingerprints", n.ring.Fingerprints())
	} else {
		n.log.Warn("insecure_plaintext: gossip and sessions go unencrypted between nodes, and whoever reaches their ports is a member")
	}
	return nil
}

func (n *Node) listen(addr string) (net.Listener, error) {
	if n.o.network != nil {
		return n.o.network.Listen("tcp", addr)
	}
	return net.Listen("tcp", addr)
}

func (n *Node) startLinks(listener net.Listener) error {
	o := link.Options{
		Self: n.id, Log: n.log.Named("link"), Listen: listener,
		Member:   n.members.transferAddr,
		Receive:  n.received,
		Received: n.pump,
		NewBody:  func(size int) (link.Body, error) { return n.o.Store.NewBody(size) },
		Undelivered: func(_ peer.NodeID, p peer.Push) {
			n.post(event{do: func(now time.Duration) { n.machine.Undelivered(now, p) }})
		},
		MaxBody: n.o.MaxBody, Clock: n.o.clock,
	}
	if n.o.network != nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return n.o.network.Dial(ctx, "tcp", addr) }
	}
	if n.ring != nil {
		o.ServerTLS = n.ring.ServerTLS
		o.ClientTLS = func(to peer.NodeID) *tls.Config { return n.ring.ClientTLS(string(to)) }
		o.Proves = n.ring.Proves
		o.Accepts = n.ring.Accepts
	}
	links, err := link.New(o)
	if err != nil {
		listener.Close()
		return err
	}
	n.links = links
	links.Start()
	return nil
}

func (n *Node) startGossip(transfer net.Addr) error {
	n.members.mu.Lock()
	n.members.meta.Transfer = addrPort(transfer.String())
	meta := n.members.meta
	n.members.mu.Unlock()
	o := gossip.Options{
		ID: string(n.id), Meta: meta, Insecure: n.o.Insecure,
		Listen: n.o.Gossip, Advertise: n.o.Advertise, Label: "statemesh/" + n.o.Cluster,
		Seeds: n.o.Join, Events: n.heard, Log: n.log,
	}
	if n.ring != nil {
		o.Keys = n.ring.GossipKeys
	}
	if n.o.network != nil {
		t, err := n.o.network.Transport(n.o.Gossip)
		if err != nil {
			return err
		}
		o.Transport = t
	}
	g, err := gossip.New(o)
	if err != nil {
		return err
	}
	if err := g.Start(); err != nil {
		g.Stop()
		return err
	}
	n.gossip = g
	n.wg.Go(n.awaitCluster)
	return nil
}

// awaitCluster lets the machine conclude what needs everybody's word, once it is clear who that is.
func (n *Node) awaitCluster() {
	select {
	case <-n.gossip.Ready():
	case <-n.stopped:
		return
	}
	// If there are members, the machine hears of the first of them before this, see gossip.Membership.Ready: one that knows of nobody would conclude
	// that nobody has anything.
	n.post(event{do: func(now time.Duration) {
		n.joined = true
		n.machine.Joined(now)
	}})
	switch n.gossip.Found() {
	case gossip.FoundMembers:
		n.note("info", "found the cluster %q", n.o.Cluster)
	case gossip.SeedsDown:
		n.note("warn", "no seed answers: this node is alone for now, and goes on looking")
	default:
		n.note("info", "alone in the cluster %q, waiting for others to join", n.o.Cluster)
	}
}

// addrPort is what a host:port says, as far as it is numbers.
func addrPort(s string) netip.AddrPort {
	a, _ := netip.ParseAddrPort(s)
	return a
}

// Addrs are the addresses in use. Valid after Start.
func (n *Node) Addrs() Addrs {
	if a := n.addrs.Load(); a != nil {
		return *a
	}
	return Addrs{}
}

// ReloadKeys reads the key file again, and uses what it holds from now on. If that cannot be, the keys stay as they are.
func (n *Node) ReloadKeys() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ring == nil || n.gossip == nil {
		return errors.New("this node has no cluster keys")
	}
	change, err := n.ring.Reload()
	if err != nil {
		return fmt.Errorf("reload keys: %w", err)
	}
	if err := n.gossip.RotateKeys(); err != nil {
		return fmt.Errorf("reload keys: %w", err)
	}
	n.links.Recheck()
	n.note("info", "keys read again: %s", change)
	return nil
}

func (n *Node) isStopped() bool {
	select {
	case <-n.stopped:
		return true
	default:
		return false
	}
}

// left and removed take the store's news, from any goroutine.
func (n *Node) left(k handoff.Key, t handoff.Ticket, l handoff.Leaving) {
	n.post(event{do: func(now time.Duration) {
		n.machine.Left(now, k, t, l)
	}})
}

func (n *Node) removed(all []session.Removal) {
	n.post(event{do: func(now time.Duration) {
		for _, r := range all {
			n.machine.Removed(now, handoff.Key(r.Key), handoff.Epoch(r.Epoch))
		}
	}})
}
