package handoff_test

import (
	"slices"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// TestGrowth_MessagesPerFetch prints (with -v) what it costs to find a session, by the number of members. One message takes 0.5ms, and nothing
// else takes any time.
func TestGrowth_MessagesPerFetch(t *testing.T) {
	t.Logf("%8s %18s %18s %18s", "", "fetch", "does not exist", "brand-new")
	t.Logf("%8s %9s %8s %9s %8s %9s %8s", "members", "messages", "p50", "messages", "p50", "messages", "p50")
	for _, n := range []int{3, 9, 30, 100} {
		fetch, fetchTime := cost(t, n, func(w *world, i int) *op { return ask(w, i%2, "s", "GET") })
		miss, missTime := cost(t, n, func(w *world, i int) *op { return ask(w, i%2, "none", "GET") })
		create, createTime := cost(t, n, func(w *world, i int) *op {
			return ask(w, i%2, handoff.Key([]byte{'n', byte(i)}), "PUT")
		})
		t.Logf("%8d %9.1f %8v %9.1f %8v %9.1f %8v", n, fetch, fetchTime, miss, missTime, create, createTime)
		if want := float64(2*(n-1) + 3); fetch != want {
			t.Errorf("a fetch among %d took %v messages, want %v", n, fetch, want)
		}
		if want := float64(2 * (n - 1)); miss != want || create != want {
			t.Errorf("asking %d took %v and %v messages, want %v", n, miss, create, want)
		}
	}
	t.Log("growth: linear in messages, 2(n-1), plus 3 to hand over (the push is the holder's answer); constant in round trips: 1 to know, 2 to fetch")
}

// cost runs a hundred requests after each other and returns messages per request, and the time of the median.
func cost(t *testing.T, members int, request func(*world, int) *op) (float64, time.Duration) {
	t.Helper()
	w := newWorld(profile{name: "growth", nodes: members, prompt: true}, 1)
	ask(w, 1, "s", "PUT")
	w.runUntil(w.now + time.Second)
	w.stats["messages"] = 0
	var times []time.Duration
	const n = 100
	for i := range n {
		start, o := w.now, request(w, i)
		o.then = func(output) { times = append(times, w.now-start) }
		w.runUntil(w.now + time.Second)
	}
	if len(times) != n || len(w.failures) > 0 {
		t.Fatalf("%d requests answered, want %d; %v", len(times), n, w.failures)
	}
	slices.Sort(times)
	return float64(w.stats["messages"]) / n, times[n/2]
}

func ask(w *world, at int, k handoff.Key, verb string) *op {
	return w.request(0, w.nodes[at], k, input{Verb: verb}, func(output) {})
}
