package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/cluster/internal/keys"
)

// One claim each, on whole nodes. What combinations of these do is TestFarm's.

// wants fails the test if an answer is not as it should be.
func (f *farm) wants(what string, got answer, result string) answer {
	f.t.Helper()
	if got.Result != result {
		f.t.Errorf("%s: got %v after %v, want %s", what, got.output, got.Took, result)
	}
	return got
}

// user is one person, whose every page counts in the session; any node will do for each request.
type user struct {
	f     *farm
	key   string
	rng   *rand.Rand
	pages int64
	worst time.Duration
}

// users have written their first page on some node.
func (f *farm) users(n int, on ...string) []*user {
	f.t.Helper()
	all := make([]*user, n)
	for i := range all {
		all[i] = &user{f: f, key: fmt.Sprintf("/LM/W3SVC/1/ROOT/u%d", i), rng: rand.New(rand.NewPCG(uint64(i), 3))}
		all[i].pages++
		node := f.node(on[i%len(on)])
		f.wants("first page of "+all[i].key, node.put(all[i].key, all[i].pages, 0), "ok")
	}
	return all
}

// browse lets all of them see pages until stop, and waits for them. Nobody may be told that there is no such session, or that somebody else is at
// work on it.
func browse(all []*user, think time.Duration, stop <-chan struct{}) *sync.WaitGroup {
	var wg sync.WaitGroup
	for _, u := range all {
		wg.Go(func() {
			for {
				u.page()
				select {
				case <-stop:
					return
				case <-time.After(think/2 + time.Duration(u.rng.Int64N(int64(think)))):
				}
			}
		})
	}
	return &wg
}

// page locks the session, looks whether all pages so far are in it, and adds one.
func (u *user) page() {
	got := u.try("acquire", func(n *node) answer { return n.acquire(u.key) })
	if got.Result != "ok" {
		return
	}
	if got.Value != u.pages {
		u.f.t.Errorf("%s: %d pages are in the session, %d were seen", u.key, got.Value, u.pages)
	}
	u.pages = got.Value + 1
	u.try("write", func(n *node) answer { return n.put(u.key, u.pages, got.Cookie) })
}

// try sends a request until it is done.
func (u *user) try(what string, send func(n *node) answer) (got answer) {
	for began := time.Now(); time.Since(began) < clientTimeout; time.Sleep(50 * ms) {
		open := u.f.open()
		if len(open) == 0 {
			continue
		}
		n := open[u.rng.IntN(len(open))]
		got = send(n)
		u.worst = max(u.worst, got.Took)
		switch got.Result {
		case "ok":
			return got
		case "retry", "fail":
		default:
			u.f.t.Errorf("%s of %s on %s: %v after %v", what, u.key, n.name, got.output, got.Took)
			return got
		}
	}
	u.f.t.Errorf("%s of %s: not done in %v; at last: %v", what, u.key, clientTimeout, got.output)
	return got
}

// count reads every session, and compares.
func (f *farm) count(all []*user) {
	f.t.Helper()
	for _, u := range all {
		got := u.try("read", func(n *node) answer { return n.get(u.key) })
		if got.Result == "ok" && got.Value != u.pages {
			f.t.Errorf("%s: %d pages are in the session, %d were seen", u.key, got.Value, u.pages)
		}
		if at := f.owners(u.key); len(at) != 1 || !strings.HasSuffix(at[0], ":owned") {
			f.t.Errorf("%s is at %v, want one owner", u.key, at)
		}
	}
}

// A session that is fetched comes with all that belongs to it: bytes, lock, cookie, age, flags, and how long it lives.
func TestFetch_BringsAllOfIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 1, 3)
		a, b, c := f.node("a"), f.node("b"), f.node("c")
		f.wants("insert", a.insert("s", 1), "ok")
		got := f.wants("the first read, elsewhere", b.get("s"), "ok")
		if !got.First || got.Value != 1 || got.Timeout != minutes {
			t.Errorf("got %+v, want value 1, the news that it is new, and %d minutes", got, minutes)
		}
		if got.Took > 5*ms {
			t.Errorf("it took %v", got.Took)
		}
		got = f.wants("the second read", c.get("s"), "ok")
		if got.First {
			t.Error("it was new twice")
		}
		lock := f.wants("acquire", a.acquire("s"), "ok")
		time.Sleep(3 * time.Second)
		other := f.wants("acquire, elsewhere", b.acquire("s"), "locked")
		if other.Cookie != lock.Cookie || other.LockAge < 3*time.Second || other.LockAge > 4*time.Second {
			t.Errorf("got %+v, want cookie %d and 3s to 4s", other, lock.Cookie)
		}
		f.wants("write, elsewhere", c.put("s", 2, lock.Cookie), "ok")
		got = f.wants("read", b.get("s"), "ok")
		if got.Value != 2 {
			t.Errorf("read %v, want what was written", got)
		}
		f.atRest()
	})
}

// What the holder of a lock may do, it may do through any node; and nobody else.
func TestLock_HoldsFromEveryNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 2, 3)
		a, b, c := f.node("a"), f.node("b"), f.node("c")
		f.wants("first write", a.put("s", 1, 0), "ok")
		lock := f.wants("acquire on a", a.acquire("s"), "ok")
		f.wants("write on b with another cookie", b.put("s", 99, lock.Cookie+1), "locked")
		f.wants("release on c with another cookie", c.release("s", lock.Cookie+1), "locked")
		f.wants("remove on b without a cookie", b.removeSession("s", 0), "locked")
		f.wants("touch on c", c.touch("s"), "ok")
		f.wants("insert on b", b.insert("s", 98), "ok") // does nothing: it is there
		f.wants("release on b", b.release("s", lock.Cookie), "ok")
		again := f.wants("acquire on c", c.acquire("s"), "ok")
		if again.Cookie != lock.Cookie+1 || again.Value != 1 {
			t.Errorf("got %v, want value 1 and cookie %d", again.output, lock.Cookie+1)
		}
		f.wants("write on a", a.put("s", 2, again.Cookie), "ok")
		third := f.wants("acquire on b", b.acquire("s"), "ok")
		f.wants("remove on c", c.removeSession("s", third.Cookie), "ok")
		for _, n := range f.nodes() {
			f.wants("read on "+n.name, n.get("s"), "404")
			f.wants("release on "+n.name, n.release("s", third.Cookie), "404")
		}
	})
}

// A session that does not exist costs a round trip, not a timeout, and so does a new user's first write.
func TestNowhere_IsKnownAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 3, 5)
		for i, n := range f.nodes() {
			key := fmt.Sprint("unknown", i)
			for what, send := range map[string]func() answer{
				"read": func() answer { return n.get(key) }, "acquire": func() answer { return n.acquire(key) },
				"touch": func() answer { return n.touch(key) }, "release": func() answer { return n.release(key, 2) },
				"remove": func() answer { return n.removeSession(key, 0) },
			} {
				if got := f.wants(what, send(), "404"); got.Took > 3*ms {
					t.Errorf("%s: it took %v", what, got.Took)
				}
			}
			if got := f.wants("first write", n.put(key, 1, 0), "ok"); got.Took > 3*ms {
				t.Errorf("first write: it took %v", got.Took)
			}
		}
	})
}

// Of two nodes that make the same session at the same moment one comes first.
func TestCreate_LeavesOneSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 4, 3)
		for i := range 100 {
			key := fmt.Sprint("s", i)
			var all sync.WaitGroup
			values := map[int64]bool{}
			for j, n := range f.nodes()[:2+i%2] {
				v := int64(1 + 3*i + j)
				values[v] = true
				all.Go(func() { f.wants("first write", n.put(key, v, 0), "ok") })
			}
			all.Wait()
			if at := f.owners(key); len(at) != 1 {
				t.Errorf("%s is at %v, want one owner", key, at)
			}
			var seen []int64
			for _, n := range f.nodes() {
				seen = append(seen, f.wants("read", n.get(key), "ok").Value)
			}
			if seen = slices.Compact(seen); len(seen) != 1 || !values[seen[0]] {
				t.Errorf("%s: read %v, want one of %v", key, seen, values)
			}
		}
	})
}

// Many sessions can move at the same moment.
func TestFetch_ManyAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 5, 3)
		us := f.users(300, "a")
		var all sync.WaitGroup
		for _, u := range us {
			all.Go(func() { f.wants("read of "+u.key, f.node("b").get(u.key), "ok") })
		}
		all.Wait()
		if in := f.node("b").Stats().MovedIn; in != 300 {
			t.Errorf("%d sessions moved, want 300", in)
		}
		f.count(us)
	})
}

// Pages in turn on one node after the other, without pauses.
func TestPages_InTurn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 6, 3)
		nodes := f.nodes()
		f.wants("first write", nodes[0].put("s", 1, 0), "ok")
		for i := int64(1); i < 200; i++ {
			lock := f.wants("acquire", nodes[i%3].acquire("s"), "ok")
			if lock.Value != i {
				t.Fatalf("page %d reads %d", i, lock.Value)
			}
			f.wants("write", nodes[(i+i/7)%3].put("s", i+1, lock.Cookie), "ok")
		}
	})
}

// Two requests of one user: the second waits for the first one's write, and no longer, wherever it is.
func TestLockWait_EndsWithTheLock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 7, 3)
		f.wants("first write", f.node("a").put("s", 1, 0), "ok")
		for i, names := range []string{"aa", "ab", "ba", "bc", "ca", "cc"} {
			first, second := f.node(names[:1]), f.node(names[1:])
			lock := f.wants("acquire on "+first.name, first.acquire("s"), "ok")
			var wrote, read time.Time
			var all sync.WaitGroup
			all.Go(func() {
				time.Sleep(20 * ms)
				f.wants("write", first.put("s", int64(i+2), lock.Cookie), "ok")
				wrote = time.Now()
			})
			all.Go(func() {
				time.Sleep(ms)
				got := f.wants("acquire on "+second.name, second.acquire("s"), "ok")
				read = time.Now()
				if got.Value != int64(i+2) {
					t.Errorf("%s: read %d, want what was written", names, got.Value)
				}
				f.wants("release", second.release("s", got.Cookie), "ok")
			})
			all.Wait()
			if late := read.Sub(wrote); late > 3*ms {
				t.Errorf("%s: answered %v after the write", names, late)
			}
		}
	})
}

// Those who wait for a lock are served in the order in which they came to its node, and no more are held than may be.
func TestLockWait_IsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 8, 3)
		f.wants("first write", f.node("a").put("s", 1, 0), "ok")
		lock := f.wants("acquire", f.node("a").acquire("s"), "ok")
		var mu sync.Mutex
		results := map[string]int{}
		quick := 0
		var all sync.WaitGroup
		for i := range 200 { // somebody holds F5
			n := f.nodes()[i%3]
			all.Go(func() {
				got := n.get("s")
				mu.Lock()
				defer mu.Unlock()
				results[got.Result]++
				if got.Took < 100*ms {
					quick++
				}
			})
		}
		time.Sleep(200 * ms)
		mu.Lock()
		if quick < 200-3*4-8 {
			t.Errorf("%d of 200 were answered at once, want all but those that are held", quick)
		}
		mu.Unlock()
		f.wants("write", f.node("b").put("s", 2, lock.Cookie), "ok")
		all.Wait()
		t.Log(results)
		if results["ok"] == 0 || results["404"]+results["?"]+results["fail"] > 0 {
			t.Errorf("got %v", results)
		}
		f.wants("read", f.node("c").get("s"), "ok")
		f.atRest()
	})
}

// Who drains is served all the while, and loses nothing; nor do those who take what it has.
func TestDrain_UnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 9, 3)
		us := f.users(60, "a", "b", "c")
		stop := make(chan struct{})
		all := browse(us, 200*ms, stop)
		time.Sleep(time.Second)
		for _, name := range []string{"a", "b", "c"} { // a rolling upgrade
			n := f.node(name)
			if err := f.leave(name); err != nil {
				t.Fatalf("drain %s: %v", name, err)
			}
			if left := n.store.Stats().Active; left != 0 {
				t.Errorf("%s left with %d sessions", name, left)
			}
			time.Sleep(300 * ms)
			f.start(name)
			f.meet()
		}
		close(stop)
		all.Wait()
		f.count(us)
		f.atRest()
	})
}

// A receiver that dies in the middle of it takes with it what it had been given, and nothing else.
func TestDrain_ReceiverDies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 10, 3)
		us := f.users(6000, "a")
		a, b := f.node("a"), f.node("b")
		drained := make(chan error)
		go func() { drained <- a.Drain(t.Context()) }()
		f.within(5*time.Second, "half of it done", func() bool { return a.Progress().Sessions > 700 })
		f.kill("b")
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
		given, lost := b.store.Stats().Active, int64(0)
		for _, u := range us {
			got := f.node("c").get(u.key)
			if got.Result == "404" {
				lost++
			} else {
				f.wants("read", got, "ok")
			}
		}
		// Some may have been acknowledged that b had not owned yet: they are on their way there, and lost as well.
		if lost < given || lost > given+1024 {
			t.Errorf("%d are lost, %d were given to the one that died", lost, given)
		}
		if p := a.Progress(); p.Remaining != 0 || !p.Done || p.Sessions != 6000 {
			t.Errorf("got %+v, want all 6000 handed over", p)
		}
	})
}

// Two that drain at once do not give to each other for ever.
func TestDrain_TwoAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 11, 3)
		us := f.users(600, "a", "b", "c")
		stop := make(chan struct{})
		all := browse(us[:50], 50*ms, stop)
		var leaving sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			leaving.Go(func() {
				if err := f.leave(name); err != nil {
					t.Errorf("drain %s: %v", name, err)
				}
			})
		}
		leaving.Wait()
		close(stop)
		all.Wait()
		f.count(us)
		if got := f.node("c").store.Stats().Active; got != 600 {
			t.Errorf("the one that stays has %d sessions, want 600", got)
		}
	})
}

// To its user a session on another node exists, and is not refused for lack of memory as a new one is. What is handed over unasked finds another place.
func TestFetch_ToANodeAtItsMemoryLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 19, 2)
		f.memory = 100_000
		full := f.start("c")
		f.meet()
		us := f.users(100, "a", "b")
		for n := 0; full.put(fmt.Sprint("filling", n), 1, 0).Result == "ok"; n++ {
		}
		for _, u := range us[:20] {
			f.wants("put", full.put(u.key, 2, 0), "ok")
			f.wants("get", full.get(u.key), "ok")
			u.pages = 2
		}
		if got := full.put("new", 1, 0); got.Result != "fail" {
			t.Errorf("a new session over the limit: %v, want a refusal", got.output)
		}
		f.count(us)
		held := full.store.Stats().Active
		if err := f.leave("b"); err != nil {
			t.Fatal(err)
		}
		if got := full.store.Stats().Active; got != held {
			t.Errorf("%d sessions were handed to a node without room", got-held)
		}
		f.count(us)
	})
}

// The last one has nobody to give to. What it has is on disk, and comes back with the lock, the cookie and the time it had left.
func TestSnapshot_LastNodeAndItsNextStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFarm(t, 12, 2)
		us := f.users(100, "a", "b")
		f.wants("put", f.node("a").put("locked", 7, 0), "ok")
		lock := f.wants("acquire", f.node("b").acquire("locked"), "ok")
		if err := f.leave("a"); err != nil {
			t.Fatal(err)
		}
		if err := f.leave("b"); err != ErrNobody {
			t.Errorf("drain without anybody: %v, want ErrNobody", err)
		}
		f.start("b", func(o *Options) { o.SnapshotDir = dir })
		for _, u := range us {
			f.wants("what b held is gone", f.node("b").get(u.key), "404")
		}
		us = f.users(100, "b")
		f.wants("put", f.node("b").put("locked", 7, 0), "ok")
		lock = f.wants("acquire", f.node("b").acquire("locked"), "ok")

		for range 2 { // twice: what came back can be kept again
			b := f.node("b")
			if err := b.Drain(t.Context()); err != ErrNobody {
				t.Errorf("drain without anybody: %v, want ErrNobody", err)
			}
			b.mu.Lock()
			b.closed = true
			b.mu.Unlock()
			b.serving.Wait()
			sessions, bytes, err := b.Snapshot(t.Context())
			if err != nil || sessions != 101 || bytes == 0 {
				t.Fatalf("snapshot: %d sessions, %d bytes, %v; want 101", sessions, bytes, err)
			}
			f.remove(b)
			b.stop()
			time.Sleep(5 * time.Minute)
			f.start("b", func(o *Options) { o.SnapshotDir = dir })
		}
		f.start("a")
		f.meet()
		f.count(us)
		got := f.wants("acquire of what is locked", f.node("a").acquire("locked"), "locked")
		if got.Cookie != lock.Cookie || got.LockAge < 10*time.Minute || got.LockAge > 10*time.Minute+5*time.Second {
			t.Errorf("got cookie %d, %v old; want %d, 10m", got.Cookie, got.LockAge, lock.Cookie)
		}
		f.wants("its write", f.node("a").put("locked", 8, lock.Cookie), "ok")
	})
}

// More than the next start has room for is not thrown away: it says so, and does not start.
func TestSnapshot_LargerThanTheMemory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		keep := func(o *Options) { o.SnapshotDir = dir }
		f := newFarm(t, 20, 0)
		f.start("a", keep)
		f.meet()
		us := f.users(1000, "a")
		a := f.node("a")
		if sessions, _, err := a.Snapshot(t.Context()); err != nil || sessions != 1000 {
			t.Fatalf("snapshot: %d sessions, %v; want 1000", sessions, err)
		}
		f.remove(a)
		a.stop()
		f.memory = 100_000
		for range 2 {
			if _, err := f.try("a", keep); err == nil || !strings.Contains(err.Error(), "max_memory is 0.1 MB: raise it") {
				t.Fatalf("start with too little memory: %v, want it to ask for more", err)
			}
		}
		f.memory = 0
		f.start("a", keep)
		f.meet()
		f.count(us)
	})
}

// A crash takes what the node had, and nobody has to wait for long.
func TestCrash_LosesOnlyItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 13, 4)
		us := f.users(200, "a", "b", "c", "d")
		f.kill("b")
		killed := time.Now()
		var all sync.WaitGroup
		for i, u := range us {
			n := f.node([]string{"a", "c", "d"}[i%3])
			all.Go(func() {
				for {
					got := n.get(u.key)
					if got.Took > 5*time.Second {
						t.Errorf("%s: an answer took %v", u.key, got.Took)
					}
					if got.Result == "retry" && time.Since(killed) < 10*time.Second {
						continue
					}
					if i%4 == 1 { // b's
						f.wants("read of a lost session", got, "404")
					} else {
						f.wants("read of another's", got, "ok")
						if since := time.Since(killed); since > 5*time.Second {
							t.Errorf("%s was found %v after the crash", u.key, since)
						}
					}
					return
				}
			})
		}
		all.Wait()
		f.start("b")
		f.meet()
		f.wants("a new user's write", f.node("b").put(us[1].key, 1, 0), "ok")
		f.atRest()
	})
}

// Two halves go on by themselves, and become one again with one owner of each session.
func TestSplit_HealsToOneOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 14, 4)
		us := f.users(40, "a", "b", "c", "d")
		left, right := []string{ip("a"), ip("b")}, []string{ip("c"), ip("d")}
		f.net.Split(left, right)
		f.within(6*time.Second, "split in two", func() bool {
			return !slices.ContainsFunc(f.nodes(), func(n *node) bool { return n.Stats().Members != 2 })
		})
		for i, u := range us { // everybody who is on the wrong side begins anew, and those on the right one go on
			side := f.nodes()[:2]
			if i%4 < 2 {
				side = f.nodes()[2:]
			}
			f.wants("read over there", side[i%2].get(u.key), "404")
			f.wants("write over there", side[i%2].put(u.key, int64(1000+i), 0), "ok")
			f.wants("write at home", f.nodes()[i%4].put(u.key, int64(2000+i), 0), "ok")
		}
		healed := time.Now()
		f.net.Heal()
		f.within(10*time.Second, "one cluster again", f.whole)
		t.Logf("one cluster %v after the network healed", time.Since(healed))
		f.within(30*time.Second, "one owner each", func() bool {
			return !slices.ContainsFunc(us, func(u *user) bool {
				at := f.owners(u.key)
				return len(at) != 1 || !strings.HasSuffix(at[0], ":owned")
			})
		})
		t.Logf("one owner each %v after it", time.Since(healed))
		var conflicts uint64
		for _, n := range f.nodes() {
			conflicts += n.Stats().Conflicts
		}
		if conflicts != 40 {
			t.Errorf("%d conflicts counted, want 40", conflicts)
		}
		for i, u := range us {
			var seen []int64
			for _, n := range f.nodes() {
				seen = append(seen, f.wants("read", n.get(u.key), "ok").Value)
			}
			if seen = slices.Compact(seen); len(seen) != 1 || seen[0] != int64(1000+i) { // made later: the higher epoch
				t.Errorf("%s: read %v, want what was made later", u.key, seen)
			}
		}
		f.atRest()
	})
}

// A process that was stopped asks for what it had before it serves it again.
func TestPause_IsFenced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 15, 3)
		us := f.users(60, "b")
		b := f.node("b")
		f.pause("b")
		stuck := make(chan answer)
		go func() { stuck <- b.get(us[30].key) }() // comes while it is stopped
		time.Sleep(8 * time.Second)
		for _, u := range us[:20] { // others find that they are gone, and begin anew
			f.wants("read", f.node("a").get(u.key), "404")
			f.wants("first write", f.node("c").put(u.key, 500, 0), "ok")
		}
		f.resume("b")
		if got := <-stuck; got.Result == "404" {
			t.Errorf("what came while the node was stopped: %v", got.output)
		}
		f.within(10*time.Second, "one cluster again", f.whole)
		f.within(20*time.Second, "sure of its sessions", func() bool { return b.Stats().Copies == 0 })
		if got := b.Stats(); got.Fences == 0 {
			t.Errorf("got %+v, want a fence", got)
		}
		for i, u := range us {
			want := u.pages
			if i < 20 {
				want = 500
			}
			for _, n := range f.nodes() {
				if got := f.wants("read of "+u.key+" on "+n.name, n.get(u.key), "ok"); got.Value != want {
					t.Errorf("%s on %s: read %d, want %d", u.key, n.name, got.Value, want)
				}
			}
			if at := f.owners(u.key); len(at) != 1 {
				t.Errorf("%s is at %v", u.key, at)
			}
		}
	})
}

// A computer that was suspended may find only by its wall clock that it stood still. One whose clock was corrected asks in vain; one whose clock was set
// back does not.
func TestPause_OfAComputerThatOnlyItsWallClockShows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var ahead atomic.Int64
		f := newFarm(t, 36, 3, func(o *Options) {
			if o.Name == "b" {
				o.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			}
		})
		us := f.users(60, "b")
		b := f.node("b")
		for _, step := range []time.Duration{-time.Hour, time.Second, 3 * time.Second} {
			ahead.Add(int64(step))
			if was, fresh := step < staleAfter, b.Fresh(); fresh != was {
				t.Errorf("after a step of %v: fresh is %v", step, fresh)
			}
			time.Sleep(300 * ms)
			if !b.Fresh() {
				t.Errorf("after a step of %v: never fresh again", step)
			}
		}
		if got := b.Stats(); got.Fences != 1 {
			t.Errorf("%d fences, want 1", got.Fences)
		}
		f.within(20*time.Second, "sure of its sessions", func() bool { return b.Stats().Copies == 0 })
		f.count(us)
	})
}

// A session lives for its timeout after it was last used, to the second, wherever it has been meanwhile; and a lock is as old as it is, so that ASP.NET
// frees it after 110 s.
func TestTime_TravelsAlong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 16, 3)
		a, b, c := f.node("a"), f.node("b"), f.node("c")
		f.wants("put", a.put("s", 1, 0), "ok")
		f.wants("put", a.put("forgotten", 1, 0), "ok")
		lock := f.wants("acquire", b.acquire("s"), "ok")
		for {
			got := f.wants("poll", c.acquire("s"), "locked")
			if got.LockAge > 110*time.Second {
				f.wants("steal", a.release("s", got.Cookie), "ok")
				break
			}
			time.Sleep(500 * ms)
		}
		f.wants("the write that comes too late", b.put("s", 2, lock.Cookie), "ok") // nobody holds the lock
		lock = f.wants("acquire", c.acquire("s"), "ok")
		f.wants("another's write", b.put("s", 3, lock.Cookie-1), "locked")
		f.wants("write", a.put("s", 4, lock.Cookie), "ok")

		// Alone, for long times: that costs less, and shows that leaving, which moves sessions, does not prolong their lives.
		for _, name := range []string{"b", "c"} {
			if err := f.leave(name); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(15 * time.Minute)
		b = f.start("b")
		f.meet()
		f.wants("read", b.get("s"), "ok") // moves, and lives for another 20 minutes
		used := time.Now()
		if err := f.leave("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(minutes*time.Minute - time.Since(used) - 2*time.Minute)
		if got := len(f.owners("forgotten")); got != 0 {
			t.Error("what nobody has used is there after its time")
		}
		c = f.start("c")
		f.meet()
		if err := f.leave("b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(minutes*time.Minute - time.Since(used) - 5*time.Second)
		if got := len(f.owners("s")); got != 1 {
			t.Errorf("it is in %d places shortly before its time", got)
		}
		time.Sleep(10 * time.Second)
		f.wants("read after its time", c.get("s"), "404")
		if st := c.store.Stats(); st.Active != 0 {
			t.Errorf("%d sessions are left", st.Active)
		}
	})
}

// What is remembered of where sessions went is forgotten after a minute.
func TestNotes_LiveForAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 17, 3)
		us := f.users(50, "a")
		for _, u := range us {
			f.wants("read", f.node("b").get(u.key), "ok")
			f.wants("remove", f.node("c").removeSession(u.key, 0), "ok")
		}
		time.Sleep(55 * time.Second)
		if s := f.node("a").Stats(); s.Notes != 50 {
			t.Errorf("%d hints after 55s, want 50", s.Notes)
		}
		time.Sleep(10 * time.Second)
		for _, n := range f.nodes() {
			if n.busy() {
				t.Errorf("%s is not at rest: %+v", n.name, n.Stats())
			}
		}
	})
}

// Everything a web server can do to a store that has left its memory to others: none of it may stay.
func TestMemory_IsGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 18, 3)
		us := f.users(40, "a", "b", "c")
		stop := make(chan struct{})
		all := browse(us, 50*ms, stop)
		time.Sleep(2 * time.Second)
		close(stop)
		all.Wait()
		for _, u := range us {
			f.wants("remove", f.nodes()[u.pages%3].removeSession(u.key, 0), "ok")
		}
		f.atRest()
		for _, n := range f.nodes() {
			st := n.store.Stats()
			if st.Active != 0 || st.UsedBytes != 0 || st.BodyBytes != 0 {
				t.Errorf("%s: %+v", n.name, st)
			}
		}
	})
}

// Keys change while users see their pages, and nobody notices. Whoever has only the old key is out.
func TestKeys_RotateUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 19, 3)
		us := f.users(20, "a", "b", "c")
		stop := make(chan struct{})
		all := browse(us, 50*ms, stop)
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		first, second := strings.TrimSpace(string(text)), keys.Generate()
		for _, lines := range [][]string{{first, second}, {second, first}, {second}} {
			f.writeKeys(f.keyFile, lines...)
			for _, n := range f.nodes() { // one after the other
				if err := n.ReloadKeys(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
		}
		for _, n := range f.nodes() {
			n.links.Recheck() // all have them now
		}
		time.Sleep(2 * time.Second)
		f.meet()
		close(stop)
		all.Wait()
		f.count(us)
		for _, u := range us {
			if u.worst > 2*time.Second {
				t.Errorf("%s waited %v", u.key, u.worst)
			}
		}
		if s := f.node("a").Stats(); s.Members != 3 || s.Conflicts != 0 {
			t.Errorf("got %+v, want three members and no conflict", s)
		}

		old := t.TempDir() + "/old.key"
		f.writeKeys(old, first)
		d := f.start("d", func(o *Options) { o.KeyFile = old })
		time.Sleep(5 * time.Second)
		if got := d.Stats().Members; got != 1 {
			t.Errorf("with the old key: %d members", got)
		}
		f.remove(d)
		d.stop()
	})
}

// Who has another key is alone: it learns of no member and no session, and each of the others says so once a minute at most.
func TestKeys_AnotherLearnsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 20, 3)
		us := f.users(30, "a", "b", "c")
		other := t.TempDir() + "/other.key"
		f.writeKeys(other, keys.Generate())
		d := f.start("d", func(o *Options) { o.KeyFile = other })
		time.Sleep(50 * time.Second)
		if got := d.Members(); len(got) != 1 {
			t.Errorf("it knows of %d members", len(got)-1)
		}
		for _, u := range us {
			f.wants("read of "+u.key+" there", d.get(u.key), "404")
		}
		refusals := 0
		for _, n := range f.nodes() {
			if n == d {
				continue
			}
			if s := n.Stats(); s.Members != 3 {
				t.Errorf("%s has %d members", n.name, s.Members)
			}
			said := strings.Count(n.log.String(), "refused a stranger")
			if said > 2 { // of its packets, and of its streams
				t.Errorf("%s speaks of it %d times in 50s:\n%s", n.name, said, n.log)
			}
			refusals += said
		}
		if refusals == 0 || !strings.Contains(f.node("a").log.String(), "from="+ip("d")) {
			t.Error("nobody said who was refused")
		}
		f.remove(d)
		d.stop()
		f.count(us)
	})
}

// walled is a network on which one address cannot be dialed.
type walled struct {
	hosted
	closed atomic.Pointer[string]
}

func (w *walled) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if closed := w.closed.Load(); closed != nil && *closed == addr {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("a firewall says no")}
	}
	return w.hosted.Dial(ctx, network, addr)
}

// A node cannot give its sessions to one whose transfer port it does not reach. It keeps them, and goes on serving them at once; and they get
// there by way of a third.
func TestTransfer_PortUnreachable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 21, 3)
		w := &walled{}
		d := f.start("d", func(o *Options) {
			w.hosted = o.network.(hosted)
			o.network = w
		})
		f.meet()
		us := f.users(20, "d")
		port := ip("c") + ":42426"
		w.closed.Store(&port)
		f.net.CutOneWay(ip("d"), ip("c")) // for as long as connections bear
		time.Sleep(5 * time.Second)
		f.net.Heal()
		time.Sleep(time.Second)
		for _, u := range us {
			asked := make(chan answer)
			go func() { asked <- f.node("c").get(u.key) }()
			for range 10 {
				time.Sleep(20 * ms)
				if got := f.wants("read on d", d.get(u.key), "ok"); got.Took > 20*ms {
					t.Errorf("%s: d had to wait %v for its own session", u.key, got.Took)
				}
			}
			f.wants("read on c", <-asked, "retry")
			f.wants("read on a", f.node("a").get(u.key), "ok")
			f.wants("read on c", f.node("c").get(u.key), "ok")
		}
	})
}

// A node that has just started does not say that there is no session before it knows whom to ask.
func TestStart_SaysNothingBeforeItKnows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 22, 3)
		us := f.users(60, "a", "b", "c")
		d := f.start("d")
		var all sync.WaitGroup
		for _, u := range us {
			all.Go(func() { f.wants("read of "+u.key, d.get(u.key), "ok") })
		}
		all.Wait()
		f.meet()
		f.count(us)
	})
}
