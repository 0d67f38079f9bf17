package cluster

import (
	"testing"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

// A fence ends all leaving, and what was noted of it.
func TestMoving_AFenceForgetsWhatWasLeaving(t *testing.T) {
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
	if l := m.Leave(handoff.Key(key.Whole()), 1, handoff.Terms{Any: true}); l.Now != handoff.Frozen || m.sizes[1] != 3 {
		t.Fatalf("leave: %v, sizes %v", l.Now, m.sizes)
	}
	m.Fence(1)
	if len(m.sizes) > 0 {
		t.Errorf("after the fence sizes are %v, want none", m.sizes)
	}
}
