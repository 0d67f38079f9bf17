package link

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"statemesh/cluster/internal/keys"
	"statemesh/wire/peer"
)

// wiretap stands between two nodes, and keeps what goes over their first connection.
type wiretap struct {
	net.Listener
	wg sync.WaitGroup

	mu        sync.Mutex
	out, back bytes.Buffer // from who dials, and to him
	ends      []net.Conn
}

// tap has everybody who dials to do so through the wiretap.
func (w *town) tap(to *node) *wiretap {
	w.t.Helper()
	addr, _ := w.member(to.id)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	x := &wiretap{Listener: l}
	x.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			on, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			x.mu.Lock()
			first := len(x.ends) == 0
			x.ends = append(x.ends, in, on)
			x.mu.Unlock()
			x.wg.Go(func() { x.carry(on, in, &x.out, first) })
			x.wg.Go(func() { x.carry(in, on, &x.back, first) })
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		x.mu.Lock()
		for _, c := range x.ends {
			c.Close()
		}
		x.mu.Unlock()
		x.wg.Wait()
	})
	w.move(to.id, l.Addr().String())
	return x
}

func (x *wiretap) carry(to, from net.Conn, kept *bytes.Buffer, keep bool) {
	defer to.Close()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if keep {
			x.mu.Lock()
			kept.Write(b[:n])
			x.mu.Unlock()
		}
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (x *wiretap) recorded() (out, back []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return bytes.Clone(x.out.Bytes()), bytes.Clone(x.back.Bytes())
}

// A replayed or forged query moves nothing to a stranger: it is not even heard. What a member said is worth nothing a second time, to either
// side; who holds another cluster's key says nothing at all; and who holds this cluster's speaks as the node that his certificate names.
func TestQuery_ReplayedOrForgedIsNotHeard(t *testing.T) {
	t.Parallel()
	find := peer.Find{Key: "/LM/W3SVC/1/ROOT/s", Round: 1, Ask: 1, Cookie: -1}
	t.Run("replayed", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, nil, true)
		a, b := w.node("a"), w.node("b", func(o *Options) { o.MaxHandshakesPerAddress = 64 })
		direct, _ := w.member(b.id)
		x := w.tap(b)
		a.Connect(b.id)
		a.send(b, find)
		if got := b.hears(); got.from != a.id || got.m != peer.Message(find) {
			t.Fatalf("b hears %+v", got)
		}
		out, back := x.recorded()
		w.move(b.id, direct)
		for _, cut := range []int{len(out), len(out) / 2, 600} { // from the start: any other is no ClientHello
			c := w.dial(b)
			_, _ = c.Write(out[:min(cut, len(out))])
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c) // until b is done with it
			c.Close()
		}
		b.nothing()

		// The other way round: who is dialed plays back what the member had answered.
		r := w.accepter("c")
		r.ring = nil
		a.Connect(r.id)
		a.send(&node{id: r.id}, peer.Find{Key: "k"})
		c, err := r.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(back)
		_ = c.(*net.TCPConn).CloseWrite()
		said, _ := io.ReadAll(c)
		c.Close()
		a.nothing()
		if s := a.status(&node{id: r.id}); s.Connected {
			t.Error("a speaks to who played back another's words")
		}
		if bytes.Contains(said, []byte("/LM/W3SVC")) {
			t.Error("a told it of a session")
		}
	})
	t.Run("forged", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, nil, true)
		b, c := w.node("b", func(o *Options) { o.MaxHandshakesPerAddress = 64 }), w.node("c")
		elsewhere, err := keys.Load(writeKey(t), string(c.id))
		if err != nil {
			t.Fatal(err)
		}
		forged := peer.Append(peer.Append(nil, hello(c.id, b.id, peer.Small, 1)), find)
		own := elsewhere.ClientTLS(string(b.id))
		blind := own.Clone() // and does not care who b is
		blind.VerifyConnection, blind.InsecureSkipVerify = nil, true
		for what, config := range map[string]*tls.Config{"another cluster's key": own, "the same, blind": blind} {
			f := newFake(t, tls.Client(w.dial(b), config))
			_, _ = f.Write(forged)
			f.ended(what)
		}
		// A member that says to be another.
		f := w.impostor(b, "d-1")
		_, _ = f.Write(forged)
		if _, ok := f.hears().(peer.Denied); !ok {
			t.Error("it was not denied")
		}
		f.ended("another member's name")
		b.nothing()
		// It may only speak for itself.
		g := w.greeted(b, "d-1", peer.Small, 1)
		g.say(find)
		if got := b.hears(); got.from != "d-1" {
			t.Errorf("what d says is heard as %s's", got.from)
		}
	})
}
