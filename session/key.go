package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// Key names a session: the decoded request target, opaque and compared byte by byte. It is a view of the
// bytes it was made from, which must not change while an operation uses it.
//
// Real keys look like /LM/W3SVC/1/ROOT(hash)/sessionid: everything up to the last slash is the application's and shared by all its
// sessions, so it is stored once. Where the cut falls decides nothing but memory.
type Key struct {
	app []byte // up to and with the last slash; may be empty
	id  []byte // at most maxID bytes
}

// maxID is the most that an entry can say of its id's length.
const maxID = 255

// KeyOf makes the key of b, which should not be empty.
func KeyOf(b []byte) Key {
	cut := max(bytes.LastIndexByte(b, '/')+1, len(b)-maxID)
	return Key{app: b[:cut:cut], id: b[cut:]}
}

// App is what stands before the session's id: the application's name, as far as a key has one.
func (k Key) App() []byte { return k.app }

// ID is what follows.
func (k Key) ID() []byte { return k.id }

// Whole is the key in full: for other nodes, never for a log.
func (k Key) Whole() string {
	b := make([]byte, 0, len(k.app)+len(k.id))
	return string(append(append(b, k.app...), k.id...))
}

// redactionKey lives as long as the process: nobody who reads a log can test guesses of a key against it.
var redactionKey = sync.OnceValue(func() []byte {
	k := make([]byte, sha256.Size)
	_, _ = rand.Read(k) // never fails, see crypto/rand
	return k
})

// Redacted is what logs may show of a key, which itself opens somebody's login: 12 hexadecimal digits of a keyed hash, the same
// for the same key until the process ends.
func (k Key) Redacted() string {
	mac := hmac.New(sha256.New, redactionKey())
	mac.Write(k.app)
	mac.Write(k.id)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}
