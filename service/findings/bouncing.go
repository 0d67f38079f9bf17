package findings

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"statemesh/service/api"
)

// bouncing are sessions that move to and fro: nothing is lost, but each page waits for its session to come.
func bouncing(l *look) {
	type bounce struct {
		Bounce
		at string
	}
	var all []bounce
	for i := range l.Members {
		for _, b := range l.Members[i].Bouncing {
			if l.Members[i].live() {
				all = append(all, bounce{b, l.Members[i].Name})
			}
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b bounce) int {
		return cmp.Or(cmp.Compare(b.Moves, a.Moves), cmp.Compare(a.at, b.at), cmp.Compare(a.Session, b.Session))
	})
	f := api.Finding{
		Kind: Bouncing, Severity: api.Warning,
		Title: "Sessions move to and fro between nodes: the load balancer sends a user's requests now here, now there",
		Remedy: []string{
			`Have the load balancer keep a user on one web server. In IIS's Application Request Routing: IIS Manager > Server Farms > the farm > Server Affinity > Client affinity. Others call it session affinity, persistence or sticky sessions. Nothing is lost without it; pages are slower.`,
			`If it does so already: a page that loads many things at once (frames, scripts that poll) may reach web servers by several names or addresses.`,
		},
	}
	f.Evidence = examples(all, func(b bounce) string {
		return fmt.Sprintf("session %s of %s came to %s %d times within a minute", b.Session, application(b.App), b.at, b.Moves)
	})
	l.add(seen{Finding: f, keep: 20 * time.Second}) // the count wavers about the least that is told
}
