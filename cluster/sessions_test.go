package cluster

import (
	"container/heap"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/register"
	"statemesh/session"
)

// The rules on the stores that they run on in production, and nothing else of a node: one event at a time, over a network that loses, doubles and
// delays. (The simulator of package handoff has a model of the store in its place, and the farm of this package everything.)

type plainWorld struct {
	t       *testing.T
	rng     *rand.Rand
	start   time.Time
	queue   plainEvents
	count   int64
	nodes   []*plainNode
	calm    bool
	ops     uint64
	stamp   int64
	values  int64
	history map[string][]porcupine.Operation
	stats   map[string]int
}

type plainEvent struct {
	at  time.Duration
	seq int64
	do  func()
}

type plainEvents []plainEvent

func (q plainEvents) Len() int { return len(q) }
func (q plainEvents) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q plainEvents) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *plainEvents) Push(x any)   { *q = append(*q, x.(plainEvent)) }
func (q *plainEvents) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// plainNode is a machine and a store.
type plainNode struct {
	w        *plainWorld
	id       handoff.NodeID
	m        *handoff.Machine
	store    *session.Store
	sessions sessions
	term     int // rises with every fence
	ticking  time.Duration
	waiting  map[uint64]*plainOp

	mu    sync.Mutex
	inbox []func() // what the store has told, from any goroutine
}

func newPlainWorld(t *testing.T, seed uint64, nodes int) *plainWorld {
	w := &plainWorld{t: t, rng: rand.New(rand.NewPCG(seed, 7)), start: time.Now(), history: map[string][]porcupine.Operation{}, stats: map[string]int{}}
	for i := range nodes {
		n := &plainNode{w: w, id: handoff.NodeID(fmt.Sprintf("n%d", i)), waiting: map[uint64]*plainOp{}}
		var err error
		if n.store, err = session.New(session.Options{}); err != nil {
			t.Fatal(err)
		}
		n.sessions, err = newSessions(n.store, told{
			left: func(k handoff.Key, ticket handoff.Ticket, l handoff.Leaving) {
				n.post(func() { n.m.Left(w.now(), k, ticket, l) })
			},
			removed: func(all []session.Removal) {
				n.post(func() {
					for _, r := range all {
						n.m.Removed(w.now(), handoff.Key(r.Key), handoff.Epoch(r.Epoch))
					}
				})
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.m, err = handoff.New(handoff.Options{Self: n.id, Sessions: n.sessions, Started: 1_700_000_000_000_000})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
	}
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			a.m.MemberUp(0, b.id, handoff.Meta{})
		}
	}
	return w
}

func (w *plainWorld) now() time.Duration    { return time.Since(w.start) }
func (w *plainWorld) chance(p float64) bool { return !w.calm && w.rng.Float64() < p }
func (w *plainWorld) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d) + 1))
}
func (w *plainWorld) at(d time.Duration, do func()) { w.push(w.now()+d, do) }
func (n *plainNode) run(do func())                  { do(); n.perform() }
func (n *plainNode) later(most time.Duration, do func()) {
	n.w.at(n.w.upTo(most), func() { n.run(do) })
}
func (w *plainWorld) next() int64 { w.stamp++; return w.stamp }
func (w *plainWorld) push(at time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, plainEvent{at, w.count, do})
}

// post is what the store tells.
func (n *plainNode) post(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inbox = append(n.inbox, do)
}

// runFor lets time pass: the bubble's, so that the store's clock and its timers go along.
func (w *plainWorld) runFor(d time.Duration) {
	end := w.now() + d
	for {
		synctest.Wait()
		for _, n := range w.nodes {
			n.mu.Lock()
			news := n.inbox
			n.inbox = nil
			n.mu.Unlock()
			for _, do := range news {
				n.later(ms, do)
			}
		}
		if len(w.queue) == 0 || w.queue[0].at > end {
			time.Sleep(end - w.now())
			return
		}
		if d := w.queue[0].at - w.now(); d > 0 {
			time.Sleep(min(d, 10*ms)) // the store may have something to tell before that
			continue
		}
		heap.Pop(&w.queue).(plainEvent).do()
	}
}

func (n *plainNode) perform() {
	for acts := n.m.Actions(); len(acts) > 0; acts = n.m.Actions() {
		for _, act := range acts {
			switch act := act.(type) {
			case handoff.Send:
				n.w.send(n, act.To, act.Message)
			case handoff.Answer:
				o := n.waiting[act.Request]
				delete(n.waiting, act.Request)
				n.later(ms, func() { o.goOn(act) })
			}
		}
	}
	if at, ok := n.m.NextTick(); ok && (n.ticking <= n.w.now() || at < n.ticking) {
		n.ticking = max(at, n.w.now())
		n.w.push(n.ticking, func() { n.run(func() { n.m.Tick(n.w.now()) }) })
	}
}

func (w *plainWorld) send(from *plainNode, to handoff.NodeID, msg handoff.Message) {
	copies := 1
	switch {
	case w.chance(.15):
		copies = 0
	case w.chance(.1):
		copies = 2
	}
	var body string
	push, isPush := msg.(handoff.Push)
	if isPush {
		body = string(push.Record.Body.(*session.Stored).Bytes())
	}
	for range copies {
		d := w.upTo(ms)
		if w.chance(.1) {
			d = w.upTo(400 * ms)
		}
		for _, n := range w.nodes {
			if n.id != to {
				continue
			}
			w.at(d, func() {
				n.run(func() {
					if isPush {
						arrived := n.body(body).Stored()
						defer arrived.Release()
						push.Record.Body = arrived
						n.m.Receive(w.now(), from.id, push)
						return
					}
					n.m.Receive(w.now(), from.id, msg)
				})
			})
		}
	}
}

func (n *plainNode) body(text string) *session.Body {
	b, err := n.store.NewBody(len(text))
	if err != nil {
		n.w.t.Fatal(err)
	}
	b.Filled(copy(b.Next(), text))
	return b
}

// plainOp is one request.
type plainOp struct {
	register.Input
	w       *plainWorld
	n       *plainNode
	id      uint64
	key     string
	call    int64
	arrived time.Duration
	owes    bool
	grant   session.Grant
	then    func(register.Output)
}

func (w *plainWorld) request(key string, in register.Input, then func(register.Output)) {
	w.ops++
	o := &plainOp{Input: in, w: w, n: w.nodes[w.rng.IntN(len(w.nodes))], id: w.ops, key: key, call: w.next(), arrived: w.now(), then: then}
	o.n.later(ms, o.try)
}

// try tries it on the store, again and again while it would have to wait.
func (o *plainOp) try() {
	k, ops := session.KeyOf([]byte(o.key)), o.n.store.Try()
	var r session.Reply
	switch o.Verb {
	case "GET":
		r = ops.Get(k)
	case "GETX":
		r = ops.Acquire(k)
	case "HEAD":
		r = ops.Touch(k)
	case "REL":
		r = ops.Unlock(k, o.Cookie)
	case "DEL":
		r = ops.Remove(k, o.Cookie)
	default:
		value := binary.LittleEndian.AppendUint64(nil, uint64(o.Value))
		b := o.n.body(string(value) + strings.Repeat("x", int(o.Value%700)))
		r = ops.Set(k, session.Change{Body: b, Timeout: 20, Cookie: o.Cookie, Uninitialised: o.Verb == "INS", Grant: o.grant})
		if r.Outcome == session.NotFound || r.Outcome == session.Taken {
			b.Discard()
		}
	}
	switch r.Outcome {
	case session.Taken:
		if o.w.now()-o.arrived > 6*time.Second {
			o.done(register.Output{Result: "not done"})
			return
		}
		o.n.later(2*ms, o.try)
	case session.NotFound:
		o.grant = session.Grant{}
		o.finished()
		o.n.later(ms, func() {
			o.n.waiting[o.id] = o
			o.n.m.Want(o.w.now(), handoff.Request{ID: o.id, Key: handoff.Key(o.key), Purpose: purposes[o.Verb], Cookie: o.Cookie, Arrived: o.arrived})
		})
	case session.Locked:
		o.done(register.Output{Result: "locked", Cookie: r.Cookie})
	case session.Done:
		o.w.checkOwners(o.key)
		if o.Verb == "GET" || o.Verb == "GETX" {
			term := o.n.term
			o.n.later(2*ms, func() { o.write(k, r, term) })
			return
		}
		o.done(register.Output{Result: "ok"})
	default:
		o.w.t.Errorf("%s: outcome %d", o.Verb, r.Outcome)
	}
}

// write hands a read's answer to the web server, which may have gone; and must not have it if the node was fenced meanwhile.
func (o *plainOp) write(k session.Key, r session.Reply, term int) {
	delivered := term == o.n.term && !o.w.chance(.03)
	out := register.Output{Result: "ok", Cookie: r.Cookie, Value: int64(binary.LittleEndian.Uint64(r.Body()))}
	o.n.store.Settle(k, &r, delivered)
	if delivered {
		o.done(out)
		return
	}
	o.finished()
	if o.Verb == "GETX" {
		o.record(register.Output{Result: "?"}, register.Forever)
		release := *o
		release.Input = register.Input{Verb: "REL", Cookie: out.Cookie}
		release.record(register.Output{Result: "?"}, register.Forever)
	}
	o.then(register.Output{Result: "?"})
}

func (o *plainOp) goOn(a handoff.Answer) {
	o.owes = a.Outcome == handoff.Here || a.Outcome == handoff.Nowhere
	switch {
	case a.Outcome == handoff.Here:
		o.try()
	case a.Outcome == handoff.Nowhere && (o.Verb == "PUT" || o.Verb == "INS"):
		o.grant = session.Grant{Epoch: uint64(a.Epoch), Term: a.Term}
		o.try()
	case a.Outcome == handoff.Nowhere:
		o.done(register.Output{Result: "404"})
	case a.Outcome == handoff.Held && (o.Verb == "INS" || o.Verb == "HEAD"):
		o.done(register.Output{Result: "ok"})
	case a.Outcome == handoff.Held:
		o.done(register.Output{Result: "locked", Cookie: a.Cookie})
	default:
		o.w.stats[a.Outcome.String()]++
		o.done(register.Output{Result: "not done"})
	}
}

func (o *plainOp) finished() {
	if o.owes {
		o.owes = false
		o.n.m.Finished(o.w.now(), o.id)
	}
}

func (o *plainOp) done(out register.Output) {
	o.finished()
	o.w.stats[o.Verb+" "+out.Result]++
	if out.Result != "not done" {
		o.record(out, o.w.next())
	}
	o.then(out)
}

func (o *plainOp) record(out register.Output, end int64) {
	o.w.history[o.key] = append(o.w.history[o.key], porcupine.Operation{Input: o.Input, Call: o.call, Output: out, Return: end})
}

func (w *plainWorld) checkOwners(key string) {
	owners := 0
	for _, n := range w.nodes {
		if n.sessions.Look(handoff.Key(key)).State == handoff.Owned {
			owners++
		}
	}
	if owners > 1 {
		w.t.Errorf("%s has %d owners", key, owners)
	}
}

// page is one page of one user; and then the next.
func (w *plainWorld) page(until time.Duration) {
	if w.now() > until {
		return
	}
	next := func(register.Output) { w.at(w.upTo(200*ms), func() { w.page(until) }) }
	w.values++
	key := fmt.Sprintf("/app/s%d", w.rng.IntN(3))
	switch x := w.rng.Float64(); {
	case x < .15:
		w.request(key, register.Input{Verb: "GET"}, next)
	case x < .2:
		w.request(key, register.Input{Verb: "HEAD"}, next)
	case x < .24:
		w.request(key, register.Input{Verb: "DEL"}, next)
	case x < .34:
		w.request(fmt.Sprintf("/app/new%d/with-an-id-that-does-not-fit", w.now()/time.Second), register.Input{Verb: "INS", Value: w.values}, next)
	default:
		value := w.values
		w.request(key, register.Input{Verb: "GETX"}, func(out register.Output) {
			in := register.Input{Verb: "PUT", Cookie: out.Cookie, Value: value}
			switch x := w.rng.Float64(); {
			case out.Result == "404":
			case out.Result == "locked" && x < .9, out.Result != "ok" && out.Result != "locked":
				next(out)
				return
			case out.Result == "locked", x < .2:
				in.Verb, in.Value = "REL", 0
			case x < .25:
				in.Verb, in.Value = "DEL", 0
			}
			w.at(w.upTo(200*ms), func() { w.request(key, in, next) })
		})
	}
}

// fence strikes now and then.
func (w *plainWorld) fence(until time.Duration) {
	w.at(2*time.Second+w.upTo(4*time.Second), func() {
		if w.now() > until {
			return
		}
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		n.run(func() {
			n.term++
			n.m.Fence(w.now())
		})
		w.stats["fences"]++
		w.fence(until)
	})
}

func (w *plainWorld) checkEnd() {
	places := map[handoff.Key]int{}
	for _, n := range w.nodes {
		if s := n.m.Stats(); s.Affairs+s.Waiting+s.Running+s.Leaving+s.Arriving+s.Settling+s.Notes > 0 {
			w.t.Errorf("%s is not at rest: %+v", n.id, s)
		} else {
			w.stats["moves"] += int(s.MovedOut)
			w.stats["adopted"] += int(s.Adopted)
		}
		if s := n.store.Stats(); s.Held+s.Waiting+s.Leaving+s.Copies > 0 {
			w.t.Errorf("the store of %s is not at rest: %+v", n.id, s)
		}
		for _, k := range n.sessions.Pick(100) {
			places[k]++
			ticket := handoff.Ticket(1 << 50)
			l := n.sessions.Leave(k, ticket, handoff.Terms{Any: true})
			n.sessions.Forget([]handoff.Push{{Key: k, Transfer: ticket, Record: l.Record}})
		}
		if s := n.store.Stats(); s.Active+s.UsedBytes+s.BodyBytes > 0 {
			w.t.Errorf("%s: everything is removed, and there is %+v", n.id, s)
		}
		n.store.Close()
	}
	for k, n := range places {
		if n > 1 {
			w.t.Errorf("%s is in %d places", k, n)
		}
	}
	for k, h := range w.history {
		if res := porcupine.CheckOperationsTimeout(register.Model, h, 20*time.Second); res != porcupine.Ok {
			var text strings.Builder
			register.FirstBad(&text, h)
			w.t.Errorf("the history of %s: %s\n%s", k, res, text.String())
		}
	}
}

var plainSeeds = flag.Uint64("plain-seeds", 6, "of the rules on real stores")

func TestSessions_TheRulesOnRealStores(t *testing.T) {
	t.Parallel()
	for seed := range *plainSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newPlainWorld(t, seed, 3+int(seed)%3)
				const length = 30 * time.Second
				for range 6 {
					w.at(w.upTo(100*ms), func() { w.page(length) })
				}
				if seed%2 == 1 {
					w.fence(length - 5*time.Second)
				}
				w.runFor(length)
				w.calm = true
				w.runFor(2 * time.Minute)
				w.checkEnd()
				t.Log(w.stats)
			})
		})
	}
}
