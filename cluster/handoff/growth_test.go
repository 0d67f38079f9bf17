package handoff_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// TestGrowth_MessagesPerFetch prints (with -v) what it costs to find a session, by the number of members. One message takes 0.5ms, and nothing
// else takes any time.
func TestGrowth_MessagesPerFetch(t *testing.T) {
	t.Logf("%8s %26s %26s %26s", "", "fetch", "does not exist", "brand-new")
	t.Logf("%8s %9s %7s %8s %9s %7s %8s %9s %7s %8s", "members", "messages", "bytes", "p50", "messages", "bytes", "p50", "messages", "bytes", "p50")
	for _, n := range []int{3, 9, 30, 100} {
		fetch := cost(t, n, func(w *world, i int) *op { return ask(w, i%2, realKey("s"), "GET") })
		miss := cost(t, n, func(w *world, i int) *op { return ask(w, i%2, realKey("none"), "GET") })
		create := cost(t, n, func(w *world, i int) *op {
			return ask(w, i%2, realKey(fmt.Sprint("new", i)), "PUT")
		})
		t.Logf("%8d %v %v %v", n, fetch, miss, create)
		if want := float64(2*(n-1) + 3); fetch.messages != want {
			t.Errorf("a fetch among %d took %v messages, want %v", n, fetch.messages, want)
		}
		if want := float64(2 * (n - 1)); miss.messages != want || create.messages != want {
			t.Errorf("asking %d took %v and %v messages, want %v", n, miss.messages, create.messages, want)
		}
	}
	t.Log("growth: linear in messages, 2(n-1), plus 3 to hand over (the push is the holder's answer); constant in round trips: 1 to know, 2 to fetch")
}

// expense is what a request costs: messages, their bytes (a session's body comes on top), and the time of the median.
type expense struct {
	messages, bytes float64
	p50             time.Duration
}

func (e expense) String() string { return fmt.Sprintf("%9.1f %7.0f %8v", e.messages, e.bytes, e.p50) }

// realKey is as long as IIS makes them.
func realKey(id string) handoff.Key {
	return handoff.Key("/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/" + id + strings.Repeat("x", 24-len(id)))
}

// cost runs a hundred requests after each other.
func cost(t *testing.T, members int, request func(*world, int) *op) expense {
	t.Helper()
	w := newWorld(profile{name: "growth", nodes: members, prompt: true}, 1)
	ask(w, 1, realKey("s"), "PUT")
	w.runUntil(w.now + time.Second)
	w.stats["messages"], w.stats["bytes"] = 0, 0
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
	return expense{float64(w.stats["messages"]) / n, float64(w.stats["bytes"]) / n, times[n/2]}
}

func ask(w *world, at int, k handoff.Key, verb string) *op {
	return w.request(0, w.nodes[at], k, input{Verb: verb}, func(output) {})
}
