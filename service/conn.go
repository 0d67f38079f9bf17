package service

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/cluster"
	"statemesh/session"
	"statemesh/wire"
)

// handler is what all connections share.
type handler struct {
	store          *session.Store
	mesh           mesh // nil: the node runs alone
	format         *wire.Format
	limits         wire.Limits
	requestTimeout time.Duration
	idleTimeout    time.Duration // 0: none
	metrics        *metrics
	usage          *usage
	log            hclog.Logger
	notices        *notices
}

// conn is one web server's connection. It belongs to whoever serves it, a goroutine of its own or a loop, but for state, cut and interrupt.
type conn struct {
	*handler
	remote   net.Addr
	stopping *atomic.Bool
	state    atomic.Uint32
	cut      atomic.Bool // by interrupt: what has come by now is not done any more

	// How it is served: doc.go.
	loops   *loops     // that may serve it; nil: a goroutine does, to its end
	mayWait bool       // a goroutine serves it: nc and ops wait if they have to
	ops     operations // of the store
	ncMu    sync.Mutex // held to change nc, and by anybody else to close it
	nc      socket

	// in[r:w] has arrived and not been used. in is base, unless a head needs more room.
	in, base []byte
	r, w     int

	// The request under way. All of this is here and not on the stack: it would escape and cost memory each time, and has to be found
	// again when a loop comes back to a request.
	phase  phase
	parser *wire.Parser
	req    wire.Request
	key    session.Key
	began  time.Duration  // when the head was complete
	whole  time.Duration  // when all of it had come
	left   int            // bytes of the body that have not come
	body   *session.Body  // of a PUT, while it belongs to us; nil if there was no memory for it
	asked  time.Duration  // when other nodes were asked for the session
	found  cluster.Answer // what they say, once phase is fetching and the loop is back; somebody must be done with it
	reply  session.Reply  // the store's bytes and its turn on the session, until settle
	resp   wire.Response
	after  error // why the connection is to end when the answer has been written; nil: it goes on

	head   []byte    // of the response
	unsent [2][]byte // of the head, and of the body
	parts  [2][]byte
	vec    net.Buffers // over parts

	clock clock
	tally *tally
	asker asker
	traffic
}

// socket is what a connection needs of its net.Conn. A loop's has no more.
type socket interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// operations are the store's. session.Try's never wait, session.Store's may.
type operations interface {
	Get(session.Key) session.Reply
	Acquire(session.Key) session.Reply
	Unlock(session.Key, int32) session.Reply
	Set(session.Key, session.Change) session.Reply
	Remove(session.Key, int32) session.Reply
	Touch(session.Key) session.Reply
}

// phase is how far the request under way has come.
type phase uint8

const (
	answered  phase = iota // it is over; the next may be waited for
	awaited                // nothing of it has come
	inHead                 // its head is being read
	inBody                 // its body is being read
	complete               // all of it has come
	fetching               // other nodes have been asked for its session, and a loop waits for what they say
	answering              // it has been done, and its answer is being written
)

// What a loop's connection returns instead of waiting. A goroutine's never does.
var (
	errUnready  = errors.New("nothing more has arrived")                  // to be called again when something has
	errMustWait = errors.New("the request has to wait for somebody else") // to be called again by a goroutine, which may
	errTired    = errors.New("it is others' turn")                        // to be called again when they have had it
)

// The states of a connection that a goroutine serves. Stop may end one that is idle, and nothing else; whoever changes the state first wins.
const (
	connBusy   uint32 = iota // a request has begun to arrive and has not been answered
	connIdle                 // waiting for a request
	connEnding               // Stop has interrupted that wait
)

const (
	// readBuffer holds the head and most bodies of real requests, so that one read gets it all.
	readBuffer = 4 << 10
	// headBuffer holds every response head (see wire.Format).
	headBuffer = 256
)

// newConn makes a connection that a goroutine may serve.
func newConn(h *handler, nc net.Conn, stopping *atomic.Bool) *conn {
	base := make([]byte, readBuffer)
	return &conn{
		handler:  h,
		remote:   nc.RemoteAddr(),
		stopping: stopping,
		mayWait:  true,
		ops:      h.store,
		nc:       nc,
		in:       base,
		base:     base,
		parser:   wire.NewParser(h.limits),
		head:     make([]byte, 0, headBuffer),
		clock:    newClock(),
		tally:    h.metrics.nextTally(),
		asker:    h.usage.asker(nc.RemoteAddr()),
	}
}

// endIfIdle ends the connection unless a request is under way, or has come and not been looked at yet. If it is a loop's, that is told by
// loops.endIdle.
func (c *conn) endIfIdle() {
	c.ncMu.Lock()
	defer c.ncMu.Unlock()
	if _, ok := c.nc.(interface{ interrupt() }); !ok && c.state.CompareAndSwap(connIdle, connEnding) {
		c.nc.SetReadDeadline(time.Now()) // see lastLook
	}
}

// interrupt closes the connection under the hands of whoever serves it.
func (c *conn) interrupt() {
	c.cut.Store(true)
	c.ncMu.Lock()
	defer c.ncMu.Unlock()
	if s, ok := c.nc.(interface{ interrupt() }); ok { // a loop's, whose descriptor is the loop's to close
		s.interrupt()
		return
	}
	c.nc.Close()
}

// serveRequests answers requests until there is a reason not to. Where loops are about, it also returns, without an error, when a request
// has been answered and nothing of another has come.
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
		if c.loops != nil && c.r == c.w {
			return nil
		}
		if s, ok := c.nc.(interface{ isTired() bool }); ok && s.isTired() { // a loop's
			return errTired
		}
	}
}

// serveRequest takes one request in, has it done, and answers it. In a loop it returns errUnready or errMustWait instead of waiting;
// called again, it goes on from where it was.
func (c *conn) serveRequest() error {
	if c.phase == answered {
		if err := c.beginRequest(); err != nil {
			return err
		}
	}
	if c.phase == awaited {
		if err := c.awaitRequest(); err != nil {
			return err
		}
	}
	if c.phase == inHead {
		if err := c.readHead(); err != nil {
			return err
		}
	}
	if c.phase == inBody {
		if err := c.readBody(); err != nil {
			return err
		}
	}
	if c.phase == complete || c.phase == fetching {
		if err := c.answer(); err != nil {
			return err
		}
	}
	err := c.send()
	if err == errMustWait {
		return err
	}
	c.settle(err == nil)
	c.count()
	c.phase = answered
	if err == nil {
		err = c.after
	}
	return err
}

// beginRequest makes ready for the next request, if there is to be one.
func (c *conn) beginRequest() error {
	c.after = nil
	if c.r < c.w { // pipelined: it has come, also if the node is stopping
		c.clock.stop()
		c.phase = inHead
		return nil
	}
	c.in, c.r, c.w = c.base, 0, 0
	c.limitIdling()
	c.phase = awaited
	c.state.Store(connIdle)
	if c.stopping.Load() { // Stop sets this and then looks for idle ones: one of the two sees the other
		return errStopping
	}
	return nil
}

// awaitRequest returns once something of a request is in the buffer.
func (c *conn) awaitRequest() error {
	n, err := c.readWhenIdle(c.in)
	if err == errUnready {
		if c.stopping.Load() {
			return errStopping
		}
		return err
	}
	c.state.Store(connBusy)
	c.clock.stop()
	c.w = n
	c.phase = inHead
	return err
}

// readHead reads the request's head into req.
func (c *conn) readHead() error {
	for {
		n, err := c.parser.Parse(c.in[c.r:c.w], &c.req)
		if refusal, ok := err.(wire.Refusal); ok {
			c.refuseAndEnd(refusal)
			return nil
		}
		if n > 0 {
			c.r += n
			c.beginBody()
			return nil
		}
		c.makeRoom()
		n, err = c.readMore(c.in[c.w:])
		c.w += n
		if err != nil {
			return err
		}
	}
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

// beginBody makes ready for the request's body: a PUT's goes into memory of the store, any other is dropped.
func (c *conn) beginBody() {
	c.began = c.clock.now()
	c.left = c.req.ContentLength
	if c.left > 0 && c.req.Op == wire.OpSet {
		c.body, _ = c.store.NewBody(c.left) // handle sees if there is none
	}
	c.phase = inBody
}

func (c *conn) readBody() error {
	if c.body != nil {
		if err := c.receiveBody(); err != nil {
			return err
		}
	}
	if err := c.dropBody(); err != nil {
		return err
	}
	c.whole = c.clock.now()
	c.phase = complete
	return nil
}

// receiveBody fills body. It leaves some unread if memory runs out meanwhile.
//
// What came along with the head is copied; the rest is read from the socket to where it will be stored, without a stop in the
// buffer. Asking the kernel for the head alone, to save that copy, would cost a second system call: ten times the copy of
// a body that fits the buffer.
func (c *conn) receiveBody() (err error) {
	for c.left > 0 {
		next := c.body.Next()
		if len(next) == 0 {
			c.discardBody()
			return nil
		}
		var got int
		if c.r < c.w {
			got = copy(next, c.in[c.r:c.w])
			c.r += got
		} else if got, err = c.readMore(next); err != nil {
			return err
		}
		c.body.Filled(got)
		c.left -= got
	}
	return nil
}

// dropBody reads what is left of the body and forgets it.
func (c *conn) dropBody() error {
	buffered := min(c.left, c.w-c.r)
	c.r += buffered
	for c.left -= buffered; c.left > 0; {
		got, err := c.readMore(c.in[:min(c.left, len(c.in))]) // nothing is in it, and req does not point into it
		if err != nil {
			return err
		}
		c.left -= got
	}
	return nil
}

func (c *conn) discardBody() {
	if c.body != nil {
		c.body.Discard()
		c.body = nil
	}
}

// answer has the request done and makes its answer.
func (c *conn) answer() error {
	if c.req.Close {
		c.after = errAskedToClose
	}
	if c.req.Refused != "" {
		c.refuse(c.req.Refused)
		return nil
	}
	if err := c.entitled(); err != nil {
		return err
	}
	c.key = session.KeyOf(c.req.Key)
	body := c.body
	c.body = nil
	var err error
	if c.reply, err = c.handle(body); err != nil {
		return err
	}
	if c.reply.Outcome == session.Taken {
		c.body, c.phase = body, complete // it was not started
		return errMustWait
	}
	if err := c.entitled(); err != nil {
		return err
	}
	c.resp = respond(c.req.Op, &c.reply)
	c.make(c.reply.Body())
	if c.log.IsTrace() {
		c.log.Trace("request", "web-server", c.webServer(), "op", c.req.Op.String(),
			"session", c.key.Redacted(), "status", c.resp.Status.String())
	}
	return nil
}

// entitled is why the request is not to be done, nor be answered, or nil.
func (c *conn) entitled() error {
	switch {
	case c.cut.Load(): // and the web server is told nothing of what becomes of it
		return errCut
	case c.mesh != nil && !c.mesh.Fresh():
		return errStale
	}
	return nil
}

// refuse makes the answer to a request that makes no sense.
func (c *conn) refuse(why wire.Refusal) {
	c.noteRefused(string(why))
	c.resp = refused()
	c.make(nil)
}

// refuseAndEnd makes the answer to bytes that cannot be told apart into requests.
func (c *conn) refuseAndEnd(why wire.Refusal) {
	c.began = c.clock.now()
	c.req = wire.Request{}
	c.metrics.badRequest(string(why))
	c.notices.badBytes.warn("refused bytes that are no request, closing the connection",
		"web-server", c.webServer(), "reason", string(why))
	c.resp = refused()
	c.make(nil)
	c.after = why
}

// make makes the answer of resp and a body, which goes from the store's memory to the kernel without a copy.
func (c *conn) make(body []byte) {
	c.head = c.format.Append(c.head[:0], &c.resp)
	c.unsent = [2][]byte{c.head, body}
	c.phase = answering
}

// send writes what is left of the answer. An error means that some of it may not have been sent.
func (c *conn) send() error {
	for len(c.unsent[0])+len(c.unsent[1]) > 0 {
		if err := c.writeMore(); err != nil {
			return err
		}
	}
	return nil
}

// settle gives the reply back to the store, whose bytes it holds. A lock must not stay with a web server that never heard of it.
func (c *conn) settle(delivered bool) {
	c.unsent = [2][]byte{}
	c.store.Settle(c.key, &c.reply, delivered)
	c.reply = session.Reply{}
}

// count adds the request, as it has been answered, to the figures.
func (c *conn) count() {
	now := c.clock.now()
	c.tally.request(c.req.Op, c.resp.Status, now-c.began)
	c.tally.add(&c.traffic)
	if c.resp.Status != wire.StatusBadRequest { // of which the key may be nonsense
		c.asker.count(c.key, c.resp.Status == wire.StatusOK, now)
	}
}
