//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
)

// drained is the last word of a node that was told to stop.
var drained = regexp.MustCompile(`^drained [0-9][0-9.,]* sessions \(.+B\) to [0-9]+ members in .*s$`)

// stop tells a node to stop, as a service manager does, and sees that it leaves in good order. Its load balancer asks /readyz.
func stop(t *testing.T, n *farm.Node, d *farm.Door) {
	t.Helper()
	if err := n.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := n.Poll(soon(t), "end of readiness", func() bool { return !n.Ready(t.Context()) }); err != nil {
		t.Error(err)
	}
	d.Shut()
	status, err := n.Wait(soon(t))
	if err != nil || status != 0 {
		t.Fatalf("%s ended with status %d, %v", n.Name, status, err)
	}
	var last farm.Line
	for _, line := range n.Log().Lines() {
		if drained.MatchString(line.Message) {
			last = line
		}
	}
	if last.Message == "" {
		t.Errorf("%s does not say what it drained", n.Name)
	}
	t.Logf("%s: %s", n.Name, last.Message)
}

// start starts it again.
func start(t *testing.T, c *farm.Cluster, n *farm.Node, d *farm.Door) {
	t.Helper()
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Joined(soon(t)); err != nil {
		t.Fatal(err)
	}
	d.Open()
}

// Every node is restarted in turn while users are at work. Who is told to stop closes its connections at once, and some users meet one
// that has just been closed; who is drained first, until the load balancer sends nobody any more, is not missed by anybody.
func TestRollingRestart_LosesNothing(t *testing.T) {
	for _, drain := range []bool{false, true} {
		t.Run(fmt.Sprintf("drained first=%v", drain), func(t *testing.T) {
			c := cluster(t, farm.ClusterOptions{Nodes: 3})
			doors := doors(c.Nodes)
			users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 16, Sessions: 10, Shared: 4})
			end := users.Start(t.Context())
			for i, n := range c.Nodes {
				wait(t, 500*time.Millisecond)
				if drain {
					if status, body, err := n.Post(t.Context(), "/api/v1/drain"); err != nil || status/100 != 2 {
						t.Fatalf("drain: %d %s %v", status, body, err)
					}
					if n.Ready(t.Context()) {
						t.Error("a node that drains is ready")
					}
					doors[i].Shut()
					wait(t, 500*time.Millisecond) // requests in flight
				}
				stop(t, n, doors[i])
				start(t, c, n, doors[i])
			}
			r := end()
			wantRight(t, "load", r)
			wantRight(t, "afterwards", users.Visit(soon(t)))
			if r.Lost > 0 || r.Late > 0 || r.TimedOut > 0 {
				t.Errorf("%d sessions lost, %d late writes, %d requests not answered in time", r.Lost, r.Late, r.TimedOut)
			}
			if drain && r.Closed+r.Refused+r.Failed+r.Unreachable > 0 {
				t.Errorf("somebody noticed: %v", r)
			}
		})
	}
}

// One is killed: its sessions are gone, and nobody else's; nobody waits for it for long; the others know soon. It is told apart from one
// that has left just before. Some sessions have several users, who may make one anew at the same moment.
func TestKill_LosesOnlyItsOwn(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 4})
	doors := doors(c.Nodes)
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 16, Sessions: 10, Shared: 4})
	end := users.Start(t.Context())
	wait(t, 500*time.Millisecond)
	stop(t, c.Nodes[3], doors[3])

	victim := c.Nodes[2]
	users.Doom(victim.Name, c.Nodes[3].Name) // who may have given it some that nobody has asked for since
	killed := time.Now()
	victim.Kill()
	for _, n := range c.Nodes[:2] {
		if err := n.Poll(soon(t), "notice of the crash", func() bool { return state(t, n, victim.Name) == "failed" }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(killed); took > 4*time.Second {
			t.Errorf("%s noticed the crash after %v", n.Name, took)
		}
		if got := state(t, n, c.Nodes[3].Name); got != "left" {
			t.Errorf("%s calls the one that left %q", n.Name, got)
		}
	}
	t.Logf("noticed after %v", time.Since(killed))
	wait(t, 2*time.Second)
	r := end()
	wantRight(t, "load", r)
	last := users.Visit(soon(t))
	wantRight(t, "afterwards", last)
	if lost := r.Lost + last.Lost; lost == 0 || lost > 100 || users.Excused() > 0 {
		t.Errorf("%d of 164 sessions lost with one of three nodes; %d more may be", lost, users.Excused())
	}
	for _, n := range c.Nodes[:2] {
		if got := r.Longest[n.Name]; got > 5*time.Second {
			t.Errorf("a request to %s waited %v", n.Name, got)
		}
	}
}

// state is what a node says of another.
func state(t *testing.T, n *farm.Node, name string) string {
	members, err := n.Members(t.Context())
	if err != nil {
		return err.Error()
	}
	for _, m := range members {
		if m.Name == name {
			return m.State
		}
	}
	return "not there"
}

// One is stopped in its tracks, is taken for dead, and goes on as if nothing had happened: what was written meanwhile stays written, even
// for those whose requests it finds waiting when it comes to itself.
func TestPause_LosesNoUpdate(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	doors := doors(c.Nodes)
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 32, Sessions: 5, Shared: 4})
	end := users.Start(t.Context())
	victim := c.Nodes[1]
	t.Cleanup(func() { victim.Resume() })
	for _, pause := range []time.Duration{10 * time.Second, 5 * time.Second} {
		wait(t, 500*time.Millisecond)
		users.Doom(victim.Name) // its sessions are gone for the others while it is taken for dead
		if err := victim.Pause(); err != nil {
			t.Fatal(err)
		}
		wait(t, 500*time.Millisecond)
		doors[1].Shut() // the load balancer has noticed
		wait(t, pause-700*time.Millisecond)
		doors[1].Open()
		wait(t, 200*time.Millisecond)
		if err := victim.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := c.Joined(soon(t)); err != nil {
			t.Error(err)
		}
	}
	wait(t, 3*time.Second)
	r := end()
	wantRight(t, "load", r)
	wantRight(t, "afterwards", users.Visit(soon(t)))
	for i, n := range c.Nodes {
		if got := r.Longest[n.Name]; i != 1 && got > 5*time.Second {
			t.Errorf("a request to %s waited %v", n.Name, got)
		}
	}
	if r.Late > 0 {
		t.Errorf("%d writes that it found waiting, and whose users had given up, were done after later ones", r.Late)
	}
}

// All leave, and come back: the last one's snapshot has every session.
func TestSnapshot_BringsEverythingBack(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3, Place: func(_ int, o *farm.NodeOptions) {
		o.Flags = append(o.Flags, "--snapshot-dir", o.Dir)
	}})
	doors := doors(c.Nodes)
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: doors, Users: 8, Sessions: 20})
	for range 2 { // what was adopted once must not be there a second time, older
		end := users.Start(t.Context())
		wait(t, 500*time.Millisecond)
		wantRight(t, "load", end())
		for i, n := range c.Nodes[:2] {
			stop(t, n, doors[i])
		}
		last := c.Nodes[2]
		if status, err := last.Stop(soon(t)); status != 0 || err != nil {
			t.Fatalf("%s ended with status %d, %v", last.Name, status, err)
		}
		for i, n := range c.Nodes {
			start(t, c, n, doors[i])
		}
		r := users.Visit(soon(t))
		wantRight(t, "after all came back", r)
		if r.Lost > 0 {
			t.Errorf("%d sessions lost", r.Lost)
		}
	}
}

// However the seeds are given, all meet.
func TestJoin_AnyShape(t *testing.T) {
	for name, shape := range map[string]farm.Shape{"ring": farm.Ring, "star": farm.Star, "stars": farm.Stars, "everyone": farm.Everyone} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			c := cluster(t, farm.ClusterOptions{Nodes: 9, Shape: shape})
			t.Logf("9 nodes met within %v of the first start", time.Since(began))
			if took := time.Since(began); took > 10*time.Second { // 3 s on a machine that is not busy with other tests; those of gossip hold it to that
				t.Errorf("9 nodes took %v to meet", took)
			}
			wait(t, time.Second)
			if err := c.Joined(soon(t)); err != nil {
				t.Errorf("it did not last: %v", err)
			}
		})
	}
}

func TestCommands_TellAndDrain(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 4, Sessions: 10})
	n := c.Nodes[0]
	for _, args := range [][]string{{"members"}, {"members", "--json"}, {"status"}, {"status", "--json"}} {
		out, errs, status := statemesh(t, append(args, "--status-addr", n.Status)...)
		if status != 0 || errs != "" || !strings.Contains(out, n.Name) {
			t.Errorf("%v: status %d\n%s%s", args, status, out, errs)
		}
	}
	end := users.Start(t.Context())
	out, errs, status := statemesh(t, "drain", "--wait", "--status-addr", n.Status)
	if status != 0 {
		t.Errorf("drain: status %d\n%s%s", status, out, errs)
	}
	if !n.Running() || n.Ready(t.Context()) {
		t.Error("a drained node is to serve those who come, and to send the load balancer away")
	}
	wait(t, 500*time.Millisecond)
	wantRight(t, "load", end())
	wantRight(t, "afterwards", users.Visit(soon(t)))
}
