package service

import (
	"time"

	"statemesh/service/api"
	"statemesh/service/findings"
)

const (
	// maxLocksTold are told of, the longest.
	maxLocksTold = 20
	// maxBouncingTold are told of, the busiest.
	maxBouncingTold = 20
	// maxLeftTold are told of, of the nodes that have left.
	maxLeftTold = 100
	// reportGood is how long a member's report counts: it comes every two seconds.
	reportGood = 15 * time.Second
	// refusingFor is how long a refused session is news.
	refusingFor = time.Minute
)

// newsOfRefusing notices when sessions were last refused.
type newsOfRefusing struct {
	count int64
	at    time.Time
}

func (r *newsOfRefusing) lately(now time.Time, count int64) bool {
	if count > r.count {
		r.at = now
	}
	r.count = count
	return !r.at.IsZero() && now.Sub(r.at) < refusingFor
}

// report is what this node is to tell the others: how it is, and what only it knows.
func (m *sampler) report(now time.Time, d *documents) report {
	st := &d.status
	r := report{
		Sessions: st.Sessions.Held, Used: st.Memory.Used, Limit: st.Memory.Limit, Refused: st.Sessions.Refused,
		Refusing: m.refused.lately(now, st.Sessions.Refused), PerSecond: total(st.Operations),
	}
	for _, l := range m.s.store.OldestLocks(m.s.o.LongLock, maxLocksTold) {
		r.Locks = append(r.Locks, reportedLock{l.Session, pathOf(l.App), l.Age.Seconds()})
	}
	if !m.s.clustered() {
		return r
	}
	r.Expects = m.s.o.Cluster.ExpectMembers
	for _, g := range first(m.finder.Left(), maxLeftTold) {
		r.Left = append(r.Left, reportedGone{g.Name, now.Sub(g.At).Seconds()})
	}
	if st.Drain != nil {
		r.Remaining = st.Drain.Remaining
	}
	for _, b := range first(m.s.mesh.Bouncing(), maxBouncingTold) {
		r.Bouncing = append(r.Bouncing, reportedBounce{b.Key, pathOf(b.App), b.Moves})
	}
	for i := range d.members.Members {
		other := &d.members.Members[i]
		if other.State == "left" || other.State == "failed" {
			continue
		}
		r.Sees = append(r.Sees, other.ID)
		if !other.Self && !other.Connected && other.State != "suspect" {
			r.CannotReach = append(r.CannotReach, reportedPeer{other.ID, other.LastError})
		}
	}
	return r
}

func total(ops []api.Operation) (perSecond float64) {
	for _, o := range ops {
		perSecond += o.PerSecond
	}
	return perSecond
}

func first[T any](all []T, n int) []T { return all[:min(len(all), n)] }

// pathOf is the path in an application's prefix. Of one that is not of ASP.NET's form nothing may be shown.
func pathOf(prefix string) string {
	id, _ := parseAppID(prefix)
	return id.Path
}

// facts are all that is known of the farm.
func (m *sampler) facts(now time.Time, d *documents, own report) findings.Facts {
	f := findings.Facts{Now: now, Self: m.s.o.NodeName, Clustered: m.s.clustered(), Encrypted: true, LongLock: m.s.o.LongLock, Applications: m.appFacts}
	if f.Clustered {
		f.Join = m.s.o.Cluster.Join
		if c := d.status.Cluster; c != nil { // else it is starting
			f.Expected, f.Encrypted = c.Expected, c.Encrypted
		}
	}
	for i := range d.members.Members {
		c := &d.members.Members[i]
		fact := findings.Member{
			ID: c.ID, Name: c.Name, Self: c.Self, State: c.State, Since: c.Since, Started: c.Started, Version: c.Version, Transfer: c.Transfer,
			Connected: c.Connected, LastError: c.LastError, Ahead: c.ClockAhead,
		}
		if c.Self {
			fact.Connected = true
			fill(&fact, &own, now, now)
		} else if t := m.told[c.ID]; t != nil && now.Sub(t.at) < reportGood {
			fill(&fact, &t.report, t.at, now)
		}
		f.Members = append(f.Members, fact)
	}
	return f
}

// fill adds what a member said of itself at that time.
func fill(m *findings.Member, r *report, at, now time.Time) {
	m.Said = true
	m.Sessions, m.Used, m.Limit, m.Refused, m.Refusing = r.Sessions, r.Used, r.Limit, r.Refused, r.Refusing
	m.Sees, m.Expects = r.Sees, r.Expects
	for _, p := range r.CannotReach {
		m.CannotReach = append(m.CannotReach, findings.Peer{ID: p.ID, Why: p.Why})
	}
	for _, l := range r.Locks {
		age := time.Duration(l.Age * float64(time.Second))
		m.Locks = append(m.Locks, findings.Lock{Session: l.Session, App: l.Path, Age: age + now.Sub(at)})
	}
	for _, g := range r.Left {
		m.Left = append(m.Left, findings.Gone{Name: g.Name, At: at.Add(-time.Duration(g.Ago * float64(time.Second)))})
	}
	for _, b := range r.Bouncing {
		m.Bouncing = append(m.Bouncing, findings.Bounce{Session: b.Session, App: b.Path, Moves: b.Moves})
	}
}

// said puts into the members what they say of themselves; of this node, what it says to the others.
func (m *sampler) said(now time.Time, doc *api.Members, own report) {
	names := map[string]string{}
	for _, c := range doc.Members {
		names[c.ID] = c.Name
	}
	for i := range doc.Members {
		c := &doc.Members[i]
		if c.Self {
			c.Said = saidBy(&own, now, 0, names)
		} else if t := m.told[c.ID]; t != nil {
			c.Said = saidBy(&t.report, t.at, c.ClockAhead, names)
		}
	}
}

func saidBy(r *report, at time.Time, ahead time.Duration, names map[string]string) *api.Said {
	s := &api.Said{
		At: at.UTC().Truncate(time.Millisecond), Sessions: r.Sessions, Memory: r.Used, Limit: r.Limit, PerSecond: r.PerSecond, Remaining: r.Remaining,
		Ahead: ahead.Round(time.Microsecond).Seconds(), Findings: r.Findings,
	}
	for _, p := range r.CannotReach {
		if name, known := names[p.ID]; known {
			s.Unreachable = append(s.Unreachable, name)
		}
	}
	return s
}
