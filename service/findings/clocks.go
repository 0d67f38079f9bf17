package findings

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"statemesh/service/api"
)

// Clocks are found when they are apart by more than the first of these, and done with below the second.
const (
	clocksApart = 2 * time.Second
	clocksWell  = 1500 * time.Millisecond
)

func clocks(l *look) {
	type clock struct {
		name  string
		ahead time.Duration
	}
	var all []clock
	for i := range l.Members {
		if m := &l.Members[i]; m.live() && (m.Self || m.Ahead != 0) {
			all = append(all, clock{m.Name, m.Ahead})
		}
	}
	if len(all) < 2 {
		return
	}
	slices.SortFunc(all, func(a, b clock) int { return cmp.Or(cmp.Compare(a.ahead, b.ahead), cmp.Compare(a.name, b.name)) })
	spread, from := all[len(all)-1].ahead-all[0].ahead, clocksApart
	if l.shown(Clocks, "") {
		from = clocksWell
	}
	if spread <= from {
		return
	}
	f := api.Finding{
		Kind: Clocks, Severity: api.Warning,
		Title: fmt.Sprintf("The clocks of %s and %s are %.1f s apart", all[len(all)-1].name, all[0].name, spread.Seconds()),
	}
	// With three and more, most of them say who is wrong.
	usual := all[len(all)/2].ahead
	var wrong []string
	for _, c := range all {
		switch off := c.ahead - usual; {
		case len(all) == 2:
			if c.name != l.Self {
				f.Evidence = append(f.Evidence, fmt.Sprintf("%s's clock is %s %s's", c.name, offBy(c.ahead), l.Self))
			}
		case off.Abs() > clocksWell/2:
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s's clock is %s most others'", c.name, offBy(off)))
			wrong = append(wrong, c.name)
		}
	}
	on := "on both"
	if len(wrong) > 0 {
		on = "on " + list(wrong)
	}
	f.Remedy = []string{
		fmt.Sprintf(`See where the clock takes its time from, %s: ‹w32tm /query /status› (Linux: ‹timedatectl›).`, on),
		`Set it now, as an administrator: ‹w32tm /resync› (Linux: ‹chronyc makestep›). In a domain: ‹w32tm /config /syncfromflags:domhier /update›, then ‹net stop w32time && net start w32time›. A virtual machine should take its time from the network or from its host, not from both.`,
		`Nothing is lost meanwhile. But logs of different nodes cannot be compared, and should the network split, the later of two changes to a session is told by these clocks.`,
	}
	l.add(seen{Finding: f})
}

func offBy(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%.1f s behind", -d.Seconds())
	}
	return fmt.Sprintf("%.1f s ahead of", d.Seconds())
}
