package keys

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// node is one with a ring of its own.
type node struct {
	*Ring
	file string
}

// newNode makes a node with these keys in its file.
func newNode(t testing.TB, name string, keys ...string) *node {
	t.Helper()
	n := &node{file: filepath.Join(t.TempDir(), "cluster.key")}
	n.write(t, keys...)
	var err error
	if n.Ring, err = Load(n.file, NodeID(name)); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) write(t testing.TB, keys ...string) {
	t.Helper()
	if err := os.WriteFile(n.file, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotate gives the node other keys.
func (n *node) rotate(t testing.TB, keys ...string) Change {
	t.Helper()
	n.write(t, keys...)
	c, err := n.Reload()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ends are both ends of a connection, and what each said of the handshake. The client has read a byte, so that it has heard of a refusal: in
// TLS 1.3 its own handshake is done before the server has judged it.
type ends struct {
	client, server       *tls.Conn
	clientErr, serverErr error
}

// meet lets two ends shake hands over a pair of connections.
func meet(t testing.TB, a, b net.Conn, client, server *tls.Config) *ends {
	t.Helper()
	e := &ends{client: tls.Client(a, client), server: tls.Server(b, server)}
	deadline := time.Now().Add(20 * time.Second)
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	served := make(chan error, 1)
	go func() {
		err := e.server.HandshakeContext(context.Background())
		if err == nil {
			_, err = e.server.Write([]byte{'!'})
		}
		if err != nil {
			b.Close()
		}
		served <- err
	}()
	e.clientErr = e.client.HandshakeContext(context.Background())
	if e.clientErr == nil {
		_, e.clientErr = io.ReadFull(e.client, make([]byte, 1))
	}
	if e.clientErr != nil {
		a.Close()
	}
	e.serverErr = <-served
	t.Cleanup(func() { a.Close(); b.Close() })
	return e
}

// refused fails the test unless neither end believes the other.
func (e *ends) refused(t testing.TB, what string) {
	t.Helper()
	if e.clientErr == nil || e.serverErr == nil {
		t.Errorf("%s: client %v, server %v; want both refused", what, e.clientErr, e.serverErr)
	}
}

// passed fails the test unless the handshake succeeded.
func (e *ends) passed(t testing.TB, what string) {
	t.Helper()
	if err := errors.Join(e.clientErr, e.serverErr); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (e *ends) states() (client, server *tls.ConnectionState) {
	c, s := e.client.ConnectionState(), e.server.ConnectionState()
	return &c, &s
}

// loopback is a pair of TCP connections.
func loopback(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled := make(chan error, 1)
	go func() {
		var err error
		a, err = net.Dial("tcp", l.Addr().String())
		dialled <- err
	}()
	b, err = l.Accept()
	if err := errors.Join(err, <-dialled); err != nil {
		t.Fatal(err)
	}
	return a, b
}
