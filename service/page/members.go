package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"statemesh/service/api"
)

// member is a row of the table.
type member struct {
	api.Member
	Since   moment   // of its state
	For     string   // since then, in words: "for 3 min"
	Word    string   // its state in a word or two
	Trouble []string // what is wrong with it, a sentence each
	Clock   string   // how far its clock is off, if that is worth a word
	rank    int      // the higher, the further up
}

// alive reports whether a member in that state is there, as far as is known.
func alive(state string) bool { return state != "left" && state != "failed" }

// latestRuns leaves out the runs of nodes that have been started again since: a new run is a new member with the same name. What became of the
// former stands among the events.
func latestRuns(all []api.Member) []api.Member {
	return slices.DeleteFunc(slices.Clone(all), func(m api.Member) bool {
		return !alive(m.State) && slices.ContainsFunc(all, func(o api.Member) bool {
			return o.Name == m.Name && (alive(o.State) || o.Started.After(m.Started))
		})
	})
}

func newMembers(doc api.Members, now time.Time) []member {
	all := make([]member, len(doc.Members))
	for i, m := range doc.Members {
		row := member{Member: m, Word: m.State, Since: at(m.Since, now)}
		row.For = row.Since.Ago
		if lasts := now.Sub(m.Since); alive(m.State) && lasts >= justNow {
			row.For = "for " + span(lasts)
		}
		if m.State == "draining" && m.Said != nil && m.Said.Remaining > 0 {
			row.Word = fmt.Sprintf("draining, %s to go", count(m.Said.Remaining))
		}
		if !m.Self && m.State == "up" && !m.Connected {
			row.Trouble = append(row.Trouble, unreachable(m))
		}
		if m.Said != nil {
			if len(m.Said.Unreachable) > 0 {
				row.Trouble = append(row.Trouble, "It cannot reach the transfer port of "+few(m.Said.Unreachable, 3)+".")
			}
			row.Clock = clockOff(m.Said.Ahead)
		}
		switch {
		case m.State == "failed":
			row.rank = 5
		case len(row.Trouble) > 0 || m.State == "suspect":
			row.rank = 4
		case m.Self:
			row.rank = 3
		case m.State == "draining" || m.State == "leaving":
			row.rank = 2
		case m.State == "left":
			row.rank = -1
		}
		all[i] = row
	}
	slices.SortStableFunc(all, func(a, b member) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.Name, b.Name)) })
	return all
}

func unreachable(m api.Member) string {
	text := "Not reached on its transfer port"
	if m.Transfer != "" {
		text += " " + m.Transfer
	}
	if m.LastError != "" {
		return text + ": " + m.LastError
	}
	return text + "."
}

// clockOff is nothing as long as clocks agree as well as clocks do.
func clockOff(ahead float64) string {
	switch {
	case ahead >= 0.5:
		return fmt.Sprintf("%.1f s ahead", ahead)
	case ahead <= -0.5:
		return fmt.Sprintf("%.1f s behind", -ahead)
	}
	return ""
}

// foldMembers shows all that are not simply up, however many.
func foldMembers(all []member) list[member] {
	ordinary := slices.IndexFunc(all, func(m member) bool { return m.rank <= 0 })
	if ordinary < 0 {
		ordinary = len(all)
	}
	return fold(all, max(ordinary, shownMembers))
}

// Link leads to the member's own page, if a browser elsewhere can get there.
func (m member) Link() string {
	if m.Self || m.Status == "" || m.State == "failed" || m.State == "left" || isLoopback(m.Status) {
		return ""
	}
	return "//" + m.Status + "/"
}

// Address is the one to look for in a firewall's log, or a seed list.
func (m member) Address() string { return m.Gossip }
