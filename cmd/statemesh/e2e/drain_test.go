//go:build linux

package e2e

import (
	"sync"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/farm"
)

// ballast is sessions that make a node's drain last.
func ballast(t *testing.T, n *farm.Node) (check func(addrs ...string)) {
	t.Helper()
	o := bench.FarmOptions{Addrs: []string{n.State}, Conns: 64, Sessions: 20_000, Size: bench.Size{Min: 1000, Max: 3000}, Depth: 64, Seed: 99}
	f, err := bench.NewFarm(o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Fill(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return func(addrs ...string) {
		t.Helper()
		o.Addrs = addrs
		f, err := bench.NewFarm(o)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Check(t.Context(), nil, 1); err != nil {
			t.Errorf("a session was lost: %v", err)
		}
	}
}

// begun waits until a drain is under way.
func begun(t *testing.T, n *farm.Node) {
	t.Helper()
	if err := n.Poll(soon(t), "drain", func() bool { return figures(t, n)["statemesh_drain_sessions"] > 1000 }); err != nil {
		t.Fatal(err)
	}
}

// Who takes the sessions of a node that leaves may be killed, or stop in its tracks, in the middle of it: what it has taken goes with
// it, and nothing else.
func TestDrain_ReceiverGoes(t *testing.T) {
	for name, fail := range map[string]func(n *farm.Node) error{
		"killed":  func(n *farm.Node) error { n.Kill(); return nil },
		"stopped": func(n *farm.Node) error { return n.Pause() },
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, farm.ClusterOptions{Nodes: 3})
			leaving, victim := c.Nodes[0], c.Nodes[2]
			doors := doors(c.Nodes)
			users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 12, Sessions: 10})
			ballast(t, leaving)
			end := users.Start(t.Context())
			if err := leaving.Terminate(); err != nil {
				t.Fatal(err)
			}
			begun(t, leaving)
			users.Doom(victim.Name, leaving.Name) // what the one has may be with the other by now
			if err := fail(victim); err != nil {
				t.Fatal(err)
			}
			doors[0].Shut()
			doors[2].Shut()
			status, err := leaving.Wait(soon(t))
			if status != 0 || err != nil {
				t.Errorf("the leaving node ended with status %d, %v", status, err)
			}
			if err := c.Nodes[1].Poll(soon(t), "notice", func() bool { return state(t, c.Nodes[1], victim.Name) == "failed" }); err != nil {
				t.Error(err)
			}
			wait(t, time.Second)
			if name == "stopped" {
				if err := victim.Resume(); err != nil {
					t.Fatal(err)
				}
				doors[2].Open()
				if err := c.Joined(soon(t)); err != nil {
					t.Error(err)
				}
				wait(t, 2*time.Second)
			}
			wantRight(t, "load", end())
			wantRight(t, "afterwards", users.Visit(soon(t)))
		})
	}
}

// Drains meet: two of three leave at the same moment, with much to hand over. All is with the third.
func TestDrain_TwoAtOnce(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	doors := doors(c.Nodes)
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 12, Sessions: 10})
	check := ballast(t, c.Nodes[0])
	end := users.Start(t.Context())
	wait(t, 300*time.Millisecond)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { stop(t, c.Nodes[i], doors[i]) })
	}
	wg.Wait()
	wantRight(t, "load", end())
	wantRight(t, "afterwards", users.Visit(soon(t)))
	check(c.Nodes[2].State)
}

// Everybody leaves at the same moment, so that nobody is left to take anything: all is in the snapshots.
func TestDrain_AllAtOnce(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3, Place: func(_ int, o *farm.NodeOptions) {
		o.Flags = append(o.Flags, "--snapshot-dir", o.Dir)
	}})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 12, Sessions: 10})
	end := users.Start(t.Context())
	wait(t, 300*time.Millisecond)
	wantRight(t, "load", end())
	check := ballast(t, c.Nodes[0])
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() {
			if status, err := n.Stop(soon(t)); status != 0 || err != nil {
				t.Errorf("%s ended with status %d, %v", n.Name, status, err)
			}
		})
	}
	wg.Wait()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Joined(soon(t)); err != nil {
		t.Fatal(err)
	}
	r := users.Visit(soon(t))
	wantRight(t, "afterwards", r)
	check(c.Nodes[0].State, c.Nodes[1].State, c.Nodes[2].State)
}
