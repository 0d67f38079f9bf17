//go:build linux

package e2e

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
)

// TestSoak has one thing after another happen to a cluster of five, at random, for as long as STATEMESH_SOAK says: for a night, by hand.
//
//	STATEMESH_SOAK=30m go test -timeout 0 -v -run Soak ./cmd/statemesh/e2e
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("STATEMESH_SOAK"))
	if err != nil {
		t.Skip("only by hand: STATEMESH_SOAK says for how long")
	}
	c := cluster(t, farm.ClusterOptions{Nodes: 5})
	doors := doors(c.Nodes)
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 32, Sessions: 20, Shared: 6})
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	upTo := func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }

	var lost, late uint64
	for round, until := 1, time.Now().Add(length); time.Now().Before(until) && !t.Failed(); round++ {
		i := random.IntN(len(c.Nodes))
		n, d := c.Nodes[i], doors[i]
		end := users.Start(t.Context())
		wait(t, upTo(time.Second))
		what := "restart"
		excused := false
		switch dice := random.IntN(100); {
		case dice < 40:
			stop(t, n, d)
			wait(t, upTo(3*time.Second))
			start(t, c, n, d)
		case dice < 70:
			what, excused = "kill", true
			users.Doom(n.Name)
			n.Kill()
			d.Shut()
			wait(t, upTo(6*time.Second))
			start(t, c, n, d)
		default:
			pause := upTo(13 * time.Second)
			what, excused = "pause of "+pause.String(), true
			users.Doom(n.Name)
			if err := n.Pause(); err != nil {
				t.Fatal(err)
			}
			wait(t, min(pause, upTo(time.Second)))
			d.Shut()
			wait(t, pause)
			if random.IntN(2) == 0 {
				d.Open() // some find the node before it comes to itself
				wait(t, 100*time.Millisecond)
			}
			if err := n.Resume(); err != nil {
				t.Fatal(err)
			}
			if err := c.Joined(soon(t)); err != nil {
				t.Fatal(err)
			}
			d.Open()
		}
		users.Doom()
		wait(t, upTo(2*time.Second))
		r := end()
		last := users.Visit(soon(t))
		wantRight(t, what+" of "+n.Name, r)
		wantRight(t, "afterwards", last)
		if now := r.Lost + last.Lost; now > 0 && !excused {
			t.Errorf("round %d: %d sessions lost by a %s", round, now, what)
		}
		for name, longest := range r.Longest {
			if name != n.Name && longest > 6*time.Second {
				t.Errorf("round %d: a request to %s waited %v", round, name, longest)
			}
		}
		lost, late = lost+r.Lost+last.Lost, late+r.Late+last.Late
	}
	t.Logf("%d sessions lost with killed and stopped nodes, %d late writes", lost, late)
}
