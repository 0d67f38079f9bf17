package keys

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func encode(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// countUp is the key 00 01 02 ... 1f.
func countUp() []byte {
	key := make([]byte, keySize)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

// TestDerive_IsTheSameForEver: nodes of two versions, and a snapshot that a version wrote for the next one, need the same bytes. If this
// fails, the code is wrong and never the test.
func TestDerive_IsTheSameForEver(t *testing.T) {
	t.Parallel()
	d, err := derive(countUp())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join("testdata", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := pem.Decode(file)
	for _, c := range []struct {
		what      string
		got, want string
	}{
		{"gossip key", hex.EncodeToString(d.gossip), "3689040378dee1d33789601e2f104672018106cc2b3b7b2bfe1aa39dbad54d27"},
		{"snapshot secret", hex.EncodeToString(d.snapshot), "93e421159987476f4b3dccca054041f1bd87843eb31c7e2af8ea2d1b9e36ff8f"},
		{"fingerprint", d.fingerprint, "20f19bab"},
		{"CA's private key", hex.EncodeToString(d.ca.key.Seed()), "e16e0ea8cc4ede29ae654e1ef46525f322bea8c65808f02674bcf4941ae8a2e0"},
		{"CA's certificate", hex.EncodeToString(d.ca.cert.Raw), hex.EncodeToString(ca.Bytes)},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s; want %s", c.what, c.got, c.want)
		}
	}
}

func TestDerive_GivesEachUseAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	key := countUp()
	d, err := derive(key)
	if err != nil {
		t.Fatal(err)
	}
	uses := [][]byte{key, d.gossip, d.snapshot, d.ca.key.Seed()}
	for i := range uses {
		for j := range i {
			if bytes.Equal(uses[i], uses[j]) {
				t.Errorf("uses %d and %d share a key", j, i)
			}
		}
	}
	if sum := sha256.Sum256(key); strings.HasPrefix(hex.EncodeToString(sum[:]), d.fingerprint) {
		t.Error("the fingerprint is a plain hash")
	}
}

func TestCA_IsWhatItShouldBe(t *testing.T) {
	t.Parallel()
	d, err := derive(countUp())
	if err != nil {
		t.Fatal(err)
	}
	ca := d.ca.cert
	if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign || ca.SerialNumber.Int64() != 1 ||
		!ca.NotBefore.Equal(notBefore) || !ca.NotAfter.Equal(notAfter) {
		t.Errorf("the CA is %+v", ca)
	}
	if err := ca.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
}

func TestLeaf_IsFreshEachTime(t *testing.T) {
	t.Parallel()
	key := Generate()
	a, b := newNode(t, "a", key), newNode(t, "a", key)
	before := a.now.Load().creds.leaf.Leaf
	if bytes.Equal(before.RawSubjectPublicKeyInfo, b.now.Load().creds.leaf.Leaf.RawSubjectPublicKeyInfo) {
		t.Error("two nodes made the same key pair")
	}
	a.rotate(t, key, Generate())
	after := a.now.Load().creds.leaf.Leaf
	if bytes.Equal(before.RawSubjectPublicKeyInfo, after.RawSubjectPublicKeyInfo) || before.SerialNumber.Cmp(after.SerialNumber) == 0 {
		t.Error("the leaf stayed when the keys changed")
	}
	if after.IsCA || len(after.DNSNames) != 1 || after.DNSNames[0] != a.id {
		t.Errorf("CA %v, names %v; want only %q", after.IsCA, after.DNSNames, a.id)
	}
}

func TestNodeID_IsADNSName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"web01":                        "web01",
		"WEB01.corp.example":           "web01-corp-example",
		"Größe_1":                      "gr--e-1",
		"-":                            "node",
		"":                             "node",
		"日本":                           "node",
		strings.Repeat("x", 200):       strings.Repeat("x", 54),
		strings.Repeat("x", 53) + ".y": strings.Repeat("x", 53),
	} {
		if got := Label(name); got != want {
			t.Errorf("Label(%q) = %q; want %q", name, got, want)
		}
		id := NodeID(name)
		if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(id) || len(id) > 63 || nameOf(id) != want {
			t.Errorf("NodeID(%q) = %q", name, id)
		}
		if id == NodeID(name) {
			t.Error("two runs have the same id")
		}
	}
}

func TestReload_SaysWhatChanged(t *testing.T) {
	t.Parallel()
	old, next := Generate(), Generate()
	n := newNode(t, "a", old)
	was := n.Fingerprints()[0]
	if c := n.rotate(t, old); c.Any() || c.String() != "nothing changed" {
		t.Errorf("%v", c)
	}
	c := n.rotate(t, old, next)
	is := n.Fingerprints()[1]
	if got, want := c.String(), "added "+is; got != want || !c.Any() {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := n.rotate(t, next, old).String(), is+" encrypts"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := n.rotate(t, next).String(), "removed "+was; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if primary, all := n.GossipKeys(); len(all) != 1 || !bytes.Equal(primary, all[0]) {
		t.Errorf("%d gossip keys; want the new one", len(all))
	}
}

func TestReload_IsAllOrNothing(t *testing.T) {
	t.Parallel()
	old := Generate()
	n := newNode(t, "a", old)
	before := n.now.Load()
	n.write(t, Generate(), "a password")
	if _, err := n.Reload(); err == nil {
		t.Error("no error")
	}
	if err := os.Remove(n.file); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Reload(); err == nil {
		t.Error("no error without a file")
	}
	if n.now.Load() != before {
		t.Error("something changed")
	}
}

func TestNodeID_IsADNSLabel(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"web01": "web01-", "WEB_01.example": "web-01-example-", "": "node-", "-ü-": "node-", strings.Repeat("n", 99): strings.Repeat("n", 54) + "-",
	} {
		id := NodeID(name)
		if !strings.HasPrefix(id, want) || len(id) != len(want)+8 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || id == NodeID(name) {
			t.Errorf("%q: %q", name, id)
		}
	}
}
