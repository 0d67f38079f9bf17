package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster/internal/keys"
	"statemesh/cluster/internal/simnet"
	"statemesh/wire/peer"
)

// A certificate that anybody can make.
func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// strangers are ways of not being a member. Each makes a configuration of one that would be fine, for whoever dials or accepts.
func strangers(t testing.TB, id peer.NodeID) map[string]func(c *tls.Config) {
	other, err := keys.Load(writeKey(t), string(id))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(c *tls.Config){
		"another cluster's key":    func(c *tls.Config) { c.Certificates = other.ServerTLS().Certificates },
		"a certificate of its own": func(c *tls.Config) { c.Certificates = []tls.Certificate{selfSigned(t, string(id))} },
		"no certificate":           func(c *tls.Config) { c.Certificates = nil },
		"TLS 1.2":                  func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
		"wrong ALPN":               func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		"no ALPN":                  func(c *tls.Config) { c.NextProtos = nil },
	}
}

func TestStrangers_WhoDial(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, true)
	a := w.node("a", func(o *Options) { o.MaxHandshakesPerAddress = 64 })
	ring, err := keys.Load(w.keyFile, "b-1")
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range strangers(t, "b-1") {
		c := ring.ClientTLS(string(a.id))
		c.VerifyConnection = nil
		spoil(c)
		f := newFake(t, tls.Client(w.dial(a), c))
		_, _ = f.Write(peer.Append(peer.Append(nil, hello("b-1", a.id, peer.Small, 1)), peer.Known{Version: 1}))
		f.ended(what)
	}
	// The right CA, but another node's name: for itself, and for whom it means to speak to.
	f := w.impostor(a, "b-1")
	f.say(hello("c-1", a.id, peer.Small, 1), peer.Known{Version: 1})
	if denied, ok := f.hears().(peer.Denied); !ok || !strings.Contains(denied.Why, "certificate does not") {
		t.Errorf("got %+v", denied)
	}
	f.ended("another node's name")
	f = newFake(t, tls.Client(w.dial(a), ring.ClientTLS("d-1")))
	if _, err := f.Write([]byte("hello")); err == nil {
		t.Error("a connection for another node was accepted")
	}
	// No TLS at all.
	f = newFake(t, w.dial(a))
	f.say(hello("b-1", a.id, peer.Small, 1), peer.Known{Version: 1})
	f.ended("no TLS")
	f = newFake(t, w.dial(a))
	_, _ = f.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.ended("HTTP")

	a.nothing()
	until(t, "all gone", func() bool { return w.quiet(a) })
	// One address, one line.
	if n := strings.Count(a.log.text(), "refused a peer's connection"); n != 1 {
		t.Errorf("%d lines:\n%s", n, a.log.text())
	}
	w.greeted(a, "b-1", peer.Small, 1)
}

// quiet: nothing is open but what has been greeted.
func (w *town) quiet(a *node) bool {
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	return a.gate.shaking == 0 && a.gate.silent.Len() == 0 && len(a.gate.from) == 0
}

func TestStrangers_WhoAreDialed(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, true)
	a := w.node("a")
	b := w.accepter("b")
	accept := func(c *tls.Config) (heard []byte) {
		raw, err := b.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		conn := raw
		if c != nil {
			conn = tls.Server(raw, c)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if c == nil {
			_, _ = conn.Write(peer.Append(nil, hello(b.id, a.id, peer.Small, 1)))
		}
		heard, _ = io.ReadAll(conn)
		if c == nil {
			heard = nil // a ClientHello, which anybody may see
		}
		return heard
	}
	for what, spoil := range strangers(t, b.id) {
		a.Forget(b.id)
		a.Connect(b.id) // at once
		c := b.ring.ServerTLS()
		c.VerifyConnection, c.GetConfigForClient = nil, nil
		spoil(c)
		if heard := accept(c); len(heard) > 0 {
			t.Errorf("%s: was told %d bytes", what, len(heard))
		}
	}
	other, err := keys.Load(w.keyFile, "c-1")
	if err != nil {
		t.Fatal(err)
	}
	c := other.ServerTLS()
	c.GetConfigForClient = nil
	if heard := accept(c); len(heard) > 0 {
		t.Error("another node was spoken to")
	}
	accept(nil)
	f, _ := b.greet()
	a.Send(b.id, peer.Known{Version: 1})
	a.Flush()
	if m, err := f.Next(nil); err != nil || m != (peer.Known{Version: 1}) {
		t.Errorf("got %v, %v", m, err)
	}
}

// golden is a message of every kind that goes over a greeted connection, with a body where one belongs.
func golden() [][]byte {
	p := push(1, 300)
	claims := []peer.Claim{{Key: "k1", Epoch: 1, Idle: 2}, {Key: "k2", Epoch: 3, Idle: 4}}
	var frames [][]byte
	for _, m := range []peer.Message{
		peer.Find{Key: "k", Round: 1, Ask: 2, Create: true, Priority: peer.Priority{Arrived: 3, Node: "n"}, Cookie: -1, Wait: 4, Adopt: 5},
		peer.Reply{Key: "k", Round: 1, Ask: 2, Nth: 3, Says: peer.Hint, Epoch: 4, Holder: "n", Cookie: 5, Age: 6, View: 7},
		p, peer.Ack{Key: "k", Transfer: 1}, peer.Refuse{Key: "k", Transfer: 1, Why: peer.Full}, peer.Commit{Key: "k", Transfer: 1},
		peer.Abort{Key: "k", Transfer: 1}, peer.Confirm{Key: "k", Transfer: 1}, peer.NoRecord{Key: "k", Transfer: 1},
		peer.Claims{Batch: 1, Claims: claims}, peer.Heard{Batch: 1, Claims: claims}, peer.Know{Version: 1, Members: []peer.NodeID{"n", "m"}},
		peer.Known{Version: 1},
	} {
		frame := peer.Append(nil, m)
		if p, ok := m.(peer.Push); ok {
			frame = append(frame, p.Record.Body.(*source).bytes...)
		}
		frames = append(frames, frame)
	}
	return frames
}

func TestTruncation_AtEveryByteOfEveryFrame(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, w *town, step int) {
		a := w.node("a")
		generation := uint64(0)
		cut := func(frame []byte) {
			generation++
			f := w.greeted(a, "b-1", peer.Small, generation)
			_, _ = f.Write(frame)
			f.Close()
		}
		for _, frame := range golden() {
			for n := 0; n < len(frame); n += step {
				cut(frame[:n])
			}
		}
		h := peer.Append(nil, hello("b-1", a.id, peer.Small, 1<<40))
		for n := 0; n < len(h); n += step {
			f := w.impostor(a, "b-1")
			_, _ = f.Write(h[:n])
			f.Close()
		}
		generation++
		f := w.greeted(a, "b-1", peer.Small, generation) // and so everything before has been worked off
		a.nothing()
		for _, frame := range golden() {
			_, _ = f.Write(frame)
			a.hears()
		}
		for _, b := range a.bodies {
			if !b.Full() && !b.discarded.Load() {
				t.Error("memory of a truncated session was kept")
			}
		}
	}
	inMemory(t, func(t *testing.T, w *town) { test(t, w, 1) })
	test(t, newTown(t, nil, true), 37) // a handshake each
}

func TestFrames_ThatAreNone(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		a := w.node("a", func(o *Options) { o.MaxBody = 1000 })
		tooLarge := push(1, 1001)
		for i, bad := range [][]byte{
			{0xff, 0xff, 0xff, 0xff, byte(peer.KindCommit)},
			{0, 1, 0, 0, byte(peer.KindFind)},
			{0xff, 0xff, 0xff, 0xff, byte(peer.KindClaims)},
			{0xff, 0xff, 0xff, 0xff, 77}, // no kind that is known
			{0, 0, 0, 0, 0},
			{0, 0, 0, 1, byte(peer.KindPush)},
			peer.Append(nil, tooLarge),
			peer.Append(nil, hello("b-1", a.id, peer.Small, 1)),
			peer.Append(nil, peer.Pong{N: 1}),
			peer.Append(nil, peer.Denied{Why: "no"}),
			bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 10),
		} {
			f := w.greeted(a, "b-1", peer.Small, uint64(i+1))
			_, _ = f.Write(bad)
			f.ended(fmt.Sprintf("frame %d, %x", i, bad[:5]))
		}
		// What a newer version might say does no harm.
		f := w.greeted(a, "b-1", peer.Small, 100)
		unknown := append(binary.BigEndian.AppendUint32(nil, 100_001), 77)
		_, _ = f.Write(append(unknown, make([]byte, 100_000)...))
		f.say(peer.Known{Version: 5})
		if got := a.hears(); got.m != (peer.Known{Version: 5}) {
			t.Errorf("got %v", got)
		}
		if len(a.bodies) > 0 {
			t.Error("memory was taken for a session that is too large")
		}
	})
}

// FuzzConnection lets somebody with a certificate say what he likes.
func FuzzConnection(f *testing.F) {
	var all []byte
	for _, frame := range golden() {
		f.Add(frame, uint16(10))
		all = append(all, frame...)
	}
	f.Add(all, uint16(7))
	f.Add(peer.Append(nil, peer.Ping{N: 1}), uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, piece uint16) {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t, simnet.New(1), false)
			a := w.node("a", func(o *Options) { o.MaxBody = 1 << 20 })
			c := w.greeted(a, "b-1", peer.Small, 1)
			for b := data; len(b) > 0; b = b[min(len(b), int(piece)+1):] {
				if _, err := c.Write(b[:min(len(b), int(piece)+1)]); err != nil {
					break
				}
			}
			c.Close()
			synctest.Wait()
			for _, b := range a.bodies {
				if !b.Full() && !b.discarded.Load() {
					t.Error("memory of a truncated session was kept")
				}
			}
			w.greeted(a, "b-1", peer.Small, 2).say(peer.Known{Version: 1 << 60})
			for a.hears().m != (peer.Known{Version: 1 << 60}) {
			}
		})
	})
}

// flipping is a connection in which one bit arrives wrong.
type flipping struct {
	net.Conn
	mu sync.Mutex
	at int // counted down
}

func (f *flipping) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at >= 0 && f.at < len(p) {
		p = bytes.Clone(p)
		p[f.at] ^= 1 << (f.at % 8)
	}
	f.at -= len(p)
	return f.Conn.Write(p)
}

func TestOneBitFlipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, simnet.New(1), true)
		b := w.node("b")
		for i, at := range []int{0, 3, 300, 2500, 3005, 4000, 30_003, 100_000} {
			first := true
			a := w.node(fmt.Sprint("a", i), func(o *Options) {
				dial := o.Dial
				o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
					c, err := dial(ctx, addr)
					if err != nil || !first {
						return c, err
					}
					first = false
					return &flipping{Conn: c, at: at}, nil
				}
			})
			a.Connect(b.id)
			for j := range 100 {
				a.Send(b.id, push(uint64(j), 2000))
			}
			a.Flush()
			time.Sleep(20 * time.Second)
			a.send(b, peer.Known{Version: 1})
			next := uint64(0)
			for {
				got := b.hears()
				if got.m == (peer.Known{Version: 1}) {
					break // over the next connection
				}
				p := got.m.(peer.Push)
				if p.Transfer < next || !bytes.Equal(p.Record.Body.(*body).bytes, push(p.Transfer, 2000).Record.Body.(*source).bytes) {
					t.Errorf("bit at %d: session %d came as something else", at, p.Transfer)
				}
				next = p.Transfer + 1
			}
			if first || a.status(b).LastError == "" {
				t.Errorf("bit at %d: nothing happened: %+v", at, a.status(b))
			}
			a.stop()
		}
	})
}

func TestStrangers_SlowHandshakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, simnet.New(1), true)
		a := w.node("a")
		addr, _ := w.member(a.id)
		dial := func(from string) net.Conn {
			c, err := w.net.Host(from).Dial(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		began := time.Now()
		clientHello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 252}
		for i := range 100 {
			c := dial(fmt.Sprintf("10.9.0.%d", 1+i/20))
			_, _ = c.Write(clientHello)
			synctest.Wait()
		}
		a.gate.mu.Lock()
		if a.gate.shaking != 64 {
			t.Errorf("%d handshakes", a.gate.shaking)
		}
		for from, n := range a.gate.from {
			if n > 16 {
				t.Errorf("%d from %v", n, from)
			}
		}
		a.gate.mu.Unlock()
		// They do not keep a member out.
		b := w.node("b")
		w.meet(a, b)
		time.Sleep(500 * time.Millisecond)
		if !a.status(b).Inbound {
			t.Errorf("a member is not let in: %s", b.log.text())
		}
		// A byte a second does not make it longer.
		slow := dial("10.9.1.1")
		for range 4 {
			time.Sleep(time.Second)
			_, _ = slow.Write(clientHello[:1])
		}
		time.Sleep(2 * time.Second)
		if !w.quiet(a) || time.Since(began) > 7*time.Second {
			t.Error("handshakes go on")
		}
		if lines := strings.Count(a.log.text(), "refused"); lines > 6 {
			t.Errorf("%d lines for 6 addresses", lines)
		}
		w.greeted(a, "b-1", peer.Small, 1)
	})
}

func TestStrangers_5000IdleConnections(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, true)
	a, b := w.node("a", func(o *Options) { o.HandshakeTimeout = 2 * time.Second }), w.node("b")
	w.meet(a, b)
	until(t, "connected", func() bool { return a.status(b).Connected && b.status(a).Connected })
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	addr, _ := w.member(a.id)
	for range 5000 {
		c, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			t.Skipf("this system does not allow 5000 connections: %v after %d", err, len(idle))
		} else if err != nil {
			t.Fatalf("connection %d: %v", len(idle), err)
		}
		idle = append(idle, c)
	}
	until(t, "the oldest have made room", func() bool {
		a.gate.mu.Lock()
		defer a.gate.mu.Unlock()
		return a.gate.silent.Len() <= a.o.MaxSilent
	})
	// Among them, members go on, and are let in.
	a.send(b, peer.Known{Version: 1})
	b.send(a, peer.Known{Version: 2})
	b.hears()
	a.hears()
	c := w.node("c")
	began := time.Now()
	c.Connect(a.id)
	c.send(a, peer.Known{Version: 3})
	if got := a.hears(); got.from != c.id {
		t.Errorf("from %s", got.from)
	}
	t.Logf("a new member was let in after %v", time.Since(began))
	until(t, "all idle ones are closed", func() bool { return w.quiet(a) })
	if log := a.log.text(); strings.Contains(log, "refused") {
		t.Errorf("logged:\n%s", log)
	}
}

func TestLimiter_OneLineAMinutePerSource(t *testing.T) {
	t.Parallel()
	l := newLimiter()
	now := time.Unix(0, 0)
	addr := netip.MustParseAddr("10.0.0.1")
	if held, ok := l.due(addr, now); !ok || held != 0 {
		t.Error("the first was held back")
	}
	for range 5 {
		if _, ok := l.due(addr, now.Add(59*time.Second)); ok {
			t.Error("two in a minute")
		}
	}
	if held, ok := l.due(addr, now.Add(time.Minute)); !ok || held != 5 {
		t.Errorf("%d held back, %v", held, ok)
	}
	lines := 0
	for i := range 100_000 {
		if _, ok := l.due(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), now.Add(time.Minute)); ok {
			lines++
		}
	}
	if len(l.known) > maxSources+1 || lines > maxSources+1 {
		t.Errorf("%d sources kept, %d lines", len(l.known), lines)
	}
	if _, ok := l.due(netip.MustParseAddr("12.0.0.1"), now.Add(3*time.Minute)); !ok || len(l.known) > 2 {
		t.Errorf("old ones stay: %d", len(l.known))
	}
}

func TestSourceOf_ANetworkOfIPv6IsOne(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"10.0.0.1:5": "10.0.0.1", "[::ffff:10.0.0.1]:5": "10.0.0.1", "[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::", "[fe80::1%eth0]:5": "fe80::",
	} {
		ap := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))
		if got := sourceOf(addressed{addr: ap}); got.String() != want {
			t.Errorf("%s: %v, want %s", addr, got, want)
		}
	}
}

type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.addr }

func TestRotation_ClosesWhatTheOldKeyVouchedFor(t *testing.T) {
	t.Parallel()
	w := newTown(t, nil, true)
	oldKey, err := os.ReadFile(w.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	fileOf := func() string {
		path := t.TempDir() + "/cluster.key"
		if err := os.WriteFile(path, oldKey, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := []string{fileOf(), fileOf()}
	a := w.node("a", func(o *Options) {})
	a.stop()
	var nodes []*node
	for i, name := range []string{"b", "c"} {
		w.keyFile = files[i]
		nodes = append(nodes, w.node(name))
	}
	b, c := nodes[0], nodes[1]
	w.meet(b, c)
	works := func(step string) {
		t.Helper()
		until(t, step, func() bool { return b.status(c).Connected && c.status(b).Connected })
		b.send(c, peer.Known{Version: 1})
		c.send(b, peer.Known{Version: 2})
		c.hears()
		b.hears()
	}
	works("old")
	newKey := keys.Generate() + "\n"
	change := func(text string) {
		t.Helper()
		for i, n := range nodes {
			if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := n.ring.Reload(); err != nil {
				t.Fatal(err)
			}
			n.Recheck()
			if text != newKey {
				works("while nodes have different files")
			}
		}
		works("after " + fmt.Sprint(strings.Count(text, "\n")) + " keys")
	}
	change(string(oldKey) + newKey)
	since := b.status(c).Since
	change(newKey + string(oldKey))
	if b.status(c).Since != since {
		t.Error("a connection was closed without need")
	}
	for i, n := range nodes {
		if err := os.WriteFile(files[i], []byte(newKey), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := n.ring.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		n.Recheck()
	}
	until(t, "reopened with the new key", func() bool {
		s := b.status(c)
		return s.Connected && s.Since != since
	})
	works("new")
	// The old key opens nothing any more.
	old := fileOf()
	ring, err := keys.Load(old, "d-1")
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, tls.Client(w.dial(b), ring.ClientTLS(string(b.id))))
	_, _ = f.Write(peer.Append(nil, hello("d-1", b.id, peer.Small, 1)))
	f.ended("the old key")
}

func TestLogs_ShowNoKey(t *testing.T) {
	t.Parallel()
	inMemory(t, func(t *testing.T, w *town) {
		const secret = "bpr4mimb2vjnvtn2jc4yp3uo"
		a, b := w.node("a"), w.node("b")
		w.meet(a, b)
		until(t, "connected", connected(a, b))
		p := push(1, 100)
		p.Key = "/LM/W3SVC/1/ROOT/" + secret
		a.send(b, p, peer.Commit{Key: p.Key, Transfer: 1})
		b.hears()
		b.hears()
		f := w.greeted(b, "c-1", peer.Small, 1)
		frame := peer.Append(nil, peer.Commit{Key: p.Key})
		frame[14]++
		_, _ = f.Write(frame)
		f.ended("a malformed frame")
		w.net.Cut(a.host.IP(), b.host.IP())
		a.send(b, p)
		time.Sleep(20 * time.Second)
		for _, n := range []*node{a, b} {
			if log := n.log.text(); strings.Contains(log, secret[:6]) {
				t.Errorf("a session id:\n%s", log)
			}
		}
	})
}

func TestProvesName_OnlyExactly(t *testing.T) {
	t.Parallel()
	of := func(names ...string) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{DNSNames: names}}}}
	}
	for id, want := range map[string]bool{"web01-0a": true, "web02-0b": false, "": false, "*": false} {
		if got := provesName(of("web01-0a"), id) == nil; got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
	if provesName(of("*.example.org"), "a.example.org") == nil || provesName(of(), "a") == nil || provesName(&tls.ConnectionState{}, "a") == nil {
		t.Error("proven by a wildcard, or by nothing")
	}
}
