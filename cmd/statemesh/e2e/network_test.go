//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
	"statemesh/cmd/internal/farm/tunnet"
)

// island is a cluster whose nodes are machines of their own, each with its web server: users go wherever they like, and what
// lies between the nodes is a bad network.
type island struct {
	*farm.Cluster
	net   *tunnet.Net
	hosts []*tunnet.Host
	doors []*farm.Door
}

func islands(t *testing.T, nodes int, f tunnet.Faults) *island {
	t.Helper()
	network, err := tunnet.New(uint64(time.Now().UnixNano()))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	i := &island{net: network}
	for k := range nodes {
		h, err := network.Host(fmt.Sprintf("10.77.0.%d", k+1))
		if err != nil {
			t.Fatal(err)
		}
		i.hosts = append(i.hosts, h)
	}
	network.Faults(f)
	i.Cluster = cluster(t, farm.ClusterOptions{Nodes: nodes, Place: func(k int, o *farm.NodeOptions) {
		ip := i.hosts[k].IP()
		o.Host = i.hosts[k]
		o.Listen = farm.Addrs{State: "127.0.0.1:42424", Gossip: ip + ":42425", Transfer: ip + ":42426", Status: "127.0.0.1:42480"}
	}})
	i.doors = doors(i.Nodes)
	return i
}

var bad = tunnet.Faults{Loss: .05, Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond}

func TestNetwork_LossAndDelay(t *testing.T) {
	c := islands(t, 3, bad)
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: c.doors, Users: 16, Sessions: 5, Shared: 2})
	end := users.Start(t.Context())
	wait(t, 7*time.Second)
	r := end()
	wantRight(t, "load", r)
	wantRight(t, "afterwards", users.Visit(soon(t)))
	if r.Lost+r.TimedOut > 0 || r.Pages < 50 {
		t.Errorf("%d sessions lost, %d requests not answered in time, %d pages", r.Lost, r.TimedOut, r.Pages)
	}
	stats := c.net.Stats()
	t.Logf("the network: %+v", stats)
	if share := float64(stats.Lost) / float64(stats.Lost+stats.Carried); share < .03 || share > .08 {
		t.Errorf("%.3f of the packets were lost, want .05", share)
	}
}

// One node hears another no more, in one direction: the third sees to it that nobody is taken for dead, and who cannot be asked is not
// taken for one that has nothing.
func TestNetwork_CutOneWay(t *testing.T) {
	c := islands(t, 3, tunnet.Faults{Delay: time.Millisecond})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: c.doors, Users: 12, Sessions: 5})
	end := users.Start(t.Context())
	wait(t, time.Second)
	c.net.CutOneWay(c.hosts[0], c.hosts[1])
	wait(t, 8*time.Second)
	c.net.Heal()
	healed := time.Now()
	if err := c.Joined(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("whole again %v after the cut was healed", time.Since(healed))
	if took := time.Since(healed); took > 10*time.Second {
		t.Errorf("it took %v after the cut was healed to be whole", took)
	}
	wait(t, 2*time.Second)
	r := end()
	wantRight(t, "load", r)
	wantRight(t, "afterwards", users.Visit(soon(t)))
	if c.net.Stats().Cut == 0 {
		t.Error("nothing was cut")
	}
}

// A node is cut off from the others for so long that they take it for dead, with nobody sent to it meanwhile; then it is back.
func TestNetwork_CutOffAndHealed(t *testing.T) {
	c := islands(t, 3, tunnet.Faults{Delay: time.Millisecond})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Doors: c.doors, Users: 12, Sessions: 10})
	end := users.Start(t.Context())
	wait(t, time.Second)
	c.doors[0].Shut()
	users.CutOff(c.Nodes[0].Name) // what it has is not there for the others, once they take it for dead
	c.net.Cut(c.hosts[0], c.hosts[1])
	c.net.Cut(c.hosts[0], c.hosts[2])
	for _, n := range c.Nodes[1:] {
		if err := n.Poll(soon(t), "notice of the cut", func() bool { return state(t, n, c.Nodes[0].Name) == "failed" }); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, 3*time.Second)
	c.net.Heal()
	healed := time.Now()
	if err := c.Joined(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("whole again %v after the cut was healed", time.Since(healed))
	if took := time.Since(healed); took > 10*time.Second {
		t.Errorf("it took %v after the cut was healed to be whole", took)
	}
	c.doors[0].Open()
	wait(t, 2*time.Second)
	wantRight(t, "load", end())
	wantRight(t, "afterwards", users.Visit(soon(t)))
}
