//go:build linux

package browser

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/farm"
	"statemesh/cmd/internal/farm/tunnet"
)

// everything is all kinds of findings that a cluster without fault must not have.
var everything = []string{
	"application-ids", "memory", "unreachable", "split", "missing-members", "member-failed", "long-lock", "no-key", "clocks", "bouncing", "versions",
}

// A cluster under load, to which one thing happens after the other: one tab watches throughout, and is never loaded again.
func TestCluster_ThePageTellsWhatHappens(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	c := cluster(t, farm.ClusterOptions{Nodes: 3})
	web01, web02, web03 := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	rest := load(t, c.Nodes, "--conns", "6", "--sessions", "3000", "--rate", "300", "--mix", "typical")

	tab := open(t, browser, pageOf(t, web01), desktop)
	third := open(t, browser, pageOf(t, web03), phoneDark)
	eval[int](tab, `window.untouched = 1`)
	tab.untilText("#node", "web01 in a cluster of 3")
	tab.until("three members", `document.querySelectorAll("#members tbody tr").length === 3 && document.querySelectorAll("#members .state.up").length === 3`)
	tab.until("their picture", `document.querySelectorAll("#mesh g.up").length === 3 && document.querySelectorAll("#mesh line.good").length === 3`)
	for _, n := range c.Nodes {
		if says := tab.text("#members"); !strings.Contains(says, n.Name) || !strings.Contains(says, n.Gossip) {
			t.Errorf("the members are %q, without %s at %s", says, n.Name, n.Gossip)
		}
	}
	tab.untilText("#verdict", "Sessions are safe")
	tab.until("sessions of all members", `[...document.querySelectorAll("#members td[data-label=Sessions]")].filter((c) => Number(c.innerText.replace(/,/g, "")) > 500).length === 3`)
	if title := eval[string](tab, "document.title"); title != "web01 – statemesh" {
		t.Errorf("the title is %q", title)
	}

	// Numbers change.
	for _, where := range []string{"#asof", "#tile-requests .figure", "#operations"} {
		before := tab.text(where)
		tab.until("other numbers in "+where, fmt.Sprintf(`document.querySelector(%q).innerText.replace(/\s+/g, " ").trim() !== %q`, where, before))
	}
	tab.until("requests", `Number(document.querySelector("#tile-requests .figure").firstChild.data.replace(/,/g, "")) > 50`)
	tab.until("charts", `document.querySelectorAll(".plot canvas").length > 3`)
	tab.untilText("#applications", "/LM/W3SVC/1/ROOT")
	tab.until("latencies", `document.querySelector("#operations tbody").innerText.includes("ms")`)

	// Somebody without scripts sees as much.
	plain := open(t, browser, pageOf(t, web01), plainDesktop)
	plain.look(desktop)
	for _, text := range []string{"Sessions are safe", "web02", "web03", web03.Gossip, "/LM/W3SVC/1/ROOT", "Between members", "joined"} {
		if !strings.Contains(eval[string](plain, "document.body.innerText"), text) {
			t.Errorf("without scripts the page does not say %q", text)
		}
	}
	if n := eval[int](plain, `document.querySelectorAll(".plot polyline").length`); n < 4 {
		t.Errorf("without scripts there are %d lines in charts", n)
	}
	tab.wantNone(everything...)
	third.wantNone(everything...)

	// A session moves to and fro.
	wandering := load(t, []*farm.Node{web01, web02}, "--conns", "1", "--sessions", "1", "--rate", "5", "--spread", "alternate", "--app", "/LM/W3SVC/1/ROOT/wander")
	if says := tab.untilFound("bouncing"); !strings.Contains(says, "/wander") && !strings.Contains(says, "/LM/W3SVC/1/ROOT") {
		t.Errorf("of a session that moves to and fro: %q", says)
	}
	wandering()

	// The same application arrives under two ids: web02's site has another number.
	tab.wantNone("application-ids")
	for i, n := range []*farm.Node{web01, web02} {
		w := webServer(t, n, fmt.Sprintf("/LM/W3SVC/%d/ROOT/shop", i+1), 500)
		for session := range uint32(40) {
			asks(t, w, bench.Request{Verb: bench.Insert, Session: session}, 200)
		}
	}
	says := tab.untilFound("application-ids")
	for _, want := range []string{"/LM/W3SVC/1/ROOT/shop", "/LM/W3SVC/2/ROOT/shop", "web01", "web02", "/id:"} {
		if !strings.Contains(says, want) {
			t.Errorf("of one application under two ids it says %q, without %q", says, want)
		}
	}
	third.untilFound("application-ids") // anybody's page shows it
	tab.until("the number of findings in the title", `document.title.startsWith("(")`)
	rest()

	// web03 is told to drain, on its page. The others stand still for a moment, so that there is something to see.
	if err := web01.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := web02.Pause(); err != nil {
		t.Fatal(err)
	}
	eval[int](third, unfold)
	third.send(".action button")
	third.untilText("#drain h2", "Draining")
	third.untilText("#drain", "to go")
	if n := eval[float64](third, `document.querySelector("#drain progress").value`); n >= 100 {
		t.Errorf("with sessions left, the drain is %v %% done", n)
	}
	for _, n := range []*farm.Node{web01, web02} {
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	third.untilText("#drain", "Drained")
	third.untilText("#drain", "handed over to 2 members")
	third.untilText("#tile-sessions .figure", "0")
	tab.until("web03 draining", `document.querySelector("#members .state.draining") !== null && document.querySelector("#mesh g.draining") !== null`)

	// web02 is killed.
	tab.wantNone("member-failed", "missing-members", "no-key", "versions", "clocks", "memory", "long-lock")
	web02.Kill()
	tab.until("web02 failed", `document.querySelector("#members tr.failed")?.innerText.includes("web02") && document.querySelector("#mesh g.failed") !== null`)
	if says := tab.untilFound("member-failed"); !strings.Contains(says, "web02") {
		t.Errorf("of a killed member it says %q", says)
	}
	tab.untilText("#verdict", "Users are losing sessions")
	tab.untilText("#events", "web02")

	if eval[int](tab, `window.untouched`) != 1 {
		t.Error("the page was loaded again")
	}
	for _, m := range tab.complaints() {
		t.Errorf("the browser says: %s", m)
	}
}

// A cluster in which a lot is wrong from the start, and more comes.
func TestCluster_ThePageFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	nodes := make([]*farm.Node, 3)
	for i := range nodes {
		exe := made(t, build)
		if i == 1 {
			exe = made(t, odd)
		}
		nodes[i] = farm.NewNode(farm.NodeOptions{Exe: exe, Dir: t.TempDir(), Name: fmt.Sprintf("web%02d", i+1)})
		at := nodes[i].Listen
		nodes[i].Flags = []string{"--gossip-addr", at.Gossip, "--transfer-addr", at.Transfer, "--insecure-plaintext", "--expect-members", "3", "--join", nodes[0].Listen.Gossip}
	}
	web01, web02, web03 := nodes[0], nodes[1], nodes[2]
	web02.Flags = append(web02.Flags, "--max-memory", "6MiB", "--long-lock", "3s")
	start(t, web01)
	tab := open(t, browser, pageOf(t, web01), desktop)
	for kind, want := range map[string]string{"no-key": "statemesh keygen", "missing-members": "of 3 members"} {
		if says := tab.untilFound(kind); !strings.Contains(says, want) {
			t.Errorf("%s says %q, without %q", kind, says, want)
		}
	}
	tab.wantNone("versions", "clocks", "memory", "long-lock")

	start(t, web02)
	for kind, want := range map[string]string{"versions": "9.9.9: web02", "clocks": "web02"} {
		if says := tab.untilFound(kind); !strings.Contains(says, want) {
			t.Errorf("%s says %q, without %q", kind, says, want)
		}
	}
	tab.untilText("#members", "ahead")

	// What happens at web02 is shown by web01.
	w := webServer(t, web02, "/LM/W3SVC/1/ROOT", 60_000)
	asks(t, w, bench.Request{Verb: bench.Insert, Session: 1}, 200)
	tab.wantNone("memory", "long-lock")
	own := open(t, browser, pageOf(t, web02), phone) // to which three seconds are long
	own.wantNone("long-lock")
	asks(t, w, bench.Request{Verb: bench.GetExclusive, Session: 1}, 200)
	if says := own.untilFound("long-lock"); !strings.Contains(says, "web02") || strings.Contains(says, bench.SessionID(7, 1)) {
		t.Errorf("of a long lock it says %q", says)
	}
	tab.wantNone("memory")
	full := webServer(t, web02, "/LM/W3SVC/1/ROOT", 60_000)
	for session := range uint32(200) {
		if a, err := full.Do(bench.Request{Verb: bench.Insert, Session: 100 + session}, 5*time.Second); err != nil || a.Status != 200 {
			break // it is full
		}
	}
	if says := tab.untilFound("memory"); !strings.Contains(says, "web02") {
		t.Errorf("of little memory it says %q", says)
	}

	start(t, web03)
	tab.until("that nobody is missing any more", `document.querySelector("[data-kind=missing-members]") === null`)
	if kinds := tab.kinds(); len(kinds) < 4 {
		t.Errorf("now it shows %v", kinds)
	}
}

// A member whose firewall blocks its transfer port.
func TestCluster_ThePageShowsWhoCannotBeReached(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	network, err := tunnet.New(1)
	if err != nil {
		missingHere(t, err)
	}
	t.Cleanup(func() { network.Close() })
	var hosts []*tunnet.Host
	for i := range 3 {
		h, err := network.Host(fmt.Sprintf("10.78.0.%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	c := cluster(t, farm.ClusterOptions{Nodes: 3, Place: func(i int, o *farm.NodeOptions) {
		ip := hosts[i].IP()
		o.Host = hosts[i]
		o.Listen = farm.Addrs{State: "127.0.0.1:42424", Gossip: ip + ":42425", Transfer: ip + ":42426", Status: "127.0.0.1:42480"}
	}})
	tab := open(t, browser, pageOf(t, c.Nodes[0]), desktop)
	tab.until("all lines", `document.querySelectorAll("#mesh line.good").length === 3`)
	tab.wantNone(everything...)
	network.CutPort(hosts[2], 42426)
	says := tab.untilFound("unreachable")
	for _, want := range []string{"web03", "42426", "New-NetFirewallRule"} {
		if !strings.Contains(says, want) {
			t.Errorf("of a blocked port it says %q, without %q", says, want)
		}
	}
	tab.until("the lines that are cut", `document.querySelectorAll("#mesh line.cut").length > 0 && document.querySelectorAll("#mesh .cross").length > 0`)
	tab.untilText("#mesh figcaption", "Cut off from each other")
	network.Heal()
	tab.until("all is well again", `document.querySelector("[data-kind=unreachable]") === null && document.querySelectorAll("#mesh line.good").length === 3`)
}

// TestCluster_IsPhotographed makes the pictures of docs/img: of a healthy cluster, and of the same when a web server has another application id and a
// member has been killed.
func TestCluster_IsPhotographed(t *testing.T) {
	if *shots == "" {
		t.Skip("makes pictures: -shots FOLDER")
	}
	browser := browserOf(t)
	c := cluster(t, farm.ClusterOptions{Nodes: 3, Flags: []string{"--max-memory", "2GiB", "--expect-members", "3"}})
	for i, app := range []string{"shop", "account", "intranet", "api/checkout"} {
		sessions := 40_000 >> i
		spread := "sticky"
		if app == "account" {
			spread = "page"
		}
		load(t, c.Nodes, "--conns", "6", "--sessions", fmt.Sprint(sessions), "--rate", fmt.Sprint(sessions/200), "--mix", "typical", "--size", "1000-9000",
			"--app", fmt.Sprintf("/LM/W3SVC/%d/ROOT/%s", 1+i/2, app), "--spread", spread)
	}
	select {
	case <-time.After(*linger):
	case <-t.Context().Done():
	}
	shot(t, "healthy", browser, pageOf(t, c.Nodes[0]))
	for i, n := range c.Nodes[:2] {
		w := webServer(t, n, fmt.Sprintf("/LM/W3SVC/%d/ROOT/support", 2+3*i), 500)
		for session := range uint32(40) {
			asks(t, w, bench.Request{Verb: bench.Insert, Session: session}, 200)
		}
	}
	c.Nodes[2].Kill()
	tab := open(t, browser, pageOf(t, c.Nodes[0]), desktop)
	tab.untilFound("application-ids")
	tab.untilFound("missing-members")
	tab.close()
	shot(t, "trouble", browser, pageOf(t, c.Nodes[0]))
}

func missingHere(t *testing.T, err error) {
	t.Helper()
	t.Skip(err) // also in CI: a container may not have /dev/net/tun
}

func transport(n *farm.Node) http.RoundTripper {
	return &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return n.Dial(ctx, addr) }}
}
