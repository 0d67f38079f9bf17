package snapshot

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

const (
	magic     = "statemesh-snap\n"
	version   = 1
	saltSize  = 32
	checkSize = 16

	headerSize = len(magic) + 1 + saltSize + checkSize

	chunkSize  = 64 << 10 // of contents
	tagSize    = 16
	sealedSize = chunkSize + tagSize
)

// label is never changed: a new version must read what an old one wrote.
const label = "statemesh/v1 snapshot file"

// newHeader draws a salt.
func newHeader(secret []byte) (header []byte, key []byte) {
	header = append(append(make([]byte, 0, headerSize), magic...), version)
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	key, check := expand(secret, salt)
	return append(append(header, salt...), check...), key
}

// keyOf finds the secret that a file with this header was written with, and makes its key; nil if it is none of them.
func keyOf(header []byte, secrets [][]byte) []byte {
	salt, check := header[len(magic)+1:][:saltSize], header[headerSize-checkSize:]
	for _, secret := range secrets {
		if key, c := expand(secret, salt); subtle.ConstantTimeCompare(c, check) == 1 {
			return key
		}
	}
	return nil
}

func expand(secret, salt []byte) (key, check []byte) {
	out, err := hkdf.Key(sha256.New, secret, salt, label, 32+checkSize)
	if err != nil {
		panic(err) // only for a length beyond 8160
	}
	return out[:32], out[32:]
}

// stream encrypts or decrypts one chunk after the other.
type stream struct {
	aead   cipher.AEAD
	header []byte
	nonce  [12]byte
	next   uint64
}

func newStream(key, header []byte) stream {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a key of another length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for a cipher with other blocks
	}
	return stream{aead: aead, header: bytes.Clone(header)}
}

// advance makes the nonce of the next chunk.
func (s *stream) advance(last bool) []byte {
	binary.BigEndian.PutUint64(s.nonce[3:], s.next)
	s.nonce[11] = 0
	if last {
		s.nonce[11] = 1
	}
	s.next++
	return s.nonce[:]
}

// seal encrypts buf[from:] in place and appends the tag.
func (s *stream) seal(buf []byte, from int, last bool) []byte {
	return s.aead.Seal(buf[:from], s.advance(last), buf[from:], s.header)
}

// open decrypts a chunk in place.
func (s *stream) open(chunk []byte, last bool) ([]byte, error) {
	return s.aead.Open(chunk[:0], s.advance(last), chunk, s.header)
}
