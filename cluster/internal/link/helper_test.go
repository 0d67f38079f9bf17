package link

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"statemesh/cluster/internal/keys"
	"statemesh/cluster/internal/simnet"
	"statemesh/session"
	"statemesh/wire/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is some nodes, and what they know of each other.
type town struct {
	t       testing.TB
	net     *simnet.Net // nil: loopback
	keyFile string      // "": no TLS

	mu    sync.Mutex
	addrs map[peer.NodeID]string
	hosts int
}

func newTown(t testing.TB, net *simnet.Net, secure bool) *town {
	w := &town{t: t, net: net, addrs: map[peer.NodeID]string{}}
	if secure {
		w.keyFile = writeKey(t)
	}
	return w
}

func writeKey(t testing.TB, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.key")
	text := keys.Generate() + "\n"
	for _, k := range more {
		text += k + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *town) member(id peer.NodeID) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	addr, ok := w.addrs[id]
	return addr, ok
}

func (w *town) move(id peer.NodeID, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs[id] = addr
}

// node is a Transport and what it has been told.
type node struct {
	*Transport
	t    testing.TB
	id   peer.NodeID
	host *simnet.Host
	ring *keys.Ring
	log  *logged

	got  chan received1
	lost chan lost1

	mu     sync.Mutex
	bodies []*body
	full   bool // no memory for bodies
}

type received1 struct {
	from peer.NodeID
	m    peer.Message
}

type lost1 struct {
	to peer.NodeID
	p  peer.Push
}

// node starts one. It stops with the test, or earlier.
func (w *town) node(name string, change ...func(*Options)) *node {
	w.t.Helper()
	id := peer.NodeID(keys.NodeID(name))
	n := &node{t: w.t, id: id, got: make(chan received1, 100_000), lost: make(chan lost1, 100_000), log: &logged{}}
	o := Options{
		Self: id, Log: hclog.New(&hclog.LoggerOptions{Output: n.log, Level: hclog.Debug}), Member: w.member,
		Receive:     func(from peer.NodeID, m peer.Message) { n.got <- received1{from, m} },
		Undelivered: func(to peer.NodeID, p peer.Push) { n.lost <- lost1{to, p} },
		NewBody:     n.newBody,
	}
	var err error
	if w.net == nil {
		o.Listen, err = net.Listen("tcp", "127.0.0.1:0")
	} else {
		w.mu.Lock()
		w.hosts++
		n.host = w.net.Host(fmt.Sprintf("10.0.0.%d", w.hosts))
		w.mu.Unlock()
		o.Listen, err = n.host.Listen("tcp", ":42426")
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return n.host.Dial(ctx, "tcp", addr) }
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if w.keyFile != "" {
		n.useKeys(&o, w.keyFile)
	}
	for _, f := range change {
		f(&o)
	}
	w.move(id, o.Listen.Addr().String())
	if n.Transport, err = New(o); err != nil {
		w.t.Fatal(err)
	}
	n.Start()
	w.t.Cleanup(n.stop)
	return n
}

func (n *node) useKeys(o *Options, path string) {
	n.t.Helper()
	ring, err := keys.Load(path, string(o.Self))
	if err != nil {
		n.t.Fatal(err)
	}
	n.ring = ring
	o.ServerTLS = ring.ServerTLS
	o.ClientTLS = clientTLS(ring)
	o.Proves, o.Accepts = ring.Proves, ring.Accepts
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = n.Stop(ctx)
}

func (n *node) send(to *node, m ...peer.Message) {
	for _, m := range m {
		n.Send(to.id, m)
	}
	n.Flush()
}

// hears waits for the next message.
func (n *node) hears() received1 {
	n.t.Helper()
	select {
	case r := <-n.got:
		return r
	case <-time.After(20 * time.Second):
		n.t.Fatalf("%s hears nothing; log:\n%s", n.id, n.log.text())
		return received1{}
	}
}

func (n *node) loses() lost1 {
	n.t.Helper()
	select {
	case l := <-n.lost:
		return l
	case <-time.After(20 * time.Second):
		n.t.Fatalf("%s is told of no loss; log:\n%s", n.id, n.log.text())
		return lost1{}
	}
}

// nothing: neither is anything heard, nor lost.
func (n *node) nothing() {
	n.t.Helper()
	select {
	case r := <-n.got:
		n.t.Errorf("%s hears %v from %s", n.id, r.m, r.from)
	case l := <-n.lost:
		n.t.Errorf("%s is told that %v to %s is lost", n.id, l.p, l.to)
	default:
	}
}

// status of the way to another node.
func (n *node) status(to *node) PeerStatus {
	n.t.Helper()
	for _, s := range n.Peers() {
		if s.ID == to.id {
			return s
		}
	}
	n.t.Fatalf("%s has no way to %s", n.id, to.id)
	return PeerStatus{}
}

// until waits for something that has no event of its own.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

func (n *node) newBody(size int) (Body, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		return nil, fmt.Errorf("no room")
	}
	b := &body{bytes: make([]byte, size)}
	n.bodies = append(n.bodies, b)
	return b, nil
}

// body arrives in uneven stretches.
type body struct {
	bytes     []byte
	filled    int
	discarded atomic.Bool
}

func (b *body) Next() []byte { return b.bytes[b.filled:min(len(b.bytes), 2*b.filled+5000)] }
func (b *body) Filled(n int) { b.filled += n }
func (b *body) Full() bool   { return b.filled == len(b.bytes) }
func (b *body) Discard()     { b.discarded.Store(true) }

// source is a session to send.
type source struct {
	bytes []byte
	mu    sync.Mutex
	held  int
	most  int
}

func (s *source) Bytes() []byte { return s.bytes }
func (s *source) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	s.most = max(s.most, s.held)
}

func (s *source) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
}

func (s *source) holds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// push makes a session of some bytes that differ.
func push(transfer uint64, size int) peer.Push {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + int(transfer))
	}
	return peer.Push{
		Key: peer.Key(fmt.Sprintf("/LM/W3SVC/1/ROOT/%d", transfer)), Transfer: transfer,
		Record: peer.Record{Epoch: 1, Size: size, Body: &source{bytes: b}},
	}
}

func (w *town) meet(nodes ...*node) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				a.Connect(b.id)
			}
		}
	}
}

// logged keeps a log.
type logged struct {
	mu sync.Mutex
	b  []byte
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// What the store has is what is asked for here.
var (
	_ Body   = (*session.Body)(nil)
	_ Source = (*session.Stored)(nil)
)
