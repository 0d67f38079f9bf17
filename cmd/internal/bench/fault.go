package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// faultKind is a way for a state service to be wrong.
type faultKind uint8

const (
	unreachable faultKind = iota
	closed
	timedOut
	malformed
	noVersion
	notFound
	locked
	refused
	otherStatus
	wrongSession
	lostUpdate
	wrongLength
	wrongBody
	badCookie
	faultKinds
)

var faultNames = [faultKinds]string{
	unreachable:  "connection refused",
	closed:       "connection closed",
	timedOut:     "no answer in time",
	malformed:    "malformed answer",
	noVersion:    "no X-AspNet-Version",
	notFound:     "session not found (404)",
	locked:       "session locked (423)",
	refused:      "request refused (400)",
	otherStatus:  "unexpected status",
	wrongSession: "another session's body",
	lostUpdate:   "lost update",
	wrongLength:  "body of wrong length",
	wrongBody:    "body of wrong content",
	badCookie:    "lock cookie missing or used before",
}

// A fault is one wrong answer. Its text names a session by its number, never by its id, which would open somebody's login if the
// bench were ever fed with real ones.
type fault struct {
	kind faultKind
	text string
}

func (f *fault) Error() string { return faultNames[f.kind] + ": " + f.text }

func faultf(kind faultKind, format string, args ...any) *fault {
	return &fault{kind, fmt.Sprintf(format, args...)}
}

// brokenConnection says whether the error leaves the connection unusable.
func brokenConnection(err error) bool {
	var f *fault
	return errors.As(err, &f) && (f.kind <= malformed)
}

// networkFault is the fault that an error of a connection amounts to.
func networkFault(doing string, err error) *fault {
	var ne net.Error
	switch {
	case errors.Is(err, errMalformed):
		return faultf(malformed, "%s: %v", doing, err)
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout():
		return faultf(timedOut, "%s: waited %v", doing, answerTimeout)
	default:
		return faultf(closed, "%s: %v", doing, err)
	}
}

// statusFault is the fault of an answer that has another status than the 200 it should have.
func statusFault(doing string, session uint32, status int) *fault {
	kind := otherStatus
	switch status {
	case 400:
		kind = refused
	case 404:
		kind = notFound
	case 423:
		kind = locked
	}
	return faultf(kind, "%s of session %d was answered %d", doing, session, status)
}

const faultsDescribed = 5

// faultLog counts faults and describes the first few.
type faultLog struct {
	mu     sync.Mutex // guards what follows
	counts [faultKinds]uint64
	first  []string
}

func (l *faultLog) add(f *fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[f.kind]++
	if len(l.first) < faultsDescribed {
		l.first = append(l.first, f.Error())
	}
}

// take returns what was counted, by name, and starts again from nothing.
func (l *faultLog) take() (counts map[string]uint64, first []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind, n := range l.counts {
		if n > 0 {
			if counts == nil {
				counts = make(map[string]uint64)
			}
			counts[faultNames[kind]] = n
		}
	}
	first = l.first
	l.counts, l.first = [faultKinds]uint64{}, nil
	return counts, first
}
