package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Ring is the keys of a cluster, as one node uses them. All methods may be called concurrently.
type Ring struct {
	id   string // of this node
	path string

	reload sync.Mutex // one change at a time; guards own
	own    *caFiles   // nil: the CA is derived from the keys

	now atomic.Pointer[state]
}

// state is a ring at one moment. It does not change.
type state struct {
	keys    []derived // the first encrypts
	warning string
	creds   credentials
}

// NodeID makes an id for this run of a node: its name, with what cannot stand in a certificate's DNS name replaced, and a random suffix.
func NodeID(name string) string {
	suffix := make([]byte, suffixLen/2)
	_, _ = rand.Read(suffix) // never fails, see crypto/rand
	return Label(name) + "-" + hex.EncodeToString(suffix)
}

// suffixLen is the number of hexadecimal digits behind the last dash of an id.
const suffixLen = 8

// maxLabel is how long a DNS label may be, less a dash and the suffix.
const maxLabel = 63 - 1 - suffixLen

// Label is a node's name as it stands in its id, and must stand in a certificate of the operator's own: small letters and digits, with
// dashes in between.
func Label(name string) string {
	label := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	label = strings.Trim(label[:min(len(label), maxLabel)], "-")
	if label == "" {
		return "node"
	}
	return label
}

// nameOf is the label in an id.
func nameOf(id string) string { return id[:max(0, strings.LastIndexByte(id, '-'))] }

// Load reads a key file for the node of this id, see NodeID.
func Load(path, id string) (*Ring, error) {
	r := &Ring{id: id, path: path}
	s, err := r.read(r.own)
	if err != nil {
		return nil, err
	}
	r.now.Store(s)
	return r, nil
}

// UseCA makes the nodes prove who they are by certificates of the operator's: PEM files with the CAs to believe, this node's certificate
// (and what leads from it to a CA), and its private key. Reload reads them, too.
func (r *Ring) UseCA(ca, cert, key string) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	own := &caFiles{ca: ca, cert: cert, key: key}
	s, err := r.read(own)
	if err != nil {
		return err
	}
	r.own = own
	r.now.Store(s)
	return nil
}

// Reload reads the files again and uses what they hold from now on. If anything is wrong with them, everything stays as it is.
func (r *Ring) Reload() (Change, error) {
	r.reload.Lock()
	defer r.reload.Unlock()
	s, err := r.read(r.own)
	if err != nil {
		return Change{}, err
	}
	return difference(r.now.Swap(s), s), nil
}

// read reads the files, and makes of them all that is used.
func (r *Ring) read(own *caFiles) (*state, error) {
	keys, warning, err := readFile(r.path)
	if err != nil {
		return nil, err
	}
	s := &state{warning: warning}
	for _, k := range keys {
		d, err := derive(k)
		if err != nil {
			return nil, fmt.Errorf("make a CA of the key: %w", err)
		}
		s.keys = append(s.keys, d)
	}
	if own != nil {
		s.creds, err = own.read(nameOf(r.id))
	} else {
		s.creds, err = issue(s.keys, r.id)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Warning is what an operator should know about the key file, or "".
func (r *Ring) Warning() string { return r.now.Load().warning }

// Fingerprints tell keys apart, in the log of one node and between nodes, and tell nothing else about them. The first encrypts.
func (r *Ring) Fingerprints() []string { return r.now.Load().fingerprints() }

func (s *state) fingerprints() []string {
	var all []string
	for _, k := range s.keys {
		all = append(all, k.fingerprint)
	}
	return all
}

// GossipKeys are the AES-256 keys of the gossip: the one that encrypts, and all that decrypt, that one first.
func (r *Ring) GossipKeys() (primary []byte, all [][]byte) {
	for _, k := range r.now.Load().keys {
		all = append(all, bytes.Clone(k.gossip)) // memberlist keeps them
	}
	return all[0], all
}

// SnapshotSecrets are what a snapshot is encrypted with: the first one that is written now, all those that may be read.
func (r *Ring) SnapshotSecrets() [][]byte {
	var all [][]byte
	for _, k := range r.now.Load().keys {
		all = append(all, bytes.Clone(k.snapshot))
	}
	return all
}

// Change is what Reload has changed.
type Change struct {
	Added, Removed []string // fingerprints
	Primary        string   // that of the key that encrypts now, if it is another one than before
	Certificate    bool     // the operator's own certificate is another one, or its CAs
}

// Any tells whether there was a change at all.
func (c Change) Any() bool {
	return len(c.Added) > 0 || len(c.Removed) > 0 || c.Primary != "" || c.Certificate
}

// String is for the log.
func (c Change) String() string {
	var parts []string
	if len(c.Added) > 0 {
		parts = append(parts, "added "+strings.Join(c.Added, " "))
	}
	if len(c.Removed) > 0 {
		parts = append(parts, "removed "+strings.Join(c.Removed, " "))
	}
	if c.Primary != "" {
		parts = append(parts, c.Primary+" encrypts")
	}
	if c.Certificate {
		parts = append(parts, "another certificate")
	}
	if len(parts) == 0 {
		return "nothing changed"
	}
	return strings.Join(parts, ", ")
}

func difference(old, s *state) Change {
	var c Change
	before, after := old.fingerprints(), s.fingerprints()
	for _, f := range after {
		if !slices.Contains(before, f) {
			c.Added = append(c.Added, f)
		}
	}
	for _, f := range before {
		if !slices.Contains(after, f) {
			c.Removed = append(c.Removed, f)
		}
	}
	if before[0] != after[0] {
		c.Primary = after[0]
	}
	c.Certificate = s.creds.own && !bytes.Equal(old.creds.files, s.creds.files)
	return c
}
