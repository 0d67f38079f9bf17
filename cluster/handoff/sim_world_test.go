package handoff_test

// The simulator: clusters of the machine that production runs, each node with a little store and web servers that use it. One goroutine, one
// generator, one heap of events: a seed replays bit for bit.

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/register"
	"statemesh/wire/peer"
)

const (
	ms      = time.Millisecond
	forever = register.Forever
)

// profile is what a simulated cluster goes through.
type profile struct {
	name         string
	nodes        int // 0: three to nine, by the seed
	clients      int
	length       time.Duration // of the trouble; some quiet follows
	drop, dup    float64       // of messages
	slow, late   float64       // up to 400ms; up to 5s (the late ones are duplicates)
	cut          bool          // links fail, one way or both, without any member being lost
	crash, churn bool
	pause        bool          // nodes are stopped and go on, for longer and for shorter than it takes to be taken for dead
	split        bool          // the members fall apart into two clusters
	gap          time.Duration // between faults, on average
	unpromised   bool          // sessions' histories are not expected to be right
	slowest      time.Duration // that a request may take which does not wait for a lock; 0: any
	prompt       bool          // only messages take time, and all the same
	skew         time.Duration // that nodes' wall clocks may be wrong by
}

type world struct {
	p     profile
	seed  uint64
	rng   *rand.Rand
	now   time.Duration
	queue events
	count int64

	nodes      []*node // all there have ever been
	slots      []*node // the live ones; nil where there is none
	cuts       map[link]time.Duration
	calm       bool          // no faults any more
	quietUntil time.Duration // no node is stopped before
	history    map[handoff.Key][]porcupine.Operation
	values     int64
	top        map[handoff.Key]handoff.Epoch // the highest anybody has served a session with
	ops        uint64
	broken     string // a rule taken away

	sent     map[string]int // messages, by kind
	stats    map[string]int
	failures []string
	trace    func(format string, args ...any)
}

type link struct{ from, to handoff.NodeID }

type event struct {
	at  time.Duration
	seq int64
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func newWorld(p profile, seed uint64) *world {
	w := &world{
		p: p, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5e55)), now: time.Second,
		cuts: map[link]time.Duration{}, top: map[handoff.Key]handoff.Epoch{}, history: map[handoff.Key][]porcupine.Operation{},
		sent: map[string]int{}, stats: map[string]int{},
	}
	if w.p.nodes == 0 {
		w.p.nodes = 3 + w.rng.IntN(7)
	}
	w.slots = make([]*node, w.p.nodes)
	for i := range w.slots {
		w.newNode(i, false)
	}
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			a.m.MemberUp(w.now, b.id, handoff.Meta{})
		}
	}
	return w
}

func (w *world) at(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, event{w.now + d, w.count, do})
}

// upTo is a random time.
func (w *world) upTo(d time.Duration) time.Duration         { return time.Duration(w.rng.Int64N(int64(d) + 1)) }
func (w *world) between(lo, hi time.Duration) time.Duration { return lo + w.upTo(hi-lo) }
func (w *world) chance(p float64) bool                      { return w.rng.Float64() < p }

func (w *world) logf(format string, args ...any) {
	if w.trace != nil {
		w.trace("%10.4f %s", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *world) fail(format string, args ...any) {
	msg := fmt.Sprintf("at %.4fs: %s", w.now.Seconds(), fmt.Sprintf(format, args...))
	w.failures = append(w.failures, msg)
	w.logf("FAILURE %s", msg)
}

// runUntil lets time pass.
func (w *world) runUntil(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// node is one machine with its store, and the process around it.
type node struct {
	w     *world
	id    handoff.NodeID
	slot  int
	m     *handoff.Machine
	store *store

	dead, left, listening, leaving bool
	joined                         bool
	stopped                        time.Duration // by SIGSTOP, until then
	backlog                        []func()
	ran                            time.Duration // when it last did
	ticking                        time.Duration // the next Tick, if there is one
	downs                          map[handoff.NodeID]bool
	open                           []*op // requests of web servers
	drained                        bool
}

const (
	tickEvery  = 300 * ms
	fenceAfter = 1500 * ms
)

func (w *world) newNode(slot int, joining bool) *node {
	n := &node{w: w, id: handoff.NodeID(fmt.Sprintf("n%02d", len(w.nodes))), slot: slot, listening: true, joined: !joining,
		ran: w.now, downs: map[handoff.NodeID]bool{}}
	n.store = newStore(n)
	started := int64(1_700_000_000_000_000)
	if w.p.skew > 0 {
		started += w.between(-w.p.skew, w.p.skew).Microseconds()
	}
	m, err := handoff.New(handoff.Options{Self: n.id, Sessions: n.store, Started: started, Joining: joining, LockWait: lockWait})
	if err != nil {
		panic(err)
	}
	n.m = m
	for rule := range strings.FieldsSeq(w.broken) {
		m.Break(rule)
	}
	w.nodes = append(w.nodes, n)
	w.slots[slot] = n
	if w.p.pause {
		w.at(w.upTo(tickEvery), n.heartbeat)
	}
	return n
}

// heartbeat is how a node notices that it was stopped.
func (n *node) heartbeat() {
	if !n.dead {
		n.run(func() {})
		n.w.at(tickEvery, n.heartbeat)
	}
}

// run lets the node's process do something: at once, or when it goes on.
func (n *node) run(do func()) {
	if n.dead {
		return
	}
	if n.stopped > n.w.now {
		n.backlog = append(n.backlog, do)
		return
	}
	if n.w.p.pause {
		if n.w.now-n.ran > fenceAfter {
			n.w.logf("%s fences itself", n.id)
			n.w.stats["fenced"]++
			n.m.Fence(n.w.now)
		}
		n.ran = n.w.now
	}
	do()
	n.perform()
}

// perform does what the machine wants done.
func (n *node) perform() {
	for acts := n.m.Actions(); len(acts) > 0; acts = n.m.Actions() {
		for _, act := range acts {
			switch act := act.(type) {
			case handoff.Send:
				n.w.send(n, act.To, act.Message)
			case handoff.Answer:
				n.answered(act)
			case handoff.Drained:
				n.drained = true
			}
		}
	}
	if at, ok := n.m.NextTick(); ok && (n.ticking <= n.w.now || at < n.ticking) {
		at = max(at, n.w.now)
		n.ticking = at
		n.w.at(at-n.w.now, func() {
			if n.ticking == at {
				n.ticking = 0
			}
			n.run(func() { n.m.Tick(n.w.now) })
		})
	}
}

// post does something a little later, as another goroutine of the node would.
func (n *node) post(most time.Duration, do func()) {
	if n.w.p.prompt {
		most = 0
	}
	n.w.at(n.w.upTo(most), func() { n.run(do) })
}

// send carries a message, or does not.
func (w *world) send(from *node, to handoff.NodeID, msg handoff.Message) {
	w.sent[msg.Kind().String()]++
	w.stats["messages"]++
	if to == from.id {
		w.fail("%s sends to itself: %v", to, msg)
		return
	}
	copies := 1
	if !w.calm {
		switch {
		case w.chance(w.p.drop):
			copies = 0
		case w.chance(w.p.dup):
			copies = 2
		}
	}
	if w.trace != nil {
		w.logf("   %s>%s %v%+v x%d", from.id, to, msg.Kind(), msg, copies)
	}
	for range copies {
		w.carry(from.id, to, msg, w.delay())
	}
	push, is := msg.(handoff.Push)
	if c, convoy := msg.(handoff.Convoy); convoy {
		push, is = handoff.Push{Transfer: c.N}, true
		w.stats["convoys"]++
	}
	if is && copies == 0 && w.chance(.3) { // and there was no connection
		from.post(5*ms, func() { from.m.Undelivered(w.now, push) })
	}
	if copies > 0 && !w.calm && w.chance(w.p.late) {
		w.carry(from.id, to, msg, w.upTo(5*time.Second))
	}
}

func (w *world) delay() time.Duration {
	if w.p.prompt {
		return ms / 2
	}
	if !w.calm && w.chance(w.p.slow) {
		return w.upTo(400 * ms)
	}
	return w.between(ms/5, ms)
}

func (w *world) carry(from, to handoff.NodeID, msg handoff.Message, d time.Duration) {
	w.stats["bytes"] += len(peer.Append(nil, msg))
	w.at(d, func() {
		if w.cuts[link{from, to}] > w.now {
			w.stats["cut"]++
			return
		}
		if n := w.node(to); n != nil {
			n.run(func() { n.m.Receive(w.now, from, msg) })
		}
	})
}

func (w *world) node(id handoff.NodeID) *node {
	for _, n := range w.slots {
		if n != nil && n.id == id {
			return n
		}
	}
	return nil
}

func (w *world) live() []*node {
	var ns []*node
	for _, n := range w.slots {
		if n != nil {
			ns = append(ns, n)
		}
	}
	return ns
}

// listeners are the nodes that web servers can reach.
func (w *world) listeners() []*node {
	return slices.DeleteFunc(w.live(), func(n *node) bool { return !n.listening })
}

// memberUp and memberDown are what gossip tells a node.
func (n *node) memberUp(o *node, after time.Duration) {
	n.w.at(after, func() {
		if n.dead || n.downs[o.id] {
			return
		}
		n.run(func() { n.m.MemberUp(n.w.now, o.id, handoff.Meta{Draining: o.leaving}) })
		if o.dead || o.left {
			n.memberDown(o, o.left, n.w.between(2*time.Second, 6*time.Second))
		}
	})
}

func (n *node) memberDown(o *node, left bool, after time.Duration) {
	n.w.at(after, func() {
		n.downs[o.id] = true
		n.run(func() { n.m.MemberDown(n.w.now, o.id, left) })
	})
}

// join starts a node that knows a seed.
func (w *world) join(slot int) {
	if w.slots[slot] != nil {
		return
	}
	w.stats["joins"]++
	others := w.live()
	n := w.newNode(slot, true)
	w.logf("%s joins", n.id)
	slowest := time.Duration(0)
	for _, o := range others {
		d := w.between(ms, 50*ms)
		slowest = max(slowest, d)
		n.memberUp(o, d)
		d = w.between(ms, 300*ms)
		if w.chance(.1) {
			d = w.upTo(time.Second)
		}
		o.memberUp(n, d)
	}
	w.at(slowest, func() {
		n.joined = true
		n.run(func() { n.m.Joined(w.now) })
	})
}

// crash ends a node's process, and everybody notices by and by.
func (w *world) crash(n *node) {
	w.stats["crashes"]++
	w.logf("%s CRASHES", n.id)
	w.recordLosses(n)
	for _, o := range w.live() {
		if o != n {
			o.memberDown(n, false, w.between(2*time.Second, 6*time.Second))
		}
	}
	w.end(n)
}

// end takes a node out of the world.
func (w *world) end(n *node) {
	n.dead = true
	w.slots[n.slot] = nil
	for _, o := range slices.Clone(n.open) {
		o.cutOff()
	}
	if (w.p.churn || w.p.crash) && !w.calm {
		w.at(w.between(time.Second, 4*time.Second), func() { w.join(n.slot) })
	}
}

// recordLosses says which sessions a crash may have taken with it.
func (w *world) recordLosses(n *node) {
	for _, k := range w.keys() {
		e := n.store.entries[k]
		if e == nil && !n.m.Arriving(k) {
			continue
		}
		served, known := false, false // elsewhere; a push may also be on its way
		for _, o := range w.live() {
			if o == n {
				continue
			}
			oe := o.store.entries[k]
			served = served || oe != nil && oe.state == handoff.Owned
			known = known || oe != nil || o.m.Arriving(k)
		}
		switch {
		case !known && (e == nil || e.state != handoff.Departing):
			w.lose(k, w.now+1) // it is lost
		case e != nil || !served:
			w.lose(k, forever) // it may be
		}
	}
}

func (w *world) lose(k handoff.Key, by time.Duration) {
	w.stats["losses"]++
	w.record(k, porcupine.Operation{Input: input{Verb: "LOST"}, Call: int64(w.now), Output: output{Result: "?"}, Return: int64(by)})
}

func (w *world) record(k handoff.Key, o porcupine.Operation) { w.history[k] = append(w.history[k], o) }

// keys are all sessions ever heard of, in order.
func (w *world) keys() []handoff.Key {
	all := map[handoff.Key]bool{}
	for k := range w.history {
		all[k] = true
	}
	for _, n := range w.live() {
		for k := range n.store.entries {
			all[k] = true
		}
	}
	return sortedKeys(all)
}

// drain lets a node leave.
func (w *world) drain(n *node) {
	w.stats["drains"]++
	w.logf("%s drains", n.id)
	n.leaving = true
	n.run(func() { n.m.Drain(w.now) })
	for _, o := range w.live() {
		if o != n {
			w.at(w.upTo(500*ms), func() { o.run(func() { o.m.MemberMeta(w.now, n.id, handoff.Meta{Draining: true}) }) })
		}
	}
	w.at(w.upTo(2*time.Second), func() { n.listening = false })
	w.at(100*ms, func() { w.leave(n) })
}

func (w *world) leave(n *node) {
	switch {
	case n.dead:
		return
	case n.listening || len(n.open) > 0 || !n.m.Drained():
		w.at(50*ms, func() { w.leave(n) })
		return
	}
	w.logf("%s leaves", n.id)
	n.left = true
	for _, o := range w.live() {
		if o != n {
			d := w.upTo(time.Second)
			if w.chance(.1) {
				d = w.between(2*time.Second, 6*time.Second)
			}
			o.memberDown(n, true, d)
		}
	}
	w.at(time.Second, func() { w.end(n) })
}

// stop is SIGSTOP, and SIGCONT after a while.
func (w *world) stop(n *node) {
	if w.quietUntil > w.now {
		return // what is promised is promised for one at a time
	}
	d := w.between(200*ms, 12*time.Second)
	w.quietUntil = w.now + d + 3*time.Second
	w.stats["pauses"]++
	w.logf("%s is stopped for %v", n.id, d)
	if d > fenceAfter {
		w.recordAbsence(n, d)
	}
	n.stopped = w.now + d
	for _, o := range w.live() {
		if dead := w.between(2*time.Second, 6*time.Second); o != n && dead < d {
			w.at(dead, func() { o.run(func() { o.m.MemberDown(w.now, n.id, false) }) })
			w.at(d+w.between(200*ms, 1200*ms), func() { o.run(func() { o.m.MemberUp(w.now, n.id, handoff.Meta{}) }) })
		}
	}
	w.at(d, func() {
		backlog := n.backlog
		n.backlog = nil
		for _, do := range backlog {
			n.run(do)
		}
	})
}

// recordAbsence says that what a stopped node has may be missed meanwhile, and come back.
func (w *world) recordAbsence(n *node, d time.Duration) {
	for _, k := range w.keys() {
		if n.store.entries[k] == nil && !n.m.Arriving(k) {
			continue
		}
		w.record(k, porcupine.Operation{Input: input{Verb: "AWAY"}, Call: int64(w.now), Output: output{Result: "?"}, Return: forever})
		w.record(k, porcupine.Operation{Input: input{Verb: "BACK"}, Call: int64(w.now + d), Output: output{Result: "?"}, Return: forever})
	}
}

// cutLink lets messages between two nodes be lost, one way or both.
func (w *world) cutLink() {
	ns := w.live()
	a, b := ns[w.rng.IntN(len(ns))], ns[w.rng.IntN(len(ns))]
	until := w.now + w.between(200*ms, 9*time.Second)
	w.stats["cuts"]++
	w.cuts[link{a.id, b.id}] = until
	if w.chance(.5) {
		w.cuts[link{b.id, a.id}] = until
	}
	w.logf("cut %s>%s for %v", a.id, b.id, until-w.now)
}

// splitUp cuts the cluster in two, until both have taken each other for dead, and joins it again.
func (w *world) splitUp() {
	d := w.between(8*time.Second, 12*time.Second)
	w.stats["splits"]++
	side := map[*node]bool{}
	ns := w.live()
	for i, n := range ns {
		side[n] = i == 0 || i < len(ns)-1 && w.chance(.5)
	}
	for _, a := range ns {
		for _, b := range ns {
			if side[a] == side[b] {
				continue
			}
			w.logf("split: %s no longer reaches %s", a.id, b.id)
			w.cuts[link{a.id, b.id}] = w.now + d
			w.at(w.between(2*time.Second, 6*time.Second), func() { a.run(func() { a.m.MemberDown(w.now, b.id, false) }) })
			w.at(d+w.between(200*ms, 1200*ms), func() { a.run(func() { a.m.MemberUp(w.now, b.id, handoff.Meta{}) }) })
		}
	}
}

// trouble strikes now and then, until it is time for quiet.
func (w *world) trouble(until time.Duration) {
	if w.p.gap == 0 {
		return
	}
	w.at(w.p.gap/2+w.upTo(w.p.gap), func() {
		if w.now > until {
			return
		}
		w.strike()
		w.trouble(until)
	})
}

func (w *world) strike() {
	var kinds []func(*node)
	if w.p.crash {
		kinds = append(kinds, w.crash)
	}
	if w.p.churn {
		kinds = append(kinds, w.drain)
	}
	if w.p.pause {
		kinds = append(kinds, w.stop)
	}
	if w.p.cut {
		kinds = append(kinds, func(*node) { w.cutLink() })
	}
	if w.p.split {
		kinds = append(kinds, func(*node) { w.splitUp() })
	}
	kind := kinds[w.rng.IntN(len(kinds))]
	able := slices.DeleteFunc(w.listeners(), func(n *node) bool { return !n.joined || n.leaving || n.stopped > w.now })
	if len(able) > 1 {
		kind(able[w.rng.IntN(len(able))])
	}
}

// serves checks that a session which a node begins to serve, or goes on serving, is served nowhere else, and that its epoch has risen.
func (w *world) serves(n *node, e *entry, again bool) {
	if !w.p.split && !w.p.pause && w.p.skew == 0 { // epochs of sessions made anew go by clocks, where nobody is left who knew the one before
		if top := w.top[e.key]; e.epoch < top || e.epoch == top && !again {
			w.fail("%s serves %s at epoch %d; it has been served at %d", n.id, e.key, e.epoch, top)
		}
		w.top[e.key] = e.epoch
	}
	w.checkOwners(e.key)
}

// checkOwners: a session is never served in two places.
func (w *world) checkOwners(k handoff.Key) {
	if w.p.split {
		return // shown at the end: when all is one cluster again, so are the sessions
	}
	var owners []string
	for _, n := range w.live() {
		if e := n.store.entries[k]; e != nil && e.state == handoff.Owned && n.stopped <= w.now && !(w.p.pause && w.now-n.ran > fenceAfter) {
			owners = append(owners, fmt.Sprintf("%s at epoch %d", n.id, e.epoch))
		}
	}
	if len(owners) > 1 {
		w.fail("%s has two owners: %v", k, owners)
	}
}
