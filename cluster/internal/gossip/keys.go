package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

func checkKeys(primary []byte, all [][]byte) error {
	for _, k := range append([][]byte{primary}, all...) {
		if len(k) != 32 {
			return fmt.Errorf("a key has %d bytes, not 32", len(k))
		}
	}
	return nil
}

func newRing(primary []byte, all [][]byte) (*memberlist.Keyring, error) {
	if err := checkKeys(primary, all); err != nil {
		return nil, err
	}
	return memberlist.NewKeyring(all, primary)
}

// setRing makes a ring in use hold other keys: first all are added, then the primary changes, then old ones go.
func setRing(ring *memberlist.Keyring, keys func() ([]byte, [][]byte)) error {
	primary, all := keys()
	if err := checkKeys(primary, all); err != nil {
		return err
	}
	all = append([][]byte{primary}, all...)
	for _, k := range all {
		if err := ring.AddKey(bytes.Clone(k)); err != nil {
			return err
		}
	}
	if err := ring.UseKey(primary); err != nil {
		return err
	}
	for _, old := range slices.Clone(ring.GetKeys()) {
		if slices.ContainsFunc(all, func(k []byte) bool { return bytes.Equal(k, old) }) {
			continue
		}
		if err := drop(ring, old); err != nil {
			return err
		}
	}
	return ring.UseKey(primary)
}

// drop removes a key. RemoveKey moves the keys that follow it within an array that decryption may be reading: so it is made the last one first,
// by bringing those behind it to the front. For that moment another of this node's keys encrypts.
func drop(ring *memberlist.Keyring, key []byte) error {
	for range len(ring.GetKeys()) {
		keys := ring.GetKeys()
		last := keys[len(keys)-1]
		if bytes.Equal(last, key) {
			if len(keys) == 1 {
				break
			}
			return ring.RemoveKey(key)
		}
		if err := ring.UseKey(last); err != nil {
			return err
		}
	}
	return errors.New("the last key cannot be removed")
}
