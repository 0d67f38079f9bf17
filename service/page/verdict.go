package page

import (
	"fmt"
	"time"

	"statemesh/service/api"
)

// verdict is what the eye meets first: are users' sessions safe?
type verdict struct {
	State string // safe, busy, warning, trouble: the symbol, the colour and the icon in the browser's tab
	Word  string
	Line  string // the figures behind it, in a sentence
}

const (
	safe    = "safe"
	busy    = "busy" // nothing is wrong, but it is not the usual state
	warning = "warning"
	trouble = "trouble"
)

func judge(s api.Status, m api.Members, perSecond, p99 float64) verdict {
	v := verdict{State: safe, Word: "Sessions are safe"}
	switch s.Phase {
	case "starting":
		v = verdict{State: busy, Word: "This node is starting"}
	case "joining":
		v = verdict{State: busy, Word: "Looking for the cluster"}
	case "draining":
		v = drained(s.Drain)
	case "stopping":
		v = verdict{State: busy, Word: "This node is stopping"}
	}
	troubles := 0
	for _, f := range s.Findings {
		if f.Severity == api.Trouble {
			troubles++
		}
	}
	switch n := len(s.Findings); {
	case troubles > 0:
		v.State, v.Word = trouble, "Users are losing sessions, or are about to"
	case n == 1:
		v.State, v.Word = warning, "1 thing needs attention"
	case n > 1:
		v.State, v.Word = warning, fmt.Sprintf("%d things need attention", n)
	}
	v.Line = summary(s, m, perSecond, p99)
	return v
}

// drained is the verdict of a node that has been told to drain, and stays so until it is stopped.
func drained(d *api.Drain) verdict {
	switch {
	case d == nil || !d.Done && d.Problem == "":
		return verdict{State: busy, Word: "Handing its sessions over"}
	case d.Problem != "":
		return verdict{State: warning, Word: "The drain has ended early"}
	}
	return verdict{State: busy, Word: "Drained: it may be stopped"}
}

// summary says what is kept and how it goes: "41,212 sessions here, 120,440 on 3 members. 2,431 requests a second, 99 of 100 answered within 0.4 ms." Of a
// node that has just been started it says that, too, for whoever has had the page open since before.
func summary(s api.Status, m api.Members, perSecond, p99 float64) string {
	text := plural(s.Sessions.Held, "session")
	all, said := int64(0), 0
	for _, member := range m.Members {
		switch {
		case member.Self:
			all += s.Sessions.Held
			said++
		case member.Said != nil && alive(member.State):
			all += member.Said.Sessions
			said++
		}
	}
	switch {
	case !s.Clustered:
		text += " on this node, which runs alone."
	case said < 2:
		text += " on this node."
	default:
		text += fmt.Sprintf(" here, %s on %s.", count(all), plural(said, "member"))
	}
	if perSecond <= 0 {
		text += " No requests just now."
	} else {
		text += fmt.Sprintf(" %s requests a second", rate(perSecond))
		if p99 > 0 {
			text += fmt.Sprintf(", 99 of 100 answered within %s", latency(p99))
		}
		text += "."
	}
	if up := seconds(s.Uptime); up < startedLately {
		text += fmt.Sprintf(" Started %s ago.", span(up))
	}
	return text
}

// startedLately is how long a node's start is news.
const startedLately = 5 * time.Minute

// finding is one of the things that are wrong.
type finding struct {
	api.Finding
	Label string
}

func newFindings(all []api.Finding) []finding {
	list := make([]finding, len(all))
	for i, f := range all {
		list[i] = finding{f, "Warning"}
		if f.Severity == api.Trouble {
			list[i].Label = "Trouble"
		}
	}
	return list
}
