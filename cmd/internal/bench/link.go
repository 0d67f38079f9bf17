package bench

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// link is one TCP connection to one node, on which there is one request at a time, or one batch of them. One goroutine uses it.
type link struct {
	node string
	// dialer, if not nil, connects in place of net.Dialer.
	dialer func(ctx context.Context, addr string) (net.Conn, error)

	mu sync.Mutex // guards nc against hurry
	nc net.Conn
	// in[r:w] has arrived and not been looked at.
	in    []byte
	r, w  int
	armed time.Duration // when nc's deadline was last set
	// With batches, there are many answers on their way, of due bytes together that have not been read.
	batches bool
	due     int

	// The answer to the last exchange. body is valid until the next one.
	answer response
	body   []byte
}

func (l *link) dial(ctx context.Context) error {
	dial := l.dialer
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialTimeout}
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	nc, err := dial(ctx, l.node)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.nc = nc
	l.mu.Unlock()
	l.r, l.w, l.armed = 0, 0, -time.Hour
	return nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc != nil {
		l.nc.Close()
		l.nc = nil
	}
}

// hurry gives the request in flight, if any, a second more. It may be called by any goroutine.
func (l *link) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc != nil {
		l.nc.SetDeadline(time.Now().Add(time.Second))
	}
}

// receive reads one response into answer and body, and returns its length.
func (l *link) receive() (n int, err error) {
	head := 0
	for {
		if l.w > l.r {
			if head, err = parseResponse(l.in[l.r:l.w], &l.answer); err != nil {
				return 0, err
			}
			if head > 0 {
				break
			}
		}
		if err := l.fill(maxResponseHead); err != nil {
			return 0, err
		}
	}
	n = head + l.answer.length
	for l.w-l.r < n {
		if err := l.fill(n); err != nil {
			return 0, err
		}
	}
	l.body = l.in[l.r+head : l.r+n]
	l.r += n
	return n, nil
}

// fill reads what there is, of an answer that may be n bytes long.
func (l *link) fill(n int) error {
	switch {
	case l.r == l.w:
		l.r, l.w = 0, 0
	case l.r+n > len(l.in):
		l.w = copy(l.in, l.in[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.in) {
		l.in = append(l.in, make([]byte, len(l.in))...)
	}
	if l.batches {
		wakeAt(l.nc, max(l.due, 1))
	}
	k, err := l.nc.Read(l.in[l.w:])
	l.w += k
	l.due -= k
	if k == 0 && err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
