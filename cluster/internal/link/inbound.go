package link

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"statemesh/wire/peer"
)

// inbound is a connection over which another node sends.
type inbound struct {
	conn
	read       *patient
	frames     *peer.Reader
	from       peer.NodeID
	lane       peer.Lane
	generation uint64
	messages   *atomic.Uint64 // counts them

	stale atomic.Bool   // a later one has been greeted: nothing more of this one is received
	done  chan struct{} // closed when that is certain
}

type inboundKey struct {
	from peer.NodeID
	lane peer.Lane
}

// received counts what has come from a node, over all its connections.
type received struct{ messages, bytes atomic.Uint64 }

// silence is how long a connection may bring nothing, though its other end probes it.
func (o *Options) silence() time.Duration { return 2*o.PingEvery + 2*o.DeadAfter }

// replace makes the connection its node's for this lane. When it returns, nothing is received any more from an older one: the dialer sends
// nothing before it is greeted back, so what was said on two connections is never mixed up.
func (t *Transport) replace(in *inbound) error {
	k := inboundKey{in.from, in.lane}
	t.mu.Lock()
	old := t.inbound[k]
	if old != nil && old.generation >= in.generation {
		t.mu.Unlock()
		return fmt.Errorf("%q has opened a later connection since", in.from)
	}
	t.inbound[k] = in
	count := t.counts[in.from]
	if count == nil {
		count = &received{}
		t.counts[in.from] = count
	}
	t.mu.Unlock()
	in.read.bytes = &count.bytes
	in.messages = &count.messages
	if old == nil {
		return nil
	}
	old.stale.Store(true)
	old.close()
	select {
	case <-old.done:
	case <-t.ctx.Done():
		return errStopping
	}
	if in.stale.Load() {
		return errors.New("a later connection was opened")
	}
	return nil
}

// depart ends the connection's being its node's.
func (t *Transport) depart(in *inbound) {
	in.stale.Store(true)
	close(in.done)
	k := inboundKey{in.from, in.lane}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[k] == in {
		delete(t.inbound, k)
	}
	t.dropCountLocked(in.from)
}

// dropCountLocked forgets what was counted of a node with which there is nothing any more.
func (t *Transport) dropCountLocked(id peer.NodeID) {
	if t.links[id] == nil && t.inbound[inboundKey{id, peer.Small}] == nil && t.inbound[inboundKey{id, peer.Bulk}] == nil {
		delete(t.counts, id)
	}
}

// serve hands on what comes, until the connection ends.
func (t *Transport) serve(in *inbound) error {
	var bodies []Body // of the message that is being read
	arrive := func(p peer.Push) (any, error) {
		body, err := t.arrive(in, p)
		if body == nil || err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
		return body, nil
	}
	defer func() { // they are the receiver's if he has been given the message
		for _, b := range bodies {
			b.Discard()
		}
	}()
	var pong []byte
	for {
		m, err := in.frames.Next(arrive)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case peer.Ping:
			pong = peer.Append(pong[:0], peer.Pong{N: m.N, Clock: t.o.Clock().UnixNano()})
			if _, err := in.write(pong); err != nil {
				return err
			}
			continue
		case peer.Hello, peer.Denied, peer.Pong:
			return fmt.Errorf("it sends a %v where none belongs", m.Kind())
		}
		if in.stale.Load() {
			return errors.New("a later connection was opened")
		}
		in.messages.Add(1)
		clear(bodies)
		bodies = bodies[:0]
		t.o.Receive(in.from, m)
		if in.frames.Buffered() == 0 {
			t.o.Received()
		}
	}
}

// arrive reads a session's bytes to where they will be stored. Without memory for them it reads none, and the Reader skips them.
func (t *Transport) arrive(in *inbound, p peer.Push) (Body, error) {
	switch {
	case p.Record.Size == 0:
		return nil, nil
	case p.Record.Size > t.o.MaxBody:
		return nil, fmt.Errorf("it sends a session of %d bytes, more than the %d that are taken", p.Record.Size, t.o.MaxBody)
	}
	body, err := t.o.NewBody(p.Record.Size)
	if err != nil {
		return nil, nil
	}
	for !body.Full() {
		next := body.Next()
		if len(next) == 0 {
			body.Discard()
			return nil, nil
		}
		n, err := in.frames.Read(next)
		body.Filled(n)
		if err != nil {
			body.Discard()
			return nil, err
		}
	}
	return body, nil
}
