package handoff_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"statemesh/cluster/handoff"
)

// growthFlag is for cmd/benchreport.
var growthFlag = flag.String("growth", "", "write what TestGrowth finds into this `file`, as JSON")

// growth is what it costs to find a session among so many members.
type growth struct {
	Members             int
	Fetch, Miss, Create expense
}

// TestGrowth_MessagesPerFetch prints (with -v) what it costs to find a session, by the number of members. One message takes 0.5ms, and nothing
// else takes any time.
func TestGrowth_MessagesPerFetch(t *testing.T) {
	var all []growth
	t.Logf("%8s %26s %26s %26s", "", "fetch", "does not exist", "brand-new")
	t.Logf("%8s %9s %7s %8s %9s %7s %8s %9s %7s %8s", "members", "messages", "bytes", "p50", "messages", "bytes", "p50", "messages", "bytes", "p50")
	for _, n := range []int{3, 9, 30, 100} {
		fetch := cost(t, n, func(w *world, i int) *op { return ask(w, i%2, realKey("s"), "GET") })
		miss := cost(t, n, func(w *world, i int) *op { return ask(w, i%2, realKey("none"), "GET") })
		create := cost(t, n, func(w *world, i int) *op {
			return ask(w, i%2, realKey(fmt.Sprint("new", i)), "PUT")
		})
		t.Logf("%8d %v %v %v", n, fetch, miss, create)
		all = append(all, growth{n, fetch, miss, create})
		if want := float64(2*(n-1) + 3); fetch.Messages != want {
			t.Errorf("a fetch among %d took %v messages, want %v", n, fetch.Messages, want)
		}
		if want := float64(2 * (n - 1)); miss.Messages != want || create.Messages != want {
			t.Errorf("asking %d took %v and %v messages, want %v", n, miss.Messages, create.Messages, want)
		}
	}
	t.Log("growth: linear in messages, 2(n-1), plus 3 to hand over (the push is the holder's answer); constant in round trips: 1 to know, 2 to fetch")
	if *growthFlag != "" {
		text, err := json.Marshal(all)
		if err == nil {
			err = os.WriteFile(*growthFlag, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// expense is what a request costs: messages, their bytes (a session's body comes on top), and the time of the median.
type expense struct {
	Messages, Bytes float64
	P50             time.Duration
}

func (e expense) String() string { return fmt.Sprintf("%9.1f %7.0f %8v", e.Messages, e.Bytes, e.P50) }

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
