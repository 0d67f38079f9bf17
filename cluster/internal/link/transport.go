package link

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"statemesh/wire/peer"
)

// Transport carries messages between this node and others. All methods may be called concurrently.
type Transport struct {
	o       Options
	gate    *gate
	refusal *limiter

	generation atomic.Uint64 // of the latest connection dialed

	ctx    context.Context // ends with everything
	cancel context.CancelFunc
	lanes  sync.WaitGroup // the outbound goroutines
	wg     sync.WaitGroup // all others
	ending chan struct{}  // closed when Stop begins: lanes send what is queued, and end

	mu      sync.Mutex // guards what follows; held for moments only
	started bool
	stopped bool
	links   map[peer.NodeID]*link
	dirty   []*lane // that were sent something since the last Flush
	inbound map[inboundKey]*inbound
	counts  map[peer.NodeID]*received

	lost    lostAndFound
	parcels sync.Pool // of *parcel
}

// link is this node's way to another.
type link struct {
	small, bulk *lane
	since       time.Time
}

// New checks the options. It starts nothing.
func New(o Options) (*Transport, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	t := &Transport{
		o: o, gate: newGate(&o), refusal: newLimiter(), ending: make(chan struct{}),
		links: map[peer.NodeID]*link{}, inbound: map[inboundKey]*inbound{}, counts: map[peer.NodeID]*received{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.lost.wake = make(chan struct{}, 1)
	return t, nil
}

// Start begins to accept connections. It does not wait for anything.
func (t *Transport) Start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.stopped {
		return
	}
	t.started = true
	t.wg.Go(t.acceptLoop)
	t.wg.Go(t.reportLost)
}

// Connect keeps a connection to a member from now on: it is dialed again and again, until Forget.
func (t *Transport) Connect(id peer.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || t.links[id] != nil || id == t.o.Self {
		return
	}
	l := &link{small: t.newLane(id, peer.Small), bulk: t.newLane(id, peer.Bulk), since: time.Now()}
	t.links[id] = l
	t.lanes.Go(l.small.run)
	t.lanes.Go(l.bulk.run)
}

// Forget closes the connections to a node, and drops what was to be sent over them. Those that it has opened itself close when it is gone, or
// nothing comes over them any more.
func (t *Transport) Forget(id peer.NodeID) {
	t.mu.Lock()
	l := t.links[id]
	delete(t.links, id)
	t.dropCountLocked(id)
	t.mu.Unlock()
	if l != nil {
		l.small.cancel()
		l.bulk.cancel()
	}
}

// Send puts a message for a node in line, to go with the next Flush. It never waits. If there is no way to the node, or too much in line already, the message
// is dropped: whoever sends it must repeat it anyway.
//
// The body of a Push is its Record.Body, a Source, of Record.Size bytes. A small one is copied, and so are those of a Convoy; a large one held until it
// has been sent.
func (t *Transport) Send(to peer.NodeID, m peer.Message) {
	t.mu.Lock()
	l := t.links[to]
	if l == nil {
		t.mu.Unlock()
		if what := carries(m); what != (pushed{}) {
			t.undelivered(to, what, 1)
		}
		return
	}
	t.mu.Unlock()
	which := l.small
	if large(m) {
		which = l.bulk
	}
	switch p := m.(type) {
	case peer.Push:
		which.addPush(m, p)
	case peer.Convoy:
		which.addConvoy(m, p)
	default:
		which.add(m)
	}
	t.mu.Lock() // only now: a Flush in between would wake the lane too early, and not again
	if !which.dirty {
		which.dirty = true
		t.dirty = append(t.dirty, which)
	}
	t.mu.Unlock()
}

// small sessions are copied, and go with all other messages.
const smallBody = 64 << 10

// large messages would delay the others.
func large(m peer.Message) bool {
	switch m := m.(type) {
	case peer.Push:
		return m.Record.Size > smallBody
	case peer.Claims:
		return longClaims(m.Claims)
	case peer.Heard:
		return longClaims(m.Claims)
	}
	return false
}

func longClaims(claims []peer.Claim) bool {
	size := 0
	for i := range claims {
		size += len(claims[i].Key)
	}
	return size > smallBody
}

// Flush lets go what was sent since the last Flush. So whoever sends many messages for one reason pays for one write per node. It does not wait.
func (t *Transport) Flush() {
	var now [maxLanesNow]*lane
	n := 0
	t.mu.Lock()
	for i, l := range t.dirty {
		l.dirty = false
		if n < len(now) {
			now[n] = l
			n++
		} else {
			l.nudge()
		}
		t.dirty[i] = nil
	}
	t.dirty = t.dirty[:0]
	t.mu.Unlock()
	for _, l := range now[:n] {
		if !l.sendNow() {
			l.nudge()
		}
	}
}

// maxLanesNow is to how many nodes a Flush writes itself. More are worth waking somebody for.
const maxLanesNow = 8

// Recheck closes all connections that Accepts does not accept any more. To be called when the keys have changed.
func (t *Transport) Recheck() {
	t.mu.Lock()
	var all []*conn
	for _, in := range t.inbound {
		all = append(all, &in.conn)
	}
	var lanes []*lane
	for _, l := range t.links {
		lanes = append(lanes, l.small, l.bulk)
	}
	t.mu.Unlock()
	for _, l := range lanes {
		if c := l.connected(); c != nil {
			all = append(all, &c.conn)
		}
	}
	for _, c := range all {
		if c.tls != nil && !t.o.Accepts(c.tls) {
			c.close()
		}
	}
}

// Stop ends everything: what is in line is sent, for as long as ctx allows and a second at most. It waits for all goroutines, and so for Receive.
func (t *Transport) Stop(ctx context.Context) error {
	t.mu.Lock()
	if t.stopped {
		t.mu.Unlock()
		t.wg.Wait()
		return nil
	}
	t.stopped = true
	close(t.ending)
	t.mu.Unlock()
	err := t.o.Listen.Close()

	sent := make(chan struct{})
	go func() { // ends with the lanes
		t.lanes.Wait()
		close(sent)
	}()
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	select {
	case <-sent:
	case <-patience.C:
	case <-ctx.Done():
	}
	t.cancel()
	<-sent
	t.wg.Wait()
	return err
}

// farewell is how long Stop waits for what is in line.
const farewell = time.Second

// PeerStatus is what there is between this node and another.
type PeerStatus struct {
	ID        peer.NodeID
	Addr      string        // as last dialed
	Connected bool          // messages go to it, and it answers
	Since     time.Time     // of the connection's being there, or not
	Inbound   bool          // it has a connection to this node
	LastError string        // why it is not connected, or was not the last time
	RoundTrip time.Duration // of the last probe
	Ahead     time.Duration // of its clock, against this node's; 0 if there was no probe yet, or it does not say
	Queued    int           // bytes in line

	MessagesOut, BytesOut uint64
	MessagesIn, BytesIn   uint64
	Dropped               uint64 // messages, for want of a connection or of room in line
}

// Peers are those that Connect was called for, by name.
func (t *Transport) Peers() []PeerStatus {
	t.mu.Lock()
	var all []PeerStatus
	links := make([]*link, 0, len(t.links))
	for id, l := range t.links {
		s := PeerStatus{ID: id, Since: l.since, Inbound: t.inbound[inboundKey{id, peer.Small}] != nil}
		if c := t.counts[id]; c != nil {
			s.MessagesIn, s.BytesIn = c.messages.Load(), c.bytes.Load()
		}
		all = append(all, s)
		links = append(links, l)
	}
	t.mu.Unlock()
	for i, l := range links {
		l.small.status(&all[i])
		l.bulk.status(&all[i])
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

// pushed is what is remembered of a Push that waits; or of a Convoy, with its number and no key.
type pushed struct {
	key      peer.Key
	transfer uint64
}

// carries tells which sessions a message carries; zero: none.
func carries(m peer.Message) pushed {
	switch m := m.(type) {
	case peer.Push:
		return pushed{m.Key, m.Transfer}
	case peer.Convoy:
		return pushed{"", m.N}
	}
	return pushed{}
}

// lostAndFound are the Pushes that will certainly not arrive, until the rules have been told.
type lostAndFound struct {
	wake chan struct{} // holds one

	mu  sync.Mutex // guards all
	all []lostPush
}

type lostPush struct {
	to    peer.NodeID
	push  pushed
	times int
}

func (t *Transport) undelivered(to peer.NodeID, p pushed, times int) {
	t.lost.mu.Lock()
	t.lost.all = append(t.lost.all, lostPush{to, p, times})
	t.lost.mu.Unlock()
	select {
	case t.lost.wake <- struct{}{}:
	default:
	}
}

// reportLost is a goroutine, so that the rules are not told in the middle of a Send.
func (t *Transport) reportLost() {
	for {
		select {
		case <-t.lost.wake:
		case <-t.ctx.Done():
			return
		}
		t.lost.mu.Lock()
		all := t.lost.all
		t.lost.all = nil
		t.lost.mu.Unlock()
		for _, l := range all {
			for range l.times {
				t.o.Undelivered(l.to, peer.Push{Key: l.push.key, Transfer: l.push.transfer})
			}
		}
	}
}

var errStopping = errors.New("this node is stopping")
