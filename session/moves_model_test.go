package session_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"statemesh/session"
)

// A store in a cluster against a map: what web servers and the rules do to it in turn. Nobody waits in a goroutine: web servers try.

// modelMove is a session of this model.
type modelMove struct {
	modelSession
	epoch   uint64
	place   session.Place
	ticket  uint64
	waiting []*modelLeave
	line    []*modelLeave
}

type modelLeave struct {
	ticket uint64
	terms  session.Terms
	until  time.Time // in line
}

type movesTrial struct {
	*rapid.T
	*meshed
	ids       []string
	sessions  map[string]*modelMove
	term      uint64
	epoch     uint64
	tickets   uint64
	want      map[uint64][]session.LeaveState
	mourn     map[string]uint64
	unsettled []unsettledMove
	lent      map[string]*session.Stored // the bodies of those that are leaving
}

type unsettledMove struct {
	id    string
	reply session.Reply
	epoch uint64
	want  answer

	lockedAt time.Time
}

const movesLockWait = 300 * time.Millisecond

func newMovesTrial(rt *rapid.T, t *testing.T) *movesTrial {
	st, err := session.New(session.Options{LockWait: movesLockWait, MaxHeld: 2})
	if err != nil {
		rt.Fatal(err)
	}
	st.Reseed()
	x := &movesTrial{T: rt, meshed: &meshed{farm: farm{t, st}, left: map[uint64][]session.Leaving{}, removed: map[string]uint64{}},
		sessions: map[string]*modelMove{}, want: map[uint64][]session.LeaveState{}, mourn: map[string]uint64{}, lent: map[string]*session.Stored{}}
	if err := x.enterCluster(); err != nil {
		rt.Fatal(err)
	}
	x.ids = x.farm.ids(8, 2)
	for i := 0; i < len(x.ids); i += 3 { // these do not fit into an entry
		x.ids[i] += "/............................."
	}
	return x
}

func (x *movesTrial) n(n int) int       { return (&trial{T: x.T}).n(n) }
func (x *movesTrial) drawID() string    { return x.ids[x.n(len(x.ids))] }
func (x *movesTrial) newEpoch() uint64  { x.epoch += 1 + uint64(x.n(3))<<31; return x.epoch }
func (s *modelMove) serves() bool       { return s != nil && s.place != session.Copied }
func (s *modelMove) inUse() bool        { return s.place == session.Parting || s.taken }
func (s *modelMove) expired() bool      { return !time.Now().Before(s.expires) && !s.inUse() }
func (s *modelMove) use()               { s.expires = time.Now().Add(s.window()) }
func (s *modelMove) age() time.Duration { return time.Since(s.lockedAt) }
func (x *movesTrial) is(what string, got, want answer) {
	x.Helper()
	x.Logf("%s: %v", what, got)
	if got != want {
		x.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// find is the lookup of every operation.
func (x *movesTrial) find(id string) (s *modelMove, taken bool) {
	s = x.sessions[id]
	switch {
	case !s.serves():
		return nil, false
	case s.inUse():
		return nil, true
	case s.expired():
		x.mourned(id, s)
		return nil, false
	}
	return s, false
}

// mourned: a session was removed.
func (x *movesTrial) mourned(id string, s *modelMove) {
	x.mourn[whole(id)] = s.epoch
	x.gone(id, s, true)
	delete(x.sessions, id)
}

// gone: nobody waits for the session any more.
func (x *movesTrial) gone(_ string, s *modelMove, tell bool) {
	if tell {
		for _, l := range append(s.line, s.waiting...) {
			x.want[l.ticket] = append(x.want[l.ticket], session.NotHere)
		}
	}
	s.line, s.waiting = nil, nil
}

// goOn is what happens when a turn ends, or a lock.
func (x *movesTrial) goOn(s *modelMove) {
	for !s.inUse() {
		var l *modelLeave
		switch {
		case !s.locked && len(s.line) > 0:
			l, s.line = s.line[0], s.line[1:]
		case len(s.waiting) > 0:
			l, s.waiting = s.waiting[0], s.waiting[1:]
		default:
			return
		}
		x.want[l.ticket] = append(x.want[l.ticket], x.leaveNow(s, l))
	}
}

func (x *movesTrial) leaveNow(s *modelMove, l *modelLeave) session.LeaveState {
	if !l.terms.Any {
		s.use()
	}
	switch {
	case l.terms.Any || !s.locked || s.cookie == l.terms.Cookie:
		s.place, s.ticket = session.Parting, l.ticket
		return session.Frozen
	case l.terms.Wait > 0 && len(s.line) < 2:
		l.until = time.Now().Add(l.terms.Wait)
		s.line = append(s.line, l)
		return session.InLine
	}
	return session.StillLocked
}

func (x *movesTrial) drawCookie(s *modelMove) int32 {
	cookies := []int32{session.NoCookie, 0, 2, 57}
	if s != nil {
		cookies = append(cookies, s.cookie, s.cookie, s.cookie)
	}
	return cookies[x.n(len(cookies))]
}

func (x *movesTrial) read(id string, acquire bool) {
	u := unsettledMove{id: id}
	if acquire {
		u.reply = x.Try().Acquire(key(id))
	} else {
		u.reply = x.Try().Get(key(id))
	}
	s, taken := x.find(id)
	switch {
	case taken:
		u.want.Outcome = session.Taken
	case s == nil:
		u.want = notFound
	case s.locked && len(s.line) < 2:
		u.want.Outcome = session.Taken
	case s.locked:
		s.use()
		u.want = answer{Outcome: session.Locked, Cookie: s.cookie, LockAge: s.age()}
	default:
		s.use()
		u.want, u.epoch = answer{First: s.fresh, Timeout: s.timeout, Body: s.body}, s.epoch
		s.fresh = false
		if acquire {
			s.cookie++
			s.locked, s.lockedAt = true, time.Now()
			u.want.Cookie, u.lockedAt = s.cookie, s.lockedAt
		}
		s.taken = acquire || u.want.First
	}
	x.is("read "+id, answerOf(&u.reply), u.want)
	x.unsettled = append(x.unsettled, u)
	if len(x.unsettled) > 4 || x.n(3) > 0 {
		x.settle()
	}
}

func (x *movesTrial) settle() {
	if len(x.unsettled) == 0 {
		return
	}
	i := x.n(len(x.unsettled))
	u := x.unsettled[i]
	x.unsettled = slices.Delete(x.unsettled, i, i+1)
	delivered := x.n(2) == 0
	x.Logf("settle %s, delivered: %v", u.id, delivered)
	if got := string(u.reply.Body()); got != u.want.Body {
		x.Fatalf("the body of %s changed: %.40q was %.40q", u.id, got, u.want.Body)
	}
	x.Settle(key(u.id), &u.reply, delivered)
	s := x.sessions[u.id]
	if u.want.Outcome != session.Done || u.want.Cookie == 0 && !u.want.First || s == nil {
		return
	}
	mine := s.epoch == u.epoch
	itsLock := u.want.Cookie != 0 && s.locked && s.cookie == u.want.Cookie && s.lockedAt.Equal(u.lockedAt)
	if !mine && !itsLock {
		return
	}
	if !delivered {
		s.fresh = s.fresh || u.want.First
		s.locked = s.locked && u.want.Cookie == 0
	}
	if mine {
		s.taken = false
	}
	if s.place == session.Owned {
		x.goOn(s)
	}
}

func (x *movesTrial) set(id string) {
	s, taken := x.find(id)
	c := session.Change{Timeout: 1 + int32(x.n(3)), Cookie: x.drawCookie(s), Uninitialised: x.n(4) == 0}
	if x.n(3) > 0 {
		c.Grant = session.Grant{Epoch: x.newEpoch(), Term: x.term - min(x.term, uint64(x.n(4)/3))}
	}
	body := text(x.n(1000), 1+x.n(300))
	c.Body = x.body(body)
	r := x.Try().Set(key(id), c)
	var want answer
	switch at := x.sessions[id]; {
	case taken:
		want.Outcome = session.Taken
	case s == nil && (at != nil || c.Grant.Epoch == 0 || c.Grant.Term != x.term):
		want = notFound
	case s == nil:
		n := &modelMove{epoch: c.Grant.Epoch, place: session.Owned}
		n.modelSession = modelSession{body: body, timeout: c.Timeout, cookie: 1, fresh: c.Uninitialised}
		n.use()
		x.sessions[id] = n
	default:
		s.use()
		switch {
		case c.Uninitialised:
		case s.locked && s.cookie != c.Cookie:
			want = answer{Outcome: session.Locked, Cookie: s.cookie, LockAge: s.age()}
		default:
			s.body, s.timeout, s.locked = body, c.Timeout, false
			s.use()
			x.goOn(s)
		}
	}
	if want.Outcome == session.NotFound || want.Outcome == session.Taken {
		c.Body.Discard()
	}
	x.is(fmt.Sprintf("set %s grant %v", id, c.Grant), answerOf(&r), want)
}

func (x *movesTrial) end(id string, remove bool) {
	s, taken := x.find(id)
	cookie := x.drawCookie(s)
	var r session.Reply
	if remove {
		r = x.Try().Remove(key(id), cookie)
	} else {
		r = x.Try().Unlock(key(id), cookie)
	}
	var want answer
	switch {
	case taken:
		want.Outcome = session.Taken
	case s == nil:
		want = notFound
	default:
		s.use()
		if !remove {
			want.First, s.fresh = s.fresh, false
		}
		switch {
		case !remove && cookie < 0:
			want.Outcome = session.BadCookie
		case s.locked && s.cookie != cookie:
			want.Outcome, want.Cookie, want.LockAge = session.Locked, s.cookie, s.age()
		case remove:
			x.mourned(id, s)
		default:
			s.locked = false
			x.goOn(s)
		}
	}
	x.is(fmt.Sprintf("end %s, remove: %v", id, remove), answerOf(&r), want)
}

func (x *movesTrial) leave(id string) {
	x.tickets++
	l := &modelLeave{ticket: x.tickets, terms: session.Terms{Any: x.n(3) == 0, Cookie: x.drawCookie(x.sessions[id])}}
	if x.n(2) == 0 {
		l.terms.Wait = time.Duration(1+x.n(3))*400*time.Millisecond + time.Duration(l.ticket)
	}
	got := x.Leave(whole(id), l.ticket, l.terms)
	s, taken := x.find(id)
	var want session.LeaveState
	switch {
	case taken:
		s = x.sessions[id]
		s.waiting = append(s.waiting, l)
		want = session.Pending
	case s == nil:
		want = session.NotHere
	default:
		want = x.leaveNow(s, l)
	}
	x.Logf("leave %s, ticket %d, %+v: %d", id, l.ticket, l.terms, got.Now)
	if got.Now != want {
		x.Fatalf("leave %s: got %d, want %d", id, got.Now, want)
	}
	if want == session.Frozen {
		x.checkRecord(id, got.Record)
	}
}

func (x *movesTrial) checkRecord(id string, r session.Record) {
	s := x.sessions[id]
	body := string(r.Body.Bytes())
	x.lent[id] = r.Body
	r.Body = nil
	want := session.Record{Epoch: s.epoch, Locked: s.locked, Cookie: s.cookie, Timeout: s.timeout, TimeLeft: time.Until(s.expires), New: s.fresh}
	if s.locked {
		want.LockAge = s.age()
	}
	if r != want || body != s.body {
		x.Fatalf("the record of %s: got %+v, want %+v", id, r, want)
	}
}

func (x *movesTrial) recall(id string) {
	ticket := uint64(1 + x.n(int(x.tickets)+1))
	if s := x.sessions[id]; s != nil && len(s.line)+len(s.waiting) > 0 {
		all := append(slices.Clone(s.line), s.waiting...)
		ticket = all[x.n(len(all))].ticket
		is := func(l *modelLeave) bool { return l.ticket == ticket }
		s.line, s.waiting = slices.DeleteFunc(s.line, is), slices.DeleteFunc(s.waiting, is)
	}
	x.Logf("recall %s, ticket %d", id, ticket)
	x.Recall(whole(id), ticket)
}

// decide ends a leaving.
func (x *movesTrial) decide(id string) {
	s := x.sessions[id]
	ticket, right := uint64(1+x.n(int(x.tickets)+1)), false
	if s != nil && s.place == session.Parting {
		if x.n(4) > 0 {
			ticket = s.ticket
		}
		right = ticket == s.ticket
	}
	what := x.n(3)
	if right {
		delete(x.lent, id)
	}
	x.Logf("decide on %s: %d, ticket %d, right: %v", id, what, ticket, right)
	switch what {
	case 0:
		e := x.newEpoch()
		x.Stay(whole(id), ticket, e)
		if right {
			s.place, s.epoch = session.Owned, e
			x.goOn(s)
		}
	case 1:
		x.Doubt(whole(id), ticket)
		if right {
			s.place = session.Copied
			x.gone(id, s, true)
		}
	case 2:
		x.Forget(whole(id), ticket)
		if right {
			x.gone(id, s, true)
			delete(x.sessions, id)
		}
	}
}

func (x *movesTrial) arrive(id string) {
	body := text(x.n(1000), 1+x.n(300))
	r := session.Record{Epoch: x.newEpoch(), Locked: x.n(2) == 0, Cookie: int32(1 + x.n(9)), Timeout: 1 + int32(x.n(3)), Body: x.body(body).Stored()}
	r.TimeLeft = time.Duration(x.n(int(r.Timeout)*60)) * time.Second
	r.New = !r.Locked && x.n(3) == 0
	if r.Locked {
		r.LockAge = time.Duration(x.n(1000)) * time.Second
	}
	there, ok := x.Admit(whole(id), r, false)
	r.Body.Release()
	if there.Place == session.Owned || there.Place == session.Parting {
		if ok {
			x.Fatalf("admitted in place of one that is owned")
		}
		return
	}
	if !ok {
		x.Fatalf("there is no room")
	}
	if s := x.sessions[id]; s != nil && s.place != session.Copied || x.n(4) == 0 {
		x.Logf("discard %s", id)
		x.Discard(whole(id), r)
		return
	}
	n := &modelMove{epoch: r.Epoch, place: session.Owned}
	n.modelSession = modelSession{body: body, timeout: r.Timeout, cookie: r.Cookie, fresh: r.New, locked: r.Locked,
		lockedAt: time.Now().Add(-r.LockAge), expires: time.Now().Add(r.TimeLeft)}
	x.sessions[id] = n
	if x.n(2) == 0 {
		x.Logf("keep %s: %+v", id, r)
		n.place = session.Copied
		x.Keep(whole(id), r)
		return
	}
	x.Logf("own %s: %+v", id, r)
	x.Own(whole(id), r)
}

func (x *movesTrial) judge(id string) {
	s := x.sessions[id]
	if x.n(2) == 0 {
		x.Logf("drop %s", id)
		x.Drop(whole(id))
		if s != nil && s.place == session.Copied {
			delete(x.sessions, id)
		}
		return
	}
	e := x.newEpoch()
	x.Logf("adopt %s", id)
	x.Adopt(whole(id), e)
	if s != nil && s.place == session.Copied {
		s.place, s.epoch, s.taken = session.Owned, e, false
	}
}

func (x *movesTrial) fence() {
	x.Logf("fence")
	x.term++
	x.Fence(x.term)
	clear(x.lent)
	for id, s := range x.sessions {
		s.place, s.taken = session.Copied, false
		x.gone(id, s, false)
	}
}

// pass lets time pass, and in line.
func (x *movesTrial) pass(d time.Duration) {
	x.Logf("%v pass", d)
	end := time.Now().Add(d)
	for {
		var next *modelMove
		for _, s := range x.sessions {
			if len(s.line) > 0 && (next == nil || s.first().until.Before(next.first().until)) {
				next = s
			}
		}
		if next == nil || next.first().until.After(end) {
			break
		}
		l := next.first()
		time.Sleep(time.Until(l.until))
		synctest.Wait()
		next.line = slices.DeleteFunc(next.line, func(o *modelLeave) bool { return o == l })
		if !next.locked || next.place == session.Parting {
			l.terms.Wait = 0
			next.waiting = append(next.waiting, l)
		} else {
			x.want[l.ticket] = append(x.want[l.ticket], session.StillLocked)
		}
	}
	time.Sleep(time.Until(end))
	synctest.Wait()
}

// first is whose time in line ends first.
func (s *modelMove) first() *modelLeave {
	return slices.MinFunc(s.line, func(a, b *modelLeave) int { return a.until.Compare(b.until) })
}

// expire does what Run does; sessions that the store has removed must have been to be removed.
func (x *movesTrial) expire() {
	x.Logf("expire")
	x.Expire()
	for id, s := range x.sessions {
		exists := x.Peek(key(id)).Exists
		switch {
		case !exists && s.expired():
			x.mourned(id, s)
		case !exists:
			x.Fatalf("%s is gone before it expires", id)
		}
	}
}

// check compares everything.
func (x *movesTrial) check() {
	synctest.Wait()
	if err := x.Check(-1); err != nil {
		x.Fatal(err)
	}
	var owned, live, copies []string
	for _, id := range x.ids {
		s, got := x.sessions[id], x.Look(whole(id))
		if s == nil || s.expired() {
			if got.Place != session.Absent {
				x.Fatalf("%s: got %+v, want it absent", id, got)
			}
			if s == nil {
				continue
			}
		} else {
			want := session.Look{Place: s.place, Epoch: s.epoch, Locked: s.locked, Idle: time.Since(s.expires) + s.window()}
			if s.locked {
				want.Cookie, want.LockAge = s.cookie, s.age()
			}
			if got != want {
				x.Fatalf("%s: got %+v, want %+v", id, got, want)
			}
			if at := x.Peek(key(id)); at.Body != s.body || at.New != s.fresh || at.Timeout != s.timeout {
				x.Fatalf("%s: got %+v, want %+v", id, at, s)
			}
		}
		switch s.place {
		case session.Parting:
			if lent := x.lent[id]; lent != nil && string(lent.Bytes()) != s.body {
				x.Fatalf("%s: the body that was lent has changed", id)
			}
		case session.Owned:
			owned = append(owned, whole(id))
			if !s.expired() {
				live = append(live, whole(id))
			}
		case session.Copied:
			copies = append(copies, whole(id))
		}
	}
	if got := x.Len(); got != len(x.sessions) {
		x.Fatalf("%d sessions, want %d", got, len(x.sessions))
	}
	x.same("copies", x.Copies(100), copies)
	x.same("pick", x.Pick(100), append(owned, copies...))
	var recent []string
	for from, first := uint64(0), true; from != 0 || first; first = false {
		var claims []session.Claim
		claims, from = x.Recent(1, from, 1+x.n(5))
		for _, c := range claims {
			recent = append(recent, c.Key)
		}
	}
	x.same("recent", recent, live)
	x.mu.Lock()
	defer x.mu.Unlock()
	for ticket := range x.tickets + 1 {
		var got []session.LeaveState
		for _, l := range x.left[ticket] {
			got = append(got, l.Now)
		}
		if !slices.Equal(got, x.want[ticket]) {
			x.Fatalf("ticket %d: told %v, want %v", ticket, got, x.want[ticket])
		}
	}
	for k, epoch := range x.mourn {
		if x.removed[k] != epoch {
			x.Fatalf("%s: said to be removed at epoch %d, want %d", k, x.removed[k], epoch)
		}
	}
	if len(x.removed) != len(x.mourn) {
		x.Fatalf("%d are said to be removed, want %d", len(x.removed), len(x.mourn))
	}
}

func (x *movesTrial) same(what string, got, want []string) {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		x.Fatalf("%s: got %d, want %d: %q, %q", what, len(got), len(want), got, want)
	}
}

func (x *movesTrial) step() {
	id := x.drawID()
	switch op := x.n(100); {
	case op < 8:
		x.read(id, false)
	case op < 20:
		x.read(id, true)
	case op < 36:
		x.set(id)
	case op < 42:
		x.end(id, false)
	case op < 45:
		x.end(id, true)
	case op < 50:
		x.settle()
	case op < 60:
		x.leave(id)
	case op < 62:
		x.recall(id)
	case op < 72:
		x.decide(id)
	case op < 79:
		x.arrive(id)
	case op < 86:
		x.judge(id)
	case op < 87:
		x.fence()
	case op < 94:
		x.pass([]time.Duration{1, 100 * time.Millisecond, 450 * time.Millisecond, time.Second, 20 * time.Second, time.Minute}[x.n(6)])
	case op < 96:
		x.expire()
	case op < 97:
		x.Compact()
		x.Pick(x.n(3))
		x.Copies(x.n(3))
	default:
		x.check()
	}
}

func (x *movesTrial) finish() {
	for len(x.unsettled) > 0 {
		x.settle()
	}
	x.check()
	x.fence()
	for _, k := range x.Copies(100) {
		x.Drop(k)
	}
	synctest.Wait()
	if err := x.Check(0); err != nil {
		x.Fatal(err)
	}
	if got := x.Stats(); got.Active+got.Held+got.Leaving+got.Copies+got.Locked+got.UsedBytes != 0 {
		x.Fatalf("something is left of nothing: %+v", got)
	}
}

func TestModel_SessionsThatMoveDoWhatTheRulesMaySuppose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			time.Sleep(50 * time.Millisecond)
			x := newMovesTrial(rt, t)
			defer x.Close()
			for range x.n(300) {
				x.step()
			}
			x.finish()
		})
	})
}
