package gossip

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

const childEnv = "STATEMESH_GOSSIP_CHILD" // "id seed"

// child runs a node in a process of its own, until stdin ends. What happens to it, it prints.
func child(args string) {
	id, seed, _ := strings.Cut(args, " ")
	t := &testing.B{}           // for realNode, which needs nothing of it
	said := make(chan struct{}) // where it is, which comes first
	m := realNode(t, id, strings.Fields(seed), func(e Event) {
		<-said
		fmt.Println(e.Kind, e.Member.ID)
	})
	fmt.Println("at", m.Addr())
	close(said)
	_, _ = io.Copy(io.Discard, os.Stdin)
	m.Stop()
}

func TestMain(m *testing.M) {
	if id := os.Getenv(childEnv); id != "" {
		child(id)
		return
	}
	goleak.VerifyTestMain(m)
}

// realNode is a node on loopback, with real sockets.
func realNode(t testing.TB, id string, seeds []string, events func(Event)) *Membership {
	t.Helper()
	m, err := New(Options{
		ID:     id,
		Meta:   Meta{Name: id, ProtoMin: 1, ProtoMax: 1, Started: time.Now(), Transfer: netip.MustParseAddrPort("127.0.0.1:1")},
		Listen: "127.0.0.1:0", Keys: ring(keyA), Seeds: seeds, Events: events, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func TestSockets_JoinAndLeave(t *testing.T) {
	t.Parallel()
	got := make(chan string, 100)
	tell := func(id string) func(Event) {
		return func(e Event) { got <- id + ": " + e.Kind.String() + " " + e.Member.ID }
	}
	expect := func(what ...string) {
		t.Helper()
		missing := map[string]bool{}
		for _, w := range what {
			missing[w] = true
		}
		timeout := time.After(20 * time.Second)
		for len(missing) > 0 {
			select {
			case e := <-got:
				if strings.Contains(e, "failed") {
					t.Errorf("unexpected: %s", e)
				}
				delete(missing, e)
			case <-timeout:
				t.Fatalf("still missing: %v", missing)
			}
		}
	}
	a := realNode(t, "a", nil, tell("a"))
	seed := []string{a.Addr().String()}
	realNode(t, "b", seed, tell("b"))
	c := realNode(t, "c", seed, tell("c"))
	expect("a: joined b", "a: joined c", "b: joined a", "b: joined c", "c: joined a", "c: joined b")
	if err := c.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	c.Stop()
	expect("a: left c", "b: left c")
	if s := a.Stats(); s.PacketsIn == 0 || s.BytesOut == 0 || s.Heard.IsZero() || s.Refused != 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestStop_IsPromptWhileSeedsAreSilent(t *testing.T) {
	t.Parallel()
	m := realNode(t, "a", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3:1"}, nil) // nobody's addresses (RFC 5737)
	start := time.Now()
	m.Stop()
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
	m.Stop() // again
	if m.Update(*m.meta.Load()) == nil || m.Leave(t.Context()) == nil {
		t.Error("it goes on after Stop")
	}
}

func TestStop_EndsLeave(t *testing.T) {
	t.Parallel()
	a := realNode(t, "a", nil, nil)
	b := realNode(t, "b", []string{a.Addr().String()}, nil)
	<-b.Ready()
	left := make(chan error)
	go func() { left <- b.Leave(t.Context()) }()
	b.Stop()
	<-left
}
