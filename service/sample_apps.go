package service

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"

	"statemesh/service/api"
	"statemesh/service/findings"
)

const (
	appsSampledEvery = 2 * sampleEvery
	// maxAppsShown are in the document, the busiest.
	maxAppsShown = 1000
	// maxSketch hashes are kept of an application's, of all members' together.
	maxSketch = 64
)

// appSampler knows what applications there are, here and at other members.
type appSampler struct {
	rates map[appID]*appRate
	own   []ownApp
}

// ownApp is an application at this node.
type ownApp struct {
	appUsage
	perSecond float64
}

// appRate is how many requests an application had at the last few moments, the latest last.
type appRate struct {
	at       [int(api.RateWindow/appsSampledEvery) + 1]time.Time
	requests [int(api.RateWindow/appsSampledEvery) + 1]uint64
}

func (r *appRate) add(now time.Time, requests uint64) (perSecond float64) {
	copy(r.at[:], r.at[1:])
	copy(r.requests[:], r.requests[1:])
	last := len(r.at) - 1
	r.at[last], r.requests[last] = now, requests
	first := slices.IndexFunc(r.at[:], func(t time.Time) bool { return !t.IsZero() })
	if requests < r.requests[first] || first == last {
		return 0
	}
	return float64(requests-r.requests[first]) / now.Sub(r.at[first]).Seconds()
}

// sample looks at this node's.
func (a *appSampler) sample(now time.Time, all []appUsage) {
	rates := make(map[appID]*appRate, len(all))
	a.own = make([]ownApp, 0, len(all))
	for _, u := range all {
		r := a.rates[u.appID]
		if r == nil {
			r = &appRate{}
		}
		rates[u.appID] = r
		a.own = append(a.own, ownApp{u, r.add(now, u.Requests)})
	}
	a.rates = rates
	slices.SortStableFunc(a.own, func(a, b ownApp) int { return busiest(a.perSecond, a.Sessions, b.perSecond, b.Sessions) })
}

// reported are this node's, as it tells others of them.
func (a *appSampler) reported(now time.Time, node string) []reportedApp {
	all := make([]reportedApp, len(a.own))
	for i := range a.own {
		u := &a.own[i]
		all[i] = reportedApp{
			Path: u.Path, Hash: u.Hash, Sessions: u.Sessions, PerSecond: u.perSecond, More: u.MoreWebServers, Sketch: bytesOf(u.Sketch),
		}
		for _, w := range u.WebServers {
			all[i].Users = append(all[i].Users, reportedUser{webServerName(w.Addr, node), now.Sub(w.LastSeen).Seconds()})
		}
	}
	return all
}

// webServerName names a web server to people. One on a node's own machine comes from the same address on every node, so it has the node's name.
func webServerName(a netip.Addr, node string) string {
	if a = a.Unmap(); a.IsValid() && !a.IsLoopback() {
		return a.String()
	}
	return node
}

// farmApp is an application in the whole farm.
type farmApp struct {
	appID
	own       *ownApp // nil: it is not at this node
	sessions  int64
	perSecond float64
	users     map[string]time.Time
	more      bool
	sketch    []uint64
	nodes     []api.ApplicationAt
}

// farm puts together what this node and the others know of applications, the busiest first.
func (a *appSampler) farm(now time.Time, self string, others allTold, members []api.Member) (all []*farmApp) {
	names := machineNames(members)
	by := map[appID]*farmApp{}
	add := func(node string, r reportedApp, at time.Time) *farmApp {
		id := appID{Path: r.Path, Hash: r.Hash}
		f := by[id]
		if f == nil {
			f = &farmApp{appID: id, users: map[string]time.Time{}}
			by[id] = f
			all = append(all, f)
		}
		f.sessions += r.Sessions
		f.perSecond += r.PerSecond
		f.more = f.more || r.More
		f.sketch = append(f.sketch, r.Sketch.sketch()...)
		f.nodes = append(f.nodes, api.ApplicationAt{Node: node, Sessions: r.Sessions, PerSecond: r.PerSecond})
		for _, u := range r.Users {
			name := u.Name
			if n, ok := names[name]; ok {
				name = n
			}
			if seen := at.Add(-time.Duration(u.Ago * float64(time.Second))); seen.After(f.users[name]) {
				f.users[name] = seen
			}
		}
		return f
	}
	for i, r := range a.reported(now, self) {
		add(self, r, now).own = &a.own[i]
	}
	for _, m := range members {
		if t := others[m.ID]; t != nil && !m.Self {
			for _, r := range t.apps {
				add(m.Name, r, t.appsAt)
			}
		}
	}
	for _, f := range all {
		slices.Sort(f.sketch)
		f.sketch = slices.Compact(f.sketch)
		f.sketch = f.sketch[:min(len(f.sketch), maxSketch)]
	}
	slices.SortFunc(all, func(a, b *farmApp) int {
		return cmp.Or(busiest(a.perSecond, a.sessions, b.perSecond, b.sessions), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Hash, b.Hash))
	})
	return all
}

// machineNames are the members' names by the address of their machine, where that is the machine of one alone: a web server there that asks another
// node is still the web server there.
func machineNames(members []api.Member) map[string]string {
	names, many := map[string]string{}, map[string]bool{}
	for _, m := range members {
		host, _, err := net.SplitHostPort(m.Transfer)
		if a, bad := netip.ParseAddr(host); err != nil || bad != nil || a.IsLoopback() || a.IsUnspecified() {
			continue
		}
		if other, known := names[host]; known && other != m.Name {
			many[host] = true
		}
		names[host] = m.Name
	}
	for host := range many {
		delete(names, host)
	}
	return names
}

// applicationsDocument says of each application how it is at this node, and where else it is.
func applicationsDocument(node string, all []*farmApp) api.Applications {
	doc := api.Applications{Node: node, Applications: make([]api.Application, 0, min(len(all), maxAppsShown))}
	for _, f := range all[:min(len(all), maxAppsShown)] {
		app := api.Application{
			ID: f.name(), Path: cmp.Or(f.Path, otherApps), Hash: f.Hash[:min(len(f.Hash), shownHash)], HashLength: len(f.Hash), WebServers: []string{}, Nodes: f.nodes,
		}
		if o := f.own; o != nil {
			app.Sessions, app.Bytes, app.Requests, app.PerSecond = o.Sessions, o.Bytes, o.Requests, o.perSecond
			app.SizeMedian, app.SizeP99, app.SizeLargest = o.SizeMedian, o.SizeP99, o.SizeLargest
			for _, w := range o.WebServers {
				app.WebServers = append(app.WebServers, w.Addr.Unmap().String())
			}
		}
		doc.Applications = append(doc.Applications, app)
	}
	doc.Omitted = len(all) - len(doc.Applications)
	return doc
}

// shownHash characters of a hash tell it from another.
const shownHash = 4

// otherApps stands for all keys that are not of ASP.NET's form.
const otherApps = "(other)"

// name is an application's for people.
func (id appID) name() string {
	if id.Path == "" {
		return otherApps
	}
	return id.Path + " (" + id.Hash[:min(len(id.Hash), shownHash)] + "…)"
}

// applicationFacts are the applications for package findings.
func applicationFacts(all []*farmApp) []findings.Application {
	facts := make([]findings.Application, 0, len(all))
	for _, f := range all {
		a := findings.Application{Path: f.Path, Hash: f.Hash, Sessions: f.sessions, PerSecond: f.perSecond, More: f.more, Sketch: f.sketch}
		for name, seen := range f.users {
			a.Users = append(a.Users, findings.User{Name: name, Seen: seen})
		}
		facts = append(facts, a)
	}
	return facts
}
