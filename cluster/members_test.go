package cluster

import (
	"context"
	"slices"
	"testing"
	"time"
)

// Every state has a since: a member that drains, or is in doubt, has not been there for only that long.
func TestMembers_SaySinceWhen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 37, 3)
		joined := time.Now()
		at := func(n, other string) Member {
			all := f.node(n).Members()
			return all[slices.IndexFunc(all, func(m Member) bool { return m.Name == other })]
		}
		wants := func(n, other, state string, from time.Time) {
			t.Helper()
			if m := at(n, other); m.State != state || m.Since.Before(from) || m.Since.After(time.Now()) {
				t.Errorf("%s sees %s %s since %v, want %s since %v to %v", n, other, m.State, m.Since, state, from, time.Now())
			}
		}
		time.Sleep(time.Minute)
		if m := at("a", "a"); m.Since != m.Started {
			t.Errorf("a is up since %v, and was started at %v", m.Since, m.Started)
		}
		was := at("a", "c").Since
		if was.After(joined) {
			t.Errorf("c joined at %v, and is up since %v", joined, was)
		}

		began := time.Now()
		f.pause("c")
		f.within(5*time.Second, "c in doubt", func() bool { return at("a", "c").State == "suspect" })
		wants("a", "c", "suspect", began)
		doubted := at("a", "c").Since
		f.resume("c")
		f.within(10*time.Second, "c believed", func() bool { return at("a", "c").State == "up" })
		if m := at("a", "c"); m.Since != was && m.Since.Before(doubted) { // unless it was taken for dead meanwhile
			t.Errorf("c is up since %v, want %v", m.Since, was)
		}

		time.Sleep(time.Minute)
		began = time.Now()
		if err := f.node("b").Drain(context.Background()); err != nil {
			t.Error(err)
		}
		f.within(time.Second, "b's news", func() bool { return at("a", "b").State == "draining" })
		wants("a", "b", "draining", began)
		wants("b", "b", "draining", began)

		time.Sleep(time.Minute)
		began = time.Now()
		f.kill("c")
		f.within(10*time.Second, "c's death", func() bool { return at("a", "c").State == "failed" })
		wants("a", "c", "failed", began)
	})
}
