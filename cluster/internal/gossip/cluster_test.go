package gossip

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/cluster/internal/simnet"
)

// world is a cluster in a bubble.
type world struct {
	t     *testing.T
	net   *simnet.Net
	nodes []*node // in order of their machines; a restarted one takes its predecessor's place
	runs  int
	all   []*node
}

// node is one run of a node.
type node struct {
	*Membership
	w    *world
	host *simnet.Host
	ip   string
	log  *logBuffer

	mu     sync.Mutex // guards what follows
	events []string
	at     map[string]time.Time // of the latest event of a kind about a member: "failed b"
	down   bool
}

// seeds is how many runs of each case the tests of timing make. With more than one they try more cases as well:
//
//	go test ./cluster/internal/gossip -v -run Crash -seeds 200
var seeds = flag.Uint64("seeds", 1, "runs of each case, with different luck")

// pick is what is tried by default, or everything.
func pick[T any](some, all []T) []T {
	if *seeds > 1 {
		return all
	}
	return some
}

var keyA = bytes.Repeat([]byte("a"), 32)

// logBuffer is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// inBubble runs a test of a cluster in virtual time.
func inBubble(t *testing.T, seed uint64, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(seed)}
		defer func() {
			for _, n := range w.all {
				n.Stop()
			}
			time.Sleep(2 * time.Minute) // memberlist's timers run out
			if t.Failed() {
				for _, n := range w.all {
					t.Logf("%s: %s\n%s", n.o.ID, strings.Join(n.events, ", "), n.log)
				}
			}
		}()
		f(w)
	})
}

func ip(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }

// start runs a node on machine i.
func (w *world) start(i int, seeds []string, change ...func(*Options)) *node {
	w.t.Helper()
	n, err := w.try(i, seeds, change...)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) try(i int, seeds []string, change ...func(*Options)) (*node, error) {
	n := &node{w: w, host: w.net.Host(ip(i)), ip: ip(i), log: &logBuffer{}, at: map[string]time.Time{}}
	transport, err := n.host.Gossip(ip(i) + ":" + DefaultPort)
	if err != nil {
		return nil, err
	}
	w.runs++
	name := string(rune('a' + i))
	o := Options{
		ID:    fmt.Sprintf("%s-%d", name, w.runs),
		Meta:  Meta{Name: name, Version: "test", ProtoMin: 1, ProtoMax: 1, Started: time.Now(), Transfer: netip.AddrPortFrom(netip.Addr{}, 42426)},
		Keys:  func() ([]byte, [][]byte) { return keyA, nil },
		Seeds: seeds, Transport: transport,
		Log:    hclog.New(&hclog.LoggerOptions{Output: n.log, Level: hclog.Debug}),
		Events: n.event,
	}
	for _, c := range change {
		c(&o)
	}
	if n.Membership, err = New(o); err != nil {
		return nil, err
	}
	if err := n.Start(); err != nil {
		return nil, err
	}
	for len(w.nodes) <= i {
		w.nodes = append(w.nodes, nil)
	}
	w.nodes[i] = n
	w.all = append(w.all, n)
	return n, nil
}

func (n *node) event(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	what := e.Kind.String() + " " + e.Member.ID
	n.events = append(n.events, fmt.Sprintf("%v %s", time.Now().Format("05.000"), what))
	n.at[what] = time.Now()
}

// when is the time since start of an event, or 0.
func (n *node) when(start time.Time, kind EventKind, id string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.at[kind.String()+" "+id]
	if !ok || at.Before(start) {
		return 0
	}
	return at.Sub(start)
}

func (n *node) crash() {
	n.down = true
	n.host.Kill()
	n.Stop()
}

func (n *node) leave() {
	n.w.t.Helper()
	n.down = true
	if err := n.Leave(context.Background()); err != nil {
		n.w.t.Errorf("leave: %v", err)
	}
	n.Stop()
	n.host.Kill()
}

func (w *world) up() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return n == nil || n.down })
}

// view is the IDs of those a node takes for alive.
func (n *node) view() []string {
	var ids []string
	for _, m := range n.Members() {
		if m.State == StateAlive {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// whole tells whether every node sees exactly all others.
func (w *world) whole() bool {
	up := w.up()
	for _, n := range up {
		var want []string
		for _, other := range up {
			if other != n {
				want = append(want, other.o.ID)
			}
		}
		slices.Sort(want)
		if !slices.Equal(n.view(), want) {
			return false
		}
	}
	return true
}

// within waits for something, and returns how long it took.
func (w *world) within(limit time.Duration, what string, f func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !f() {
		if time.Since(start) > limit {
			w.t.Errorf("after %v: not %s", limit, what)
			for _, n := range w.up() {
				w.t.Logf("%s sees %v", n.o.ID, n.view())
			}
			return limit
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// cluster starts n nodes that know the first.
func (w *world) cluster(n int) {
	w.t.Helper()
	for i := range n {
		w.start(i, []string{ip(0), ip(1)})
	}
	w.within(3*time.Second, "whole", w.whole)
	time.Sleep(5 * time.Second)
}
