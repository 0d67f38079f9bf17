package link

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"statemesh/cluster/internal/keys"
	"statemesh/wire/peer"
)

// fake is one end of a connection that the test speaks for.
type fake struct {
	t testing.TB
	net.Conn
	*peer.Reader
}

func newFake(t testing.TB, c net.Conn) *fake {
	t.Cleanup(func() { c.Close() })
	return &fake{t, c, peer.NewReader(c, peer.MaxFrame)}
}

// dial connects to a node, and says nothing.
func (w *town) dial(to *node) net.Conn {
	w.t.Helper()
	addr, _ := w.member(to.id)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var c net.Conn
	var err error
	if w.net == nil {
		var d net.Dialer
		c, err = d.DialContext(ctx, "tcp", addr)
	} else {
		c, err = w.net.Host("10.0.1.1").Dial(ctx, "tcp", addr)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// impostor speaks for a node of that id. It has a certificate if the town has a key.
func (w *town) impostor(to *node, id peer.NodeID) *fake {
	w.t.Helper()
	c := w.dial(to)
	if w.keyFile != "" {
		ring, err := keys.Load(w.keyFile, string(id))
		if err != nil {
			w.t.Fatal(err)
		}
		c = tls.Client(c, ring.ClientTLS(string(to.id)))
	}
	return newFake(w.t, c)
}

func (f *fake) say(m ...peer.Message) {
	f.t.Helper()
	var b []byte
	for _, m := range m {
		b = peer.Append(b, m)
		if p, ok := m.(peer.Push); ok && p.Record.Body != nil {
			b = append(b, p.Record.Body.(*source).bytes...)
		}
	}
	if _, err := f.Write(b); err != nil {
		f.t.Fatalf("cannot say it: %v", err)
	}
}

func (f *fake) hears() peer.Message {
	f.t.Helper()
	_ = f.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, err := f.Next(nil)
	if err != nil {
		f.t.Fatalf("hears nothing: %v", err)
	}
	return m
}

// ended waits for the other end to close the connection.
func (f *fake) ended(what string) {
	f.t.Helper()
	_ = f.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		m, err := f.Next(nil)
		if err == nil {
			if _, hello := m.(peer.Hello); hello {
				f.t.Errorf("%s: it was greeted", what)
			}
			continue
		}
		if e, ok := err.(net.Error); ok && e.Timeout() {
			f.t.Errorf("%s: the connection goes on", what)
		}
		return
	}
}

func hello(from, to peer.NodeID, lane peer.Lane, generation uint64) peer.Hello {
	return peer.Hello{Speaks: peer.Spoken, Lane: lane, Generation: generation, Self: from, To: to}
}

// greeted is an impostor that has been accepted.
func (w *town) greeted(to *node, id peer.NodeID, lane peer.Lane, generation uint64) *fake {
	w.t.Helper()
	f := w.impostor(to, id)
	h := hello(id, to.id, lane, generation)
	f.say(h)
	h.Self, h.To = h.To, h.Self
	if got := f.hears(); got != h {
		w.t.Fatalf("greeted back with %+v", got)
	}
	return f
}

// accepter is a member that the test speaks for: it takes what comes to a port.
type accepter struct {
	w    *town
	id   peer.NodeID
	l    net.Listener
	ring *keys.Ring
}

func (w *town) accepter(name string) *accepter {
	w.t.Helper()
	a := &accepter{w: w, id: peer.NodeID(keys.NodeID(name))}
	var err error
	if w.net == nil {
		a.l, err = net.Listen("tcp", "127.0.0.1:0")
	} else {
		a.l, err = w.net.Host("10.0.2.1").Listen("tcp", ":42426")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { a.l.Close() })
	if w.keyFile != "" {
		if a.ring, err = keys.Load(w.keyFile, string(a.id)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.move(a.id, a.l.Addr().String())
	return a
}

// accept takes one connection, up to the greeting.
func (a *accepter) accept() (*fake, peer.Hello) {
	a.w.t.Helper()
	c, err := a.l.Accept()
	if err != nil {
		a.w.t.Fatal(err)
	}
	if a.ring != nil {
		c = tls.Server(c, a.ring.ServerTLS())
	}
	f := newFake(a.w.t, c)
	h, ok := f.hears().(peer.Hello)
	if !ok {
		a.w.t.Fatal("no greeting")
	}
	return f, h
}

// greet takes one, and greets back.
func (a *accepter) greet() (*fake, peer.Hello) {
	a.w.t.Helper()
	f, h := a.accept()
	f.say(peer.Hello{Speaks: peer.Spoken, Lane: h.Lane, Generation: h.Generation, Self: a.id, To: h.Self})
	return f, h
}
