package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"statemesh/session"
)

// The store against a map, in which every rule of the protocol is written down as plainly as it can be said.

// modelSession is a session of the model.
type modelSession struct {
	body            string
	timeout, cookie int32
	locked, fresh   bool
	expires         time.Time
	lockedAt        time.Time
	taken           bool      // an answer is being written that may be taken back
	settledAt       time.Time // when it was
}

// window is the sliding timeout. 0 means never, which is a year.
func (s *modelSession) window() time.Duration {
	if s.timeout == 0 {
		return 365 * 24 * time.Hour
	}
	return time.Duration(s.timeout) * time.Minute
}

type model struct {
	sessions map[string]*modelSession
	leapt    time.Duration // by which its clock and the store's are ahead of the others
}

func (m *model) now() time.Time { return time.Now().Add(m.leapt) }

// find is the lookup that every request begins with: it touches what it finds. What is taken cannot be had, the store has waited for it.
func (m *model) find(id string) (s *modelSession, busy bool) {
	s = m.sessions[id]
	if s == nil {
		return nil, false
	}
	if s.taken {
		return nil, true
	}
	if !m.now().Before(s.expires) {
		delete(m.sessions, id)
		return nil, false
	}
	s.expires = m.now().Add(s.window())
	return s, false
}

var busy = answer{Outcome: session.Busy}

func (m *model) lockedAnswer(s *modelSession) answer {
	return answer{Outcome: session.Locked, Cookie: s.cookie, LockAge: m.now().Sub(s.lockedAt)}
}

func (m *model) read(id string, acquire bool) answer {
	s, isBusy := m.find(id)
	switch {
	case isBusy:
		return busy
	case s == nil:
		return notFound
	case s.locked:
		return m.lockedAnswer(s)
	}
	a := answer{First: s.fresh, Timeout: s.timeout, Body: s.body}
	s.fresh = false
	if acquire {
		s.cookie++
		s.locked, s.lockedAt = true, m.now()
		a.Cookie = s.cookie
	}
	s.taken = acquire || a.First
	return a
}

func (m *model) settle(id string, a answer, acquired, delivered bool) {
	s := m.sessions[id]
	if a.Outcome != session.Done || !acquired && !a.First {
		return
	}
	s.taken, s.settledAt = false, m.now()
	if !delivered {
		s.fresh = a.First
		if acquired {
			s.locked = false
		}
	}
}

func (m *model) unlock(id string, cookie int32) answer {
	s, isBusy := m.find(id)
	switch {
	case isBusy:
		return busy
	case s == nil:
		return notFound
	}
	first := s.fresh
	s.fresh = false
	var a answer
	switch {
	case cookie < 0:
		a = badCookie
	case s.locked && s.cookie != cookie:
		a = m.lockedAnswer(s)
	default:
		s.locked = false
	}
	a.First = first
	return a
}

func (m *model) set(id, body string, timeout, cookie int32, uninitialised bool) answer {
	s, isBusy := m.find(id)
	switch {
	case isBusy:
		return busy
	case s == nil:
		s = &modelSession{body: body, timeout: timeout, cookie: 1, fresh: uninitialised}
		s.expires = m.now().Add(s.window())
		m.sessions[id] = s
		return done
	case uninitialised:
		return done
	case cookie == session.InvalidCookie:
		return badCookie
	case s.locked && s.cookie != cookie:
		return m.lockedAnswer(s)
	}
	s.body, s.timeout, s.locked = body, timeout, false
	s.expires = m.now().Add(s.window())
	return done
}

func (m *model) remove(id string, cookie int32) answer {
	s, isBusy := m.find(id)
	switch {
	case isBusy:
		return busy
	case s == nil:
		return notFound
	case cookie == session.InvalidCookie:
		return badCookie
	case s.locked && s.cookie != cookie:
		return m.lockedAnswer(s)
	}
	delete(m.sessions, id)
	return done
}

func (m *model) touch(id string) answer {
	s, isBusy := m.find(id)
	switch {
	case isBusy:
		return busy
	case s == nil:
		return notFound
	}
	return done
}

// trial is the store and the model side by side.
type trial struct {
	*rapid.T
	farm
	model      *model
	ids        []string
	unsettled  []unsettled
	compaction *session.Compaction
	via        requests // the store, or a Try
}

// requests are what a Store does, and a Try.
type requests interface {
	Get(session.Key) session.Reply
	Acquire(session.Key) session.Reply
	Unlock(session.Key, int32) session.Reply
	Set(session.Key, session.Change) session.Reply
	Remove(session.Key, int32) session.Reply
	Touch(session.Key) session.Reply
}

// unsettled is an answer that is still being written.
type unsettled struct {
	id       string
	reply    session.Reply
	want     answer
	acquired bool
}

const trialShards = 2 // so that chains are long and every entry's number changes often

func newTrial(rt *rapid.T, t *testing.T) *trial {
	st, err := session.New(session.Options{})
	if err != nil {
		rt.Fatal(err)
	}
	st.Reseed() // rapid repeats a trial that fails, which must go the same way
	x := &trial{T: rt, farm: farm{t, st}, model: &model{sessions: map[string]*modelSession{}}}
	x.ids = x.farm.ids(120, trialShards)
	for i := range x.ids { // a third of the ids do not fit into the entry
		if i%3 == 0 {
			for long := x.ids[i] + "..........................."; ; long += "." {
				if x.ShardOf(key(long)) < trialShards {
					x.ids[i] = long
					break
				}
			}
		}
	}
	return x
}

// n is a number below n, each as likely as the others: rapid's own generators prefer the ends.
func (x *trial) n(n int) (k int) {
	for bit := 1; bit < 4*n; bit *= 2 {
		if coin.Draw(x.T, "") {
			k += bit
		}
	}
	return k % n
}

var coin = rapid.Bool()

func oneOf[T any](x *trial, all []T) T { return all[x.n(len(all))] }

func (x *trial) drawID() string { return x.ids[x.n(len(x.ids))] }

// drawCookie is the right one, more often than not, if there is one.
func (x *trial) drawCookie(id string) int32 {
	cookies := []int32{session.NoCookie, session.InvalidCookie, 0, 1, 2, 57}
	if s := x.model.sessions[id]; s != nil {
		cookies = append(cookies, s.cookie, s.cookie, s.cookie, s.cookie, s.cookie+1)
	}
	return oneOf(x, cookies)
}

var (
	sizes    = []int{1, 7, 8, 9, 24, 100, 100, 100, 500, 505, 600, 5000}
	timeouts = []int32{0, 1, 1, 2, 3, 5, 20, 60, 69, 70, 1440, session.MaxTimeout}
	pauses   = []time.Duration{1, time.Millisecond, time.Second - 1, time.Second, 59 * time.Second, time.Minute, time.Minute,
		5 * time.Minute, 20*time.Minute - 1, time.Hour, 4096 * time.Second, 30 * time.Hour}
)

func (x *trial) drawBody() string {
	size := oneOf(x, sizes)
	if x.n(32) == 0 {
		size = 140_000 // has memory of its own
	}
	return text(x.n(1000), size)
}

func (x *trial) agree(what, id string, got, want answer) {
	x.Logf("%s %s: %v", what, id, got)
	if x.via == requests(x.Try()) && want == busy {
		want = answer{Outcome: session.Taken}
	}
	if got != want {
		x.Fatalf("%s %s: got %v, want %v", what, id, got, want)
	}
	x.agreeOn(id)
}

// agreeOn compares what store and model have of a session.
func (x *trial) agreeOn(id string) {
	got := x.Peek(key(id))
	if got.Exists && got.Left <= 0 && x.model.sessions[id] == nil {
		return // not removed yet
	}
	var want session.State
	if s := x.model.sessions[id]; s != nil {
		want = session.State{Exists: true, Body: s.body, Timeout: s.timeout, Cookie: s.cookie, Locked: s.locked, New: s.fresh, Left: s.expires.Sub(x.model.now())}
		if want.Left <= 0 && !got.Exists && !s.taken {
			return // removed already
		}
	}
	if got != want {
		x.Fatalf("%s: the store has %+v, want %+v", id, got, want)
	}
}

func (x *trial) read(id string, acquire bool) {
	u := unsettled{id: id, acquired: acquire}
	if acquire {
		u.reply = x.via.Acquire(key(id))
	} else {
		u.reply = x.via.Get(key(id))
	}
	u.want = x.model.read(id, acquire)
	x.agree("read", id, answerOf(&u.reply), u.want)
	x.unsettled = append(x.unsettled, u)
	if len(x.unsettled) > 5 || x.n(4) > 0 {
		x.settle()
	}
}

func (x *trial) settle() {
	if len(x.unsettled) == 0 {
		return
	}
	i := x.n(len(x.unsettled))
	u := x.unsettled[i]
	x.unsettled = append(x.unsettled[:i], x.unsettled[i+1:]...)
	if got := string(u.reply.Body()); got != u.want.Body {
		x.Fatalf("the body of %s changed while it was being written: got %.40q, want %.40q", u.id, got, u.want.Body)
	}
	delivered := x.n(2) == 0
	x.Logf("settle %s, delivered: %v", u.id, delivered)
	x.Settle(key(u.id), &u.reply, delivered)
	x.model.settle(u.id, u.want, u.acquired, delivered)
	x.agreeOn(u.id)
}

func (x *trial) set(id string) {
	body, timeout := x.drawBody(), oneOf(x, timeouts)
	cookie, uninitialised := x.drawCookie(id), x.n(4) == 0
	change := session.Change{Body: x.farm.body(body), Timeout: timeout, Cookie: cookie, Uninitialised: uninitialised}
	r := x.via.Set(key(id), change)
	if r.Outcome == session.Taken {
		change.Body.Discard()
	}
	x.agree("set", id, answerOf(&r), x.model.set(id, body, timeout, cookie, uninitialised))
}

func (x *trial) remove(id string, cookie int32) {
	r := x.via.Remove(key(id), cookie)
	x.agree("remove", id, answerOf(&r), x.model.remove(id, cookie))
}

// many does something to some ids in a row: the store is to grow and shrink.
func (x *trial) many(do func(id string)) {
	for i := range x.n(len(x.ids)) {
		do(x.ids[i])
	}
}

func (x *trial) leap(d time.Duration) {
	x.Logf("%v pass", d)
	x.Leap(d)
	x.model.leapt += d
}

// expire does what Run does, and looks whether everything has gone that should.
func (x *trial) expire() {
	x.Logf("expire")
	for shard := range trialShards {
		for x.ExpireSome(shard) {
		}
	}
	for _, id := range x.ids {
		s := x.model.sessions[id]
		if s == nil {
			continue
		}
		now, exists := x.model.now(), x.Peek(key(id)).Exists
		switch {
		case exists && !s.taken && now.Sub(s.expires) >= time.Second && now.Sub(s.settledAt) >= time.Second:
			x.Fatalf("a session has expired and is still there")
		case !exists && now.Before(s.expires):
			x.Fatalf("a session is gone before it expires")
		}
	}
}

func (x *trial) compact() {
	switch {
	case x.compaction == nil || x.compaction.Done():
		x.compaction = x.NewCompaction()
	default:
		for range 1 + x.n(5) {
			x.compaction.Step()
		}
	}
}

func (x *trial) check() {
	if err := x.Check(-1); err != nil {
		x.Fatal(err)
	}
	for _, id := range x.ids {
		x.agreeOn(id)
	}
	stats := x.Stats()
	if stats.Active != stats.Created-stats.TimedOut-stats.Abandoned {
		x.Fatalf("sessions do not add up: %+v", stats)
	}
}

func (x *trial) step() {
	if x.via = x.Store; x.n(2) == 0 {
		x.via = x.Try()
	}
	id := x.drawID()
	switch op := x.n(100); {
	case op < 15:
		x.read(id, false)
	case op < 35:
		x.read(id, true)
	case op < 55:
		x.set(id)
	case op < 62:
		cookie := x.drawCookie(id)
		r := x.via.Unlock(key(id), cookie)
		x.agree("unlock", id, answerOf(&r), x.model.unlock(id, cookie))
	case op < 68:
		x.remove(id, x.drawCookie(id))
	case op < 73:
		r := x.via.Touch(key(id))
		x.agree("touch", id, answerOf(&r), x.model.touch(id))
	case op < 76:
		x.settle()
	case op < 79:
		x.many(x.set)
	case op < 82:
		x.many(func(id string) { x.remove(id, session.NoCookie) })
	case op < 88:
		x.leap(oneOf(x, pauses))
	case op < 92:
		x.expire()
	case op < 97:
		x.compact()
	case op < 98:
		x.Trim()
	default:
		x.check()
	}
}

// end removes everything and looks whether anything is left.
func (x *trial) end() {
	for len(x.unsettled) > 0 {
		x.settle()
	}
	x.check()
	for _, id := range x.ids {
		if s := x.model.sessions[id]; s != nil {
			x.remove(id, s.cookie)
		}
	}
	x.expire()
	x.leap(time.Second)
	x.expire()
	if err := x.Check(0); err != nil {
		x.Fatal(err)
	}
	x.Trim() // what is spare goes
	x.Trim()
	if got := x.Stats(); got.Active != 0 || got.Locked != 0 || got.Waiting != 0 || got.Apps != 0 || got.UsedBytes != 0 || got.BodyBytes != 0 || x.HeapWaste() != 0 {
		x.Fatalf("something is left of nothing: %+v, %d bytes wasted", got, x.HeapWaste())
	}
}

func TestModel_AnyOperationsInAnyOrderDoWhatTheProtocolSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // a request that waits in vain takes seconds
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { // hides t.Deadline, which must not be called in a bubble
			time.Sleep(50 * time.Millisecond) // else a trial takes no time, and rapid would look for a shorter one for ever
			x := newTrial(rt, t)
			defer x.Close()
			steps := 400
			if raceDetector {
				steps = 100
			}
			for range x.n(steps) {
				x.step()
			}
			x.end()
		})
	})
}
