package cluster

import (
	"testing"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// What leaves is counted when it has left, not before.
func TestMoving_CountsTheBytesThatHaveLeft(t *testing.T) {
	t.Parallel()
	st, err := session.New(session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s, err := newSessions(st, told{left: func(handoff.Key, handoff.Ticket, handoff.Leaving) {}, removed: func([]session.Removal) {}})
	if err != nil {
		t.Fatal(err)
	}
	m, key := newMoving(s), session.KeyOf([]byte("/LM/W3SVC/1/ROOT/s"))
	b, err := st.NewBody(3)
	if err != nil {
		t.Fatal(err)
	}
	b.Filled(copy(b.Next(), "old"))
	if r := st.Set(key, session.Change{Body: b, Timeout: 20, Cookie: session.NoCookie, Grant: session.Grant{Epoch: 7}}); r.Outcome != session.Done {
		t.Fatalf("set: %v", r.Outcome)
	}
	k := handoff.Key(key.Whole())
	for ticket, stays := range []bool{true, false} {
		l := m.Leave(k, handoff.Ticket(ticket), handoff.Terms{Any: true})
		if l.Now != handoff.Frozen || m.bytesOut.Load() != 0 {
			t.Fatalf("leave: %v, %d bytes counted", l.Now, m.bytesOut.Load())
		}
		if stays {
			m.Stay(k, handoff.Ticket(ticket), 9)
		} else {
			m.Forget([]handoff.Push{{Key: k, Transfer: handoff.Ticket(ticket), Record: l.Record}})
		}
	}
	if got := m.bytesOut.Load(); got != 3 || m.Len() != 0 {
		t.Errorf("%d bytes counted, want 3; %d sessions are left", got, m.Len())
	}
}
