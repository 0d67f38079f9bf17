package service

import (
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/session"
	"statemesh/wire"
)

// handler is what all connections share.
type handler struct {
	store          *session.Store
	format         *wire.Format
	limits         wire.Limits
	requestTimeout time.Duration
	idleTimeout    time.Duration // 0: none
	metrics        *metrics
	log            hclog.Logger
	notices        *notices
}

// conn is one web server's connection. It belongs to the goroutine that serves it, but for state.
type conn struct {
	*handler
	nc       net.Conn
	stopping *atomic.Bool
	state    atomic.Uint32

	// in[r:w] has arrived and not been used. in is base, unless a head needs more room.
	in, base []byte
	r, w     int

	// The request under way. All of this is here and not on the stack, where it would escape and cost memory each time.
	parser *wire.Parser
	req    wire.Request
	began  time.Duration // when the head was complete
	body   *session.Body // of a PUT, while it belongs to us; nil if there was no memory for it
	reply  session.Reply
	resp   wire.Response

	head  []byte // of the response
	parts [2][]byte
	vec   net.Buffers // over parts

	clock clock
	tally *tally
	traffic
}

// A connection's states. Stop may close one that is idle, and nothing else; whoever changes the state first wins.
const (
	connBusy   uint32 = iota // a request has begun to arrive and has not been answered
	connIdle                 // waiting for a request
	connClosed               // by Stop
)

const (
	// readBuffer holds the head and most bodies of real requests, so that one read gets it all.
	readBuffer = 4 << 10
	// headBuffer holds every response head (see wire.Format).
	headBuffer = 256
)

func newConn(h *handler, nc net.Conn, stopping *atomic.Bool) *conn {
	base := make([]byte, readBuffer)
	return &conn{
		handler:  h,
		nc:       nc,
		stopping: stopping,
		in:       base,
		base:     base,
		parser:   wire.NewParser(h.limits),
		head:     make([]byte, 0, headBuffer),
		clock:    newClock(),
		tally:    h.metrics.nextTally(),
	}
}

// closeIfIdle closes the connection unless a request is under way.
func (c *conn) closeIfIdle() {
	if c.state.CompareAndSwap(connIdle, connClosed) {
		c.nc.Close()
	}
}

// serve answers requests until there is a reason not to, and closes the connection.
func (c *conn) serve() {
	err := c.serveRequests()
	c.part(err)
}

func (c *conn) serveRequests() (err error) {
	// A mistake of ours that one request brings out must not end the sessions of everybody else.
	defer func() {
		if p := recover(); p != nil {
			err = panicked{value: p, stack: debug.Stack()}
		}
	}()
	for {
		if err := c.serveRequest(); err != nil {
			return err
		}
	}
}

// serveRequest takes one request in, has it done, and answers it.
func (c *conn) serveRequest() error {
	err := c.readHead()
	c.began = c.clock.now()
	if refusal, ok := err.(wire.Refusal); ok {
		return c.refuseAndEnd(refusal)
	}
	if err != nil {
		return err
	}
	if err := c.readBody(); err != nil {
		return err
	}
	if c.req.Refused != "" {
		err = c.refuse(c.req.Refused)
	} else {
		err = c.answer()
	}
	if err == nil && c.req.Close {
		err = errAskedToClose
	}
	return err
}

// readHead waits for a request and reads its head into req.
func (c *conn) readHead() error {
	c.beginRequest()
	if err := c.awaitRequest(); err != nil {
		return err
	}
	for {
		n, err := c.parser.Parse(c.in[c.r:c.w], &c.req)
		if n > 0 || err != nil {
			c.r += n
			return err
		}
		c.makeRoom()
		n, err = c.readMore(c.in[c.w:])
		c.w += n
		if err != nil {
			return err
		}
	}
}

// awaitRequest returns once something of a request is in the buffer.
func (c *conn) awaitRequest() error {
	if c.r < c.w { // pipelined
		if c.stopping.Load() {
			return errStopping
		}
		return nil
	}
	c.in, c.r, c.w = c.base, 0, 0
	c.state.Store(connIdle)
	if c.stopping.Load() { // Stop sets this and then looks for idle ones: one of the two sees the other
		return errStopping
	}
	n, err := c.readWhenIdle(c.in)
	if !c.state.CompareAndSwap(connIdle, connBusy) {
		return errStopping
	}
	c.w = n
	return err
}

// makeRoom makes in[w:] longer than nothing. The parser gives up on a head that is longer than MaxHead, so in stays below twice
// that.
func (c *conn) makeRoom() {
	if c.w < len(c.in) {
		return
	}
	in := c.in
	if c.r == 0 {
		in = make([]byte, 2*len(c.in))
	}
	c.w = copy(in, c.in[c.r:c.w])
	c.in, c.r = in, 0
}

// readBody takes the request's body in: a PUT's into memory of the store, any other to be dropped.
func (c *conn) readBody() error {
	left := c.req.ContentLength
	if left == 0 {
		return nil
	}
	var err error
	if c.req.Op == wire.OpSet {
		left, err = c.receiveBody(left)
	}
	if err != nil {
		return err
	}
	return c.dropBody(left)
}

// receiveBody fills a Body with n bytes. It returns how many it left unread for lack of memory.
//
// What came along with the head is copied; the rest is read from the socket to where it will be stored, without a stop in the
// buffer. Asking the kernel for the head alone, to save that copy, would cost a second system call: ten times the copy of
// a body that fits the buffer.
func (c *conn) receiveBody(n int) (left int, err error) {
	if c.body, err = c.store.NewBody(n); err != nil {
		return n, nil // handle sees that there is none
	}
	for left = n; left > 0; {
		next := c.body.Next()
		if len(next) == 0 {
			c.discardBody()
			return left, nil
		}
		var got int
		if c.r < c.w {
			got = copy(next, c.in[c.r:c.w])
			c.r += got
		} else if got, err = c.readMore(next); err != nil {
			return left, err
		}
		c.body.Filled(got)
		left -= got
	}
	return 0, nil
}

// dropBody reads n bytes and forgets them.
func (c *conn) dropBody(n int) error {
	buffered := min(n, c.w-c.r)
	c.r += buffered
	for n -= buffered; n > 0; {
		got, err := c.readMore(c.in[:min(n, len(c.in))]) // nothing is in it, and req does not point into it
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

func (c *conn) discardBody() {
	if c.body != nil {
		c.body.Discard()
		c.body = nil
	}
}

// answer has the request done and tells the web server how it went.
func (c *conn) answer() error {
	key := session.KeyOf(c.req.Key)
	delivered := false
	body := c.body
	c.body = nil
	c.reply = c.handle(&c.req, key, body)
	// A lock must not stay with a web server that never heard of it; and the bytes of the answer are the store's until here.
	defer func() { c.store.Settle(key, &c.reply, delivered) }()

	c.resp = respond(c.req.Op, &c.reply)
	err := c.write(c.reply.Body())
	delivered = err == nil
	c.count()
	if c.log.IsTrace() {
		c.log.Trace("request", "web-server", c.webServer(), "op", c.req.Op.String(),
			"session", key.Redacted(), "status", c.resp.Status.String())
	}
	return err
}

// refuse answers a request that makes no sense.
func (c *conn) refuse(why wire.Refusal) error {
	c.metrics.badRequest(string(why))
	c.notices.refused.warn("refused a request", "web-server", c.webServer(), "reason", string(why))
	c.resp = refused()
	err := c.write(nil)
	c.count()
	return err
}

// refuseAndEnd answers bytes that cannot be told apart into requests.
func (c *conn) refuseAndEnd(why wire.Refusal) error {
	c.req = wire.Request{}
	c.metrics.badRequest(string(why))
	c.notices.badBytes.warn("refused bytes that are no request, closing the connection",
		"web-server", c.webServer(), "reason", string(why))
	c.resp = refused()
	if err := c.write(nil); err != nil {
		return err
	}
	c.count()
	return why
}

// write sends resp and the body, which goes from the store's memory to the kernel without a copy. An error means that some of
// it may not have been sent.
func (c *conn) write(body []byte) error {
	c.head = c.format.Append(c.head[:0], &c.resp)
	if len(body) == 0 {
		return c.writeSome(c.head)
	}
	piece := body[:min(len(body), writePiece)]
	if err := c.writeBoth(c.head, piece); err != nil {
		return err
	}
	for body = body[len(piece):]; len(body) > 0; body = body[len(piece):] {
		piece = body[:min(len(body), writePiece)]
		if err := c.writeSome(piece); err != nil {
			return err
		}
	}
	return nil
}

// count adds the request, as it has been answered, to the figures.
func (c *conn) count() {
	c.tally.request(c.req.Op, c.resp.Status, c.clock.now()-c.began)
	c.tally.add(&c.traffic)
}
