package page

import (
	"fmt"
	"html/template"
	"slices"
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
)

// view is what the templates are given: the documents, and what must be worked out of them.
type view struct {
	Now    time.Time
	Title  string
	Status api.Status

	Verdict  verdict
	Findings list[finding]
	Tiles    map[string]tile
	Picture  picture
	Members  list[member]
	Apps     list[application]
	Omitted  int     // applications that are in no list
	Counted  *moment // when those that are were counted; nil: there are none, or it is not known
	Events   list[event]
	Rate     float64 // requests a second

	Layout string // see pageEvent

	// For page.html.
	Fragments map[string]template.HTML
	TileOrder []string
}

// list is what is shown, and what is folded.
type list[T any] struct {
	Shown, Folded []T
}

func fold[T any](all []T, show int) list[T] {
	if len(all) <= show+1 { // folding one away saves nothing
		return list[T]{Shown: all}
	}
	return list[T]{all[:show], all[show:]}
}

func (l list[T]) Len() int { return len(l.Shown) + len(l.Folded) }

func newView(status api.Status, members api.Members, apps api.Applications, h api.History, now time.Time) *view {
	v := &view{Now: now, Status: status, Omitted: apps.Omitted}
	members.Members = latestRuns(members.Members)
	for _, o := range status.Operations {
		v.Rate += o.PerSecond
	}
	v.Verdict = judge(status, members, v.Rate, latest(h, "p99"))
	v.Title = status.Node + " – statemesh"
	if n := len(status.Findings); n > 0 {
		v.Title = fmt.Sprintf("(%d) %s", n, v.Title)
	}
	v.Findings = fold(newFindings(status.Findings), shownFindings)
	v.Tiles, v.TileOrder = newTiles(v, h), tileOrder
	v.Picture = draw(members)
	v.Members = foldMembers(newMembers(members, now))
	v.Apps = fold(newApplications(apps), shownApplications)
	if len(apps.Applications) > 0 && !apps.Counted.IsZero() {
		counted := at(apps.Counted, now)
		v.Counted = &counted
	}
	if status.Cluster != nil {
		events := slices.Clone(status.Cluster.Events)
		slices.Reverse(events)
		v.Events = fold(newEvents(events, now), shownEvents)
	}
	return v
}

const (
	shownFindings     = 4
	shownMembers      = 16
	shownApplications = 12
	shownEvents       = 14
	shownWebServers   = 3
)

// moment is a time, with how long ago that is.
type moment struct {
	Stamp, Ago, Clock string
}

func at(t, now time.Time) moment { return moment{stamp(t), ago(now.Sub(t)), clockOrDay(t, now)} }

// Started is since when the node runs.
func (v *view) Started() moment { return at(v.Status.Started, v.Now) }

// Alone reports whether the node runs without a cluster.
func (v *view) Alone() bool { return !v.Status.Clustered }

// MayDrain reports whether asking for a drain makes sense.
func (v *view) MayDrain() bool {
	return v.Status.Cluster != nil && v.Status.Phase == "up" && (v.Status.Drain == nil || v.Status.Drain.Done || v.Status.Drain.Problem != "")
}

// Encrypted reports whether members are spoken to with a key.
func (v *view) Encrypted() bool { return v.Status.Cluster == nil || v.Status.Cluster.Encrypted }

// Operations are the operations that web servers have ever asked for.
func (v *view) Operations() []api.Operation {
	return slices.DeleteFunc(slices.Clone(v.Status.Operations), func(o api.Operation) bool { return o.Total == 0 })
}

// Queries are how often this node has asked the others for a session, by what came of it.
func (v *view) Queries() []labelled {
	q := v.Status.Cluster.Queries
	return []labelled{
		{"Answered: found and fetched", q["here"]},
		{"Locked at another node", q["held"]},
		{"Missed: new, or expired", q["nowhere"]},
		{"Unsure: not all answered", q["unknown"]},
		{"Not asked: too many waiting", q["shed"]},
	}
}

type labelled struct {
	Label string
	Count uint64
}

// DrainPart is how much of a drain is done, in percent.
func (v *view) DrainPart() float64 {
	d := v.Status.Drain
	if d.Done {
		return 100
	}
	return percent(d.Sessions, d.Sessions+d.Remaining)
}

// application is a row of the table.
type application struct {
	api.Application
	From string // the web servers, or how many
	At   string // the members, or how many
	// Elsewhere is how many of its sessions other members hold.
	Elsewhere int64
}

func newApplications(doc api.Applications) []application {
	all := make([]application, len(doc.Applications))
	for i, a := range doc.Applications {
		all[i] = application{Application: a, From: few(a.WebServers, shownWebServers)}
		var nodes []string
		for _, n := range a.Nodes {
			nodes = append(nodes, n.Node)
			if n.Node != doc.Node {
				all[i].Elsewhere += n.Sessions
			}
		}
		all[i].At = few(nodes, shownWebServers)
	}
	return all
}

// few writes names, or the first of them and how many there are besides.
func few(names []string, most int) string {
	text := ""
	for i, name := range names {
		if i == most && len(names) > most+1 {
			return fmt.Sprintf("%s and %d more", text, len(names)-most)
		}
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}

// event is a line of what has happened.
type event struct {
	When  moment
	Level string
	Text  string
}

func newEvents(events []cluster.Event, now time.Time) []event {
	all := make([]event, len(events))
	for i, e := range events {
		all[i] = event{at(e.At, now), e.Level, e.Text}
	}
	return all
}

// latest is a series' last figure of the last ten seconds that is not 0.
func latest(h api.History, name string) float64 {
	for _, s := range h.Series {
		if s.Name != name || len(s.Values) != len(h.Times) {
			continue
		}
		for i, value := range slices.Backward(s.Values) {
			if h.Times[i] < h.Times[len(h.Times)-1]-10 {
				break
			}
			if value != nil && *value > 0 {
				return *value
			}
		}
	}
	return 0
}
