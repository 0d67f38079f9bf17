package service

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/cluster"
)

// Options configure a node. Zero values mean the defaults named here.
type Options struct {
	NodeName   string // Required.
	Version    string // shown by the status address. Default "dev"
	StateAddr  string // Required. where web servers connect, host:port; port 0 picks a free one
	StatusAddr string // Required. /healthz /readyz /metrics /api/v1
	Status     Access // who may ask there, and for what. Default: whoever can connect may read, this machine may change things
	AddrFile   string // if set, the chosen addresses are written there as JSON once listening

	AspNetVersion  string        // Default "4.0.30319"
	StatusLine     string        // "bare" (default) or "http/1.1"
	MaxHead        int           // bytes of a request's head. Default 16 KiB
	MaxBody        int           // bytes of a request's body. Default 64 MiB
	MaxConnections int           // open web-server connections; more are closed at once. Default 0: as many as the system allows
	IdleTimeout    time.Duration // closes a connection with no request under way. Default 0: never
	RequestTimeout time.Duration // for the rest of a request that has begun to arrive, and for an answer to be taken. Default 30s
	MaxMemory      int64         // bytes of sessions. Default 0: no limit (config resolves "75%")
	MaxWaiting     int           // requests that wait for one session. Default 64
	LockWait       time.Duration // how long a page is held back that wants a session which another has locked. Default 0: not at all
	StopTimeout    time.Duration // how long requests in flight may take when stopping. Default 4s
	LongLock       time.Duration // a lock that lasts longer is a finding. Default 110s, ASP.NET's executionTimeout

	// GoroutinePerConn: serve each connection by a goroutine also where there is an event loop, which is on Linux. Default false.
	GoroutinePerConn bool

	Cluster     *Cluster // that the node is one of. Default nil: it runs alone
	SnapshotDir string   // where sessions go that nobody takes when the node stops, and come from when it starts. Default "": they are lost

	Log hclog.Logger // Required.

	newMesh func(cluster.Options) (mesh, error) // another than cluster.New, for tests
}

// Cluster is what a node is told of its cluster. Zero values mean the defaults named here.
type Cluster struct {
	Name      string   // of the cluster. Default "default"
	Gossip    string   // Required. Where other nodes tell who is there, ip:port; port 0 picks a free one
	Advertise string   // where they reach that, ip:port. Default: derived from Gossip
	Transfer  string   // Required. Where other nodes ask for sessions, ip:port; port 0 picks a free one
	Join      []string // some of the other nodes, host or host:port
	KeyFile   string   // Required, unless Insecure
	Insecure  bool     // do without keys

	CAFile, CertFile, CertKeyFile string // PEM: certificates of the operator's own in place of the keys'. Default: none

	QueryTimeout time.Duration // how long a page may wait for other nodes' answers. Default 2s
	DrainTimeout time.Duration // how long handing over all sessions may take when the node stops. Default 60s

	ExpectMembers int // how many nodes there are to be, with this one: fewer is trouble. Default 0: not known
}

func (o Cluster) withDefaults() *Cluster {
	setDefault(&o.Name, "default")
	setDefault(&o.QueryTimeout, 2*time.Second)
	setDefault(&o.DrainTimeout, time.Minute)
	return &o
}

// withDefaults is o with a value in every field that has a default. MaxWaiting's is the store's own.
func (o Options) withDefaults() Options {
	setDefault(&o.Version, "dev")
	setDefault(&o.AspNetVersion, "4.0.30319")
	setDefault(&o.StatusLine, "bare")
	setDefault(&o.MaxHead, 16<<10)
	setDefault(&o.MaxBody, 64<<20)
	setDefault(&o.RequestTimeout, 30*time.Second)
	setDefault(&o.StopTimeout, 4*time.Second)
	setDefault(&o.LongLock, 110*time.Second)
	if o.Cluster != nil {
		o.Cluster = o.Cluster.withDefaults()
	}
	if o.newMesh == nil {
		o.newMesh = func(c cluster.Options) (mesh, error) { return cluster.New(c) }
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// minHead leaves room for the head of any real request: its line is about 120 bytes, its headers about as much.
const minHead = 512

// validate names every field that cannot be as it is. StatusLine and AspNetVersion are wire's to judge.
func (o Options) validate() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if o.NodeName == "" {
		wrong("NodeName", "required")
	}
	if o.Log == nil {
		wrong("Log", "required")
	}
	addrs := []field[string]{{"StateAddr", o.StateAddr}, {"StatusAddr", o.StatusAddr}}
	sizes := []field[int64]{
		{"MaxConnections", int64(o.MaxConnections)}, {"IdleTimeout", int64(o.IdleTimeout)}, {"RequestTimeout", int64(o.RequestTimeout)},
		{"MaxMemory", o.MaxMemory}, {"MaxWaiting", int64(o.MaxWaiting)}, {"LockWait", int64(o.LockWait)}, {"StopTimeout", int64(o.StopTimeout)},
		{"LongLock", int64(o.LongLock)},
	}
	if c := o.Cluster; c != nil { // what else is wrong with it, cluster.New says
		addrs = append(addrs, field[string]{"Cluster.Gossip", c.Gossip}, field[string]{"Cluster.Transfer", c.Transfer})
		sizes = append(sizes, field[int64]{"Cluster.QueryTimeout", int64(c.QueryTimeout)}, field[int64]{"Cluster.DrainTimeout", int64(c.DrainTimeout)},
			field[int64]{"Cluster.ExpectMembers", int64(c.ExpectMembers)})
	}
	for _, f := range addrs {
		if err := checkAddr(f.value); err != nil {
			wrong(f.name, "%v", err)
		}
	}
	if o.MaxHead < minHead {
		wrong("MaxHead", "%d bytes are too few for a request's head; at least %d", o.MaxHead, minHead)
	}
	if o.MaxBody < 1 || o.MaxBody > math.MaxInt32 {
		wrong("MaxBody", "%d is not from 1 to %d: Content-Length is a 32-bit number", o.MaxBody, math.MaxInt32)
	}
	for _, f := range sizes {
		if f.value < 0 {
			wrong(f.name, "must not be negative")
		}
	}
	return errors.Join(errs...)
}

// field is an option, for what is checked of several.
type field[T any] struct {
	name  string
	value T
}

func checkAddr(addr string) error {
	if addr == "" {
		return errors.New("required")
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want host:port: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}
