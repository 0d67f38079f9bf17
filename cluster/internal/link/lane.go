package link

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"statemesh/wire/peer"
)

// lane is one of the two ways to a node: what waits to be sent, and the connection that it goes over. It has a goroutine, run.
type lane struct {
	t     *Transport
	to    peer.NodeID
	which peer.Lane

	ctx    context.Context // ends with Forget or the transport
	cancel context.CancelFunc
	wake   chan struct{} // holds one
	dirty  bool          // guarded by Transport.mu: Flush has to see to it

	// pen is held by whoever writes to conn: the goroutine, however long that takes, or sendNow, which waits neither for the pen nor with it.
	pen     sync.Mutex
	sentNow time.Time // the last time that sendNow had something to send; guarded by pen

	mu       sync.Mutex // guards what follows; held for moments only
	line     []*parcel  // what waits
	queued   int        // its bytes
	news     []byte     // what Tell was given last, not sent yet; nil if there is none, or no conn
	sending  pushed     // the session on its way in the bulk lane
	merged   int        // how often that was sent again meanwhile
	down     bool       // there is no connection, and it is not time to try again yet: nothing is put in line
	conn     *outgoing  // nil if there is none
	since    time.Time  // of conn's being there, or not
	addr     string
	lastErr  error
	logged   string    // what was last logged as the reason why there is no connection
	loggedAt time.Time // and when
	out      sent
}

// sent is what has gone through a lane, and what has not.
type sent struct{ messages, bytes, dropped uint64 }

// parcel is sent in one go: frames, many of them if there are many, or one with a large body.
type parcel struct {
	frames   []byte
	messages int
	pushes   []pushed
	body     Source // held
	bytes    []byte // its
	times    int    // how often its Push was sent
}

func (p *parcel) size() int { return len(p.frames) + len(p.bytes) }

const (
	// maxParcel is how many bytes of frames a parcel collects.
	maxParcel = 256 << 10
	// firstParcel is how many it has room for at first.
	firstParcel = 4 << 10
	// maxNow is how many bytes are encrypted and written by whoever sends them.
	maxNow = 16 << 10
	// calm is how long nothing must have been sent before: when there is much to say, the lane's goroutine makes fewer writes of it.
	calm = 100 * time.Microsecond
)

func (t *Transport) newLane(to peer.NodeID, which peer.Lane) *lane {
	l := &lane{t: t, to: to, which: which, wake: make(chan struct{}, 1), since: time.Now()}
	l.ctx, l.cancel = context.WithCancel(t.ctx)
	return l
}

// add puts a message in line.
func (l *lane) add(m peer.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.admitLocked(0) {
		l.out.dropped++
		return
	}
	p := l.openLocked()
	before := len(p.frames)
	if p.frames = peer.Append(p.frames, m); len(p.frames) == before {
		l.out.dropped++ // not sayable
		return
	}
	l.addedLocked(p, before)
}

// addPush puts a session in line. m is p, made a Message already.
func (l *lane) addPush(m peer.Message, p peer.Push) {
	l.mu.Lock()
	ok := l.addPushLocked(m, p)
	if !ok {
		l.out.dropped++
	}
	l.mu.Unlock()
	if !ok {
		l.t.undelivered(l.to, pushed{p.Key, p.Transfer}, 1)
	}
}

func (l *lane) addPushLocked(m peer.Message, p peer.Push) bool {
	bytes := bytesOf(&p.Record)
	if len(bytes) != p.Record.Size || len(bytes) > l.t.o.MaxBody || l.down {
		return false
	}
	what := pushed{p.Key, p.Transfer}
	if l.which == peer.Bulk && l.mergeLocked(m, what) {
		return true
	}
	if !l.admitLocked(len(bytes)) {
		return false
	}
	if l.which == peer.Bulk {
		frames := peer.Append(nil, m)
		if len(frames) == 0 {
			return false
		}
		source := p.Record.Body.(Source)
		source.Hold()
		l.line = append(l.line, &parcel{frames: frames, messages: 1, pushes: []pushed{what}, body: source, bytes: bytes, times: 1})
		l.queued += len(frames) + len(bytes)
		return true
	}
	to := l.openLocked()
	before := len(to.frames)
	if to.frames = peer.Append(to.frames, m); len(to.frames) == before {
		return false
	}
	to.frames = append(to.frames, bytes...)
	to.pushes = append(to.pushes, what)
	l.addedLocked(to, before)
	return true
}

// addConvoy puts many small sessions in line, all or none. m is c, made a Message already.
func (l *lane) addConvoy(m peer.Message, c peer.Convoy) {
	l.mu.Lock()
	ok := l.addConvoyLocked(m, c)
	if !ok {
		l.out.dropped++
	}
	l.mu.Unlock()
	if !ok {
		l.t.undelivered(l.to, carries(m), 1)
	}
}

func (l *lane) addConvoyLocked(m peer.Message, c peer.Convoy) bool {
	total := 0
	for i := range c.Pushes {
		r := &c.Pushes[i].Record
		if len(bytesOf(r)) != r.Size || r.Size > l.t.o.MaxBody {
			return false
		}
		total += r.Size
	}
	if !l.admitLocked(total) {
		return false
	}
	to := l.openLocked()
	before := len(to.frames)
	if to.frames = peer.Append(to.frames, m); len(to.frames) == before {
		return false
	}
	to.frames = slices.Grow(to.frames, total)
	for i := range c.Pushes {
		to.frames = append(to.frames, bytesOf(&c.Pushes[i].Record)...)
	}
	to.pushes = append(to.pushes, carries(m))
	l.addedLocked(to, before)
	return true
}

func bytesOf(r *peer.Record) []byte {
	if source, ok := r.Body.(Source); ok {
		return source.Bytes()
	}
	return nil
}

// mergeLocked: a large session that is sent again while it still waits, or is just going, does not go twice. What the newer frame says is
// newer.
func (l *lane) mergeLocked(m peer.Message, what pushed) bool {
	if l.sending == what {
		l.merged++
		return true
	}
	for i := range l.line {
		p := l.line[i]
		if p.body != nil && p.pushes[0] == what {
			l.queued -= len(p.frames)
			p.frames = peer.Append(p.frames[:0], m)
			l.queued += len(p.frames)
			p.times++
			return true
		}
	}
	return false
}

// admitLocked tells whether there is room in line for n bytes that need not be copied.
func (l *lane) admitLocked(n int) bool {
	limit := l.t.o.MaxQueue
	if l.which == peer.Bulk {
		limit = l.t.o.MaxBulk
	}
	return !l.down && (l.queued == 0 || l.queued+n <= limit)
}

// openLocked is the parcel at the end of the line, or a new one.
func (l *lane) openLocked() *parcel {
	if n := len(l.line); n > 0 && l.line[n-1].body == nil && len(l.line[n-1].frames) < maxParcel {
		return l.line[n-1]
	}
	p, _ := l.t.parcels.Get().(*parcel)
	if p == nil {
		p = &parcel{frames: make([]byte, 0, firstParcel)}
	}
	l.line = append(l.line, p)
	return p
}

func (l *lane) addedLocked(p *parcel, before int) {
	l.queued += len(p.frames) - before
	p.messages++
	if before < smallBody && len(p.frames) >= smallBody {
		l.nudge() // enough to begin with, whenever Flush comes
	}
}

// nudge wakes the goroutine.
func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take is what is first in line.
func (l *lane) take() *parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeLocked()
}

// takeSmall is all that is in line, if that is not much.
func (l *lane) takeSmall() *parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) != 1 || l.queued > maxNow {
		return nil
	}
	return l.takeLocked()
}

// idle tells whether nothing waits.
func (l *lane) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.line) == 0
}

func (l *lane) takeLocked() *parcel {
	if len(l.line) == 0 {
		return nil
	}
	p := l.line[0]
	l.line = slices.Delete(l.line, 0, 1) // few are in it
	l.queued -= p.size()
	if p.body != nil {
		l.sending, l.merged = p.pushes[0], 0
	}
	return p
}

// gone ends a parcel: it has been sent, or may have been, or has certainly not.
func (l *lane) gone(p *parcel, fate fate) {
	l.mu.Lock()
	if p.body != nil {
		p.times += l.merged
		l.sending, l.merged = pushed{}, 0
	}
	if fate == delivered {
		l.out.messages += uint64(p.messages)
		l.out.bytes += uint64(p.size())
	} else {
		l.out.dropped += uint64(p.messages)
	}
	l.mu.Unlock()
	l.settle(p, fate)
	if p.body == nil && cap(p.frames) <= 2*maxParcel {
		clear(p.pushes)
		*p = parcel{frames: p.frames[:0], pushes: p.pushes[:0]}
		l.t.parcels.Put(p)
	}
}

// settle lets go of the parcel's body, and tells what is certain of its sessions.
func (l *lane) settle(p *parcel, fate fate) {
	if p.body != nil {
		p.body.Release()
	}
	if fate != undeliverable {
		return
	}
	for _, what := range p.pushes {
		l.t.undelivered(l.to, what, max(p.times, 1))
	}
}

type fate uint8

const (
	delivered fate = iota
	doubtful
	undeliverable
)

// run keeps the connection, until the lane's end.
func (l *lane) run() {
	defer l.drop()
	tries := 0
	for l.needed() {
		c, err := l.t.dial(l)
		if err == nil {
			began := time.Now()
			l.opened(c)
			err = l.serve(c)
			l.closed(c, err)
			if time.Since(began) >= steady {
				tries = 0
				continue
			}
			// It is accepted, and then closed: no reason to hurry.
		}
		if err != nil && !l.failed(err, backoff(tries)) {
			return
		}
		tries++
	}
}

// needed waits until there is a reason to connect; false is the lane's end.
func (l *lane) needed() bool {
	for {
		l.mu.Lock()
		l.down = false
		waiting := len(l.line) > 0
		l.mu.Unlock()
		select {
		case <-l.ctx.Done():
			return false
		case <-l.t.ending:
			return false
		default:
		}
		if waiting || l.which == peer.Small {
			return true
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
		case <-l.t.ending:
		}
	}
}

// steady is how long a connection must have lasted for the next one to be dialed at once.
const steady = time.Second

// backoff is the pause after a number of failures: 50 ms at first, 1 s at most, and a little chance, so that nodes do not dial in step.
func backoff(tries int) time.Duration {
	d := min(50*time.Millisecond<<min(tries, 6), time.Second)
	return d*3/4 + rand.N(d/2)
}

func (l *lane) dialing(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr = addr
}

func (l *lane) opened(c *outgoing) {
	l.mu.Lock()
	l.conn, l.since = c, time.Now()
	had := l.logged
	l.logged = ""
	l.mu.Unlock()
	if had != "" {
		l.t.o.Log.Info("peer reached again", "peer", l.to, "addr", c.addr, "lane", l.which)
	} else {
		l.t.o.Log.Debug("connected to peer", "peer", l.to, "addr", c.addr, "lane", l.which)
	}
	if c.tls != nil && !l.t.o.Accepts(c.tls) { // the keys have changed since it was dialed
		c.close()
	}
}

// closed: what has not been sent waits for the next connection.
func (l *lane) closed(c *outgoing, err error) {
	c.close()
	<-c.broken
	l.mu.Lock()
	l.conn, l.since = nil, time.Now()
	l.news = nil
	if err != nil {
		l.lastErr = err
	}
	l.mu.Unlock()
	l.t.o.Log.Debug("connection to peer ended", "peer", l.to, "lane", l.which, "error", err)
}

// failed: there is no connection, so there is nothing to wait in line for, until it is time to try again; false is the lane's end.
func (l *lane) failed(err error, pause time.Duration) bool {
	select {
	case <-l.ctx.Done():
		return false
	case <-l.t.ending:
		return false
	default:
	}
	now := time.Now()
	l.mu.Lock()
	l.lastErr = err
	news := err.Error() != l.logged || now.Sub(l.loggedAt) >= time.Minute
	if news {
		l.logged, l.loggedAt = err.Error(), now
	}
	addr := l.addr
	l.mu.Unlock()
	if news {
		l.t.o.Log.Warn("cannot reach peer", "peer", l.to, "addr", addr, "lane", l.which, "error", err)
	}
	l.drop()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ctx.Done():
	case <-l.t.ending:
	}
	return false
}

// drop empties the line, and nothing is put into it any more.
func (l *lane) drop() {
	l.mu.Lock()
	l.down = true
	line := l.line
	l.line, l.queued = nil, 0
	for i := range line {
		l.out.dropped += uint64(line[i].messages)
	}
	l.mu.Unlock()
	for i := range line {
		l.settle(line[i], undeliverable)
	}
}

// serve sends what comes in line over a connection, until that or the lane ends.
func (l *lane) serve(c *outgoing) error {
	defer context.AfterFunc(l.ctx, c.close)() // also in the middle of a write
	probe := time.NewTimer(l.t.o.PingEvery)
	defer probe.Stop()
	used := time.Now()
	ending := l.t.ending
	for {
		select {
		case <-c.broken: // before more is lost in it
			return c.err
		default:
		}
		sent, err := l.sendNext(c)
		if err != nil {
			return err
		}
		if sent {
			used = time.Now()
			select {
			case <-probe.C:
			default:
				continue
			}
		} else if ending == nil { // and now everything has been sent
			l.pen.Lock() // and nobody writes any more
			defer l.pen.Unlock()
			c.farewell(l.ctx)
			return errStopping
		} else {
			select {
			case <-l.wake:
				continue
			case <-ending:
				ending = nil
				continue
			case <-c.broken:
				return c.err
			case <-l.ctx.Done():
				return l.ctx.Err()
			case <-probe.C:
				if l.which == peer.Bulk && time.Since(used) >= l.t.o.BulkIdle {
					return nil
				}
			}
		}
		l.pen.Lock()
		again, err := c.probe()
		l.pen.Unlock()
		if err != nil {
			return err
		}
		probe.Reset(again)
	}
}

// sendNext sends what sendNow has left, the news, and what is first in line; sent: something was.
func (l *lane) sendNext(c *outgoing) (sent bool, err error) {
	l.pen.Lock()
	defer l.pen.Unlock()
	if err := c.sendRest(); err != nil {
		return false, err
	}
	if err := l.sendNews(c); err != nil {
		return false, err
	}
	p := l.take()
	if p == nil {
		return false, nil
	}
	fate, err := c.send(p)
	l.gone(p, fate)
	return true, err
}

// sendNow sends what is in line from the caller's goroutine, if that is little, nobody else is sending, and it takes no waiting: to wake the lane's goroutine,
// and with it the runtime's search for more to do, takes longer than to send a few messages. False: something is left for that.
func (l *lane) sendNow() bool {
	if l.which != peer.Small || !l.pen.TryLock() {
		return false
	}
	defer l.pen.Unlock()
	c := l.connected()
	if c == nil || !c.sendsNow() {
		return false
	}
	now := time.Now()
	busy := now.Sub(l.sentNow) < calm
	l.sentNow = now
	if busy {
		return false
	}
	p := l.takeSmall()
	if p == nil {
		return false
	}
	rest, err := c.sendNow(p)
	if err != nil {
		c.close() // which the lane's goroutine will notice
		l.gone(p, doubtful)
		return false
	}
	l.gone(p, delivered)
	return !rest && l.idle()
}

func (l *lane) connected() *outgoing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// status adds the lane's part.
func (l *lane) status(s *PeerStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Queued += l.queued
	s.MessagesOut += l.out.messages
	s.BytesOut += l.out.bytes
	s.Dropped += l.out.dropped
	if l.which != peer.Small {
		return
	}
	s.Addr, s.Connected, s.Since = l.addr, l.conn != nil, l.since
	if l.lastErr != nil {
		s.LastError = l.lastErr.Error()
	}
	if l.conn == nil {
		return
	}
	s.RoundTrip = time.Duration(l.conn.roundTrip.Load())
	s.Ahead = l.conn.clockAhead()
	if waited := l.conn.overdue(); waited > 0 {
		s.Connected, s.LastError = false, fmt.Sprintf("it has not answered a probe for %v", waited.Round(100*time.Millisecond))
	}
}
