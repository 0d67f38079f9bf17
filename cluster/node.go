package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// Options configure a Node. Zero values mean the defaults named here.
type Options struct {
	Name    string         // this node's, as operators know it. Required
	Version string         // of the program, shown to other members
	Store   *session.Store // of this node. Required. No operation may have been run on it
	Status  string         // host:port of the status address, shown to other members

	Gossip    string // where to listen for membership, ip:port, TCP and UDP; port 0 picks a free one. Required
	Advertise string // where other members reach that, ip:port. Default: derived from Gossip, if there is only one possibility
	Transfer  string // where to listen for sessions and questions about them, ip:port; port 0 picks a free one. Required

	Cluster  string   // name of the cluster: nodes of another refuse each other. Default "default"
	Join     []string // seeds: host or host:port, a name may have several addresses. None: wait to be found
	KeyFile  string   // the cluster's keys. Required unless Insecure
	Insecure bool     // no encryption and no authentication between nodes: anybody who reaches a port is a member

	QueryTimeout time.Duration // how long a read waits for other members' answers. Default 2s
	LockWait     time.Duration // how long a read waits for a lock that another node's web server holds. Default 500ms; negative: not at all

	SnapshotDir string // where the last node standing leaves its sessions, and the next start finds them. Default "": nowhere

	Log hclog.Logger // Required
}

// Node is this node's part in the cluster. All methods may be called concurrently.
type Node struct{}

// Addrs are the addresses that a node listens on for other nodes, ip:port.
type Addrs struct{ Gossip, Transfer string }

// New checks the options, reads the keys, and makes a node that does nothing yet: no goroutine, no socket. It makes the store one of a
// cluster.
func New(o Options) (*Node, error) { return nil, errors.New("not built yet") }

// Start listens, and looks for the cluster in the background for as long as it takes: web servers can be served when it returns. A request
// for a session that is not here waits until the cluster is found, or it is certain that there is none to find yet.
func (n *Node) Start(ctx context.Context) error { return nil }

// Stop leaves the cluster, if that has not been done, and closes everything. What the node still holds is gone for the others: Drain first.
func (n *Node) Stop(ctx context.Context) error { return nil }

// Addrs are the addresses in use. Valid after Start.
func (n *Node) Addrs() Addrs { return Addrs{} }

// ReloadKeys reads the key file again, and uses what it holds from now on. If that cannot be, the keys stay as they are.
func (n *Node) ReloadKeys() error { return nil }

// Request is a web server's, for a session that the store does not have.
type Request struct {
	Key     session.Key
	Purpose handoff.Purpose
	Cookie  int32     // that the request carries, or session.NoCookie
	Arrived time.Time // when it came, also if it has been Fetched before
}

// Answer says where the session is.
type Answer struct {
	Outcome handoff.Outcome
	// Grant, with Nowhere for a request that creates: lets Store.Set create the session.
	Grant session.Grant
	// Cookie and LockAge, with Held: the lock's.
	Cookie  int32
	LockAge time.Duration

	id uint64
}

// Fetch looks for a session in the cluster and brings it here, or says why not. It waits. Done must be called after the operation has
// been tried again on the store.
func (n *Node) Fetch(ctx context.Context, r Request) Answer { return Answer{} }

// Done ends a Fetch, whatever its answer was and whatever has become of the operation since.
func (n *Node) Done(a Answer) {}

// Fresh tells whether this node may still speak for the sessions it holds: it has run without a longer pause than the others wait before they
// take a member for dead. To be asked before an answer is written; if it is false, the connection is to be closed instead. It never waits.
func (n *Node) Fresh() bool { return true }

// Phase is how far a member is in its life.
type Phase uint8

const (
	Up Phase = iota
	Draining
	Leaving
)

func (p Phase) String() string { return [...]string{"up", "draining", "leaving"}[p] }

// Member is what this node knows of a member.
type Member struct {
	ID       string    `json:"id"`   // of this run of it
	Name     string    `json:"name"` // as operators know it
	Self     bool      `json:"self,omitempty"`
	State    string    `json:"state"` // up, suspect, draining, leaving, left, failed
	Gossip   string    `json:"gossip"`
	Transfer string    `json:"transfer"`
	Status   string    `json:"status,omitempty"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Since    time.Time `json:"since"` // of State
	// Connected: messages can be sent to it. RoundTrip is that of the last probe over its transfer connection, 0 if there was none.
	Connected bool          `json:"connected"`
	RoundTrip time.Duration `json:"round_trip_ns"`
	LastError string        `json:"last_error,omitempty"` // of connecting to it
}

// Members are this node and all others, those that left or failed within the last hour included, by name.
func (n *Node) Members() []Member { return nil }

// Stats are figures at one moment, or counts since the start.
type Stats struct {
	Joined   bool // the node has found its cluster
	Members  int  // live ones, with this node
	Draining bool

	Fetches  map[string]uint64 // by outcome: here, nowhere, held, unknown, shed
	MovedIn  uint64
	MovedOut uint64
	BytesIn  uint64 // of bodies moved in
	BytesOut uint64

	Rounds, RoundsRestarted uint64 // questions to all members
	Aborted, Refused        uint64 // transfers
	Adopted, Stale          uint64 // copies without an owner: taken over; dropped, since a later one was known
	Conflicts               uint64 // sessions with two owners after a split: the lesser one, dropped
	Fences                  uint64 // this node was stopped for so long that others may have taken it for dead

	Waiting, Leaving, Arriving, Copies, Notes int // now
}

// Stats returns them.
func (n *Node) Stats() Stats { return Stats{} }

// DrainProgress is how far a drain has come.
type DrainProgress struct {
	Sessions  int64         `json:"sessions"`  // handed over
	Bytes     int64         `json:"bytes"`     // of their bodies
	Remaining int64         `json:"remaining"` // sessions still here
	Members   int           `json:"members"`   // that took any
	Elapsed   time.Duration `json:"elapsed_ns"`
	Done      bool          `json:"done"`
}

// Drain hands all sessions to the other members, and goes on doing so with what comes later. It returns when nothing is left, or ctx ends (then
// with an error; the drain goes on), or at once with ErrNobody if no member is there to take them. Web servers are served all the while. A second call joins
// the first. Progress tells how far it is.
func (n *Node) Drain(ctx context.Context) error { return nil }

// ErrNobody: there is no other member that takes sessions.
var ErrNobody = errors.New("no other member takes sessions")

// Progress of the drain; zero before Drain.
func (n *Node) Progress() DrainProgress { return DrainProgress{} }

// Snapshot writes what is still here to SnapshotDir, for the next start to find. To be called when no web server is served any more. It returns the
// number of sessions and their bytes; 0 and no error without SnapshotDir.
func (n *Node) Snapshot(ctx context.Context) (sessions, bytes int64, err error) { return 0, 0, nil }

// Event is something that happened to the cluster, in words for the operator.
type Event struct {
	At    time.Time `json:"at"`
	Level string    `json:"level"` // info, warn, error
	Text  string    `json:"text"`  // "web03 joined"
}

// Events are the latest, oldest first; at most 200.
func (n *Node) Events() []Event { return nil }
