// Package keys is what a cluster's nodes know and nobody else does: who has one of the cluster's keys is a member.
//
// # One secret, several uses
//
// A key is 32 random bytes. It is used for nothing itself; what is used is derived from it (HKDF-SHA256, without salt), under a label for each
// use, so that none of them can be turned against another:
//
//	                  "statemesh/v1 gossip"             the AES-256 key of the gossip
//	key ─ HKDF-SHA256 "statemesh/v1 p2p ed25519 ca"     seed of an Ed25519 key pair, with which a CA certificate signs itself
//	                  "statemesh/v1 snapshot"           the secret from which each snapshot's key is derived in turn
//	                  "statemesh/v1 fingerprint"        8 hexadecimal digits, to compare the keys of two nodes by their logs
//
// The CA certificate is the same on all nodes, byte for byte, though none has ever sent it to another. At each start, and whenever the keys change,
// a node makes itself a fresh key pair and signs a certificate for it, in the name of this run of it (its node id). Connections are TLS 1.3, and
// both ends show such a certificate. So who cannot derive the CA cannot speak to a member, and a member cannot pass for another one's
// name by accident. (On purpose it can: it has the key.)
//
// Certificates are valid from 2000 to 9999. A date that ends them would make the cluster depend on its clocks, and one that jumps would stop
// every transfer; what ends them is the removal of their key.
//
// # Rotation
//
// The file holds several keys; the first encrypts and signs, all decrypt and are believed. A new key comes in by three steps, each
// on every node before the next begins, and at none of them do two nodes lack a common key:
//
//	old            everybody
//	old, new       everybody can read new, nobody writes it
//	new, old       some write new
//	new            connections that old has vouched for are closed (Accepts), and made again
//
// # An operator's own CA
//
// UseCA replaces the derived CA and leaf by files. Everything else stays, the key file too, since gossip needs it. Such a certificate
// outlives a run of the node, so it proves the node's name and not its id: see Proves.
package keys
