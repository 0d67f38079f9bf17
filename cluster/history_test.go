package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"statemesh/cluster/internal/register"
	"statemesh/cluster/internal/simnet"
)

var (
	seedsFlag   = flag.Int("seeds", 10, "runs of TestFarm; they take turns through the profiles")
	seedFlag    = flag.Uint64("seed", 1, "the first")
	profileFlag = flag.String("profile", "", "only this profile")
	traceFlag   = flag.Bool("trace", false, "print every operation and every fault")
)

// profile is what a farm goes through.
type profile struct {
	name   string
	faults simnet.Faults
	cut    bool // a link fails, one way or both, for less and for longer than connections bear
	churn  bool // nodes drain and leave, and join anew
	crash  bool
	pause  bool          // a node is stopped and goes on, for less and for longer than it takes to be taken for dead
	split  bool          // the members fall apart into two clusters. Histories cannot be right then, but what remains can
	gap    time.Duration // between those, on average
}

// Retransmission makes of a lost segment a late one: Stall. Gossip's packets are really lost.
var profiles = []profile{
	{name: "calm", faults: simnet.Faults{Delay: ms / 4, Jitter: ms}},
	{name: "net", faults: simnet.Faults{Delay: ms, Jitter: 30 * ms, Loss: .08, Duplicate: .03, Stall: .05, Reset: .002}},
	{name: "cuts", faults: simnet.Faults{Delay: ms, Jitter: 3 * ms, Loss: .02, Stall: .02, Reset: .001}, cut: true, gap: 2 * time.Second},
	{name: "churn", faults: simnet.Faults{Delay: ms, Jitter: 5 * ms, Loss: .03, Duplicate: .03, Stall: .03, Reset: .001}, churn: true, gap: time.Second},
	{name: "crash", faults: simnet.Faults{Delay: ms, Jitter: 5 * ms, Loss: .03, Duplicate: .03, Stall: .03, Reset: .001}, crash: true, gap: 5 * time.Second},
	{name: "storm", faults: simnet.Faults{Delay: ms, Jitter: 10 * ms, Loss: .05, Duplicate: .05, Stall: .05, Reset: .005}, cut: true, churn: true, crash: true, gap: 2 * time.Second},
	{name: "pause", faults: simnet.Faults{Delay: ms, Jitter: 3 * ms, Loss: .01, Stall: .01}, pause: true, gap: 3 * time.Second},
	{name: "split", faults: simnet.Faults{Delay: ms, Jitter: 3 * ms, Loss: .02, Stall: .02, Reset: .001}, split: true, gap: 3 * time.Second},
}

const (
	webServers  = 6
	troubleTime = 18 * time.Second
)

// TestFarm runs web servers' users through farms in trouble, and has each session's history judged.
//
//	go test ./cluster -run TestFarm -seeds 2000
//	go test ./cluster -run TestFarm -profile storm -seed 17 -seeds 1 -trace -log
//
// A seed repeats a run mostly, not to the last packet: goroutines are scheduled as they come.
func TestFarm(t *testing.T) {
	t.Parallel()
	for seed := *seedFlag; seed < *seedFlag+uint64(*seedsFlag); seed++ {
		p := profiles[seed%uint64(len(profiles))]
		if *profileFlag != "" {
			p = profiles[slices.IndexFunc(profiles, func(p profile) bool { return p.name == *profileFlag })]
		}
		t.Run(fmt.Sprintf("%s-%d", p.name, seed), func(t *testing.T) {
			t.Parallel()
			var s *season
			synctest.Test(t, func(t *testing.T) { s = live(t, p, seed) })
			s.judge(t)
		})
	}
}

// season is one run.
type season struct {
	*farm
	p     profile
	seed  uint64
	calm  sync.WaitGroup // what is still going on of the trouble
	mu    sync.Mutex     // guards what follows
	value int64
	count map[string]int
	over  time.Duration // when all was done: what follows is everybody's stop at once
}

// live is a season: trouble, then quiet, then a look at every session through every node, then all are removed, and nothing is left;
// a minute later nothing is remembered, either.
func live(t *testing.T, p profile, seed uint64) *season {
	s := &season{farm: newFarm(t, seed, 3+int(seed/uint64(len(profiles)))%3), p: p, seed: seed, count: map[string]int{}}
	s.net.Faults(p.faults)
	end := time.Now().Add(troubleTime)
	var users sync.WaitGroup
	for i := range webServers {
		c := &client{s: s, id: i, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		users.Go(func() {
			for time.Now().Before(end) {
				time.Sleep(c.upTo(200 * ms))
				c.page()
			}
		})
	}
	s.trouble(end.Add(-2 * time.Second))
	users.Wait()
	s.calm.Wait()
	s.net.Heal()
	s.net.Faults(simnet.Faults{Delay: ms / 4, Jitter: ms / 4})
	time.Sleep(5 * time.Second) // the dead are found to be so
	s.within(10*time.Second, "whole", s.whole)
	time.Sleep(10 * time.Second) // AbortPatience
	s.look()
	s.clear()
	if s.seed%4 == 0 { // it costs as much as all the rest
		s.atRest()
	} else {
		time.Sleep(time.Second)
	}
	for _, n := range s.nodes() {
		if st := n.store.Stats(); st.Active != 0 || st.UsedBytes != 0 {
			t.Errorf("%s still holds something, though all was removed: %+v", n.name, st)
		}
		st := n.Stats()
		if st.Waiting+st.Leaving+st.Arriving+st.Copies > 0 {
			t.Errorf("%s still has something to do: %+v", n.name, st)
		}
		s.add("rounds", int(st.Rounds))
		s.add("moves", int(st.MovedIn))
		s.add("aborted", int(st.Aborted))
		s.add("adopted", int(st.Adopted))
		s.add("conflicts", int(st.Conflicts))
		s.add("fences", int(st.Fences))
	}
	s.over = time.Since(s.began)
	return s
}

func (s *season) add(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[what] += n
}

func (s *season) nextValue() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value++
	return s.value
}

func (s *season) logf(format string, args ...any) {
	if *traceFlag {
		fmt.Printf("%10.4f %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// chance, upTo and one are the season's luck; its own goroutine's alone.
func (s *season) chance(p float64) bool { return s.rng.Float64() < p }

func (s *season) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)+1))
}

// trouble strikes now and then.
func (s *season) trouble(until time.Time) {
	if s.p.gap == 0 {
		return
	}
	var kinds []func()
	if s.p.cut {
		kinds = append(kinds, s.cutLink)
	}
	if s.p.churn {
		kinds = append(kinds, s.renew)
	}
	if s.p.crash {
		kinds = append(kinds, s.crash)
	}
	if s.p.pause {
		kinds = append(kinds, s.stopAndGoOn)
	}
	if s.p.split {
		kinds = append(kinds, s.splitUp)
	}
	for {
		time.Sleep(s.between(s.p.gap/2, 3*s.p.gap/2))
		if time.Now().After(until) {
			return
		}
		kinds[s.rng.IntN(len(kinds))]()
	}
}

// victim is a node that something may be done to: one that is at work, and knows another that is.
func (s *season) victim() string {
	able := slices.DeleteFunc(s.open(), func(n *node) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.retiring
	})
	knows := slices.DeleteFunc(slices.Clone(able), func(n *node) bool {
		return !slices.ContainsFunc(able, func(other *node) bool {
			_, ok := n.members.transferAddr(other.id)
			return ok
		})
	})
	if len(knows) == 0 {
		return ""
	}
	return knows[s.rng.IntN(len(knows))].name
}

// cutLink cuts one link and mends it. Nothing else happens meanwhile: those who cannot reach each other have a third to ask, and do not
// take each other for dead, for then there would be two clusters.
func (s *season) cutLink() {
	s.calm.Wait()
	if !s.whole() {
		return
	}
	live := s.nodes()
	if len(live) < 3 {
		return
	}
	i := s.rng.IntN(len(live))
	a, b := live[i].name, live[(i+1+s.rng.IntN(len(live)-1))%len(live)].name
	both, d := s.chance(.5), s.between(200*ms, 9*time.Second)
	s.logf("cut %s>%s for %v, both ways: %v", a, b, d, both)
	s.add("cuts", 1)
	s.net.CutOneWay(ip(a), ip(b))
	if both {
		s.net.CutOneWay(ip(b), ip(a))
	}
	time.Sleep(d)
	s.net.Heal()
}

// renew lets a node drain and leave, and starts it again.
func (s *season) renew() {
	name := s.victim()
	if name == "" {
		return
	}
	n := s.node(name)
	n.retire()
	again := s.between(ms, 3*time.Second)
	s.add("drains", 1)
	s.calm.Go(func() {
		s.logf("%s drains", name)
		if err := s.leaveAs(n); err != nil {
			s.t.Errorf("drain %s: %v%s", name, err, s.state())
		}
		time.Sleep(again)
		s.logf("%s joins", name)
		s.start(name)
	})
}

// crash kills a node, and starts it again.
func (s *season) crash() {
	name := s.victim()
	if name == "" {
		return
	}
	s.logf("%s CRASHES", name)
	s.add("crashes", 1)
	s.kill(name)
	again := s.between(500*ms, 4*time.Second)
	s.calm.Go(func() {
		time.Sleep(again)
		s.logf("%s joins", name)
		s.start(name)
	})
}

// stopAndGoOn is SIGSTOP and, later, SIGCONT. What is promised is promised for one at a time. What the node has may be missed meanwhile, and come
// back; unless another was made under its key.
func (s *season) stopAndGoOn() {
	live := s.nodes()
	n, d := live[s.rng.IntN(len(live))], s.between(200*ms, 9*time.Second)
	s.logf("%s is stopped for %v", n.name, d)
	s.add("pauses", 1)
	from := s.stamp()
	s.pause(n.name)
	took := s.takenAlong(n)
	s.expect(n.name, true, d+8*time.Second)
	time.Sleep(d)
	back := s.stamp()
	s.resume(n.name)
	for _, k := range took {
		s.record(k, input{Verb: "AWAY"}, output{Result: "?"}, from, register.Forever)
		s.record(k, input{Verb: "BACK"}, output{Result: "?"}, back, register.Forever)
	}
	s.within(15*time.Second, "whole again", s.whole)
	time.Sleep(3 * time.Second)
}

// splitUp cuts the cluster in two, until both halves have taken each other for dead, and mends it.
func (s *season) splitUp() {
	live := s.nodes()
	var sides [2][]string
	for i, n := range live {
		side := s.rng.IntN(2)
		if i < 2 {
			side = i
		}
		sides[side] = append(sides[side], ip(n.name))
	}
	d := s.between(3*time.Second, 9*time.Second)
	s.logf("split: %v for %v", sides, d)
	s.add("splits", 1)
	s.net.Split(sides[0], sides[1])
	time.Sleep(d)
	s.logf("healed")
	s.net.Heal()
	s.within(15*time.Second, "whole again", s.whole)
}

// look reads every session through every node.
func (s *season) look() {
	var all sync.WaitGroup
	for i, k := range s.keys() {
		all.Go(func() {
			for _, n := range s.nodes() {
				c := &client{s: s, id: webServers + i}
				for tries := 0; ; tries++ {
					got := c.do(n, k, input{Verb: "GET"}, clientTimeout)
					if got.Result != "retry" && got.Result != "?" && got.Result != "fail" {
						break
					}
					if tries == 3 {
						s.t.Errorf("%s cannot say anything about %s: %v", n.name, k, got)
						break
					}
				}
			}
		})
	}
	all.Wait()
	for _, k := range s.keys() {
		if at := s.owners(k); len(at) > 1 || len(at) == 1 && !strings.HasSuffix(at[0], ":owned") {
			s.t.Errorf("%s at the end: %v, want one owner", k, at)
		}
	}
}

// clear removes every session, through any node.
func (s *season) clear() {
	for i, k := range s.keys() {
		live := s.nodes()
		n := live[i%len(live)]
		got := n.removeSession(k, 0)
		if got.Result == "locked" {
			got = n.removeSession(k, got.Cookie)
		}
		if got.Result != "ok" && got.Result != "404" {
			s.t.Errorf("%s cannot remove %s: %v", n.name, k, got)
		}
	}
}

// keys are all sessions ever heard of, in order.
func (f *farm) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]string, 0, len(f.history))
	for k := range f.history {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func (f *farm) record(key string, in input, out output, from, to int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history[key] = append(f.history[key], porcupine.Operation{Input: in, Output: out, Call: from, Return: to})
}

// recordLosses says which sessions a node may have taken with it.
func (f *farm) recordLosses(dead *node, at int64) {
	for _, k := range f.takenAlong(dead) {
		f.record(k, input{Verb: "LOST"}, output{Result: "?"}, at, register.Forever)
	}
}

// takenAlong are the sessions that a node has, and those that are on their way, perhaps to it.
func (f *farm) takenAlong(n *node) (all []string) {
	for _, k := range f.keys() {
		at := f.owners(k)
		if n.has(k) || len(at) == 0 || slices.ContainsFunc(at, func(s string) bool { return strings.HasSuffix(s, ":departing") }) {
			all = append(all, k)
		}
	}
	return all
}

// client is a web server that serves one user's pages after each other; any node will do for each request.
type client struct {
	s   *season
	id  int
	rng *rand.Rand
}

func (c *client) upTo(d time.Duration) time.Duration {
	return time.Duration(c.rng.Int64N(int64(d) + 1))
}
func (c *client) chance(p float64) bool { return c.rng.Float64() < p }

// any sends a request to any node.
func (c *client) any(k string, in input) output {
	open := c.s.open()
	if len(open) == 0 {
		time.Sleep(200 * ms)
		return output{Result: "fail"}
	}
	patience := clientTimeout
	if c.chance(.004) {
		patience = c.upTo(50 * ms)
	}
	return c.do(open[c.rng.IntN(len(open))], k, in, patience)
}

// do sends a request to a node, and enters it in the history.
func (c *client) do(n *node, k string, in input, patience time.Duration) output {
	s := c.s
	s.add("operations", 1)
	from := s.stamp()
	got := n.request(k, in, patience)
	to := s.stamp()
	s.logf("c%d %s %v@%s -> %v (%v)", c.id, k, in, n.name, got.output, got.Took)
	switch {
	case got.Result == "retry" || got.Result == "fail": // certainly not done
		s.add("refused", 1)
		return got.output
	case got.Result == "?":
		s.add("indeterminate", 1)
		if in.Verb == "GET" || in.Verb == "HEAD" {
			return got.output
		}
		to = register.Forever
	}
	s.record(k, in, got.output, from, to)
	return got.output
}

// page is one page, of whatever sort.
func (c *client) page() {
	k := fmt.Sprintf("/LM/W3SVC/1/ROOT/s%d", c.rng.IntN(3))
	switch x := c.rng.Float64(); {
	case x < .15:
		c.any(k, input{Verb: "GET"})
	case x < .20:
		c.any(k, input{Verb: "HEAD"})
	case x < .25: // log off from a page that reads only: it holds no lock
		c.any(k, input{Verb: "DEL"})
	case x < .35:
		c.newUser()
	default:
		c.readWrite(k)
	}
}

// newUser writes a session nobody has heard of, except that another may try the same at the same time.
func (c *client) newUser() {
	k := fmt.Sprintf("/LM/W3SVC/1/ROOT/new%d", time.Since(c.s.began)/(800*ms))
	c.any(k, input{Verb: c.creates(.4), Value: c.s.nextValue()})
	time.Sleep(c.upTo(20 * ms))
	c.readWrite(k)
}

func (c *client) creates(insert float64) string {
	if c.chance(insert) {
		return "INS"
	}
	return "PUT"
}

// readWrite is a page that may change its session: acquire, think, write.
func (c *client) readWrite(k string) {
	for tries := 1; tries < 60; tries++ {
		switch got := c.any(k, input{Verb: "GETX"}); got.Result {
		case "404":
			c.any(k, input{Verb: c.creates(.5), Value: c.s.nextValue()})
			return
		case "ok":
			time.Sleep(c.upTo(300 * ms))
			c.finish(k, got.Cookie)
			return
		case "locked":
			if tries > 6 { // longer than any page may take: free it
				c.any(k, input{Verb: "REL", Cookie: got.Cookie})
				return
			}
			time.Sleep(c.upTo(500 * ms))
		case "retry":
			time.Sleep(500 * ms)
		default:
			return
		}
	}
	c.s.add("gave up", 1)
}

// finish ends a page that holds the lock.
func (c *client) finish(k string, cookie int32) {
	switch x := c.rng.Float64(); {
	case x < .70:
		c.any(k, input{Verb: "PUT", Cookie: cookie, Value: c.s.nextValue()})
	case x < .85:
		c.any(k, input{Verb: "REL", Cookie: cookie})
	case x < .95:
		c.any(k, input{Verb: "DEL", Cookie: cookie})
	} // else the page died, and its lock stays
}

// judge has the histories explained.
func (s *season) judge(t *testing.T) {
	if s == nil {
		return
	}
	falsely := s.falseDeaths()
	for _, k := range s.keys() {
		h := s.history[k]
		s.count["checked"] += len(h)
		if len(falsely) > 0 {
			continue // two clusters, for a while
		}
		result, info := porcupine.CheckOperationsVerbose(register.Model, h, 20*time.Second)
		if result == porcupine.Ok {
			continue
		}
		var text strings.Builder
		register.FirstBad(&text, h)
		picture := filepath.Join(t.ArtifactDir(), fmt.Sprintf("%s-%d.html", s.p.name, s.seed))
		if f, err := os.Create(picture); err == nil {
			if err := porcupine.Visualize(register.Model, info, f); err != nil {
				t.Log(err)
			}
			f.Close()
		}
		t.Errorf("the history of %s cannot be explained: %s (picture: %s)\n%s", k, result, picture, text.String())
	}
	if len(falsely) > 0 && !s.p.split {
		t.Errorf("nodes were taken for dead that were not: %v", falsely)
	}
	if t.Failed() {
		t.Logf("again: go test ./cluster -run TestFarm -profile %s -seed %d -seeds 1 -trace -log", s.p.name, s.seed)
		for _, n := range s.all {
			t.Logf("%s logged:\n%s", n.name, n.log)
		}
	}
	t.Log(s.count)
}

// falseDeaths are the times that a node was said to have failed that was there.
func (s *season) falseDeaths() (all []string) {
	for _, n := range s.all {
		for _, e := range n.Events() {
			name, what, _ := strings.Cut(e.Text, " ")
			if !strings.HasPrefix(what, "failed") {
				continue
			}
			at := e.At.Sub(s.began)
			excused := slices.ContainsFunc(s.gone, func(k gone) bool {
				return (k.name == name || k.alive && k.name == n.name) && k.from < at && at < k.to
			})
			if !excused && at < s.over {
				all = append(all, fmt.Sprintf("%s says at %v: %s", n.name, at, e.Text))
			}
		}
	}
	return all
}
