package handoff_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/register"
)

type (
	input  = register.Input
	output = register.Output
)

// op is one request of a web server, in a handler of the node it was sent to.
type op struct {
	input
	w       *world
	n       *node
	client  int
	id      uint64
	key     handoff.Key
	call    time.Duration
	arrived time.Duration
	wants   bool // the machine has it
	owes    bool // the machine is to be told Finished
	over    bool // for the node
	gone    bool // the web server has closed the connection
	told    bool // the web server has its answer
	then    func(output)
}

var purposes = map[string]handoff.Purpose{
	"GET": handoff.Read, "GETX": handoff.Acquire, "PUT": handoff.Put, "INS": handoff.Insert, "REL": handoff.Release, "DEL": handoff.Remove,
	"HEAD": handoff.Touch,
}

const clientTimeout = 10 * time.Second

// request sends one to a node; then is called with what the web server gets to know.
func (w *world) request(client int, n *node, k handoff.Key, in input, then func(output)) *op {
	w.ops++
	o := &op{input: in, w: w, n: n, client: client, id: w.ops, key: k, call: w.now, then: then}
	w.stats["operations"]++
	if n == nil || !n.listening {
		w.at(ms, func() { o.tell(output{Result: "fail"}) })
		return o
	}
	n.open = append(n.open, o)
	w.at(w.atNode(), func() {
		n.run(func() {
			o.arrived = w.now
			if !o.over {
				n.store.try(o)
			}
		})
	})
	w.at(clientTimeout, o.hangUp)
	if !w.calm && w.p.gap+w.p.length > 0 && w.chance(.004) {
		w.at(w.upTo(50*ms), o.hangUp)
	}
	return o
}

// missed: the store does not have the session.
func (o *op) missed() {
	o.settle()
	o.n.post(ms, func() {
		switch {
		case o.over:
		case o.gone:
			o.end()
		default:
			o.wants = true
			o.n.m.Want(o.w.now, handoff.Request{ID: o.id, Key: o.key, Purpose: purposes[o.Verb], Cookie: o.Cookie, Arrived: o.arrived})
		}
	})
}

// answered is the machine's answer.
func (n *node) answered(a handoff.Answer) {
	i := slices.IndexFunc(n.open, func(o *op) bool { return o.id == a.Request })
	if i < 0 || !n.open[i].wants {
		n.w.fail("%s answers %v to request %d, which does not wait", n.id, a.Outcome, a.Request)
		return
	}
	o := n.open[i]
	o.wants = false
	n.w.logf("   %s: request %d (%s %s) is answered %v", n.id, o.id, o.Verb, o.key, a.Outcome)
	o.owes = a.Outcome == handoff.Here || a.Outcome == handoff.Nowhere
	n.post(ms, func() { o.goOn(a) })
}

func (o *op) goOn(a handoff.Answer) {
	if o.over {
		return
	}
	switch a.Outcome {
	case handoff.Here:
		o.n.store.try(o)
	case handoff.Nowhere:
		if o.Verb == "PUT" || o.Verb == "INS" {
			o.n.store.create(o, a)
		} else {
			o.done(output{Result: "404"})
		}
	case handoff.Held:
		if o.Verb == "INS" || o.Verb == "HEAD" {
			o.done(output{Result: "ok"})
		} else {
			o.done(output{Result: "locked", Cookie: a.Cookie})
		}
	default:
		o.w.stats[a.Outcome.String()]++
		o.done(output{Result: o.busy()})
	}
}

// busy is what a request is told that was certainly not started.
func (o *op) busy() string {
	if o.Verb == "GET" || o.Verb == "GETX" {
		return "retry"
	}
	return "fail"
}

// done ends the handler's work with an answer to the web server.
func (o *op) done(out output) {
	if o.over {
		return
	}
	o.settle()
	o.end()
	o.w.at(o.w.atNode(), func() { o.tell(out) })
}

// atNode is how long it takes between a web server and its node.
func (w *world) atNode() time.Duration {
	if w.p.prompt {
		return 0
	}
	return w.between(ms/10, ms/3)
}

func (o *op) settle() {
	if o.owes {
		o.owes = false
		o.n.m.Finished(o.w.now, o.id)
	}
}

func (o *op) end() {
	o.over = true
	o.n.open = slices.DeleteFunc(o.n.open, func(x *op) bool { return x == o })
}

// hangUp: the web server closes the connection before it has the answer.
func (o *op) hangUp() {
	if o.told {
		return
	}
	o.gone = true
	o.tell(output{Result: "?"})
	o.n.run(func() {
		if o.wants {
			o.wants = false
			o.n.m.Cancel(o.w.now, o.id)
			o.end()
		}
	})
}

// cutOff: the node is no more.
func (o *op) cutOff() {
	o.end()
	o.gone = true
	o.w.at(ms/5, func() { o.tell(output{Result: "?"}) })
}

// takenBack: the node found that the web server had gone, and freed the lock that it was to get.
func (o *op) takenBack(cookie int32) {
	o.settle()
	o.end()
	o.w.record(o.key, porcupine.Operation{ClientId: o.client, Input: input{Verb: "REL", Cookie: cookie}, Call: int64(o.call),
		Output: output{Result: "?"}, Return: forever})
}

// tell gives the web server its answer, and history the operation.
func (o *op) tell(out output) {
	if o.told {
		return
	}
	o.told = true
	w := o.w
	if w.trace != nil {
		w.logf("c%d %s %s@%s -> %v (%v)", o.client, o.key, o.input, o.n.name(), out, w.now-o.call)
	}
	if took := w.now - o.call; w.p.slowest > 0 && took > w.p.slowest && o.Verb != "GET" && o.Verb != "GETX" {
		w.fail("%s of %s took %v, though nothing was lost", o.Verb, o.key, took)
	}
	operation := porcupine.Operation{ClientId: o.client, Input: o.input, Call: int64(o.call), Output: out, Return: int64(w.now)}
	switch {
	case out.Result == "retry" || out.Result == "fail": // certainly not done
		w.stats["refused"]++
	case out.Result == "?" && (o.Verb == "GET" || o.Verb == "HEAD"):
	case out.Result == "?":
		w.stats["indeterminate"]++
		operation.Return = forever
		w.record(o.key, operation)
	default:
		w.record(o.key, operation)
	}
	o.then(out)
}

func (n *node) name() string {
	if n == nil {
		return "nobody"
	}
	return string(n.id)
}

// client is a web server that serves one user's pages after each other; any node will do for each request.
type client struct {
	w     *world
	id    int
	until time.Duration
	tries int
}

func (c *client) do(k handoff.Key, in input, then func(output)) {
	ns := c.w.listeners()
	if len(ns) == 0 {
		c.w.at(200*ms, func() { then(output{Result: "fail"}) })
		return
	}
	c.w.request(c.id, ns[c.w.rng.IntN(len(ns))], k, in, then)
}

func (c *client) next(output) { c.w.at(c.w.upTo(200*ms), c.page) }

// page is one page, of whatever sort.
func (c *client) page() {
	w := c.w
	if w.now > c.until {
		return
	}
	k := handoff.Key(fmt.Sprintf("s%d", w.rng.IntN(3)))
	c.tries = 0
	switch x := w.rng.Float64(); {
	case x < .15:
		c.do(k, input{Verb: "GET"}, c.next)
	case x < .20:
		c.do(k, input{Verb: "HEAD"}, c.next)
	case x < .25: // log off from a page that reads only: it holds no lock
		c.do(k, input{Verb: "DEL", Cookie: 0}, c.next)
	case x < .35:
		c.newUser()
	default:
		c.readWrite(k)
	}
}

// newUser writes a session nobody has heard of, except that another may try the same at the same time.
func (c *client) newUser() {
	w := c.w
	k := handoff.Key(fmt.Sprintf("new%d", w.now/(800*ms)))
	in := input{Verb: "PUT", Value: w.nextValue()}
	if w.chance(.4) {
		in.Verb = "INS"
	}
	c.do(k, in, func(output) {
		w.at(w.upTo(20*ms), func() { c.readWrite(k) })
	})
}

// readWrite is a page that may change its session: acquire, think, write.
func (c *client) readWrite(k handoff.Key) {
	w := c.w
	c.do(k, input{Verb: "GETX"}, func(out output) {
		c.tries++
		switch out.Result {
		case "404":
			in := input{Verb: "PUT", Value: w.nextValue()}
			if w.chance(.5) {
				in.Verb = "INS"
			}
			c.do(k, in, c.next)
		case "ok":
			w.at(w.upTo(300*ms), func() { c.finish(k, out.Cookie) })
		case "locked":
			if c.tries > 6 { // longer than any page may take: free it
				c.do(k, input{Verb: "REL", Cookie: out.Cookie}, c.next)
				return
			}
			w.at(500*ms, func() { c.readWrite(k) })
		case "retry":
			if c.tries > 60 {
				w.stats["gave up"]++
				c.next(out)
				return
			}
			w.at(500*ms, func() { c.readWrite(k) })
		default:
			c.next(out)
		}
	})
}

// finish ends a page that holds the lock.
func (c *client) finish(k handoff.Key, cookie int32) {
	switch x := c.w.rng.Float64(); {
	case x < .70:
		c.do(k, input{Verb: "PUT", Cookie: cookie, Value: c.w.nextValue()}, c.next)
	case x < .85:
		c.do(k, input{Verb: "REL", Cookie: cookie}, c.next)
	case x < .95:
		c.do(k, input{Verb: "DEL", Cookie: cookie}, c.next)
	default: // the page died, and its lock stays
		c.next(output{})
	}
}

func (w *world) nextValue() int64 {
	w.values++
	return w.values
}
