package farm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"statemesh/cmd/internal/bench"
)

// faultKind is a way for the service to be wrong.
type faultKind string

// What the service must never do, whatever happens to its nodes.
const (
	FalseNotFound faultKind = "404 for a session that exists"
	LostUpdate    faultKind = "lost update"
	WrongBody     faultKind = "wrong body"
	WriteRefused  faultKind = "write of the lock's holder refused (423)"
	TwoHolders    faultKind = "two holders of one lock"
	StuckLock     faultKind = "lock that nobody has"
	OtherStatus   faultKind = "status that web servers do not know"
	Resurrected   faultKind = "removed session is back"
)

// fault is one wrong answer. Its text names a session by its number.
type fault struct {
	kind faultKind
	text string
}

func faultf(kind faultKind, format string, args ...any) *fault {
	return &fault{kind, fmt.Sprintf(format, args...)}
}

// danglingTime is how long a request that was not answered may still be carried out: a web server waits 10 s, a stopped node longer.
const danglingTime = 30 * time.Second

// settling is how long after it was heard of a lost session again others may still not know: written on both sides of a cut, it has two owners until
// these have compared what they have.
const settling = time.Second

// absent is the version of a session that is not there.
const absent = 0

// history is what may be true of one session, as far as its users can know.
//
// acked is the version that the last acknowledged request left. maybe are the versions of writes on their way, and of those that
// were never answered: they may still happen, since what was sent may lie in a buffer of a node that is stopped just now. A read
// must return acked or one of maybe; in the latter case that write has happened after all, and is acked from then on.
type history struct {
	session uint32

	mu      sync.Mutex // guards what follows
	newest  uint32     // version ever sent
	acked   uint32
	maybe   []uint32
	created time.Time // when it was heard that it was there again after it had been absent
	ghost   uint32    // what acked was when the session was lost; it may come back as long as it is not created anew
	unsure  uint32    // acked, by an Insert: what it was told does not say whether it was needed, or the session was back at that moment
	// holders of the lock are users between the answer to their GetExclusive and the sending of what ends it.
	holders map[*user]bool

	// dangling: until when somebody may have the lock without knowing, or with what should have ended it lost on the way.
	dangling time.Time
	stolen   map[int32]bool // cookies of locks that users have taken away

	at       map[string]time.Time // nodes that the session may be at, and when a request through them ended
	flying   map[string]int       // requests on their way, by node
	doomed   []string             // nodes that are being killed
	cut      bool                 // or cut off, and go on by themselves
	forgiven bool                 // the session may have been there then: one 404 is no fault
	pardoned time.Time            // when it was heard of again after that; by a write, perhaps, that has made it anew

	latest []string // what was asked of it and what came back, for whoever reads of a fault
}

// tellLocked notes what became of a request.
func (a *asked) tellLocked(what string) {
	const kept = 20
	h := a.h
	what = fmt.Sprintf("%v with version %d, cookie %d: %s", a.r.Verb, a.r.Version, a.r.Cookie, what)
	if n := len(h.latest); n > 0 && strings.HasSuffix(h.latest[n-1], what) { // a poll
		return
	}
	if len(h.latest) == kept {
		h.latest = slices.Delete(h.latest, 0, 1)
	}
	h.latest = append(h.latest, fmt.Sprintf("%s to %s user %p through %s: %s",
		a.sent.Format("05.000"), time.Now().Format("05.000"), a.user, a.node, what))
}

// story is what happened to the session last.
func (h *history) story() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.latest, "\n\t\t")
}

// asked is one request of a user, on its way.
type asked struct {
	h       *history
	user    *user
	held    bool // it had the lock, and the session was not lost since
	node    string
	r       bench.Request
	floor   uint32   // acked when it was sent
	allowed []uint32 // maybe when it was sent
	sent    time.Time
}

// send notes that a user is about to send a request through a node.
func (h *history) send(u *user, node string, r bench.Request) *asked {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Verb {
	case bench.Set, bench.Insert, bench.Remove:
		if !slices.Contains(h.maybe, r.Version) {
			h.maybe = append(h.maybe, r.Version)
		}
	}
	held := h.holders[u]
	delete(h.holders, u) // whatever it is, the lock is not used after it
	h.flying[node]++
	return &asked{h: h, user: u, held: held, node: node, r: r, floor: h.acked, allowed: slices.Clone(h.maybe), sent: time.Now()}
}

// next is the version of the next write.
func (h *history) next() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest++
	return h.newest
}

// unanswered: the request may have been carried out, or be carried out yet.
func (a *asked) unanswered() {
	h := a.h
	h.mu.Lock()
	defer h.mu.Unlock()
	a.landedLocked()
	a.tellLocked("no answer")
	h.at[a.node] = time.Now()
	switch a.r.Verb {
	case bench.GetExclusive, bench.Set, bench.Remove, bench.ReleaseExclusive:
		h.dangling = time.Now().Add(danglingTime)
	}
	h.forgiven = h.forgiven || slices.Contains(h.doomed, a.node)
}

// notSent: the connection broke before a byte of it was sent.
func (a *asked) notSent() {
	h := a.h
	h.mu.Lock()
	defer h.mu.Unlock()
	a.landedLocked()
	a.tellLocked("not sent")
	h.forgetLocked(a.r)
	h.dangling = time.Now().Add(danglingTime) // the lock, if there is one, was not ended
}

func (a *asked) landedLocked() {
	h := a.h
	if h.flying[a.node]--; h.flying[a.node] == 0 {
		delete(h.flying, a.node)
	}
}

// forgetLocked: the write has certainly not happened.
func (h *history) forgetLocked(r bench.Request) {
	switch r.Verb {
	case bench.Set, bench.Insert, bench.Remove:
		h.maybe = slices.DeleteFunc(h.maybe, func(v uint32) bool { return v == r.Version })
	}
}

// verdict is what an answer amounts to.
type verdict struct {
	fault *fault
	lost  bool // the session is gone with its node
	back  bool // it is there again, as it was
	late  bool // a write that was not answered has happened after one that was sent later
}

// answered judges an answer.
func (a *asked) answered(answer bench.Answer) (v verdict) {
	h := a.h
	h.mu.Lock()
	defer h.mu.Unlock()
	a.landedLocked()
	a.tellLocked(fmt.Sprintf("%d, version %d, cookie %d", answer.Status, answer.Version, answer.Cookie))
	if slices.Contains(h.doomed, a.node) {
		defer func() { h.forgiven = h.acked != absent || len(h.maybe) > 0 }() // whatever it has just said
	}
	switch answer.Status {
	case 200:
		return a.doneLocked(answer)
	case 404:
		switch a.r.Verb {
		case bench.Set, bench.Insert:
			h.forgetLocked(a.r)
			return verdict{fault: faultf(OtherStatus, "%v of session %d through %s was answered 404", a.r.Verb, h.session, a.node)}
		}
		h.forgetLocked(a.r)
		return a.goneLocked()
	case 400:
		h.forgetLocked(a.r)
		h.at[a.node] = time.Now()
		h.dangling = time.Now().Add(danglingTime) // the lock was not ended
		return v
	case 423:
		h.forgetLocked(a.r)
		h.at[a.node] = time.Now()
		switch a.r.Verb {
		case bench.Set, bench.Remove, bench.ReleaseExclusive:
			gone := h.forgiven || h.acked == absent || h.created.After(a.sent) // with its lock, and others have created it anew
			switch {
			case !a.held || h.stolen[a.r.Cookie] || gone:
			case h.cut && time.Since(h.pardoned) < settling:
				h.dangling = time.Now().Add(danglingTime) // the lock was not ended
			default:
				v.fault = faultf(WriteRefused, "%v of session %d through %s with the cookie of its lock was answered 423", a.r.Verb, h.session, a.node)
			}
		}
		return v
	default:
		return verdict{fault: faultf(OtherStatus, "%v of session %d through %s was answered %d", a.r.Verb, h.session, a.node, answer.Status)}
	}
}

// doneLocked judges a 200.
func (a *asked) doneLocked(answer bench.Answer) (v verdict) {
	h := a.h
	switch a.r.Verb {
	case bench.Get, bench.GetExclusive:
		a.hereLocked()
		if answer.Body != nil {
			return verdict{fault: faultf(WrongBody, "%v through %s: %v", a.r.Verb, a.node, answer.Body)}
		}
		v = a.readLocked(answer.Version)
		if a.r.Verb == bench.GetExclusive && !h.stolen[answer.Cookie] { // else it hears of it too late
			if h.holders[a.user] = true; len(h.holders) > 1 {
				v.fault = faultf(TwoHolders, "session %d was locked for a second user through %s", h.session, a.node)
			}
		}
		return v
	case bench.Insert:
		a.hereLocked()
		if h.acked == absent { // else it may have left alone what somebody else has just created
			h.forgetLocked(a.r)
			ghost := h.ghost
			h.setLocked(a.r.Version)
			h.ghost, h.unsure = ghost, a.r.Version
		}
	case bench.Set, bench.Remove:
		if a.r.Verb == bench.Set {
			a.hereLocked()
		} else {
			h.at[a.node] = time.Now()
		}
		// If it is not among maybe any more, somebody has already read it, and perhaps written since.
		if slices.Contains(h.maybe, a.r.Version) {
			h.forgetLocked(a.r)
			h.setLocked(a.r.Version)
		}
	default:
		h.at[a.node] = time.Now()
	}
	return v
}

// hereLocked notes that the session is at the node that has just answered, or was until a request through another that overlapped.
func (a *asked) hereLocked() {
	h := a.h
	maps.DeleteFunc(h.at, func(_ string, ended time.Time) bool { return ended.Before(a.sent) })
	h.at[a.node] = time.Now()
	if h.forgiven && !h.atDoomedLocked() {
		h.forgiven, h.pardoned = false, time.Now()
	}
}

// readLocked judges a version that was read; absent: that there was none.
func (a *asked) readLocked(version uint32) (v verdict) {
	h := a.h
	switch {
	case version == h.acked:
		if version != absent && version == h.unsure {
			h.ghost, h.unsure = absent, absent
		}
	case slices.Contains(h.maybe, version):
		v.late = version != absent && version < h.acked && h.acked != h.unsure
		h.maybe = slices.DeleteFunc(h.maybe, func(m uint32) bool { return m == version })
		h.setLocked(version)
	case version == a.floor || slices.Contains(a.allowed, version) || version != absent && version > a.floor && version <= h.acked:
		// Others have written since this was sent: any of what was there in the meantime may be the answer.
	case version == absent && a.sent.Before(h.created):
		// It was lost, and others have created it anew since this was sent.
	case version != absent && version == h.ghost && (h.acked == absent || h.acked == h.unsure):
		v.back = true
		h.setLocked(version)
	case version == absent:
		v.fault = faultf(FalseNotFound, "%v of session %d through %s was answered 404; version %d was acknowledged", a.r.Verb, h.session, a.node, h.acked)
		h.acked = absent
	case h.acked == absent:
		v.fault = faultf(Resurrected, "%v of session %d through %s returned version %d; it was removed", a.r.Verb, h.session, a.node, version)
		h.acked = version
	case version < h.acked:
		v.fault = faultf(LostUpdate, "%v of session %d through %s returned version %d; version %d was acknowledged", a.r.Verb, h.session, a.node, version, h.acked)
		h.acked = version
	default:
		v.fault = faultf(WrongBody, "%v of session %d through %s returned version %d; %d is the newest", a.r.Verb, h.session, a.node, version, h.newest)
		h.acked = version
	}
	return v
}

// setLocked notes what the session is from now on.
func (h *history) setLocked(version uint32) {
	if h.acked == absent && version != absent {
		h.created = time.Now()
	}
	h.acked, h.ghost, h.unsure = version, absent, absent
}

// goneLocked judges a 404.
func (a *asked) goneLocked() verdict {
	h := a.h
	if (h.forgiven || h.atDoomedLocked()) && h.acked != absent { // it may have been fetched for a request that is not answered any more
		h.forgiven = false
		h.acked, h.ghost = absent, h.acked
		clear(h.holders)
		h.dangling = time.Now().Add(danglingTime) // it may come back with its lock
		return verdict{lost: true}
	}
	if a.sent.Before(h.pardoned) {
		return verdict{} // it may have been gone for a moment since
	}
	return a.readLocked(absent)
}

// doom notes that nodes are about to be killed, or cut off, and forgives the session if it may be there.
func (h *history) doom(nodes []string, cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doomed, h.cut = nodes, cut
	if h.atDoomedLocked() {
		h.forgiven = h.acked != absent || len(h.maybe) > 0
	}
}

// atDoomedLocked reports whether the session may be where it will be lost.
func (h *history) atDoomedLocked() bool {
	return slices.ContainsFunc(h.doomed, func(node string) bool {
		_, there := h.at[node]
		return there || h.flying[node] > 0
	})
}

// steal reports whether a user may take the lock with this cookie away, which it has met for so long: somebody may have it without
// knowing, nobody knowingly has, and nobody is just being told.
func (h *history) steal(cookie int32, met time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.holders) > 0 || time.Now().After(h.dangling) || len(h.flying) > 0 && met < time.Second {
		return false
	}
	h.stolen[cookie] = true
	return true
}

// robbed reports whether the lock was taken away before its holder heard of it.
func (h *history) robbed(cookie int32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stolen[cookie]
}
