// Package pagetest has nodes to show on the page, in every state that it must show well: documents that nobody had to run a cluster for.
package pagetest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
)

// Node is a page.Source that says the same for ever.
type Node struct {
	S api.Status
	M api.Members
	A api.Applications
	H api.History
}

func (n *Node) Status() api.Status             { return n.S }
func (n *Node) Members() api.Members           { return n.M }
func (n *Node) Applications() api.Applications { return n.A }
func (n *Node) History() api.History           { return n.H }

// All are the states, by name.
func All(now time.Time) map[string]*Node {
	return map[string]*Node{
		"fresh": Fresh(now), "alone": Alone(now), "healthy": Healthy(now), "trouble": Trouble(now), "draining": Draining(now), "large": Large(now),
	}
}

// Fresh is a node that has just been started and never asked for anything.
func Fresh(now time.Time) *Node {
	n := &Node{}
	n.S = api.Status{
		Node: "web01", Version: "1.3.0", Phase: "up", Started: now.Add(-4 * time.Second), Uptime: 4, Findings: []api.Finding{},
		Addresses: api.Addrs{Node: "web01", State: "127.0.0.1:42424", Status: "127.0.0.1:42480"},
	}
	n.S.Memory.Limit = 12_884_901_888
	n.M = api.Members{Node: "web01", Members: []api.Member{{Member: cluster.Member{
		Name: "web01", Self: true, State: "up", Status: "127.0.0.1:42480", Version: "1.3.0", Started: n.S.Started, Since: n.S.Started,
	}}}}
	n.A = api.Applications{Node: "web01", Applications: []api.Application{}}
	return n
}

// Alone is a busy node without a cluster.
func Alone(now time.Time) *Node {
	n := Fresh(now)
	n.S.Started, n.S.Uptime = now.Add(-26*time.Hour), 26*3600
	n.M.Members[0].Since = n.S.Started
	n.busy(now, 41_212, 2431)
	n.A.Applications = applications(3, 41_212)
	for i := range n.A.Applications {
		n.A.Applications[i].Nodes = nil
	}
	n.S.Applications = 3
	return n
}

// Healthy is one of three.
func Healthy(now time.Time) *Node {
	n := Alone(now)
	n.S.Clustered = true
	n.S.Addresses = api.Addrs{Node: "web01", State: "127.0.0.1:42424", Gossip: "10.0.0.5:42425", Transfer: "10.0.0.5:42426", Status: "127.0.0.1:42480"}
	n.S.Cluster = &api.ClusterStatus{
		Joined: true, Members: 3, Encrypted: true,
		Queries: map[string]uint64{"here": 182_113, "nowhere": 38_911, "held": 412, "unknown": 3},
		MovedIn: 182_113, MovedOut: 179_002, BytesIn: 1_120_000_000, BytesOut: 1_090_000_000, Arriving: 1,
		Events: []cluster.Event{
			{At: now.Add(-26 * time.Hour), Level: "info", Text: "web01 started"},
			{At: now.Add(-26*time.Hour + time.Second), Level: "info", Text: "web02 joined"},
			{At: now.Add(-26*time.Hour + time.Second), Level: "info", Text: "web03 joined"},
			{At: now.Add(-3 * time.Hour), Level: "info", Text: "web03 drained 41,212 sessions to 2 members in 2.1 s"},
			{At: now.Add(-3*time.Hour + 2*time.Second), Level: "info", Text: "web03 left"},
			{At: now.Add(-3*time.Hour + 20*time.Second), Level: "info", Text: "web03 joined"},
		},
	}
	n.M.Members = nil
	for i, name := range []string{"web01", "web02", "web03"} {
		n.M.Members = append(n.M.Members, other(now, name, i, 40_000+int64(i)*611))
	}
	n.M.Members[0].Self, n.M.Members[0].RoundTrip = true, 0
	n.M.Members[0].Said.Sessions = n.S.Sessions.Held
	n.A.Applications = applications(5, 41_212)
	n.S.Applications = 5
	return n
}

// Trouble is the same when much is wrong at once.
func Trouble(now time.Time) *Node {
	n := Healthy(now)
	n.M.Members = append(n.M.Members, other(now, "web04", 3, 38_100), other(now, "web05", 4, 0))
	n.M.Members[3].Connected, n.M.Members[3].RoundTrip = false, 0
	n.M.Members[3].LastError = "dial tcp 10.0.0.8:42426: connect: connection timed out"
	n.M.Members[1].Said.Unreachable = []string{"web04"}
	n.M.Members[2].Said.Ahead = 41.2
	n.M.Members[4].State, n.M.Members[4].Connected, n.M.Members[4].Said = "failed", false, nil
	n.M.Members[4].Since = now.Add(-3 * time.Minute)
	n.S.Cluster.Members, n.S.Cluster.Expected = 4, 5
	n.S.Cluster.Events = append(n.S.Cluster.Events,
		cluster.Event{At: now.Add(-3 * time.Minute), Level: "error", Text: "web05 failed: it does not answer; the sessions that it held are gone"},
		cluster.Event{At: now.Add(-time.Minute), Level: "warn", Text: "web04 cannot be reached on its transfer port 10.0.0.8:42426"})
	n.S.Memory.Used = n.S.Memory.Limit * 96 / 100
	n.S.Sessions.Refused = 17
	n.S.Findings = []api.Finding{
		{
			Kind: "application-ids", Severity: api.Trouble, Since: now.Add(-18 * time.Minute),
			Title: "The application /shop arrives under two application ids, so its users lose their sessions when they change web servers",
			Evidence: []string{
				"`/LM/W3SVC/2/ROOT/shop` (hash Bh3kQ…) from web servers 10.0.0.11 and 10.0.0.12",
				"`/LM/W3SVC/5/ROOT/shop` (hash Bh3kQ…) from web server 10.0.0.13",
				"They differ only in the number after W3SVC/, which is the site's ID in IIS.",
			},
			Remedy: []string{
				"On 10.0.0.13, give the site the ID it has on the others: `%windir%\\system32\\inetsrv\\appcmd set site \"Shop\" /id:2`",
				"Restart the site: `%windir%\\system32\\inetsrv\\appcmd stop site \"Shop\"`, then `start site`.",
			},
		},
		{
			Kind: "memory", Severity: api.Trouble, Since: now.Add(-2 * time.Minute),
			Title:    "Memory is 96 % full: new sessions are about to be refused",
			Evidence: []string{"12.4 GB of 12.9 GB used; 17 new sessions refused in the last minute."},
			Remedy:   []string{"Raise `max_memory` in the `sessions` block, or add a node.", "See under Applications which one keeps large sessions."},
		},
		{
			Kind: "unreachable", Severity: api.Warning, Since: now.Add(-time.Minute),
			Title:    "web04 gossips, but cannot be reached on its transfer port",
			Evidence: []string{"web01: dial tcp 10.0.0.8:42426: connection timed out", "web02 says the same."},
			Remedy:   []string{"Let TCP 42426 pass to 10.0.0.8 from every member."},
		},
		{
			Kind: "clocks", Severity: api.Warning, Since: now.Add(-40 * time.Minute),
			Title:    "The clock of web03 is 41 s ahead",
			Evidence: []string{"web03 is 41.2 s ahead of web01."},
			Remedy:   []string{"On web03: `w32tm /resync`, and see that the Windows Time service runs."},
		},
		{
			Kind: "missing-members", Severity: api.Warning, Since: now.Add(-3 * time.Minute),
			Title: "4 members of 5 are there", Evidence: []string{"`expect_members` is 5; web05 failed."}, Remedy: []string{"Start web05, or lower `expect_members`."},
		},
		{
			Kind: "versions", Severity: api.Warning, Since: now.Add(-3 * time.Hour),
			Title: "Members run different versions", Evidence: []string{"1.3.0: web01, web02, web03, web04", "1.2.7: web05"}, Remedy: []string{"Finish the upgrade."},
		},
	}
	return n
}

// Draining is one of three that hands its sessions over.
func Draining(now time.Time) *Node {
	n := Healthy(now)
	n.S.Phase = "draining"
	n.M.Members[0].State, n.M.Members[0].Since, n.M.Members[0].Said.Remaining = "draining", now.Add(-3*time.Second), 12_311
	n.S.Sessions.Held = 12_311
	n.S.Drain = &api.Drain{Sessions: 28_901, Bytes: 180_100_000, Remaining: 12_311, Members: 2, Elapsed: 3.4, Left: 1}
	return n
}

// Large is one of a hundred, with two hundred applications, and names as long as names may be.
func Large(now time.Time) *Node {
	n := Healthy(now)
	n.busy(now, 1_204_311, 24_310)
	n.M.Members = nil
	for i := range 100 {
		n.M.Members = append(n.M.Members, other(now, fmt.Sprintf("frontend-web-%03d.example.net", i+1), i, 11_000+int64(i)*37))
	}
	n.M.Members[0].Self = true
	n.S.Node, n.M.Node, n.A.Node = n.M.Members[0].Name, n.M.Members[0].Name, n.M.Members[0].Name
	n.M.Members[41].State = "failed"
	n.M.Members[41].Said, n.M.Members[41].Since = nil, now.Add(-4*time.Minute)
	n.M.Members[8].Name = strings.Repeat("verylongname", 5) + ".net"
	n.M.Members[70].State, n.M.Members[70].Since = "suspect", now.Add(-2*time.Second)
	n.M.Members[88].State, n.M.Members[88].Since, n.M.Members[88].Said.Remaining = "draining", now.Add(-9*time.Second), 8_112
	n.M.Members[12].Said.Unreachable = []string{n.M.Members[60].Name}
	n.S.Cluster.Members = 99
	n.A.Applications, n.A.Counted = applications(200, 1_204_311), now.Add(-23*time.Second)
	n.A.Applications[3].Path = "/LM/W3SVC/1/ROOT/" + strings.Repeat("averylongfoldername", 8)
	n.S.Applications = 200
	n.S.Findings = []api.Finding{
		{
			Kind: "member-failed", Severity: api.Trouble, Since: now.Add(-4 * time.Minute),
			Title:    "frontend-web-042.example.net does not answer any more: the sessions it held are out of reach",
			Evidence: []string{"frontend-web-042.example.net has not answered since " + now.Add(-4*time.Minute).Format("15:04:05")},
			Remedy:   []string{"See whether frontend-web-042.example.net's machine is up and statemesh runs there; start it."},
		},
		{
			Kind: "unreachable", Severity: api.Trouble, Since: now.Add(-time.Minute),
			Title:    "frontend-web-013.example.net cannot reach frontend-web-061.example.net's transfer port: users whose sessions are on the other side get error pages",
			Evidence: []string{"frontend-web-013.example.net cannot connect to frontend-web-061.example.net at 10.0.0.65:42426: i/o timeout"},
			Remedy:   []string{"Test it from frontend-web-013.example.net: `Test-NetConnection 10.0.0.65 -Port 42426`"},
		},
	}
	return n
}

func other(now time.Time, name string, i int, sessions int64) api.Member {
	m := api.Member{Member: cluster.Member{
		ID: fmt.Sprintf("%016x", i), Name: name, State: "up", Connected: true, RoundTrip: time.Duration(310+i*13%200) * time.Microsecond, Version: "1.3.0",
		Gossip: fmt.Sprintf("10.0.0.%d:42425", i+5), Transfer: fmt.Sprintf("10.0.0.%d:42426", i+5), Status: "127.0.0.1:42480",
		Started: now.Add(-26 * time.Hour), Since: now.Add(-time.Duration(26-i%23) * time.Hour),
	}}
	m.Said = &api.Said{At: now, Sessions: sessions, Memory: sessions * 6_300, Limit: 12_884_901_888, PerSecond: 2000 + float64(i*37%500)}
	return m
}

// busy gives the node sessions, requests and ten minutes of history.
func (n *Node) busy(now time.Time, sessions int64, perSecond float64) {
	s := &n.S
	s.Sessions.Held, s.Sessions.Locked, s.Sessions.Created = sessions, sessions/1300, sessions*9
	s.Sessions.TimedOut, s.Sessions.Abandoned = sessions*7, sessions
	s.Memory.Bodies, s.Memory.Used = sessions*6200, sessions*6400
	s.Waiting, s.Connections = 2, 96
	for i, op := range []string{"get", "get-exclusive", "set", "release-exclusive", "remove", "reset-timeout"} {
		part := []float64{0.34, 0.27, 0.25, 0.02, 0.004, 0.116}[i]
		s.Operations = append(s.Operations[:i], api.Operation{
			Op: op, PerSecond: perSecond * part, P50: 0.00011 + 0.00003*float64(i), P95: 0.00031, P99: 0.00042 + 0.0001*float64(i%3),
			Total: uint64(perSecond * part * 80_000), NotFound: uint64(i%2) * 38_120, Locked: uint64(i*i) * 311,
		})
	}
	names := []string{"requests", "p99", "sessions", "memory", "moved_in", "moved_out"}
	n.H = api.History{}
	for _, name := range names {
		n.H.Series = append(n.H.Series, api.TimeSerie{Name: name})
	}
	for i := range 300 {
		n.H.Times = append(n.H.Times, now.Unix()-int64(2*(299-i)))
		wave := 1 + 0.12*math.Sin(float64(i)/23) + 0.05*math.Sin(float64(i*i%97))
		for j, value := range []float64{
			perSecond * wave, 0.00042 * (1 + 0.4*math.Abs(math.Sin(float64(i*7%31)))), float64(sessions) * (0.9 + 0.1*float64(i)/299),
			float64(s.Memory.Used) * (0.9 + 0.1*float64(i)/299), perSecond * 0.06 * wave, perSecond * 0.055 * (2 - wave),
		} {
			if i < 20 { // it has not run for so long
				n.H.Series[j].Values = append(n.H.Series[j].Values, nil)
				continue
			}
			n.H.Series[j].Values = append(n.H.Series[j].Values, &value)
		}
	}
}

func applications(count int, sessions int64) (all []api.Application) {
	names := []string{"shop", "account", "intranet", "Reports", "api/checkout"}
	for i := range count {
		path := fmt.Sprintf("/LM/W3SVC/%d/ROOT/%s", 1+i%4, names[i%len(names)])
		if i >= len(names) {
			path += fmt.Sprintf("-%d", i)
		}
		held := sessions / int64(2+i*2)
		all = append(all, api.Application{
			ID: path + " (Bh3kQ…)", Path: path, Hash: []string{"Bh3kQ", "x9+0d", "77aZp"}[i%3], HashLength: 44,
			Sessions: held, Bytes: held * 6200, SizeMedian: 4_120 + int64(i)*13, SizeP99: 38_400, SizeLargest: 412_000 + int64(i)*1009,
			Requests: uint64(held) * 80, PerSecond: float64(held) / 20,
			WebServers: []string{"10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14", "10.0.0.15"}[:1+i%5],
			Nodes:      []api.ApplicationAt{{Node: "web01", Sessions: held, PerSecond: 3}, {Node: "web02", Sessions: held}, {Node: "web03", Sessions: held}},
		})
	}
	return all
}
