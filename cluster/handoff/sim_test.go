package handoff_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"statemesh/cluster/handoff"
	"statemesh/cluster/internal/register"
)

var (
	seedsFlag   = flag.Int("seeds", 0, "seeds of each profile; 0: a few")
	seedFlag    = flag.Uint64("seed", 1, "the first seed")
	profileFlag = flag.String("profile", "", "only this profile")
	traceFlag   = flag.Bool("trace", false, "print everything that happens")
	brokenFlag  = flag.String("broken", "", "rules to take away")
)

var profiles = []profile{
	{name: "calm", clients: 6, length: 20 * time.Second, slowest: 50 * ms},
	{name: "net", clients: 6, length: 20 * time.Second, drop: .10, dup: .05, slow: .05, late: .01},
	{name: "heavy", clients: 6, length: 20 * time.Second, drop: .30, dup: .20, slow: .20, late: .05},
	{name: "cuts", clients: 6, length: 30 * time.Second, drop: .02, dup: .02, slow: .02, late: .01, cut: true, gap: time.Second},
	{name: "crash", clients: 6, length: 40 * time.Second, drop: .05, dup: .05, slow: .05, late: .02, crash: true, churn: true, gap: 8 * time.Second},
	{name: "churn", clients: 6, length: 40 * time.Second, drop: .05, dup: .05, slow: .05, late: .02, churn: true, gap: 3 * time.Second},
	{name: "storm", clients: 6, length: 40 * time.Second, drop: .15, dup: .15, slow: .15, late: .10, crash: true, churn: true, cut: true, gap: 1500 * ms},
	{name: "clocks", clients: 6, length: 40 * time.Second, drop: .05, dup: .05, slow: .05, late: .02, churn: true, gap: 3 * time.Second, skew: time.Hour},
	{name: "pause", nodes: 5, clients: 6, length: 40 * time.Second, drop: .02, dup: .02, slow: .02, late: .01, pause: true, gap: 6 * time.Second},
	{name: "split", clients: 6, length: 40 * time.Second, drop: .02, dup: .02, slow: .02, late: .01, split: true, gap: 25 * time.Second, unpromised: true},
}

// simulate runs a cluster through a profile: trouble, then quiet, then a look at every session from every node, then a minute of rest after
// which nothing may be left. It returns which sessions' histories cannot be explained.
func simulate(p profile, seed uint64, broken string, trace func(string, ...any)) (w *world, bad []handoff.Key) {
	w = brokenWorld(p, seed, broken)
	w.trace = trace
	for i := range p.clients {
		c := &client{w: w, id: i, until: w.now + p.length}
		w.at(w.upTo(100*ms), c.page)
	}
	end := w.now + p.length
	w.trouble(end - 3*time.Second)
	w.at(p.length, func() { w.calm = true })
	w.runUntil(end + 35*time.Second)
	w.look(p.clients)
	w.runUntil(w.now + 100*time.Second)
	w.checkRest()
	for _, k := range sortedKeys(w.history) {
		if res := porcupine.CheckOperationsTimeout(register.Model, w.history[k], 20*time.Second); res != porcupine.Ok {
			w.logf("history of %s: %s", k, res)
			bad = append(bad, k)
		}
		w.stats["checked"] += len(w.history[k])
	}
	return w, bad
}

func brokenWorld(p profile, seed uint64, broken string) *world {
	w := newWorld(p, seed)
	w.broken = broken
	for _, n := range w.nodes {
		for rule := range strings.FieldsSeq(broken) {
			n.m.Break(rule)
		}
	}
	return w
}

// look reads every session through every node.
func (w *world) look(clients int) {
	for _, k := range w.keys() {
		for _, n := range w.live() {
			w.lookFrom(clients, n, k, 0)
		}
	}
	w.runUntil(w.now + 20*time.Second)
	for _, k := range w.keys() {
		w.checkLast(k)
	}
}

func (w *world) lookFrom(client int, n *node, k handoff.Key, tries int) {
	w.at(w.upTo(5*time.Second), func() {
		w.request(client, n, k, input{Verb: "GET"}, func(out output) {
			switch {
			case out.Result == "ok" || out.Result == "404" || out.Result == "locked":
			case tries < 3:
				w.lookFrom(client, n, k, tries+1)
			default:
				w.fail("%s cannot say anything about %s", n.id, k)
			}
		})
	})
}

// checkLast: a session is in one place at the end, and served there; or nowhere.
func (w *world) checkLast(k handoff.Key) {
	var at []string
	served := 0
	for _, n := range w.live() {
		if e := n.store.entries[k]; e != nil {
			at = append(at, fmt.Sprintf("%s: %v", n.id, e))
			if e.state == handoff.Owned {
				served++
			}
		}
	}
	if len(at) > 1 || served != len(at) {
		w.fail("%s is in %d places at the end, and served in %d: %s", k, len(at), served, strings.Join(at, "; "))
	}
}

// checkRest: a minute after the last request nobody waits, nothing is under way, and nothing is remembered.
func (w *world) checkRest() {
	for _, n := range w.live() {
		s := n.m.Stats()
		if s.Affairs+s.Waiting+s.Running+s.Leaving+s.Arriving+s.Settling+s.Notes > 0 {
			w.fail("%s is not at rest: %+v", n.id, s)
		}
		if len(n.open) > 0 {
			w.fail("%s has requests that were never answered: %+v", n.id, n.open[0].input)
		}
		for _, e := range n.store.entries {
			if len(e.turns)+len(e.line) > 0 {
				w.fail("%s has somebody waiting for %s", n.id, e.key)
			}
		}
		if at, ok := n.m.NextTick(); ok {
			w.fail("%s still has something to do at %v", n.id, at)
		}
		w.add("rounds", s.Rounds)
		w.add("aborts", s.Aborted)
		w.add("conflicts", s.Conflicts)
	}
}

func (w *world) add(what string, n uint64) { w.stats[what] += int(n) }

func TestSimulation(t *testing.T) {
	for _, p := range profiles {
		if *profileFlag != "" && *profileFlag != p.name {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			seeds := *seedsFlag
			if seeds == 0 {
				seeds = 8
			}
			total := map[string]int{}
			violations := 0
			for seed := *seedFlag; seed < *seedFlag+uint64(seeds); seed++ {
				var trace func(string, ...any)
				if *traceFlag {
					trace = func(f string, a ...any) { fmt.Printf(f+"\n", a...) }
				}
				w, bad := simulate(p, seed, *brokenFlag, trace)
				for k, v := range w.stats {
					total[k] += v
				}
				if len(bad) > 0 || len(w.failures) > 0 {
					violations++
				}
				report(t, w, bad)
				if t.Failed() && violations >= 3 {
					break
				}
			}
			t.Logf("%-6s seeds=%d violations=%d %s", p.name, seeds, violations, listed(total))
		})
	}
}

// report fails the test for what a seed has shown.
func report(t *testing.T, w *world, bad []handoff.Key) {
	t.Helper()
	for _, f := range w.failures {
		t.Errorf("profile %s seed %d: %s", w.p.name, w.seed, f)
	}
	if w.p.unpromised {
		return
	}
	for _, k := range bad {
		var text strings.Builder
		register.FirstBad(&text, w.history[k])
		picture := filepath.Join(t.ArtifactDir(), fmt.Sprintf("%s-%d-%s.html", w.p.name, w.seed, k))
		_, info := porcupine.CheckOperationsVerbose(register.Model, w.history[k], 20*time.Second)
		if f, err := os.Create(picture); err == nil {
			if err := porcupine.Visualize(register.Model, info, f); err != nil {
				t.Log(err)
			}
			f.Close()
		}
		t.Errorf("profile %s seed %d: the history of %s cannot be explained (picture: %s)\n%s\nreplay: go test -run TestSimulation/ "+
			"-profile %s -seed %d -seeds 1 -trace", w.p.name, w.seed, k, picture, text.String(), w.p.name, w.seed)
	}
}

func listed(m map[string]int) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, fmt.Sprintf("%s=%d", k, m[k]))
	}
	return strings.Join(s, " ")
}

// TestSimulation_Replays: the same seed is the same story, to the last message.
func TestSimulation_Replays(t *testing.T) {
	t.Parallel()
	for _, p := range profiles[3:] {
		p.length /= 2
		var stories [2]uint64
		for i := range stories {
			h := fnv.New64a()
			simulate(p, 3, "", func(format string, args ...any) { fmt.Fprintf(h, format, args...) })
			stories[i] = h.Sum64()
		}
		if stories[0] != stories[1] {
			t.Errorf("%s: two runs of one seed differ", p.name)
		}
	}
}
