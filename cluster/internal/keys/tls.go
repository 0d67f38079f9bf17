package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
)

// alpn names what is spoken inside, and its version. It also keeps a connection meant for something else from being taken for one of ours.
const alpn = "statemesh/1"

// credentials are what this node shows, and what it believes. A derived CA and an operator's differ in nothing else.
type credentials struct {
	leaf  tls.Certificate
	pool  *x509.CertPool
	own   bool   // the operator's
	files []byte // hash of the operator's files
}

// issue makes credentials of the ring's keys: a fresh leaf, signed by the first one's CA, and the CAs of all.
func issue(keys []derived, id string) (credentials, error) {
	c := credentials{pool: x509.NewCertPool()}
	for _, k := range keys {
		c.pool.AddCert(k.ca.cert)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return c, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return c, err
	}
	ca := keys[0].ca
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(2)), // 1 is the CA
		Subject:               pkix.Name{CommonName: "statemesh node"},
		DNSNames:              []string{id},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, ca.cert, public, ca.key)
	if err != nil {
		return c, fmt.Errorf("make this node's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	c.leaf = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}
	return c, err
}

// caFiles are an operator's own.
type caFiles struct{ ca, cert, key string }

// read makes credentials of the files, if they can serve a node of this name.
func (f *caFiles) read(name string) (credentials, error) {
	c := credentials{pool: x509.NewCertPool(), own: true}
	ca, err := os.ReadFile(f.ca)
	if err != nil {
		return c, fmt.Errorf("CA file: %w", err)
	}
	if !c.pool.AppendCertsFromPEM(ca) {
		return c, fmt.Errorf("CA file %s: holds no certificate in PEM", f.ca)
	}
	cert, err := os.ReadFile(f.cert)
	if err != nil {
		return c, fmt.Errorf("certificate: %w", err)
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return c, fmt.Errorf("certificate's key: %w", err)
	}
	if c.leaf, err = tls.X509KeyPair(cert, key); err != nil {
		return c, fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		// Nodes call each other: every one of them is a server and a client.
		if err := c.verify(c.leaf.Leaf, c.leaf.Certificate[1:], name, use); err != nil {
			return c, fmt.Errorf("certificate %s: other nodes will refuse it: %w", f.cert, err)
		}
	}
	hash := sha256.New()
	for _, part := range [][]byte{ca, cert} {
		sum := sha256.Sum256(part)
		hash.Write(sum[:])
	}
	c.files = hash.Sum(nil)
	return c, nil
}

// verify tells whether a certificate is believed now, for a name (or any, if that is "") and a use. between are the certificates that may
// lead from it to a CA.
func (c *credentials) verify(cert *x509.Certificate, between [][]byte, name string, use x509.ExtKeyUsage) error {
	o := x509.VerifyOptions{
		Roots:         c.pool,
		Intermediates: x509.NewCertPool(),
		DNSName:       name,
		KeyUsages:     []x509.ExtKeyUsage{use},
	}
	for _, der := range between {
		if b, err := x509.ParseCertificate(der); err == nil {
			o.Intermediates.AddCert(b)
		}
	}
	_, err := cert.Verify(o)
	return err
}

// base is what both ends agree on.
func (c *credentials) base() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{c.leaf},
		NextProtos:   []string{alpn},
		// A ticket would let a peer come back without showing its certificate, after its key was removed.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != alpn { // crypto/tls lets an end pass that offers none at all
				return errors.New("the other end does not speak " + alpn)
			}
			return nil
		},
	}
}

// ServerTLS is for one connection that comes in, or all until the keys change.
func (r *Ring) ServerTLS() *tls.Config {
	creds := &r.now.Load().creds
	c := creds.base()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = creds.pool
	name := r.provable(r.id, creds)
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		// Members know the name from the gossip. A stranger that asks for another one, or none, is not even shown the certificate,
		// which has the name in it; and a member that has the wrong address hears so at once.
		if hello.ServerName != name {
			return nil, errors.New("asks for another node")
		}
		return nil, nil // go on with this configuration
	}
	return c
}

// ClientTLS is for one connection to the node of an id.
func (r *Ring) ClientTLS(peer string) *tls.Config {
	creds := &r.now.Load().creds
	c := creds.base()
	c.RootCAs = creds.pool
	c.ServerName = r.provable(peer, creds)
	return c
}

// provable is what a certificate can prove of a node: the id, or the name in it, since an operator makes no certificate for each run.
func (r *Ring) provable(id string, c *credentials) string {
	if c.own {
		return nameOf(id)
	}
	return id
}

// PeerName is the name that the other end's certificate has proven: its id; the first name in it if the certificate is an operator's, see
// Proves.
func PeerName(s *tls.ConnectionState) (string, error) {
	if len(s.VerifiedChains) == 0 {
		return "", errors.New("the other end has shown no certificate that is believed")
	}
	names := s.VerifiedChains[0][0].DNSNames
	if len(names) == 0 {
		return "", errors.New("the other end's certificate names nobody")
	}
	return names[0], nil
}

// Proves returns nil if the other end's certificate proves that it is the node with this id. With an operator's own CA, that is: that it is the
// node of this name, in some run of it.
func (r *Ring) Proves(s *tls.ConnectionState, id string) error {
	if _, err := PeerName(s); err != nil {
		return err
	}
	// Not VerifyHostname: a certificate for *.example.org would be every node.
	if want := r.provable(id, &r.now.Load().creds); want == "" || !slices.Contains(s.VerifiedChains[0][0].DNSNames, want) {
		return fmt.Errorf("the other end says that it is %s, and its certificate does not", id)
	}
	return nil
}

// Accepts tells whether the other end of a connection would still be believed if it were made now: after a key was removed, connections
// that it has vouched for are to be closed.
func (r *Ring) Accepts(s *tls.ConnectionState) bool {
	if len(s.PeerCertificates) == 0 {
		return false
	}
	var between [][]byte
	for _, c := range s.PeerCertificates[1:] {
		between = append(between, c.Raw)
	}
	return r.now.Load().creds.verify(s.PeerCertificates[0], between, "", x509.ExtKeyUsageAny) == nil
}
