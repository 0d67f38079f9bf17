package keys

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// overBoth runs f over loopback, and over a pipe in a bubble.
func overBoth(t *testing.T, f func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn))) {
	t.Run("loopback", func(t *testing.T) {
		t.Parallel()
		f(t, loopback)
	})
	t.Run("bubble", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f(t, func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() })
		})
	})
}

func TestTLS_OneKeyIsEnoughToMeet(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		shared := Generate()
		a, b := newNode(t, "web01", shared, Generate()), newNode(t, "web02", Generate(), shared)
		// b signs with its own first key, which a has not.
		c, s := pair(t)
		meet(t, c, s, a.ClientTLS(b.id), b.ServerTLS()).refused(t, "no common first key")

		b.rotate(t, shared)
		c, s = pair(t)
		e := meet(t, c, s, a.ClientTLS(b.id), b.ServerTLS())
		e.passed(t, "a common key")
		atClient, atServer := e.states()
		for _, end := range []struct {
			state *tls.ConnectionState
			peer  string
			by    *node
		}{{atClient, b.id, a}, {atServer, a.id, b}} {
			if got, err := PeerName(end.state); got != end.peer || err != nil {
				t.Errorf("proven name %q, error %v; want %q", got, err, end.peer)
			}
			if err := end.by.Proves(end.state, end.peer); err != nil {
				t.Error(err)
			}
			if err := end.by.Proves(end.state, NodeID("web02")); err == nil {
				t.Error("another run of the node is proven, too")
			}
			if !end.by.Accepts(end.state) {
				t.Error("the connection is not accepted")
			}
			if v := end.state.Version; v != tls.VersionTLS13 {
				t.Errorf("version %x", v)
			}
			if end.state.NegotiatedProtocol != alpn {
				t.Errorf("protocol %q", end.state.NegotiatedProtocol)
			}
		}
	})
}

func TestTLS_RefusesEverybodyElse(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		key := Generate()
		a, b, third := newNode(t, "a", key), newNode(t, "b", key), newNode(t, "c", key)
		stranger := newNode(t, "a", Generate())
		with := func(c *tls.Config, change func(*tls.Config)) *tls.Config { change(c); return c }
		for _, c := range []struct {
			name           string
			client, server *tls.Config
		}{
			{"no certificate", with(a.ClientTLS(b.id), func(c *tls.Config) { c.Certificates = nil }), b.ServerTLS()},
			{"a certificate of another CA, the client's", with(stranger.ClientTLS(b.id), func(c *tls.Config) { c.RootCAs = a.ClientTLS("").RootCAs }), b.ServerTLS()},
			{"a certificate of another CA, the server's", a.ClientTLS(stranger.id), stranger.ServerTLS()},
			{"another key on both sides", stranger.ClientTLS(b.id), b.ServerTLS()},
			{"TLS 1.2, the client", with(a.ClientTLS(b.id), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), b.ServerTLS()},
			{"TLS 1.2, the server", a.ClientTLS(b.id), with(b.ServerTLS(), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })},
			{"another protocol", with(a.ClientTLS(b.id), func(c *tls.Config) { c.NextProtos = []string{"h2"} }), b.ServerTLS()},
			{"no protocol, the client", with(a.ClientTLS(b.id), func(c *tls.Config) { c.NextProtos, c.VerifyConnection = nil, nil }), b.ServerTLS()},
			{"no protocol, the server", a.ClientTLS(b.id), with(b.ServerTLS(), func(c *tls.Config) { c.NextProtos, c.VerifyConnection = nil, nil })},
			{"another node than meant", a.ClientTLS(third.id), b.ServerTLS()},
			{"another node than meant, and it answers", a.ClientTLS(third.id), with(b.ServerTLS(), func(c *tls.Config) { c.GetConfigForClient = nil })},
			{"a node called by no name", with(a.ClientTLS(b.id), func(c *tls.Config) { c.ServerName = ""; c.InsecureSkipVerify = true }), b.ServerTLS()},
		} {
			x, y := pair(t)
			meet(t, x, y, c.client, c.server).refused(t, c.name)
		}
	})
}

func TestTLS_ShowsAStrangerNoName(t *testing.T) {
	t.Parallel()
	b := newNode(t, "web02", Generate())
	var seen int
	prober := &tls.Config{
		InsecureSkipVerify: true, // a stranger would
		ServerName:         "web02",
		NextProtos:         []string{alpn},
		VerifyConnection: func(s tls.ConnectionState) error {
			seen += len(s.PeerCertificates)
			return nil
		},
	}
	x, y := loopback(t)
	meet(t, x, y, prober, b.ServerTLS()).refused(t, "a stranger")
	if seen != 0 {
		t.Errorf("it was shown %d certificates", seen)
	}
}

func TestTLS_NothingIsResumed(t *testing.T) {
	t.Parallel()
	key := Generate()
	a, b := newNode(t, "a", key), newNode(t, "b", key)
	client, server := a.ClientTLS(b.id), b.ServerTLS() // the same ones each time, so that a ticket would be good
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 3 {
		x, y := loopback(t)
		e := meet(t, x, y, client, server)
		e.passed(t, "again")
		if c, _ := e.states(); c.DidResume {
			t.Error("resumed: a removed key would be believed once more")
		}
	}
}

func TestTLS_DependsOnNoClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which begins at the first moment of 2000
		key := Generate()
		a, b := newNode(t, "a", key), newNode(t, "b", key)
		for range 3 {
			x, y := net.Pipe()
			e := meet(t, x, y, a.ClientTLS(b.id), b.ServerTLS())
			e.passed(t, time.Now().String())
			time.Sleep(100 * 365 * 24 * time.Hour)
			if c, s := e.states(); !a.Accepts(c) || !b.Accepts(s) {
				t.Error("not accepted a hundred years later")
			}
		}
	})
}

func TestRotation_NeverPartsTwoNodesAndEndsOldConnections(t *testing.T) {
	t.Parallel()
	old, next := Generate(), Generate()
	steps := [][]string{{old}, {old, next}, {next, old}, {next}}
	nodes := []*node{newNode(t, "a", old), newNode(t, "b", old), newNode(t, "c", old)}
	type conn struct {
		from, to int
		*ends
	}
	var open []conn
	connectAll := func(when string) {
		for i, a := range nodes {
			for j, b := range nodes {
				if i != j {
					x, y := loopback(t)
					e := meet(t, x, y, a.ClientTLS(b.id), b.ServerTLS())
					e.passed(t, when)
					open = append(open, conn{i, j, e})
				}
			}
		}
	}
	connectAll("before")
	for n := 1; n < len(steps); n++ {
		for i := range nodes { // one after the other: old and new step side by side
			nodes[i].rotate(t, steps[n]...)
			connectAll("in between")
			if n < 3 {
				for _, c := range open {
					if atClient, atServer := c.states(); !nodes[c.from].Accepts(atClient) || !nodes[c.to].Accepts(atServer) {
						t.Fatalf("step %d: a connection is not accepted though no key was removed", n)
					}
				}
			}
		}
	}
	var kept, closed int
	for _, c := range open {
		atClient, atServer := c.states()
		for _, end := range []struct {
			state *tls.ConnectionState
			by    *node
		}{{atClient, nodes[c.from]}, {atServer, nodes[c.to]}} {
			byNew := end.state.VerifiedChains[0][1].Equal(nodes[0].now.Load().keys[0].ca.cert)
			if got := end.by.Accepts(end.state); got != byNew {
				t.Fatalf("accepted: %v, vouched for by the new key: %v", got, byNew)
			}
			if byNew {
				kept++
			} else {
				closed++
			}
		}
	}
	if kept == 0 || closed == 0 {
		t.Errorf("%d ends kept, %d closed; want some of both", kept, closed)
	}
	gone := newNode(t, "d", old)
	x, y := loopback(t)
	meet(t, x, y, gone.ClientTLS(nodes[0].id), nodes[0].ServerTLS()).refused(t, "who has the old key only")
}

// nearKeys are rings of strangers to a node with this key: one whose key is wrong in one bit, and one with any other.
func nearKeys(t testing.TB, key string) (near, far *node) {
	t.Helper()
	raw, err := parse([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	wrong := slices.Clone(raw[0])
	wrong[31] ^= 1
	return newNode(t, "near", encode(wrong)), newNode(t, "far", Generate())
}

// TestRefusal_TellsNothingOfTheKey: nothing compares keys byte by byte; who is refused is refused because a signature does not verify. So
// all strangers see the same, byte for byte in number, whatever their key.
func TestRefusal_TellsNothingOfTheKey(t *testing.T) {
	t.Parallel()
	key := Generate()
	b := newNode(t, "b", key)
	near, far := nearKeys(t, key)
	server := b.ServerTLS()
	var seen [2]string
	for i, stranger := range []*node{near, far} {
		client := stranger.ClientTLS(b.id)
		client.RootCAs = b.now.Load().creds.pool // so that it is the server that refuses
		x, y := loopback(t)
		count := &counted{Conn: y}
		e := meet(t, x, count, client, server)
		e.refused(t, "a stranger")
		_, cause, _ := strings.Cut(e.clientErr.Error(), "remote error: ")
		seen[i] = fmt.Sprintf("%d bytes, %s; %v", count.sent.Load(), cause, e.serverErr)
	}
	if seen[0] != seen[1] {
		t.Errorf("with a key that is wrong in one bit: %s; with any other: %s", seen[0], seen[1])
	}
}

// counted counts what is written to it.
type counted struct {
	net.Conn
	sent atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// BenchmarkRefusal is a whole handshake with a stranger, both sides.
func BenchmarkRefusal(b *testing.B) {
	key := Generate()
	n := newNode(b, "b", key)
	near, far := nearKeys(b, key)
	for _, c := range []struct {
		name     string
		stranger *node
	}{{"a bit wrong", near}, {"any other", far}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				client := c.stranger.ClientTLS(n.id)
				client.RootCAs = n.now.Load().creds.pool
				x, y := net.Pipe()
				meet(b, x, y, client, n.ServerTLS()).refused(b, "a stranger")
			}
		})
	}
}
