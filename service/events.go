package service

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"statemesh/cluster"
)

const (
	// maxListeners may follow what happens; more are told to come again.
	maxListeners = 100
	// maxUnsent events may wait for a listener. One that falls behind further is cut off; it comes again and says what it has last heard.
	maxUnsent = 64
	// listenerPatience is how long one write may take.
	listenerPatience = 5 * time.Second
	// silence is broken by a comment after that long: so a listener that has gone away is noticed, and no proxy between takes the connection for dead.
	silence = 15 * time.Second
)

// stream tells listeners what happens to the cluster, as it happens. Nobody waits for any of them.
type stream struct {
	mu        sync.Mutex // guards all; a leaf
	listeners map[chan cluster.Event]struct{}
	all       []cluster.Event // the latest that have been told
	closed    bool
}

func newStream() *stream { return &stream{listeners: map[chan cluster.Event]struct{}{}} }

// tell passes on what is new in the list of the latest events, which is in order.
func (s *stream) tell(all []cluster.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(all) == 0 {
		return
	}
	var told time.Time
	if len(s.all) > 0 {
		told = s.all[len(s.all)-1].At
	}
	s.all = all
	for _, e := range after(all, told) {
		for l := range s.listeners {
			select {
			case l <- e:
			default:
				s.forget(l)
			}
		}
	}
}

// after are those of the events, which are in order, that happened later than t.
func after(all []cluster.Event, t time.Time) []cluster.Event {
	i := len(all)
	for i > 0 && all[i-1].At.After(t) {
		i--
	}
	return all[i:]
}

// listen is what has happened since a moment, and what happens from now on, until leave is called or the channel is closed. Not ok: too many listen.
func (s *stream) listen(since time.Time) (missed []cluster.Event, events <-chan cluster.Event, leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.listeners) >= maxListeners {
		return nil, nil, nil, false
	}
	l := make(chan cluster.Event, maxUnsent)
	s.listeners[l] = struct{}{}
	return after(s.all, since), l, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget(l)
	}, true
}

func (s *stream) forget(l chan cluster.Event) {
	if _, is := s.listeners[l]; is {
		delete(s.listeners, l)
		close(l)
	}
}

// close ends all listening.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		s.forget(l)
	}
}

// serveEvents follows the cluster's events, as server-sent events. A listener that comes back says what it has last heard, as browsers do, and hears
// what it has missed.
func (s *Service) serveEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		eventHeader(w)
		return
	}
	missed, events, leave, ok := s.sampler.stream.listen(lastHeard(r))
	if !ok {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many are listening already, or this node is stopping")
		return
	}
	defer leave()
	eventHeader(w)
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the server's is for requests, and would end this one
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(listenerPatience)) // not of a test's
		if _, err := io.WriteString(w, text); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	text := ":\n\n" // so that the listener knows at once that it is heard
	for _, e := range missed {
		text += eventText(e)
	}
	if !send(text) {
		return
	}
	quiet := time.NewTicker(silence)
	defer quiet.Stop()
	for {
		select {
		case e, more := <-events:
			if !more {
				return
			}
			text = eventText(e)
		case <-quiet.C:
			text = ":\n\n"
		case <-r.Context().Done():
			return
		}
		if !send(text) {
			return
		}
	}
}

func eventHeader(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// lastHeard is when the last event was of which the listener has heard; of a new listener, now.
func lastHeard(r *http.Request) time.Time {
	last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		return time.Now()
	}
	return time.Unix(0, last)
}

// eventText is one event as it goes over the wire. JSON has no line breaks of its own.
func eventText(e cluster.Event) string {
	data, err := json.Marshal(e)
	if err != nil { // it has nothing that cannot be written
		panic(err)
	}
	return fmt.Sprintf("id: %d\nevent: cluster\ndata: %s\n\n", e.At.UnixNano(), data)
}
