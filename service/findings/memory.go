package findings

import (
	"fmt"

	"statemesh/service/api"
)

// A node's memory for sessions is found at the first of these shares of its limit, and done with below the second.
const (
	memoryNear = 0.85
	memoryWell = 0.80
)

func memory(l *look) {
	for i := range l.Members {
		m := &l.Members[i]
		if !m.live() || !m.Said || m.Limit <= 0 {
			continue
		}
		share, from := float64(m.Used)/float64(m.Limit), memoryNear
		if l.shown(Memory, m.Name) {
			from = memoryWell
		}
		if share < from && !m.Refusing {
			continue
		}
		f := api.Finding{
			Kind: Memory, Severity: api.Warning,
			Title: fmt.Sprintf("%s's memory for sessions is nearly full: at its limit, new users get error pages", m.Name),
			Evidence: []string{fmt.Sprintf("%s: %s of %s used (%.0f %%), by %s",
				m.Name, bytes(m.Used), bytes(m.Limit), 100*share, count(m.Sessions, "session", "sessions"))},
			Remedy: []string{
				fmt.Sprintf(`Give it more: max_memory in the sessions block of %s's configuration (or --max-memory), if the machine has it; restart the node.`, m.Name),
				`Let sessions end sooner: ‹<sessionState timeout="20">› in web.config, in minutes.`,
				`Store less in sessions: under Applications, look at the largest sizes.`,
			},
		}
		if m.Refused > 0 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s: refused %s since its start", m.Name, count(m.Refused, "session", "sessions")))
		}
		if m.Refusing {
			f.Severity = api.Trouble
			f.Title = fmt.Sprintf("%s has no memory for more sessions: new users get error pages", m.Name)
		}
		l.add(seen{Finding: f, about: m.Name})
	}
}
