package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/wire/peer"
)

// Options configure a Transport. A zero field means its default.
type Options struct {
	Self   peer.NodeID  // this node. Required
	Log    hclog.Logger // Required
	Listen net.Listener // for the other nodes' connections; the transport closes it. Required
	// Dial connects to ip:port. Default: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// ServerTLS and ClientTLS are asked for each connection, so that keys can change. Both nil: anybody is whoever they say they are.
	ServerTLS func() *tls.Config
	ClientTLS func(to peer.NodeID) *tls.Config
	// Proves returns nil if the other end's certificate is that of the node. Default: if it is for exactly this name.
	Proves func(s *tls.ConnectionState, id string) error
	// Accepts tells whether a connection's certificate would still be believed. Asked for all of them by Recheck. Default: yes.
	Accepts func(s *tls.ConnectionState) bool

	// Member is where membership says that a member is, ip:port. Nobody else is dialed. Required.
	Member func(id peer.NodeID) (addr string, ok bool)
	// Receive takes a message from the node that its connection's certificate names: member or not, that is for the rules to judge. It is called from
	// the connection's goroutine, so while it waits, nothing else comes over this connection. A Push's Record.Body, alone or in a Convoy, is what
	// NewBody returned, full, and is the receiver's from now on; it is nil if the session has no bytes (Size is 0), or if there was no
	// memory for them (it is not): such a session must be refused. Required.
	Receive func(from peer.NodeID, m peer.Message)
	// Received is called when nothing more has come over a connection for now, after one Receive or many. Default: nothing.
	Received func()
	// NewBody makes room for a session of n bytes, n > 0. Required.
	NewBody func(n int) (Body, error)
	// Undelivered tells that a Push has not reached the receiver and never will. Only its Key and Transfer are set; of a Convoy only the Transfer, which
	// is the convoy's number. Called from a goroutine of the
	// transport's own, never from within Send.
	Undelivered func(to peer.NodeID, p peer.Push)

	// Speaks are the versions of the protocol that this node speaks. Default peer.Spoken.
	Speaks peer.Versions
	// MaxBody is the most bytes of a session that is taken. Default peer.MaxBody.
	MaxBody int
	// MaxQueue is how many bytes may wait to be sent to one node, besides sessions on the bulk lane; what comes on top is dropped. Default 32 MiB:
	// twice what a drain has under way.
	MaxQueue int
	// MaxBulk is the same for the bulk lane, where they are not copied but held in the store. A single session may be larger. Default 256 MiB.
	MaxBulk int

	// Clock is what time it is, for other nodes to compare theirs with. Default time.Now.
	Clock func() time.Time

	// MaxHandshakes may be under way at a time, from one address no more than MaxHandshakesPerAddress. Default 64 and 16.
	MaxHandshakes, MaxHandshakesPerAddress int
	// MaxSilent connections may be open that have not sent a byte yet; the oldest is closed for a newer one. Default 1024.
	MaxSilent int
	// DialTimeout is how long another node may take to accept a connection. Default 2s: that it does not is to be seen soon, and tried again.
	DialTimeout time.Duration
	// HandshakeTimeout is how long a connection may take until both ends have greeted each other. Default 5s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long 64 KiB may take to be sent. Default 5s.
	WriteTimeout time.Duration
	// PingEvery is how often a connection is probed. Default 1s.
	PingEvery time.Duration
	// DeadAfter is how long a probe may stay unanswered. Default 3s.
	DeadAfter time.Duration
	// BulkIdle is how long the second connection to a node stays open unused. Default 60s.
	BulkIdle time.Duration
}

// Body is memory for a session that arrives: it is filled stretch by stretch. A session.Body is one.
type Body interface {
	Next() []byte // what to fill next; empty before it is full: no memory
	Filled(n int)
	Full() bool
	Discard()
}

// Source is the Body of a Push's Record when it is sent: bytes that do not change while they are held.
type Source interface {
	Bytes() []byte
	Hold()
	Release()
}

func (o *Options) setDefaults() error {
	for _, required := range []struct {
		name    string
		missing bool
	}{
		{"Self", o.Self == ""}, {"Log", o.Log == nil}, {"Listen", o.Listen == nil}, {"Member", o.Member == nil}, {"Receive", o.Receive == nil},
		{"NewBody", o.NewBody == nil},
	} {
		if required.missing {
			return fmt.Errorf("link: Options.%s is required", required.name)
		}
	}
	if (o.ServerTLS == nil) != (o.ClientTLS == nil) {
		return errors.New("link: Options.ServerTLS and ClientTLS go together")
	}
	if len(o.Self) > peer.MaxName {
		return fmt.Errorf("link: Options.Self has %d bytes, more than %d", len(o.Self), peer.MaxName)
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	if o.Proves == nil {
		o.Proves = provesName
	}
	if o.Accepts == nil {
		o.Accepts = func(*tls.ConnectionState) bool { return true }
	}
	if o.Received == nil {
		o.Received = func() {}
	}
	if o.Undelivered == nil {
		o.Undelivered = func(peer.NodeID, peer.Push) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Speaks == (peer.Versions{}) {
		o.Speaks = peer.Spoken
	}
	o.MaxBody = orDefault(o.MaxBody, peer.MaxBody)
	o.MaxQueue = orDefault(o.MaxQueue, 32<<20)
	o.MaxBulk = orDefault(o.MaxBulk, 256<<20)
	o.MaxHandshakes = orDefault(o.MaxHandshakes, 64)
	o.MaxHandshakesPerAddress = orDefault(o.MaxHandshakesPerAddress, 16)
	o.MaxSilent = orDefault(o.MaxSilent, 1024)
	o.DialTimeout = orDefault(o.DialTimeout, 2*time.Second)
	o.HandshakeTimeout = orDefault(o.HandshakeTimeout, 5*time.Second)
	o.WriteTimeout = orDefault(o.WriteTimeout, 5*time.Second)
	o.PingEvery = orDefault(o.PingEvery, time.Second)
	o.DeadAfter = orDefault(o.DeadAfter, 3*time.Second)
	o.BulkIdle = orDefault(o.BulkIdle, time.Minute)
	return nil
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// provesName is Proves' default.
func provesName(s *tls.ConnectionState, id string) error {
	if len(s.VerifiedChains) == 0 || !slices.Contains(s.VerifiedChains[0][0].DNSNames, id) {
		return fmt.Errorf("it says that it is %q, and its certificate does not", id)
	}
	return nil
}
