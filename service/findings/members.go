package findings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"statemesh/service/api"
)

// unreachable are members that gossip and cannot be asked for sessions. A connection that has not come about yet is none, so it has to last.
func unreachable(l *look) {
	for i := range l.Members {
		m := &l.Members[i]
		if !m.live() || m.State == "suspect" || m.State == "leaving" {
			continue
		}
		var from, evidence []string
		said := func(name, why string) {
			from = append(from, name)
			if why != "" {
				why = ": " + why
			}
			evidence = append(evidence, fmt.Sprintf("%s cannot connect to %s at %s%s", name, m.Name, m.Transfer, why))
		}
		if self := l.self(); !m.Self && !m.Connected {
			said(self.Name, m.LastError)
		}
		for k := range l.Members {
			other := &l.Members[k]
			if other.Self || !other.live() {
				continue
			}
			for _, p := range other.CannotReach {
				if p.ID == m.ID {
					said(other.Name, p.Why)
				}
			}
		}
		if len(from) == 0 {
			continue
		}
		port := "42426"
		if c := strings.LastIndexByte(m.Transfer, ':'); c >= 0 {
			port = m.Transfer[c+1:]
		}
		l.add(seen{
			Finding: api.Finding{
				Kind: Unreachable, Severity: api.Trouble,
				Title: fmt.Sprintf("%s cannot reach %s's transfer port: users whose sessions are on the other side get error pages",
					few(from, 3), m.Name),
				Evidence: evidence,
				Remedy: []string{
					fmt.Sprintf(`Let %s's firewall admit the other nodes. In PowerShell there, as an administrator: ‹New-NetFirewallRule -DisplayName "statemesh transfers" -Direction Inbound -Protocol TCP -LocalPort %s -RemoteAddress ADDRESSES-OF-THE-OTHER-NODES -Action Allow›`, m.Name, port),
					fmt.Sprintf(`Test it from %s: ‹Test-NetConnection %s -Port %s›`, from[0], host(m.Transfer), port),
					fmt.Sprintf(`If the other nodes cannot know %s by the address %s, correct transfer in the cluster block of its configuration.`, m.Name, m.Transfer),
					`If the error is about a certificate or a handshake: the key files of the two differ. docs/security.md says how keys are changed.`,
				},
			},
			about: m.ID, after: 3 * time.Second,
		})
	}
}

func host(addr string) string {
	if c := strings.LastIndexByte(addr, ':'); c >= 0 {
		return strings.Trim(addr[:c], "[]")
	}
	return addr
}

// split is when two members that this node sees do not see one another, or one of them not this node. News of members takes seconds to go round.
func split(l *look) {
	var evidence []string
	for i := range l.Members {
		m := &l.Members[i]
		if m.Self || !m.live() || !m.Said || m.Sees == nil {
			continue
		}
		var missed []string
		for k := range l.Members {
			if other := &l.Members[k]; other.live() && other.State != "leaving" && other.ID != m.ID && !slices.Contains(m.Sees, other.ID) {
				missed = append(missed, other.Name)
			}
		}
		if len(missed) > 0 {
			evidence = append(evidence, fmt.Sprintf("%s does not see %s", m.Name, few(missed, maxExamples)))
		}
	}
	if len(evidence) == 0 {
		return
	}
	l.add(seen{
		Finding: api.Finding{
			Kind: Split, Severity: api.Trouble,
			Title:    "The cluster is split: some members do not see each other, and neither side finds the other's sessions",
			Evidence: evidence,
			Remedy: []string{
				`Between those members, let firewalls admit gossip: port 42425, TCP and UDP. From the one: ‹Test-NetConnection THE-OTHER -Port 42425› (that is TCP only).`,
				`Once they reach each other they find each other again by themselves, within seconds. Of sessions that both sides have changed meanwhile, the later change is kept.`,
			},
		},
		after: 15 * time.Second, keep: 5 * time.Second,
	})
}

// missing is when there are fewer members than there are to be.
func missing(l *look) {
	expected := l.expected()
	live := l.liveNames()
	if !l.Clustered || len(live) >= expected {
		return
	}
	f := api.Finding{
		Kind: MissingMembers, Severity: api.Trouble,
		Title:    fmt.Sprintf("%s of %d members are missing: they are down, or the network between is cut", capital(number(expected-len(live))), expected),
		Evidence: []string{fmt.Sprintf("expect_members is %d; %s sees %d: %s", expected, l.Self, len(live), few(live, 10))},
		Remedy: []string{
			`See whether statemesh runs on the machine that is missing, and start it: ‹statemesh serve›, or its scheduled task or service.`,
			`If it runs, it is cut off: its page shows whom it sees. Let firewalls admit port 42425, TCP and UDP, between all nodes (‹Test-NetConnection NODE -Port 42425›). Sessions of the other side cannot be reached meanwhile.`,
			fmt.Sprintf(`If there are to be only %d from now on, say so in the cluster block of each node's configuration: ‹expect_members = %d›.`, len(live), len(live)),
		},
	}
	if expected-len(live) == 1 {
		f.Title = fmt.Sprintf("One of %d members is missing: it is down, or the network between is cut", expected)
	}
	left, crashed := 0, false
	for _, name := range l.finder.awayNames() {
		if went := l.finder.away[name]; went.failed {
			crashed = true
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s stopped answering at %s", name, l.clock(went.at)))
		} else {
			left++
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s left, and handed its sessions over, at %s", name, l.clock(went.at)))
		}
	}
	switch self := l.self(); {
	case crashed:
	case left >= expected-len(live): // they handed their sessions over
		f.Severity = api.Warning
		f.Title = fmt.Sprintf("%d of %d members are there: the others have been stopped, and their sessions handed over", len(live), expected)
	case l.Now.Sub(self.Started) < startTime:
		f.Severity = api.Warning
		f.Title = fmt.Sprintf("%d of %d members are there so far: the others have not been seen since this node started", len(live), expected)
	}
	l.add(seen{Finding: f, after: 5 * time.Second})
}

// startTime is how long the nodes of a farm may take to be started one after the other.
const startTime = 2 * time.Minute

// lonely is a node that was told of others and has found none. Each of two that cannot meet takes itself for a whole cluster, in which all is well;
// and so does the first that is started, until the next is.
func lonely(l *look) {
	if !l.Clustered || len(l.Join) == 0 || l.expected() > 0 || l.finder.met {
		return
	}
	l.add(seen{
		Finding: api.Finding{
			Kind: MissingMembers, Severity: api.Warning,
			Title:    fmt.Sprintf("%s has found no other member: if others run, they do not find each other's sessions", l.Self),
			Evidence: []string{fmt.Sprintf("%s looks for %s, and nobody has answered since it was started", l.Self, few(l.Join, maxExamples))},
			Remedy: []string{
				`See whether statemesh runs there. If this is the first node that was started, start the next.`,
				`Let firewalls admit port 42425, TCP and UDP, between all nodes. Test it: ‹Test-NetConnection NODE -Port 42425› (that is TCP only).`,
				`If they reach each other: the key file, and ‹name› in the ‹cluster› block, must be the same on all. The log names whom it refuses for another key or name.`,
			},
		},
		about: "lonely", after: 30 * time.Second,
	})
}

// expected is how many members there are to be, as far as anybody has been told.
func (l *look) expected() int {
	expected := l.Expected
	for i := range l.Members {
		if m := &l.Members[i]; expected == 0 && m.live() {
			expected = max(expected, m.Expects)
		}
	}
	return expected
}

func (l *look) liveNames() (names []string) {
	for i := range l.Members {
		if l.Members[i].live() {
			names = append(names, l.Members[i].Name)
		}
	}
	return names
}

// away is how a node went that is not there any more.
type away struct {
	at     time.Time
	failed bool // else it left in order
}

// remember notes how those went who are not there, until they are back or nobody is missing any more: the cluster forgets them after an hour, and a
// node that has just been started has never known. So nodes tell one another who left in order.
func (f *Finder) remember(l *look) {
	here := map[string]bool{}
	for i := range l.Members {
		m := &l.Members[i]
		here[m.Name] = true
		f.met = f.met || !m.Self
		if m.live() {
			delete(f.away, m.Name)
		} else {
			f.away[m.Name] = away{m.Since, m.State == "failed"}
		}
	}
	for i := range l.Members {
		for _, gone := range l.Members[i].Left {
			if _, known := f.away[gone.Name]; !known && !here[gone.Name] && len(f.away) < maxAway {
				f.away[gone.Name] = away{at: gone.At}
			}
		}
	}
	if expected := l.expected(); expected > 0 && len(l.liveNames()) >= expected {
		clear(f.away)
	}
}

// maxAway bounds them: no farm has more nodes, and their names come from others.
const maxAway = 1000

func (f *Finder) awayNames() []string { return slices.Sorted(maps.Keys(f.away)) }

// Left are the nodes that left in order and have not been seen since, to tell the others of.
func (f *Finder) Left() (all []Gone) {
	for _, name := range f.awayNames() {
		if went := f.away[name]; !went.failed {
			all = append(all, Gone{name, went.at})
		}
	}
	return all
}

// failed are members that do not answer any more, where missing does not say so.
func failed(l *look) {
	if len(l.liveNames()) < l.expected() {
		return
	}
	for i := range l.Members {
		m := &l.Members[i]
		if m.State != "failed" {
			continue
		}
		l.add(seen{
			Finding: api.Finding{
				Kind: MemberFailed, Severity: api.Trouble,
				Title:    fmt.Sprintf("%s does not answer any more: the sessions it held are out of reach", m.Name),
				Evidence: []string{fmt.Sprintf("%s has not answered since %s", m.Name, l.clock(m.Since))},
				Remedy: []string{
					fmt.Sprintf(`See whether %s's machine is up and statemesh runs there; start it. If it crashed, its sessions are gone, and their users begin new ones; if only the network was cut, they come back with it.`, m.Name),
					`If it runs: let firewalls admit port 42425, TCP and UDP, between all nodes.`,
					`If it was taken away for good, this disappears within an hour. Stop nodes by ‹statemesh drain --wait› and then their service, and nothing is lost.`,
				},
			},
			about: m.ID,
		})
	}
}

func versions(l *look) {
	by := map[string][]string{}
	for i := range l.Members {
		if m := &l.Members[i]; m.live() && m.Version != "" {
			by[m.Version] = append(by[m.Version], m.Name)
		}
	}
	if len(by) < 2 {
		return
	}
	f := api.Finding{
		Kind: Versions, Severity: api.Warning,
		Title: fmt.Sprintf("Nodes run %s different versions of statemesh", number(len(by))),
		Remedy: []string{
			`During an upgrade this is as it should be. If it is not one: install the same version on every node.`,
			`One after the other, and nothing is lost: ‹statemesh drain --wait›, stop it, replace the program, start it, wait until ‹statemesh members› shows it as up.`,
		},
	}
	for version, names := range by {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%s: %s", version, few(names, 10)))
	}
	slices.Sort(f.Evidence)
	l.add(seen{Finding: f})
}

func noKey(l *look) {
	if !l.Clustered || l.Encrypted {
		return
	}
	l.add(seen{Finding: api.Finding{
		Kind: NoKey, Severity: api.Warning,
		Title:    "This cluster has no key: sessions and gossip cross the network in plain text, and anybody who reaches the ports is a member",
		Evidence: []string{fmt.Sprintf("%s has insecure_plaintext = true and no key_file", l.Self)},
		Remedy: []string{
			`Make a key, once, on one node: ‹statemesh keygen > cluster.key›, and copy that file to every node, by a way that nobody listens on.`,
			`In the cluster block of each node's configuration: ‹key_file = "cluster.key"›, without ‹insecure_plaintext›.`,
			`Restart the nodes. One with a key does not talk to one without, so for that time they do not find each other's sessions: do it when few users are there, or set snapshot_dir on each and stop all before you start the first.`,
		},
	}})
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
