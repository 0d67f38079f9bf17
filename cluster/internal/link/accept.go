package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"statemesh/wire/peer"
)

// acceptLoop is a goroutine, until the listener is closed.
func (t *Transport) acceptLoop() {
	pause := time.Duration(0)
	for {
		c, err := t.o.Listen.Accept()
		switch {
		case err == nil:
			pause = 0
			leave := t.gate.arrive(c)
			t.wg.Go(func() { t.accept(c, leave) })
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// No descriptors left, most likely: it would fail again at once.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if held, ok := t.refusal.due(netip.Addr{}, time.Now()); ok {
			t.o.Log.Error("cannot accept connections of peers", "held-back", held, "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-t.ending:
			timer.Stop()
			return
		}
	}
}

// accept is a connection's goroutine: first it is a stranger's, then a node's.
func (t *Transport) accept(raw net.Conn, leave func()) {
	defer raw.Close()
	defer context.AfterFunc(t.ctx, func() { raw.Close() })()
	in, err := t.welcome(raw, leave)
	if err == nil {
		defer t.depart(in)
		err = t.serve(in)
		t.o.Log.Debug("peer's connection ended", "peer", in.from, "lane", in.lane, "error", err)
		return
	}
	if err == errSilent || t.ctx.Err() != nil {
		return
	}
	if held, ok := t.refusal.due(sourceOf(raw), time.Now()); ok {
		t.o.Log.Warn("refused a peer's connection", "addr", raw.RemoteAddr().String(), "held-back", held, "error", err)
	}
}

// errSilent: it has said nothing. Health checks and port scans do that; there is nothing to say about it.
var errSilent = errors.New("nothing was said")

// welcome is the accepter's half of the greeting, all of it under one deadline.
func (t *Transport) welcome(raw net.Conn, leave func()) (*inbound, error) {
	if err := raw.SetDeadline(time.Now().Add(t.o.HandshakeTimeout)); err != nil {
		leave()
		return nil, errSilent
	}
	heard := &begun{Conn: raw}
	err := heard.begin()
	leave()
	if err != nil {
		return nil, errSilent
	}
	from := sourceOf(raw)
	done, whyNot := t.gate.enter(from, t.memberAt(from))
	if whyNot != "" {
		return nil, errors.New(whyNot)
	}
	defer done()

	in := &inbound{
		conn: conn{o: &t.o, raw: raw, c: heard, addr: raw.RemoteAddr().String()},
		read: &patient{}, done: make(chan struct{}),
	}
	if t.o.ServerTLS != nil {
		s := tls.Server(heard, t.o.ServerTLS())
		if err := s.Handshake(); err != nil {
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		state := s.ConnectionState()
		in.c, in.tls = s, &state
	}
	in.read.c, in.read.bytes = in.c, new(atomic.Uint64)
	in.frames = peer.NewReader(in.read, peer.MaxFrame)
	m, err := in.frames.Next(nil)
	if err != nil {
		return nil, fmt.Errorf("wait for its greeting: %w", err)
	}
	hello, ok := m.(peer.Hello)
	if !ok {
		return nil, fmt.Errorf("it begins with a %v", m.Kind())
	}
	if err := t.judge(in, hello); err != nil {
		return nil, t.deny(in, err)
	}
	in.from, in.lane, in.generation = hello.Self, hello.Lane, hello.Generation
	if err := t.replace(in); err != nil {
		t.depart(in)
		return nil, t.deny(in, err)
	}
	if err := t.greetBack(in, hello); err != nil {
		t.depart(in)
		return nil, err
	}
	return in, nil
}

// memberAt tells whether a member is at an address; whoever connects from there need not be it.
func (t *Transport) memberAt(from netip.Addr) bool {
	t.mu.Lock()
	members := slices.Collect(maps.Keys(t.links))
	t.mu.Unlock()
	return slices.ContainsFunc(members, func(id peer.NodeID) bool {
		addr, _ := t.o.Member(id)
		at, err := netip.ParseAddrPort(addr)
		return err == nil && networkOf(at.Addr()) == from
	})
}

// deny says why a greeting is not accepted. Whoever hears it has a certificate of the cluster's, unless nobody needs one.
func (t *Transport) deny(in *inbound, why error) error {
	_, _ = in.c.Write(peer.Append(nil, peer.Denied{Speaks: t.o.Speaks, Why: why.Error()}))
	return why
}

// judge tells why a greeting cannot be accepted.
func (t *Transport) judge(in *inbound, h peer.Hello) error {
	if _, ok := h.Speaks.Common(t.o.Speaks); !ok {
		return fmt.Errorf("%q speaks %v of the protocol between nodes, this node %v: none in common", h.Self, h.Speaks, t.o.Speaks)
	}
	if in.tls != nil {
		if err := t.o.Proves(in.tls, string(h.Self)); err != nil {
			return err
		}
	}
	switch {
	case h.Self == "":
		return errors.New("it does not say who it is")
	case h.To != t.o.Self:
		return fmt.Errorf("%q means to speak to %q, this is %s", h.Self, h.To, t.o.Self)
	case h.Self == t.o.Self:
		return errors.New("it says that it is this very node")
	case h.Lane != peer.Small && h.Lane != peer.Bulk:
		return fmt.Errorf("%q wants a connection for %v, which is not known here", h.Self, h.Lane)
	}
	return nil
}

// greetBack accepts.
func (t *Transport) greetBack(in *inbound, h peer.Hello) error {
	if in.tls != nil && !t.o.Accepts(in.tls) {
		return errors.New("the keys have changed meanwhile")
	}
	answer := peer.Hello{Speaks: t.o.Speaks, Lane: h.Lane, Generation: h.Generation, Self: t.o.Self, To: h.Self}
	if _, err := in.c.Write(peer.Append(nil, answer)); err != nil {
		return fmt.Errorf("greet back: %w", err)
	}
	in.read.idle = t.o.silence() // from now on it may take its time, as long as something comes
	return in.raw.SetDeadline(time.Time{})
}

// begun is a connection whose first byte has been read.
type begun struct {
	net.Conn
	first [1]byte
	has   bool
}

// begin waits for the first byte.
func (b *begun) begin() error {
	_, err := io.ReadFull(b.Conn, b.first[:])
	b.has = err == nil
	return err
}

func (b *begun) Read(p []byte) (int, error) {
	if b.has && len(p) > 0 {
		b.has = false
		return copy(p, b.first[:]), nil
	}
	return b.Conn.Read(p)
}
