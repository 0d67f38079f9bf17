package bench

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"
)

// Verb is what a web server can ask for.
type Verb uint8

// The verbs, by the names of Microsoft's documents.
const (
	Get Verb = iota
	GetExclusive
	ReleaseExclusive
	Set
	Insert // Set that leaves a session alone which exists
	Remove
	ResetTimeout
)

var verbNames = [...]string{"Get", "GetExclusive", "ReleaseExclusive", "Set", "Insert", "Remove", "ResetTimeout"}

func (v Verb) String() string { return verbNames[v] }

// Request is one request about the session of a number, whose key follows from it and the web server's seed.
type Request struct {
	Verb    Verb
	Session uint32
	Cookie  int32
	Version uint32 // Set, Insert: of the body
}

// Answer is what it was answered.
type Answer struct {
	Status int
	Cookie int32 // the lock's; -1: none
	// Version of the body, if it is whole and the session's own; Body says what is wrong if it is not.
	Version uint32
	Body    error
}

// WebServer is one connection of a web server, used by hand: it sends what it is told to and makes nothing of the answer. A Farm judges
// and measures; this is for tests that do the judging themselves. One goroutine uses it.
type WebServer struct {
	link
	*requests
	size    Size
	minutes int
	seed    uint64
	id      [idLen]byte
}

// WebServerOptions say how one connects, and what its sessions are like.
type WebServerOptions struct {
	Addr    string                                                   // Required: a node's
	Dial    func(ctx context.Context, addr string) (net.Conn, error) // Default: TCP
	App     string                                                   // Default /LM/W3SVC/1/ROOT
	Size    Size                                                     // Required: of bodies
	Minutes int                                                      // Default 20
	Seed    uint64                                                   // decides ids and bodies
}

// NewWebServer connects.
func NewWebServer(ctx context.Context, o WebServerOptions) (*WebServer, error) {
	w := &WebServer{
		link:     link{node: o.Addr, dialer: o.Dial, in: make([]byte, o.Size.Max+4096)},
		requests: newRequests(cmp.Or(o.App, defaultApp), o.Size.Max),
		size:     o.Size,
		minutes:  cmp.Or(o.Minutes, 20),
		seed:     o.Seed,
	}
	return w, w.dial(ctx)
}

// Do sends a request and waits for its answer until patience has passed. After an error, the connection is of no more use, and the
// request may have been carried out or not.
func (w *WebServer) Do(r Request, patience time.Duration) (Answer, error) {
	if err := w.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return Answer{}, err
	}
	if _, err := w.nc.Write(w.bytes(r)); err != nil {
		return Answer{}, err
	}
	if _, err := w.receive(); err != nil {
		return Answer{}, err
	}
	a := Answer{Status: w.answer.status, Cookie: w.answer.cookie}
	if !w.answer.version {
		return a, errMalformed
	}
	if a.Status == 200 && (r.Verb == Get || r.Verb == GetExclusive) {
		a.Version, a.Body = w.versionOf(r.Session)
	}
	return a, nil
}

func (w *WebServer) bytes(r Request) []byte {
	putID(&w.id, w.seed, r.Session)
	switch r.Verb {
	case Get:
		return w.get.to(&w.id)
	case GetExclusive:
		return w.acquire.to(&w.id)
	case ReleaseExclusive:
		return w.releaseOf(&w.id, r.Cookie)
	case Remove:
		return w.removeOf(&w.id, r.Cookie)
	case ResetTimeout:
		return w.touch.to(&w.id)
	case Set, Insert:
		n := w.size.of(w.seed, r.Session, r.Version)
		w.bodyOf(n, w.seed, r.Session, r.Version)
		flags := 0
		if r.Verb == Insert {
			flags = 1
		}
		return w.setOf(&w.id, n, w.minutes, flags, r.Cookie)
	default:
		panic(fmt.Sprintf("bench: verb %d", r.Verb))
	}
}

// versionOf reads from the body that has arrived which version of the session it is.
func (w *WebServer) versionOf(session uint32) (uint32, error) {
	if len(w.body) < headerLen {
		return 0, faultf(wrongLength, "session %d has %d bytes", session, len(w.body))
	}
	_, version, _ := stampOf(w.body)
	n := w.size.of(w.seed, session, version)
	want := w.bodyOf(n, w.seed, session, version)
	if string(w.body) != string(want) {
		return 0, bodyFault(w.body, want, session)
	}
	return version, nil
}

// SessionID is the id of a session by its number: what must never stand in a log.
func SessionID(seed uint64, session uint32) string {
	var id [idLen]byte
	putID(&id, seed, session)
	return string(id[:])
}

// Close ends the connection.
func (w *WebServer) Close() { w.close() }
