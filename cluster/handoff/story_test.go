package handoff_test

import (
	"strings"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// plain is a session at rest; locked one whose lock has been held for a while.
var (
	plain  = handoff.Record{Epoch: 7, Cookie: 1, Timeout: 20, TimeLeft: 20 * time.Minute, Body: int64(1)}
	locked = handoff.Record{Epoch: 7, Locked: true, Cookie: 5, LockAge: 3 * time.Second, Timeout: 20, TimeLeft: 15 * time.Minute, Body: int64(1)}
)

func TestFetch_ReadAsAStory(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.put("b", plain)
	r := s.want("a", handoff.Acquire, handoff.NoCookie)
	s.settle()
	s.finish("a", r)
	got := s.story()
	want := strings.TrimSpace(`
a wants k, to acquire
a to b: Find
a to c: Find
b to a: Push epoch 8
c to a: No
a to b: Ack
b to a: Commit
a to b: Confirm
a answers request 1: Here`)
	// The Confirm and the answer are one node's doing at one moment; the answer needs no carrying.
	want = strings.Replace(want, "a to b: Confirm\na answers request 1: Here", "a answers request 1: Here\na to b: Confirm", 1)
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	s.expectAt("a")
}

func TestFetch_CarriesTheLockAlong(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", locked)
	s.now += 10 * time.Second
	r := s.want("a", handoff.Put, 5)
	s.carry("a", "b", handoff.KindFind)
	s.take("b", "a", handoff.KindPush) // lost
	s.pass(150*ms, false)
	s.nodes["b"].do(func(m *handoff.Machine) { m.Tick(s.now + 100*ms) })
	s.now += 100 * ms
	s.settle()
	s.expect("a", r, handoff.Here)
	got := s.nodes["a"].shelf.kept["k"].record(s.now)
	want := locked
	want.Epoch = 8
	want.LockAge += 10*time.Second + 250*ms
	want.TimeLeft -= 10*time.Second + 250*ms
	if got != want {
		t.Errorf("after the move: got %+v, want %+v", got, want)
	}
}

func TestNowhere_TakesOneRoundTrip(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	read, put := s.want("a", handoff.Read, handoff.NoCookie), s.want("b", handoff.Put, 0)
	for _, l := range [][2]handoff.NodeID{{"a", "b"}, {"a", "c"}} {
		s.carry(l[0], l[1], handoff.KindFind)
		s.carry(l[1], l[0], handoff.KindReply)
	}
	s.expect("a", read, handoff.Nowhere)
	s.settle()
	s.expect("b", put, handoff.Nowhere)
	if a := s.nodes["b"].answers[put]; a.Epoch == 0 || a.Term != 0 {
		t.Errorf("leave to create: got %+v, want an epoch", a)
	}
}

func TestNowhere_NeedsEverybody(t *testing.T) {
	for _, tc := range []struct {
		name string
		then func(*stage)
		want handoff.Outcome
	}{
		{"a silent member proves nothing", func(*stage) {}, handoff.Unknown},
		{"until it is gone", func(s *stage) { s.lose("c"); s.settle() }, handoff.Nowhere},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, "a", "b", "c")
			r := s.want("a", handoff.Read, handoff.NoCookie)
			s.take("a", "c", handoff.KindFind)
			s.settle()
			s.expect("a", r, 0)
			tc.then(s)
			s.pass(2*time.Second, false)
			s.expect("a", r, tc.want)
		})
	}
}

func TestNowhere_NeedsOneView(t *testing.T) {
	s := newStage(t, "a", "b")
	s.add("new", func(*handoff.Options) {})
	s.meet("b", "new")
	s.meet("new", "a")
	s.meet("new", "b")
	s.put("new", plain)
	r := s.want("a", handoff.Read, handoff.NoCookie)
	s.settle()
	s.expect("a", r, 0) // b knows somebody whom a does not
	s.meet("a", "new")
	s.settle()
	s.expect("a", r, handoff.Here)
}

func TestNowhere_NotBeforeJoined(t *testing.T) {
	s := newStage(t)
	s.add("a", func(o *handoff.Options) { o.Joining = true })
	r := s.want("a", handoff.Put, 0)
	s.settle()
	s.expect("a", r, 0)
	s.nodes["a"].do(func(m *handoff.Machine) { m.Joined(s.now) })
	s.expect("a", r, handoff.Nowhere)
}

func TestRound_AnswersOnlyThoseItBeganWith(t *testing.T) {
	s := newStage(t, "a", "b")
	early := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	s.put("b", plain) // created after b has answered
	late := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("b", "a", handoff.KindReply)
	s.expect("a", early, handoff.Nowhere)
	s.expect("a", late, 0)
	s.settle()
	s.expect("a", late, handoff.Here)
}

func TestHint_IsFollowedByAskingAgain(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.put("b", plain)
	r := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "c", handoff.KindFind) // c has nothing yet
	no := s.take("c", "a", handoff.KindReply)
	move := s.want("c", handoff.Acquire, handoff.NoCookie)
	s.take("a", "b", handoff.KindFind)
	s.carry("c", "b", handoff.KindFind)
	s.carry("b", "c", handoff.KindPush)
	s.carry("c", "b", handoff.KindAck)
	s.carry("b", "c", handoff.KindCommit)
	s.expect("c", move, handoff.Here)
	s.finish("c", move)
	s.lost()
	s.deliver(no)
	s.pass(60*ms, true) // a asks b once more, is sent on to c, and asks c again
	s.expect("a", r, handoff.Here)
	s.expectAt("a")
}

func TestHint_EarlierAnswerDoesNotCount(t *testing.T) {
	for _, broken := range []bool{false, true} {
		s := newStage(t, "a", "b", "c")
		s.put("b", plain)
		if broken {
			s.nodes["a"].m.Break("any-answer")
		}
		r := s.want("a", handoff.Read, handoff.NoCookie)
		s.carry("a", "c", handoff.KindFind)
		no := s.take("c", "a", handoff.KindReply)
		s.take("a", "b", handoff.KindFind)
		s.want("c", handoff.Acquire, handoff.NoCookie)
		s.carry("c", "b", handoff.KindFind)
		s.carry("b", "c", handoff.KindPush)
		s.carry("c", "b", handoff.KindAck)
		s.lost()
		s.deliver(no)
		s.nodes["a"].do(func(m *handoff.Machine) { s.now += 60 * ms; m.Tick(s.now) })
		s.carry("a", "b", handoff.KindFind)
		s.carry("b", "a", handoff.KindReply) // a hint to c
		s.take("a", "c", handoff.KindFind)
		s.deliver(no) // which has answered already, and the network doubles it
		want := handoff.Outcome(0)
		if broken {
			want = handoff.Nowhere
		}
		s.expect("a", r, want)
	}
}

func TestCreators_OneGoesFirst(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	first := s.want("b", handoff.Put, 0)
	s.now += ms
	second := s.want("a", handoff.Insert, handoff.NoCookie)
	// The later one's questions are answered first.
	s.carry("a", "b", handoff.KindFind)
	s.carry("a", "c", handoff.KindFind)
	s.settle()
	s.expect("b", first, handoff.Nowhere)
	s.expect("a", second, 0)
	s.nodes["b"].shelf.kept["k"] = &kept{state: handoff.Owned, rec: plain, at: s.now}
	s.finish("b", first)
	s.settle()
	s.expect("a", second, handoff.Here)
	s.expectAt("a")
}

func TestCreators_SecondGoesOnIfTheFirstGivesUp(t *testing.T) {
	s := newStage(t, "a", "b")
	first := s.want("b", handoff.Put, 0)
	s.now += ms
	second := s.want("a", handoff.Put, 0)
	s.settle()
	s.expect("b", first, handoff.Nowhere)
	s.expect("a", second, 0)
	s.finish("b", first) // without having created it
	s.settle()
	s.expect("a", second, handoff.Nowhere)
}

func TestCreators_OnOneNodeWaitForEachOther(t *testing.T) {
	s := newStage(t, "a", "b")
	first, second := s.want("a", handoff.Put, 0), s.want("a", handoff.Insert, handoff.NoCookie)
	read := s.want("a", handoff.Read, handoff.NoCookie)
	s.settle()
	s.expect("a", first, handoff.Nowhere)
	s.expect("a", second, 0)
	s.put("a", plain)
	s.finish("a", first)
	s.settle()
	s.expect("a", second, handoff.Here)
	s.expect("a", read, handoff.Here)
}

// A session was removed where the clock is ahead, and its node's machine has not been told so yet.
func TestCreators_AreAboveWhatWasThereAMomentAgo(t *testing.T) {
	s := newStageWith(t, func(o *handoff.Options) {
		if o.Self == "b" {
			o.Started += time.Hour.Microseconds()
		}
	}, "a", "b")
	first := s.want("b", handoff.Put, handoff.NoCookie)
	s.settle()
	s.finish("b", first)
	was := s.nodes["b"].answers[first].Epoch
	second := s.want("a", handoff.Put, handoff.NoCookie)
	s.settle()
	if is := s.nodes["a"].answers[second].Epoch; is <= was {
		t.Errorf("made anew at epoch %d, it was at %d", is, was)
	}
}

func TestLock_KeepsASessionWhereItIs(t *testing.T) {
	for _, tc := range []struct {
		purpose handoff.Purpose
		cookie  int32
		want    handoff.Outcome
	}{
		{handoff.Read, handoff.NoCookie, handoff.Held},
		{handoff.Acquire, handoff.NoCookie, handoff.Held},
		{handoff.Touch, handoff.NoCookie, handoff.Held},
		{handoff.Insert, handoff.NoCookie, handoff.Held},
		{handoff.Put, 4, handoff.Held},
		{handoff.Remove, handoff.NoCookie, handoff.Held},
		{handoff.Put, 5, handoff.Here},
		{handoff.Release, 5, handoff.Here},
		{handoff.Remove, 5, handoff.Here},
	} {
		s := newStageWith(t, func(o *handoff.Options) { o.LockWait = -1 }, "a", "b")
		s.put("b", locked)
		r := s.want("a", tc.purpose, tc.cookie)
		s.settle()
		s.expect("a", r, tc.want)
		if tc.want == handoff.Held {
			if a := s.nodes["a"].answers[r]; a.Cookie != 5 || a.LockAge != 3*time.Second {
				t.Errorf("%s: told cookie %d held for %v, want 5 for 3s", purposeNames[tc.purpose], a.Cookie, a.LockAge)
			}
			s.expectAt("b")
		}
	}
}

func TestLockWait_EndsTheMomentTheLockFrees(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.put("b", locked)
	first := s.want("a", handoff.Acquire, handoff.NoCookie)
	s.settle()
	second := s.want("c", handoff.Acquire, handoff.NoCookie)
	s.settle()
	s.expect("a", first, 0)
	s.unlock("b")
	s.settle()
	s.expect("a", first, handoff.Here)
	s.expectAt("a")
	// It is locked again, there: the second waits on, at the new holder.
	s.nodes["a"].shelf.kept["k"].rec.Locked = true
	s.finish("a", first)
	s.pass(100*ms, true)
	s.expect("c", second, 0)
	s.unlock("a")
	s.settle()
	s.expect("c", second, handoff.Here)
}

func TestLockWait_IsBounded(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", locked)
	var rs []uint64
	for range 6 {
		rs = append(rs, s.want("a", handoff.Acquire, handoff.NoCookie))
	}
	s.settle()
	s.pass(120*ms, true) // newcomers are taken in a few times a second
	for i, r := range rs {
		want := handoff.Outcome(0)
		if i >= 4 {
			want = handoff.Held
		}
		s.expect("a", r, want)
	}
	s.tire("b")
	s.settle()
	for _, r := range rs {
		s.expect("a", r, handoff.Held)
	}
}

func TestLockWait_DoesNotKeepTheWriteFromFreeingTheLock(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", locked)
	read := s.want("a", handoff.Acquire, handoff.NoCookie)
	s.settle()
	write := s.want("a", handoff.Put, 5)
	s.settle()
	s.expect("a", write, handoff.Here)
	s.expect("a", read, handoff.Here) // and waits for the lock in a's own store
}

func TestLockWait_TellsTheLockAsItIs(t *testing.T) {
	s := newStage(t, "a", "b")
	e := s.put("b", locked)
	s.want("a", handoff.Acquire, handoff.NoCookie)
	s.settle()
	e.rec.Cookie = 6 // freed, and taken by the next in line
	late := s.want("a", handoff.Put, 5)
	s.settle()
	s.expect("a", late, handoff.Held)
	if got := s.nodes["a"].answers[late].Cookie; got != 6 {
		t.Errorf("told cookie %d, want 6", got)
	}
}

func TestPush_RepeatedIsAnsweredAsBefore(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	r := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	push := s.take("b", "a", handoff.KindPush)
	s.deliver(push)
	s.deliver(push)
	s.settle()
	s.deliver(push) // a owns it
	s.settle()
	s.finish("a", r)
	back := s.want("b", handoff.Read, handoff.NoCookie)
	s.settle()
	s.finish("b", back)
	s.deliver(push) // a has handed it back
	s.settle()
	s.expectAt("b")
	delete(s.nodes["b"].shelf.kept, "k")
	s.nodes["b"].do(func(m *handoff.Machine) { m.Removed(s.now, "k", 9) })
	s.deliver(push) // b has removed it
	s.settle()
	s.expectAt()
}

func TestAbort_LetsTheSenderServeOnlyWhenTheReceiverKnows(t *testing.T) {
	for _, broken := range []bool{false, true} {
		s := newStage(t, "a", "b", "c")
		if broken {
			s.nodes["b"].m.Break("no-patience")
		}
		s.put("b", plain)
		r := s.want("a", handoff.Read, handoff.NoCookie)
		s.carry("a", "b", handoff.KindFind)
		s.carry("b", "a", handoff.KindPush) // arrives; but no acknowledgement does
		s.lost()
		s.pass(650*ms, false)
		served := s.nodes["b"].shelf.kept["k"].state == handoff.Owned
		if served != broken {
			t.Errorf("broken %v: served right after the abort: %v", broken, served)
		}
		if served { // a change is made here, and b dies before a hears of the abort
			s.lose("b")
			s.settle()
			s.expectAt("a") // as it was before the change: that is why
			return
		}
		s.pass(300*ms, true)
		s.expect("a", r, handoff.Here) // the abort is confirmed, and a's question heard again
	}
}

func TestAbort_WhenTheReceiverIsGone(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	s.lose("a")
	s.expectAt("b")
	if got := s.nodes["b"].shelf.kept["k"].rec.Epoch; got != 9 {
		t.Errorf("epoch after the abort: got %d, want 9, above that of the push", got)
	}
}

func TestCommit_IsRepeatedUntilConfirmed(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	r := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	s.carry("b", "a", handoff.KindPush)
	s.carry("a", "b", handoff.KindAck)
	s.lost()
	s.expectAt() // forgotten there, not served here
	s.pass(120*ms, true)
	s.expect("a", r, handoff.Here)
	if n := s.nodes["b"].m.Stats().Settling; n != 0 {
		t.Errorf("%d commits unconfirmed, want 0", n)
	}
}

func TestOrphan(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    handoff.Record // what c has
		want []handoff.NodeID
	}{
		{"is adopted if nobody knows better", handoff.Record{}, []handoff.NodeID{"a"}},
		{"is dropped for a higher epoch", handoff.Record{Epoch: 10, Body: int64(2)}, []handoff.NodeID{"c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, "a", "b", "c")
			s.put("b", plain)
			s.want("a", handoff.Read, handoff.NoCookie)
			s.carry("a", "b", handoff.KindFind)
			s.carry("b", "a", handoff.KindPush)
			s.lost()
			if tc.c.Epoch != 0 {
				s.put("c", tc.c)
			}
			s.lose("b") // after the acknowledgement, before the commit
			s.carry("a", "c", handoff.KindFind)
			s.expectAt(tc.want[:len(tc.want)*min(int(tc.c.Epoch), 1)]...) // not served before everybody has answered
			s.carry("c", "a", handoff.KindReply)
			if tc.c.Epoch == 0 {
				s.expectAt(tc.want...)
				if got := s.nodes["a"].shelf.kept["k"].rec.Epoch; got != 9 {
					t.Errorf("epoch: got %d, want 9", got)
				}
				return
			}
			s.settle() // a's waiting request fetches the better one
			s.expectAt("a")
			if got := s.nodes["a"].shelf.kept["k"].rec.Body; got != int64(2) {
				t.Errorf("body: got %v, want c's", got)
			}
		})
	}
}

func TestPush_FromOneWhoIsGoneIsRefused(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.put("b", plain)
	s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	push := s.take("b", "a", handoff.KindPush)
	s.lost()
	s.lose("b")
	s.settle()
	r := s.want("c", handoff.Read, handoff.NoCookie)
	s.settle()
	s.expect("c", r, handoff.Nowhere) // it is lost, and c has said so
	s.deliver(push)
	s.pass(time.Second, true)
	s.expectAt()
	if n := s.nodes["a"].m.Stats().Arriving; n != 0 {
		t.Errorf("%d sessions arriving that nobody can commit", n)
	}
}

func TestDrain_InTurnToThoseWhoTake(t *testing.T) {
	s := newStageWith(t, func(o *handoff.Options) { o.DrainConvoys, o.DrainWindow = 2, 4 }, "a", "b", "c", "d", "e")
	for i := range 300 {
		s.nodes["a"].shelf.kept[handoff.Key(rune('A'+i))] = &kept{state: handoff.Owned, rec: plain, at: s.now}
	}
	s.nodes["a"].do(func(m *handoff.Machine) { m.MemberMeta(s.now, "b", handoff.Meta{Draining: true}) })
	s.nodes["a"].do(func(m *handoff.Machine) { m.MemberMeta(s.now, "c", handoff.Meta{Full: true}) })
	s.nodes["e"].shelf.full = true // but nobody knows
	s.nodes["a"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	if n := s.nodes["a"].m.Stats().Leaving; n != 2*64 || len(s.mail) != 2 {
		t.Errorf("%d sessions on their way at once in %d messages, want two convoys", n, len(s.mail))
	}
	s.pass(10*time.Second, true)
	for id, want := range map[handoff.NodeID]int{"a": 0, "b": 0, "c": 0, "d": 300, "e": 0} {
		if got := s.nodes[id].shelf.Len(); got != want {
			t.Errorf("%s has %d sessions, want %d", id, got, want)
		}
	}
	if a := s.nodes["a"]; !a.m.Drained() || a.drained != 1 {
		t.Errorf("drained: got %v, told %d times", a.m.Drained(), a.drained)
	}
}

func TestDrain_LargeSessionsGoAlone(t *testing.T) {
	s := newStageWith(t, func(o *handoff.Options) { o.DrainWindow = 4 }, "a", "b")
	for i := range 10 {
		large := plain
		large.Size = 1 << 20
		s.nodes["a"].shelf.kept[handoff.Key(rune('A'+i))] = &kept{state: handoff.Owned, rec: large, at: s.now}
	}
	s.nodes["a"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	for _, l := range s.mail {
		if l.msg.Kind() != handoff.KindPush {
			t.Errorf("%v, want each pushed by itself", l.msg.Kind())
		}
	}
	if n := len(s.mail); n != 4 {
		t.Errorf("%d sessions on their way at once, want 4", n)
	}
	s.pass(time.Second, true)
	if n := s.nodes["b"].shelf.Len(); n != 10 || !s.nodes["a"].m.Drained() {
		t.Errorf("%d of 10 have arrived", n)
	}
}

func TestDrain_StillServesAndTakesWhatItAskedFor(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.put("b", locked)
	s.nodes["a"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	s.pass(200*ms, true)
	write := s.want("a", handoff.Put, 5) // the page began here, before
	s.settle()
	s.expect("a", write, handoff.Here)
	s.expectAt("a")
	if s.nodes["a"].m.Drained() {
		t.Error("drained while it has a session")
	}
	s.finish("a", write)
	s.pass(300*ms, true)
	if !s.nodes["a"].m.Drained() {
		t.Error("not drained")
	}
	// What it did not ask for it does not take.
	s.nodes["b"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	s.nodes["c"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	s.pass(3*time.Second, true)
	if n := s.nodes["a"].shelf.Len(); n != 0 {
		t.Errorf("the draining node took %d sessions", n)
	}
}

func TestDrain_NotOverBeforeAllKnowTheReceiver(t *testing.T) {
	s := newStage(t, "a", "b")
	s.add("new", func(*handoff.Options) {})
	s.meet("a", "new")
	s.meet("new", "a")
	s.meet("new", "b")
	s.nodes["a"].do(func(m *handoff.Machine) { m.MemberMeta(s.now, "b", handoff.Meta{Full: true}) })
	s.put("a", plain)
	s.nodes["a"].do(func(m *handoff.Machine) { m.Drain(s.now) })
	s.pass(time.Second, true)
	s.expectAt("new")
	if s.nodes["a"].m.Drained() {
		t.Fatal("drained, though b could not find the session any more")
	}
	s.meet("b", "new")
	s.pass(200*ms, true)
	if !s.nodes["a"].m.Drained() {
		t.Error("not drained")
	}
}

func TestFence_WhatIsOwnedMustBeAskedFor(t *testing.T) {
	for _, tc := range []struct {
		name  string
		other handoff.Epoch // of a session that was made elsewhere meanwhile
		want  []handoff.NodeID
	}{
		{"and is served again if nobody has taken it", 0, []handoff.NodeID{"a"}},
		{"and is dropped for a later one", 100, []handoff.NodeID{"b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, "a", "b", "c")
			s.put("a", plain)
			if tc.other != 0 {
				s.put("b", handoff.Record{Epoch: tc.other, Locked: true, Cookie: 3})
			}
			s.nodes["a"].do(func(m *handoff.Machine) { m.Fence(s.now) })
			r := s.want("a", handoff.Touch, handoff.NoCookie)
			s.expect("a", r, 0)
			s.settle()
			if s.outcome("a", r) == 0 {
				t.Error("not answered")
			}
			s.expectAt(tc.want...)
			if s.nodes["a"].shelf.term != 1 {
				t.Error("leave to create, given before, still holds")
			}
		})
	}
}

func TestFence_AlsoWhatArrivesThen(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.put("b", plain)
	r := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	s.carry("b", "a", handoff.KindPush)
	s.carry("a", "b", handoff.KindAck)
	s.lost()
	s.put("c", handoff.Record{Epoch: 100, Cookie: 3}) // a was stopped, taken for dead, and the session made anew
	s.nodes["a"].do(func(m *handoff.Machine) { m.Fence(s.now) })
	s.now += 120 * ms
	s.nodes["b"].do(func(m *handoff.Machine) { m.Tick(s.now) })
	s.carry("b", "a", handoff.KindCommit)
	s.expectAt("c")
	s.settle()
	s.expect("a", r, handoff.Here)
	s.expectAt("a")
	if got := s.nodes["a"].shelf.kept["k"].rec.Cookie; got != 3 {
		t.Errorf("cookie %d, want 3: the later session's", got)
	}
}

func TestSplit_TwoOwnersBecomeOne(t *testing.T) {
	late := handoff.Epoch(1<<60) << 0
	for _, tc := range []struct {
		name string
		a, b handoff.Record
		used time.Duration // a's, before the meeting
		want handoff.NodeID
	}{
		{"the higher epoch", handoff.Record{Epoch: late + 1}, handoff.Record{Epoch: late}, 0, "a"},
		{"whoever it is", handoff.Record{Epoch: late}, handoff.Record{Epoch: late + 1}, 0, "b"},
		{"then the later use", handoff.Record{Epoch: late}, handoff.Record{Epoch: late}, 0, "a"},
		{"then the greater node", handoff.Record{Epoch: late}, handoff.Record{Epoch: late}, time.Second, "b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, "a", "b")
			a, b := s.nodes["a"], s.nodes["b"]
			a.down("b")
			b.down("a")
			s.put("b", tc.b)
			s.now += time.Second
			s.put("a", tc.a).at -= tc.used
			s.meet("a", "b")
			s.meet("b", "a")
			s.pass(time.Second, true)
			s.expectAt(tc.want)
			if n := a.m.Stats().Conflicts + b.m.Stats().Conflicts; n != 1 {
				t.Errorf("%d conflicts counted, want 1", n)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	small := func(o *handoff.Options) {
		o.MaxWaiting, o.MaxWaitingPerKey, o.MaxNotes, o.MaxArriving = 7, 2, 1, 1
	}
	t.Run("requests", func(t *testing.T) {
		s := newStageWith(t, small, "a", "b")
		for i, tc := range []struct {
			purpose handoff.Purpose
			want    handoff.Outcome
		}{
			{handoff.Read, 0}, {handoff.Read, 0}, {handoff.Read, handoff.Shed}, {handoff.Put, 0}, {handoff.Put, 0}, {handoff.Put, handoff.Shed},
		} {
			if got := s.outcome("a", s.want("a", tc.purpose, 0)); got != tc.want {
				t.Errorf("request %d: got %v, want %v", i, got, tc.want)
			}
		}
		for i, want := range []handoff.Outcome{0, 0, 0, handoff.Shed} {
			id := uint64(100 + i)
			s.nodes["a"].do(func(m *handoff.Machine) {
				m.Want(s.now, handoff.Request{ID: id, Key: handoff.Key(rune('A' + i)), Arrived: s.now})
			})
			s.expect("a", id, want)
		}
	})
	t.Run("hints", func(t *testing.T) {
		s := newStageWith(t, small, "a", "b")
		r := s.want("a", handoff.Read, 0)
		s.put("b", plain)
		s.settle()
		s.expect("a", r, handoff.Here)
		s.finish("a", r)
		s.nodes["b"].shelf.kept["k2"] = &kept{state: handoff.Owned, rec: plain, at: s.now}
		s.nodes["a"].do(func(m *handoff.Machine) {
			m.Want(s.now, handoff.Request{ID: 50, Key: "k2", Purpose: handoff.Put, Arrived: s.now})
		})
		s.pass(4*time.Second, true)
		s.expect("a", 50, 0) // b remembers one hint, and it is young
		s.pass(2*time.Second, true)
		s.expect("a", 50, handoff.Unknown)
		s.pass(5*time.Second, true)
		s.nodes["a"].do(func(m *handoff.Machine) {
			m.Want(s.now, handoff.Request{ID: 51, Key: "k2", Purpose: handoff.Put, Arrived: s.now})
		})
		s.settle()
		s.expect("a", 51, handoff.Here)
	})
	t.Run("arrivals", func(t *testing.T) {
		s := newStageWith(t, small, "a", "b", "c")
		s.put("b", plain)
		s.nodes["c"].shelf.kept["k2"] = &kept{state: handoff.Owned, rec: plain, at: s.now}
		s.want("a", handoff.Read, 0)
		s.carry("a", "b", handoff.KindFind)
		s.carry("b", "a", handoff.KindPush)
		s.lost()
		s.nodes["a"].do(func(m *handoff.Machine) { m.Want(s.now, handoff.Request{ID: 50, Key: "k2", Arrived: s.now}) })
		s.carry("a", "c", handoff.KindFind)
		s.carry("c", "a", handoff.KindPush)
		if msg := s.carry("a", "c", handoff.KindRefuse).(handoff.Refuse); msg.Why != handoff.Full {
			t.Errorf("refused because %v, want Full", msg.Why)
		}
		if e := s.nodes["c"].shelf.kept["k2"]; e.state != handoff.Owned || e.rec.Epoch != 9 {
			t.Errorf("after the refusal: got %+v, want it served at epoch 9", e)
		}
	})
}

func TestNotes_AreForgotten(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	r := s.want("a", handoff.Read, 0)
	s.settle()
	s.finish("a", r)
	s.pass(61*time.Second, true)
	for _, id := range s.order {
		if st := s.nodes[id].m.Stats(); st.Notes+st.Affairs != 0 {
			t.Errorf("%s: %+v, want nothing left", id, st)
		}
		if at, ok := s.nodes[id].m.NextTick(); ok {
			t.Errorf("%s has something to do at %v", id, at)
		}
	}
}

func TestCancel_LeavesNothing(t *testing.T) {
	s := newStage(t, "a", "b")
	r := s.want("a", handoff.Put, 0)
	s.nodes["a"].do(func(m *handoff.Machine) { m.Cancel(s.now, r) })
	s.settle()
	s.expect("a", r, 0)
	if st := s.nodes["a"].m.Stats(); st.Affairs+st.Waiting+st.Running != 0 {
		t.Errorf("%+v, want nothing left", st)
	}
}

func TestAbort_AtOnceIfNothingCanHaveArrived(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	r := s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	push := s.take("b", "a", handoff.KindPush).msg.(handoff.Push)
	s.nodes["b"].do(func(m *handoff.Machine) { m.Undelivered(s.now, push) })
	s.expectAt("b")
	s.pass(300*ms, true)
	s.expect("a", r, handoff.Here)
}

func TestAbort_NothingLeavesForAMemberThatCannotBeReached(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	s.want("a", handoff.Put, 0)
	s.carry("a", "b", handoff.KindFind)
	s.pass(620*ms, false) // b gives up, and is not heard
	s.nodes["b"].shelf.kept["k2"] = &kept{state: handoff.Owned, rec: plain, at: s.now}
	s.nodes["a"].do(func(m *handoff.Machine) {
		m.Want(s.now, handoff.Request{ID: 50, Key: "k2", Purpose: handoff.Put, Arrived: s.now})
	})
	s.carry("a", "b", handoff.KindFind)
	if e := s.nodes["b"].shelf.kept["k2"]; e.state != handoff.Owned {
		t.Error("another session is frozen for it")
	}
	s.pass(time.Second, true) // b is heard again: its abort is confirmed
	s.expect("a", 50, handoff.Here)
}

func TestAbort_PatienceEnds(t *testing.T) {
	s := newStage(t, "a", "b")
	s.put("b", plain)
	s.want("a", handoff.Read, handoff.NoCookie)
	s.carry("a", "b", handoff.KindFind)
	s.lost()
	s.pass(10*time.Second, false)
	s.expectAt()
	s.pass(time.Second, false)
	s.expectAt("b")
}

// BenchmarkFetch moves one session to and fro between two of three nodes: both machines' work, and that of the third.
func BenchmarkFetch(b *testing.B) {
	s := newStage(&testing.T{}, "a", "b", "c")
	s.put("b", plain)
	at := []handoff.NodeID{"a", "b"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		node := at[i%2]
		s.ids++
		id := s.ids
		s.nodes[node].do(func(m *handoff.Machine) {
			m.Want(s.now, handoff.Request{ID: id, Key: "k", Purpose: handoff.Touch, Arrived: s.now})
		})
		s.settle()
		s.finish(node, id)
		delete(s.nodes[node].answers, id)
		s.told = s.told[:0]
	}
}
