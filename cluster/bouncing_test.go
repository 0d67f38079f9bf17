package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/cluster/handoff"
	"statemesh/session"
)

func TestBouncing_IsWhatIsFetchedToAndFro(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 41, 3)
		us := f.users(300, "a")
		app, id := "/LM/W3SVC/1/ROOT/", "u7"
		for i := range 12 {
			time.Sleep(time.Second)
			f.wants("read", f.node([]string{"b", "a"}[i%2]).get(app+id), "ok")
			if got := len(f.node("a").Bouncing()) + len(f.node("b").Bouncing()); got != 0 {
				t.Errorf("after %d: %d bounce", i+1, got)
			}
		}
		for range 10 {
			f.wants("read", f.node("b").get(app+id), "ok")
			f.wants("read", f.node("a").get(app+id), "ok")
		}
		for _, name := range []string{"a", "b"} {
			got := f.node(name).Bouncing()
			if len(got) != 1 {
				t.Fatalf("on %s: %+v", name, got)
			}
			// When it came last it was to a, and to b just before.
			last := uint64(f.node("a").sessions.Look(handoff.Key(app + id)).Epoch)
			if got[0].Moves != 16 || got[0].App != app || got[0].Key != session.KeyOf([]byte(app+id)).Redacted() || got[0].Epoch > last {
				t.Errorf("on %s: %+v; its epoch is %d", name, got, last)
			}
		}
		if got := f.node("c").Bouncing(); got != nil {
			t.Errorf("on c: %+v", got)
		}

		// A drain does not count, and after a minute nothing of it is left.
		if err := f.leave("a"); err != nil {
			t.Error(err)
		}
		if got := f.node("b").Bouncing(); len(got) != 1 || got[0].Moves != 16 {
			t.Errorf("after the drain: %+v", got)
		}
		time.Sleep(time.Minute)
		if got := f.node("b").Bouncing(); got != nil {
			t.Errorf("a minute later: %+v", got)
		}
		f.count(us)
	})
}

// However often sessions are drained to a node, they do not bounce; not until somebody fetches them.
func TestBouncing_ADrainDoesNotCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 42, 2)
		us := f.users(20, "a", "b")
		for range bouncingMoves + 2 {
			if err := f.leave("a"); err != nil {
				t.Error(err)
			}
			f.start("a")
			f.meet()
			for _, u := range us[:3] {
				f.wants("read of "+u.key, f.node("a").get(u.key), "ok") // so that there is something to drain
			}
			time.Sleep(time.Second)
		}
		if got := f.node("b").Bouncing(); got != nil {
			t.Errorf("drained to b: %+v", got)
		}
		f.count(us)
	})
}

func TestBounces_CountTheLastMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBounces()
		for i := range 1000 {
			b.arrived("/app/slow", handoff.Epoch(i))
			if i%2 == 0 {
				b.arrived("/app/slower", handoff.Epoch(i))
			}
			got := b.list()
			if want := min(i+1, 15); want >= bouncingMoves && (len(got) != 1 || got[0].Moves < want-1 || got[0].Moves > want || got[0].Epoch != uint64(i)) {
				t.Fatalf("after %d, one each 4s: %+v", i+1, got)
			}
			time.Sleep(4 * time.Second)
		}
	})
}

// Whatever comes, the memory is bounded; and what bounces is found among many that do not.
func TestBounces_AreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBounces()
		for i := range 3 * maxBounces {
			b.arrived(handoff.Key(fmt.Sprintf("/app/%d", i)), 1)
			if i%(maxBounces/4) == 0 {
				b.arrived("/app/bouncing", handoff.Epoch(i))
			}
		}
		if len(b.known) != maxBounces || b.order.Len() != maxBounces {
			t.Errorf("%d of %d are remembered", len(b.known), b.order.Len())
		}
		if got := b.list(); len(got) != 1 || got[0].Moves != 12 {
			t.Errorf("got %+v", got)
		}
		for range 1<<16 + 9 { // more than can be counted
			b.arrived("/app/mad", 1)
		}
		if got := b.list(); len(got) != 2 || got[0].Moves != 1<<16-1 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestBounces_ShowNoSessionID(t *testing.T) {
	t.Parallel()
	b := newBounces()
	for _, key := range []handoff.Key{"/LM/W3SVC/1/ROOT(hash/hash=)/bpr4mimb2vjnvtn2jc4yp3uo", "bpr4mimb2vjnvtn2jc4yp3uo", "app/"} {
		for range 20 {
			b.arrived(key, 1)
		}
	}
	all, err := json.Marshal(b.list())
	if err != nil || strings.Contains(string(all), "bpr4") {
		t.Errorf("%s, %v", all, err)
	}
	for _, app := range []string{`"/LM/W3SVC/1/ROOT(hash/hash=)/"`, `""`, `"app/"`} {
		if !strings.Contains(string(all), `"app":`+app) {
			t.Errorf("no %s in %s", app, all)
		}
	}
}

func BenchmarkBounces(b *testing.B) {
	bounces := newBounces()
	keys := make([]handoff.Key, 1<<16)
	for i := range keys {
		keys[i] = handoff.Key(fmt.Sprintf("/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5)/bpr4mimb2vjnvtn2jc4y%d", i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		bounces.arrived(keys[i%len(keys)], 1)
	}
}
