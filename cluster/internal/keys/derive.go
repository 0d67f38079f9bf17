package keys

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"time"
)

// The labels. Old and new nodes must derive the same: they are never changed, only added to.
const (
	labelGossip      = "statemesh/v1 gossip"
	labelCA          = "statemesh/v1 p2p ed25519 ca"
	labelSnapshot    = "statemesh/v1 snapshot"
	labelFingerprint = "statemesh/v1 fingerprint"
)

// derived is everything that is made of one key.
type derived struct {
	gossip      []byte
	snapshot    []byte
	fingerprint string
	ca          authority
}

func derive(key []byte) (derived, error) {
	ca, err := newAuthority(expand(key, labelCA, ed25519.SeedSize))
	return derived{
		gossip:      expand(key, labelGossip, keySize),
		snapshot:    expand(key, labelSnapshot, keySize),
		fingerprint: hex.EncodeToString(expand(key, labelFingerprint, 4)),
		ca:          ca,
	}, err
}

func expand(key []byte, label string, n int) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, label, n)
	if err != nil {
		panic(err) // only for an n beyond 8160
	}
	return out
}

// authority is a CA with its private key.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// Validity that depends on no clock. testing/synctest begins its time at notBefore, too.
var (
	notBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// newAuthority makes the CA of a seed. All its fields are fixed, and an Ed25519 signature has no random part.
func newAuthority(seed []byte) (authority, error) {
	key := ed25519.NewKeyFromSeed(seed)
	id := sha256.Sum256(key.Public().(ed25519.PublicKey)) // stated, because Go's choice of it has changed between versions
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "statemesh cluster"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            0,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
		SubjectKeyId:          id[:20],
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return authority{cert: cert, key: key}, err
}
