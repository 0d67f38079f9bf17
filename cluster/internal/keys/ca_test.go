package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// operatorCA is a CA as a company has one.
type operatorCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t testing.TB, parent *operatorCA) *operatorCA {
	t.Helper()
	return sign(t, parent, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
}

// sign signs a certificate; without a parent it signs itself.
func sign(t testing.TB, parent *operatorCA, template *x509.Certificate) *operatorCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.Subject = pkix.Name{CommonName: "test " + template.SerialNumber.String()}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent = &operatorCA{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &operatorCA{cert, key}
}

var bothUses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// leaf is a certificate for a node.
func (ca *operatorCA) leaf(t testing.TB, uses []x509.ExtKeyUsage, names ...string) *operatorCA {
	t.Helper()
	return sign(t, ca, &x509.Certificate{DNSNames: names, ExtKeyUsage: uses, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true})
}

// files are those of a node with this certificate.
type files struct{ ca, cert, key string }

func newFiles(t testing.TB) files {
	d := t.TempDir()
	return files{filepath.Join(d, "ca.pem"), filepath.Join(d, "node.pem"), filepath.Join(d, "node.key")}
}

func (f files) write(t testing.TB, ca, leaf *operatorCA, between ...*operatorCA) {
	t.Helper()
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	chain := block("CERTIFICATE", leaf.cert.Raw)
	for _, b := range between {
		chain = append(chain, block("CERTIFICATE", b.cert.Raw)...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.key)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{f.ca: block("CERTIFICATE", ca.cert.Raw), f.cert: chain, f.key: block("PRIVATE KEY", key)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// certified makes a node that an operator's CA vouches for.
func certified(t testing.TB, name, key string, ca *operatorCA, between ...*operatorCA) (*node, files) {
	t.Helper()
	n, f := newNode(t, name, key), newFiles(t)
	signer := ca
	if len(between) > 0 {
		signer = between[0]
	}
	f.write(t, ca, signer.leaf(t, bothUses, "other.example.org", Label(name)), between...)
	if err := n.UseCA(f.ca, f.cert, f.key); err != nil {
		t.Fatal(err)
	}
	return n, f
}

func TestOwnCA_ProvesANodesName(t *testing.T) {
	t.Parallel()
	key := Generate()
	root := newCA(t, nil)
	a, _ := certified(t, "web01", key, root)
	b, _ := certified(t, "WEB02", key, root, newCA(t, root))
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		x, y := loopback(t)
		e := meet(t, x, y, pair[0].ClientTLS(pair[1].id), pair[1].ServerTLS())
		e.passed(t, "one CA")
		atClient, _ := e.states()
		if err := pair[0].Proves(atClient, pair[1].id); err != nil {
			t.Error(err)
		}
		if err := pair[0].Proves(atClient, NodeID(nameOf(pair[1].id))); err != nil {
			t.Errorf("another run of the node: %v", err)
		}
		for _, other := range []string{pair[0].id, NodeID("web03"), "x", "", "-12345678"} {
			if err := pair[0].Proves(atClient, other); err == nil {
				t.Errorf("it is proven to be %q, too", other)
			}
		}
		if !pair[0].Accepts(atClient) {
			t.Error("not accepted")
		}
	}
	x, y := loopback(t)
	meet(t, x, y, a.ClientTLS(NodeID("web03")), b.ServerTLS()).refused(t, "another node than meant")

	derived, foreign := newNode(t, "web02", key), newCA(t, nil)
	x, y = loopback(t)
	meet(t, x, y, a.ClientTLS(derived.id), derived.ServerTLS()).refused(t, "who has the cluster's key and no certificate")
	stranger, _ := certified(t, "web01", key, foreign)
	x, y = loopback(t)
	meet(t, x, y, stranger.ClientTLS(b.id), b.ServerTLS()).refused(t, "another CA")
}

func TestOwnCA_SaysWhatIsWrongWithTheFiles(t *testing.T) {
	t.Parallel()
	root := newCA(t, nil)
	good := root.leaf(t, bothUses, "web01")
	for name, c := range map[string]struct {
		change func(t *testing.T, f files)
		want   string
	}{
		"no CA file": {func(t *testing.T, f files) { os.Remove(f.ca) }, "CA file"},
		"no PEM": {func(t *testing.T, f files) {
			if err := os.WriteFile(f.ca, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no certificate in PEM"},
		"no certificate":       {func(t *testing.T, f files) { os.Remove(f.cert) }, "certificate:"},
		"no key":               {func(t *testing.T, f files) { os.Remove(f.key) }, "certificate's key"},
		"another key":          {func(t *testing.T, f files) { f.write(t, root, &operatorCA{good.cert, root.key}) }, "does not match"},
		"another CA's":         {func(t *testing.T, f files) { f.write(t, root, newCA(t, nil).leaf(t, bothUses, "web01")) }, "unknown authority"},
		"another node's":       {func(t *testing.T, f files) { f.write(t, root, root.leaf(t, bothUses, "web02")) }, "not web01"},
		"for servers only":     {func(t *testing.T, f files) { f.write(t, root, root.leaf(t, bothUses[:1], "web01")) }, "usage"},
		"for clients only":     {func(t *testing.T, f files) { f.write(t, root, root.leaf(t, bothUses[1:], "web01")) }, "usage"},
		"no longer valid":      {func(t *testing.T, f files) { f.write(t, root, sign(t, root, expired())) }, "expired"},
		"one in between lacks": {func(t *testing.T, f files) { f.write(t, root, newCA(t, root).leaf(t, bothUses, "web01")) }, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, f := newNode(t, "web01", Generate()), newFiles(t)
			f.write(t, root, good)
			c.change(t, f)
			before := n.now.Load()
			if err := n.UseCA(f.ca, f.cert, f.key); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q in it", err, c.want)
			}
			if n.now.Load() != before {
				t.Error("something changed")
			}
		})
	}
}

func expired() *x509.Certificate {
	return &x509.Certificate{DNSNames: []string{"web01"}, ExtKeyUsage: bothUses, BasicConstraintsValid: true, NotAfter: time.Now().Add(-time.Minute)}
}

func TestOwnCA_ReloadsAndEndsWhatItNoLongerBelieves(t *testing.T) {
	t.Parallel()
	key := Generate()
	root, next := newCA(t, nil), newCA(t, nil)
	a, f := certified(t, "a", key, root)
	b, _ := certified(t, "b", key, root)
	x, y := loopback(t)
	e := meet(t, x, y, a.ClientTLS(b.id), b.ServerTLS())
	e.passed(t, "one CA")
	atClient, _ := e.states()

	if c, err := a.Reload(); err != nil || c.Any() {
		t.Errorf("%v, error %v; want that nothing changed", c, err)
	}
	f.write(t, root, root.leaf(t, bothUses, "a"))
	if c, err := a.Reload(); err != nil || c.String() != "another certificate" || !a.Accepts(atClient) {
		t.Errorf("%v, error %v; want another certificate, and old connections accepted", c, err)
	}
	f.write(t, next, next.leaf(t, bothUses, "a"))
	if c, err := a.Reload(); err != nil || !c.Certificate || a.Accepts(atClient) {
		t.Errorf("%v, error %v; want that the connection is not accepted any more", c, err)
	}
}

// TestRing_MayChangeWhileItIsUsed is for the race detector.
func TestRing_MayChangeWhileItIsUsed(t *testing.T) {
	t.Parallel()
	old, next := Generate(), Generate()
	a, b := newNode(t, "a", old, next), newNode(t, "b", old, next)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				x, y := loopback(t)
				e := meet(t, x, y, a.ClientTLS(b.id), b.ServerTLS())
				x.Close()
				y.Close()
				if e.clientErr != nil || e.serverErr != nil {
					t.Errorf("client %v, server %v", e.clientErr, e.serverErr)
				}
				c, s := e.states()
				if !a.Accepts(c) || !b.Accepts(s) {
					t.Error("not accepted")
				}
				if primary, all := a.GossipKeys(); !slices.ContainsFunc(all, func(k []byte) bool { return string(k) == string(primary) }) {
					t.Error("the first key is not among all")
				}
				a.SnapshotSecrets()
			}
		})
	}
	for i := range 20 {
		order := []string{old, next}
		if i%2 == 0 {
			slices.Reverse(order)
		}
		a.rotate(t, order...)
		b.rotate(t, order...)
	}
	close(done)
	wg.Wait()
}
