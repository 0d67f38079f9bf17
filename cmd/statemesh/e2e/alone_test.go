//go:build linux

package e2e

import (
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
)

func TestAlone_UsersFindNothingWrong(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 1, Alone: true})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 10, Sessions: 3, Shared: 3})
	stop := users.Start(t.Context())
	wait(t, time.Second)
	r := stop()
	wantRight(t, "load", r)
	wantRight(t, "afterwards", users.Visit(soon(t)))
	if r.Failed+r.Busy+r.Refused+r.Closed+r.TimedOut+r.Unreachable > 0 {
		t.Errorf("something went wrong: %v", r)
	}
	if status, err := c.Nodes[0].Stop(soon(t)); status != 0 || err != nil {
		t.Errorf("stopped with status %d, %v", status, err)
	}
}

// A test that cannot fail proves nothing: sessions of a node that was killed are missed, unless users are told.
func TestAlone_UsersMissWhatAKilledNodeHad(t *testing.T) {
	for _, told := range []bool{false, true} {
		c := cluster(t, farm.ClusterOptions{Nodes: 1, Alone: true})
		n := c.Nodes[0]
		users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 4, Sessions: 3})
		if told {
			users.Doom(n.Name)
		}
		n.Kill()
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := users.Visit(soon(t))
		if missed := r.Faults[farm.FalseNotFound]; told && missed > 0 || !told && missed != 12 {
			t.Errorf("told=%v: %d sessions missed: %v", told, missed, r)
		}
		if told && r.Lost != 12 || !told && r.Lost > 0 {
			t.Errorf("told=%v: %d sessions lost: %v", told, r.Lost, r)
		}
	}
}
