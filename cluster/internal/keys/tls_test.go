package keys

import (
	"crypto/tls"
	"net"
	"slices"
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
	cache := tls.NewLRUClientSessionCache(8)
	for range 3 {
		client := a.ClientTLS(b.id)
		client.ClientSessionCache = cache
		x, y := loopback(t)
		e := meet(t, x, y, client, b.ServerTLS())
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

// TestRefusal_TakesNoLongerForAKeyThatIsNearlyRight: nothing compares keys byte by byte; who is refused is refused because a signature does not
// verify. So the times of refusals say nothing about the key. Coarse, since this machine is shared: the medians of many tries, one against
// the other in turn, may not differ by a factor of two.
func TestRefusal_TakesNoLongerForAKeyThatIsNearlyRight(t *testing.T) {
	t.Parallel()
	key := Generate()
	raw, err := parse([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	b := newNode(t, "b", key)
	near := slices.Clone(raw[0])
	near[31] ^= 1
	strangers := []*node{newNode(t, "near", encode(near)), newNode(t, "far", Generate())}
	took := make([][]time.Duration, len(strangers))
	for range 60 {
		for i, stranger := range strangers {
			client := stranger.ClientTLS(b.id)
			client.RootCAs = b.now.Load().creds.pool // so that it is the server that refuses
			x, y := loopback(t)
			begun := time.Now()
			meet(t, x, y, client, b.ServerTLS()).refused(t, "a stranger")
			took[i] = append(took[i], time.Since(begun))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	nearly, far := took[0][30], took[1][30]
	if nearly > 2*far || far > 2*nearly {
		t.Errorf("refused in %v with a key that is wrong in one bit, in %v with any other", nearly, far)
	}
}
