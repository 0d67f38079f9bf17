package service

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
	"statemesh/service/findings"
)

// sampleEvery is how often the node looks at itself.
const sampleEvery = time.Second

// sampler looks at the node once a second, for all who want to know: it makes the documents that the page shows, works out rates, hears what other
// members say of themselves, and finds what is wrong. So twenty browsers cost what one does.
type sampler struct {
	s        *Service
	stream   *stream
	reporter reporter // has what the others are told
	history  history
	docs     atomic.Pointer[documents] // the latest; nil before the first

	// What follows is the goroutine's.
	ticks    int
	rates    rates
	moves    moves
	refused  newsOfRefusing
	apps     appSampler
	appFacts []findings.Application // of all members
	appDoc   api.Applications
	appText  func() []byte // appDoc as JSON, made when first asked for: of many applications it is large
	told     allTold
	finder   findings.Finder
	found    []api.Finding
}

// documents are what the status address says of one moment. They are shared, and not to be changed.
type documents struct {
	status       api.Status
	members      api.Members
	applications api.Applications
	appText      func() []byte
}

func newSampler(s *Service) *sampler {
	m := &sampler{
		s: s, stream: newStream(), told: allTold{}, found: []api.Finding{},
	}
	s.metrics.registry.MustRegister(findingsCollector{m})
	return m
}

// startSampler lets it run until the status listener is about to close.
func (s *Service) startSampler() { s.keepRunning("end watching itself", s.sampler.run) }

func (m *sampler) run(ctx context.Context) {
	defer m.stream.close()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		m.sample(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample takes one look.
func (m *sampler) sample(now time.Time) {
	m.rates.add(m.s.metrics.total(now))
	d := &documents{status: m.s.figures(now), members: m.s.members()}
	d.status.Operations = m.rates.operations()
	var news []cluster.Event
	if m.s.mesh != nil {
		m.told.take(m.s.mesh.Reports())
		news = m.s.mesh.Events()
	}
	if m.every(appsSampledEvery) {
		m.sampleApps(now, d)
	}
	d.applications, d.appText = m.appDoc, m.appText
	own := m.report(now, d)
	if !m.s.stopping.Load() { // what a node is without that stops is not wrong with it
		m.found = m.finder.Find(m.facts(now, d, own))
	}
	d.status.Findings = m.found
	own.Findings = kindsOf(m.found)
	m.said(now, &d.members, own)
	if m.every(historyEvery) {
		m.remember(now, d)
	}
	m.ticks++
	m.docs.Store(d)
	m.reporter.set(own)
	m.stream.tell(news)
}

func (m *sampler) every(d time.Duration) bool { return m.ticks%int(d/sampleEvery) == 0 }

// sampleApps looks at the applications.
func (m *sampler) sampleApps(now time.Time, d *documents) {
	m.apps.sample(now, m.s.conns.usage.snapshot(m.s.store.Apps()))
	farm := m.apps.farm(now, m.s.o.NodeName, m.told, d.members.Members)
	m.appFacts = applicationFacts(farm)
	doc := applicationsDocument(m.s.o.NodeName, farm)
	if ago, ok := m.s.store.CountedAgo(); ok {
		doc.Counted = now.Add(-ago).UTC().Truncate(time.Second)
	}
	m.setApplications(doc)
	if m.s.clustered() {
		m.reporter.setApps(m.apps.reported(now, m.s.o.NodeName))
	}
}

func (m *sampler) setApplications(doc api.Applications) {
	m.appDoc, m.appText = doc, sync.OnceValue(func() []byte { return textOf(doc) })
}

func kindsOf(all []api.Finding) (kinds []string) {
	for _, f := range all {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}
	return kinds
}

// moves remembers how many sessions had been moved at the last point of the charts.
type moves struct {
	at      time.Time
	in, out uint64
}

// rates are sessions a second since then; not numbers, if there is no telling.
func (v *moves) rates(now time.Time, c *api.ClusterStatus) (in, out float64) {
	was := *v
	*v = moves{}
	if c == nil {
		return math.NaN(), math.NaN()
	}
	*v = moves{now, c.MovedIn, c.MovedOut}
	if was.at.IsZero() || c.MovedIn < was.in || c.MovedOut < was.out {
		return math.NaN(), math.NaN()
	}
	d := now.Sub(was.at)
	return perSecond(c.MovedIn-was.in, d), perSecond(c.MovedOut-was.out, d)
}

// remember adds a point to the charts.
func (m *sampler) remember(now time.Time, d *documents) {
	p := point{at: now.Unix()}
	p.values[0], p.values[1] = m.rates.latest(historyEvery)
	p.values[2], p.values[3] = float64(d.status.Sessions.Held), float64(d.status.Memory.Used)
	p.values[4], p.values[5] = m.moves.rates(now, d.status.Cluster)
	m.history.add(p)
}

// latest are the documents of the last second; of a node that has not been started, empty ones.
func (m *sampler) latest() *documents {
	if d := m.docs.Load(); d != nil {
		return d
	}
	none := api.Applications{Node: m.s.o.NodeName, Applications: []api.Application{}}
	return &documents{
		status:       api.Status{Node: m.s.o.NodeName, Findings: []api.Finding{}, Operations: []api.Operation{}},
		members:      m.s.members(),
		applications: none,
		appText:      func() []byte { return textOf(none) },
	}
}

// The page's documents.

func (m *sampler) Status() api.Status             { return m.latest().status }
func (m *sampler) Members() api.Members           { return m.latest().members }
func (m *sampler) Applications() api.Applications { return m.latest().applications }
func (m *sampler) History() api.History           { return m.history.document(0) }
