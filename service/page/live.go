package page

import (
	"net/http"
	"time"
)

// maxReaders is how many browsers may watch at once. Whoever comes later sees the page as it was when it came, and can load it again.
const maxReaders = 100

// writeWithin is how long a reader may take for one step. It holds up nobody but itself.
const writeWithin = 10 * time.Second

// serveLive sends what changes, second by second, until the reader leaves or Close is called.
func (p *Page) serveLive(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		header(w, "text/event-stream")
		return
	}
	select {
	case p.readers <- struct{}{}:
		defer func() { <-p.readers }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many are watching: load the page again to see how things are", http.StatusServiceUnavailable)
		return
	}
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{}) // the server's is for requests, and would end this one
	header(w, "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	timer := time.NewTimer(0)
	defer timer.Stop()
	var seen *frame
	for {
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		case <-p.closed:
			return
		}
		f, err := p.frame()
		if err != nil {
			return
		}
		control.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := w.Write(f.after(seen)); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		seen = f
		timer.Reset(untilNext(time.Now()))
	}
}

// after is what a reader gets who has seen that frame: nearly always the one before, for which it is made already.
func (f *frame) after(seen *frame) []byte {
	switch {
	case seen == nil:
		return append([]byte("retry: 2000\n\n"), f.since(nil)...)
	case seen.number == f.number:
		return nil
	case seen.number+1 == f.number:
		return f.step
	}
	return f.since(seen)
}

// untilNext is how long it is to the next full period, at which there is a new frame.
func untilNext(now time.Time) time.Duration { return now.Truncate(period).Add(period).Sub(now) }
