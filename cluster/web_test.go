package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/register"
	"statemesh/session"
)

// answer is what a web server is told.
type answer struct {
	output
	First   bool
	LockAge time.Duration
	Timeout int32
	Took    time.Duration
}

// call is a request on its way.
type call struct {
	input
	key     string
	timeout int32
	arrived time.Time

	mu   sync.Mutex // guards what follows
	gone bool       // the web server does not wait any more
	told chan answer
}

const (
	clientTimeout = 10 * time.Second // stateNetworkTimeout
	minutes       = 20               // a session's timeout
)

// request sends a request and waits for the answer. "?" is none: nothing is known of it. "retry" and "fail" mean that it was certainly not done.
func (n *node) request(key string, in input, patience time.Duration) answer {
	c := &call{input: in, key: key, timeout: minutes, arrived: time.Now(), told: make(chan answer, 1)}
	if !n.accept(c) {
		return answer{output: output{Result: "fail"}}
	}
	hangUp := time.NewTimer(patience)
	defer hangUp.Stop()
	select {
	case a := <-c.told:
		return a
	case <-n.died:
	case <-hangUp.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	select {
	case a := <-c.told: // just before
		return a
	default:
		return answer{output: output{Result: "?"}, Took: time.Since(c.arrived)}
	}
}

// accept starts the request's handler, if the node takes requests.
func (n *node) accept(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.serving.Go(func() { n.serve(c) })
	return true
}

// tell gives the web server its answer; false if it has gone, or cannot be reached.
func (c *call) tell(n *node, a answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.gone || n.dead {
		return false
	}
	a.Took = time.Since(c.arrived)
	c.told <- a
	return true
}

// serve is what service does with a request: the store, and if it is not there, the others.
func (n *node) serve(c *call) {
	if n.running(); !n.Fresh() {
		c.tell(n, answer{output: output{Result: "fail"}})
		return
	}
	k := session.KeyOf([]byte(c.key))
	var body *session.Body
	if c.Verb == "PUT" || c.Verb == "INS" {
		body = n.body(c.Value)
	}
	r := n.try(k, c, body, session.Grant{})
	held := false
	for r.Outcome == session.NotFound {
		a := n.Fetch(context.Background(), Request{Key: k, Purpose: purposes[c.Verb], Cookie: c.cookie(), Arrived: c.arrived})
		n.running()
		again := a.Outcome == handoff.Here || a.Outcome == handoff.Nowhere && body != nil
		if again {
			r = n.try(k, c, body, a.Grant)
		}
		n.Done(a)
		if again {
			continue
		}
		switch a.Outcome {
		case handoff.Nowhere:
		case handoff.Held:
			held = true
			r = session.Reply{Outcome: session.Locked, Cookie: a.Cookie, LockAge: a.LockAge}
		default:
			r.Outcome = session.Busy
		}
		if body != nil {
			body.Discard()
		}
		break
	}
	n.running()
	if !n.Fresh() {
		if r.Outcome == session.Done && c.Verb == "GETX" {
			n.f.record(c.key, input{Verb: "REL", Cookie: r.Cookie}, output{Result: "?"}, n.f.stamp(), register.Forever)
		}
		n.store.Settle(k, &r, false)
		c.mu.Lock()
		c.gone = true // the connection is closed, and nothing said
		c.mu.Unlock()
		c.hungUpOn(n)
		return
	}
	delivered := c.tell(n, c.answer(&r, held))
	if cookie := r.Cookie; !delivered && c.Verb == "GETX" && r.Outcome == session.Done {
		n.f.record(c.key, input{Verb: "REL", Cookie: cookie}, output{Result: "?"}, n.f.stamp(), register.Forever) // it is about to be taken back
	}
	n.store.Settle(k, &r, delivered)
}

// hungUpOn tells the web server that the connection is closed.
func (c *call) hungUpOn(n *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.told <- answer{output: output{Result: "?"}, Took: time.Since(c.arrived)}
}

var purposes = map[string]handoff.Purpose{
	"GET": handoff.Read, "GETX": handoff.Acquire, "PUT": handoff.Put, "INS": handoff.Insert, "REL": handoff.Release, "DEL": handoff.Remove,
	"HEAD": handoff.Touch,
}

// cookie is the request's; 0 is none.
func (c *call) cookie() int32 {
	if c.Cookie == 0 {
		return session.NoCookie
	}
	return c.Cookie
}

// try does the operation, if the session is here.
func (n *node) try(k session.Key, c *call, body *session.Body, grant session.Grant) session.Reply {
	ops := n.store.Since(c.arrived)
	switch c.Verb {
	case "GET":
		return ops.Get(k)
	case "GETX":
		return ops.Acquire(k)
	case "REL":
		return ops.Unlock(k, c.cookie())
	case "DEL":
		return ops.Remove(k, c.cookie())
	case "HEAD":
		return ops.Touch(k)
	}
	return ops.Set(k, session.Change{Body: body, Timeout: c.timeout, Cookie: c.cookie(), Uninitialised: c.Verb == "INS", Grant: grant})
}

// answer says what the web server is told. held: by another node.
func (c *call) answer(r *session.Reply, held bool) answer {
	a := answer{First: r.First, LockAge: r.LockAge, Timeout: r.Timeout}
	switch r.Outcome {
	case session.Done:
		a.Result = "ok"
		if c.Verb == "GET" || c.Verb == "GETX" {
			a.Value, a.Cookie = valueOf(r.Body()), r.Cookie
		}
	case session.NotFound:
		a.Result = "404"
	case session.Locked:
		a.Result, a.Cookie = "locked", r.Cookie
		if held && (c.Verb == "INS" || c.Verb == "HEAD") {
			a.output = output{Result: "ok"}
		}
	default:
		a.Result = "fail"
		if c.Verb == "GET" || c.Verb == "GETX" {
			a.Result = "retry"
		}
	}
	return a
}

// body makes the bytes of a value: a few, or now and then so many that they go by a connection of their own.
func (n *node) body(value int64) *session.Body {
	text := bytesOf(value)
	b, err := n.store.NewBody(len(text))
	if err != nil {
		panic(err)
	}
	for !b.Full() {
		got := copy(b.Next(), text)
		text = text[got:]
		b.Filled(got)
	}
	return b
}

func bytesOf(value int64) []byte {
	size := 20 + int(value*37%300)
	if value%32 == 31 {
		size = 100 << 10
	}
	b := fmt.Appendf(make([]byte, 0, size), "%d ", value)
	return append(b, bytes.Repeat([]byte{byte(value), byte(value >> 8), 7}, (size-len(b))/3)...)
}

// valueOf is -1 if the bytes are no value's.
func valueOf(b []byte) int64 {
	text, _, _ := bytes.Cut(b, []byte(" "))
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || !bytes.Equal(b, bytesOf(v)) {
		return -1
	}
	return v
}

// One request each, as tests say them.

func (n *node) get(key string) answer     { return n.request(key, input{Verb: "GET"}, clientTimeout) }
func (n *node) acquire(key string) answer { return n.request(key, input{Verb: "GETX"}, clientTimeout) }
func (n *node) touch(key string) answer   { return n.request(key, input{Verb: "HEAD"}, clientTimeout) }
func (n *node) put(key string, value int64, cookie int32) answer {
	return n.request(key, input{Verb: "PUT", Value: value, Cookie: cookie}, clientTimeout)
}
func (n *node) insert(key string, value int64) answer {
	return n.request(key, input{Verb: "INS", Value: value}, clientTimeout)
}
func (n *node) release(key string, cookie int32) answer {
	return n.request(key, input{Verb: "REL", Cookie: cookie}, clientTimeout)
}
func (n *node) removeSession(key string, cookie int32) answer {
	return n.request(key, input{Verb: "DEL", Cookie: cookie}, clientTimeout)
}
