package handoff

import (
	"slices"
	"time"
)

// round is a question going round: every member is asked, at once and until each has given an answer that counts.
type round struct {
	id     uint64
	began  time.Duration
	covers []*request // those it can answer: who waited when it began
	peers  []*peer    // everybody else in the view, in order
	again  *timer

	create   bool
	priority Priority
	cookie   int32
	adopt    Epoch // unless zero, it is about a copy that is here

	parked bool // the holder keeps the question until the lock frees
}

// peer is a member, as far as a round goes.
type peer struct {
	id    NodeID
	asked uint32        // questions so far
	at    time.Duration // of the last
	tries int           // since it was last told why
	need  uint32        // an answer counts if the member had heard this question
	reply Reply         // the latest

	chased     Epoch  // it was asked again after a hint to it with this epoch had come
	deferredTo uint64 // the round of its own to which ours gave way
	reconciled bool
}

// answered: the latest answer counts, and is the last word.
func (p *peer) answered() bool {
	return p.reply.Ask > 0 && p.reply.Ask >= p.need && p.reply.Says.Final()
}

// seek starts a round if there is something to find out, and ends one if nobody waits for it any more.
func (m *Machine) seek(a *affair) {
	if r := a.round; r != nil && r.adopt == 0 && !slices.ContainsFunc(r.covers, func(q *request) bool { return q.waits }) {
		m.endRound(a)
	}
	if a.round != nil || a.in != nil || a.out != nil || a.creator != nil || len(a.waiting)+len(a.asks) == 0 && !a.adopt {
		return
	}
	switch look := m.sessions.Look(a.key); look.State {
	case Copied:
		if a.adopt || len(a.waiting) > 0 || len(a.asks) > 0 {
			m.ask(a, look.Epoch)
		}
	case Absent:
		m.noAdopt(a)
		if len(a.waiting) > 0 {
			m.ask(a, 0)
		}
	default:
		m.noAdopt(a)
	}
}

// ask begins a round.
func (m *Machine) ask(a *affair, adopt Epoch) {
	m.stats.Rounds++
	r := &round{id: m.number(), began: m.now, cookie: NoCookie, adopt: adopt}
	a.round = r
	if adopt == 0 {
		r.cover(a.waiting, m.self)
	}
	own := m.notes.of(a.key)
	for _, id := range m.members.others {
		p := &peer{id: id}
		if own.kind == went && own.to == id {
			p.chased = own.epoch // it is only now asked
		}
		r.peers = append(r.peers, p)
		m.askPeer(a, p)
	}
	r.again = m.after(m.o.AskAgain, func() { m.askAgain(a) })
	m.judge(a)
}

func (r *round) cover(waiting []*request, self NodeID) {
	r.covers = slices.Clone(waiting)
	r.priority.Node = self
	for _, q := range waiting {
		if q.Purpose.creates() && (!r.create || q.Arrived < r.priority.Arrived) {
			r.create, r.priority.Arrived = true, q.Arrived
		}
		if q.Purpose.showsCookie() && r.cookie == NoCookie {
			r.cookie = q.Cookie
		}
	}
}

func (m *Machine) askPeer(a *affair, p *peer) {
	r := a.round
	p.asked++
	p.at = m.now
	p.tries++
	m.send(p.id, Find{
		Key: a.key, Round: r.id, Ask: p.asked, Create: r.create, Priority: r.priority, Cookie: r.cookie, Wait: m.lockWait(r), Adopt: r.adopt,
	}, p.tries)
}

// lockWait is how long the requests of a round may still be kept waiting for a lock.
func (m *Machine) lockWait(r *round) time.Duration {
	var wait time.Duration
	for _, q := range r.covers {
		if q.waits && q.Purpose.waitsForLock() {
			wait = max(wait, q.Arrived+m.o.LockWait-m.now)
		}
	}
	return wait
}

// askAgain asks those whose answer is missing, or was not the last word, and sets the time for the next such look.
func (m *Machine) askAgain(a *affair) {
	r := a.round
	m.touch(a)
	if r.parked && len(r.latecomers(a)) > 0 {
		m.startOver(a)
		return
	}
	next := m.now + time.Second
	for _, p := range r.peers {
		if m.askDue(p) <= m.now && a.in == nil {
			m.askPeer(a, p)
		}
		next = min(next, m.askDue(p))
	}
	r.again = m.timers.add(max(next, m.now+m.o.AskAgain), func() { m.askAgain(a) })
	m.judge(a)
}

// askDue is when a member is to be asked again.
func (m *Machine) askDue(p *peer) time.Duration {
	switch {
	case p.reply.Ask < max(p.need, 1): // no answer: soon, then less and less often
		return p.at + m.o.AskAgain<<min(max(p.tries-2, 0), 3)
	case !p.reply.Says.Final(): // it has promised to say more
		return p.at + 4*m.o.AskAgain
	case p.reply.View != m.members.digest:
		return p.at + 2*m.o.AskAgain
	}
	return 1 << 62
}

// replied takes a member's answer.
func (m *Machine) replied(from NodeID, reply Reply) {
	a := m.affairs[reply.Key]
	if a == nil || a.round == nil || a.round.id != reply.Round {
		return
	}
	m.touch(a)
	i := slices.IndexFunc(a.round.peers, func(p *peer) bool { return p.id == from })
	if i < 0 {
		return
	}
	p := a.round.peers[i]
	if reply.Ask < max(p.need, p.reply.Ask) || reply.Ask == p.reply.Ask && reply.Nth < p.reply.Nth || reply.Ask > p.asked {
		return // overtaken
	}
	p.reply = reply
	m.judge(a)
}

// mustAsk asks a member again; what it has said so far does not count any more.
func (m *Machine) mustAsk(a *affair, p *peer) {
	p.need = p.asked + 1
	if m.broken.anyAnswer {
		p.need, p.reply = 0, Reply{}
	}
	p.tries = 0
	m.askPeer(a, p)
}

// judge draws the conclusion, if there is one.
func (m *Machine) judge(a *affair) {
	r := a.round
	switch {
	case r == nil || a.in != nil: // or it is on its way here
	case r.adopt != 0:
		m.judgeCopy(a)
	case m.tellHeld(a):
	default:
		if seen, ok := m.nowhere(a); ok {
			m.concludeNowhere(a, seen)
		}
	}
}

// tellHeld ends the waiting of those who can do nothing while somebody else holds the lock, if that is what the holder says.
func (m *Machine) tellHeld(a *affair) bool {
	r := a.round
	i := slices.IndexFunc(r.peers, func(p *peer) bool {
		return (p.reply.Says == Locked || p.reply.Says == Parked) && p.reply.Ask >= max(p.need, 1)
	})
	if i < 0 {
		r.parked = false
		return false
	}
	reply := r.peers[i].reply
	fits, held := false, 0
	for _, q := range r.covers {
		switch {
		case !q.waits:
		case q.Purpose.showsCookie() && q.Cookie == reply.Cookie:
			fits = true // and the session moves, when it is asked for with this cookie
		case reply.Says == Parked && q.Purpose.waitsForLock() && held < m.o.MaxHeld:
			held++
		default:
			m.answer(a, q, Answer{Outcome: Held, Cookie: reply.Cookie, LockAge: reply.Age})
		}
	}
	r.parked = held > 0
	if fits || held == 0 {
		m.endRound(a)
	}
	m.admitLate(a)
	return true
}

// nowhere: every member said that it does not have the session, after having been asked by this round; nobody knows of a holder who could
// still have it; and all agree on who the members are. seen is the highest epoch anybody knows.
func (m *Machine) nowhere(a *affair) (seen Epoch, ok bool) {
	own := m.notes.of(a.key)
	var hint, removed Epoch
	var holder NodeID
	if own.kind == went {
		hint, holder = own.epoch, own.to
	} else {
		removed = own.epoch
	}
	seen, ok = own.epoch, !m.joining
	for _, p := range a.round.peers {
		if !p.answered() {
			ok = false
			continue
		}
		seen = max(seen, p.reply.Epoch, p.reply.Horizon)
		switch p.reply.Says {
		case No:
		case Gone:
			removed = max(removed, p.reply.Epoch)
		case Hint:
			if p.reply.Epoch > hint {
				hint, holder = p.reply.Epoch, p.reply.Holder
			}
		default:
			ok = false
		}
		ok = m.agrees(p) && ok
	}
	if hint > removed && !m.broken.noChase {
		ok = m.chase(a, holder, hint) && ok
	}
	return seen, ok
}

// chase asks the member to whom the latest hint points, even if it has answered: that may have been before the session reached it. It is
// true once that member, too, has said that it has nothing, asked after the hint was known; or if it is no member any more.
func (m *Machine) chase(a *affair, holder NodeID, e Epoch) bool {
	for _, p := range a.round.peers {
		if p.id != holder {
			continue
		}
		if p.chased < e {
			p.chased = e
			m.mustAsk(a, p)
		}
		return p.answered()
	}
	return true
}

// agrees: the member knows the same members as we do. If not, one of us knows of somebody who may have the session.
func (m *Machine) agrees(p *peer) bool {
	if p.reply.View == m.members.digest || m.broken.noDigest {
		return true
	}
	if !p.reconciled {
		p.reconciled = true
		m.do(Reconcile{With: p.id})
	}
	return false
}

// concludeNowhere answers those who waited when the round began. Of those who would create, the first may; the others wait for it.
func (m *Machine) concludeNowhere(a *affair, seen Epoch) {
	covers := a.round.covers
	if m.broken.oldRound {
		covers = slices.Clone(a.waiting)
	}
	m.endRound(a)
	for _, q := range covers {
		if q.waits && (!q.Purpose.creates() || a.creator == nil) {
			m.tellNowhere(a, q, seen)
		}
	}
}

// admitLate: requests that come while a round is running wait for the next. But a round that waits for a lock would keep them long, perhaps
// from freeing it: it starts over, for a change at once, for reads a few times a second.
func (m *Machine) admitLate(a *affair) {
	r := a.round
	if r == nil || !r.parked {
		return
	}
	late := r.latecomers(a)
	switch {
	case len(late) == 0:
	case slices.ContainsFunc(late, func(q *request) bool { return !q.Purpose.waitsForLock() }):
		m.startOver(a)
	default:
		m.timers.stop(r.again)
		r.again = m.timers.add(max(m.now, r.began+m.o.AskAgain), func() { m.askAgain(a) })
	}
}

func (r *round) latecomers(a *affair) []*request {
	return slices.DeleteFunc(slices.Clone(a.waiting), func(q *request) bool { return slices.Contains(r.covers, q) })
}

// startOver ends a round without a conclusion; another begins if it is still needed.
func (m *Machine) startOver(a *affair) {
	if a.round != nil {
		m.stats.RoundsRestarted++
		m.endRound(a)
	}
}

func (m *Machine) endRound(a *affair) {
	if a.round != nil {
		m.timers.stop(a.round.again)
		a.round = nil
		m.touch(a)
	}
}
