package service

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"statemesh/service/api"
)

// sampleEvery is how often the node looks at itself.
const sampleEvery = time.Second

// sampler looks at the node once a second, for all who want to know: it makes the documents that the page shows, works out rates, and finds what is
// wrong. So twenty browsers cost what one does.
type sampler struct {
	s       *Service
	rates   rates
	history history
	stream  *stream

	ticks int
	docs  atomic.Pointer[documents] // the latest; nil before the first
}

// documents are what the status address says of one moment. They are shared, and not to be changed.
type documents struct {
	status       api.Status
	members      api.Members
	applications api.Applications
}

func newSampler(s *Service) *sampler { return &sampler{s: s, stream: newStream()} }

// startSampler lets it run until the status listener is about to close.
func (s *Service) startSampler() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.sampler.run(ctx) })
	s.onStop("end watching itself", func(context.Context) error {
		cancel()
		wg.Wait()
		return nil
	})
}

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
	d.status.Findings = []api.Finding{}
	d.applications = api.Applications{Node: m.s.o.NodeName, Applications: []api.Application{}}
	if m.ticks%int(historyEvery/sampleEvery) == 0 {
		m.remember(now, d)
	}
	m.ticks++
	m.docs.Store(d)
	if m.s.mesh != nil {
		m.stream.tell(m.s.mesh.Events())
	}
}

// remember adds a point to the charts.
func (m *sampler) remember(now time.Time, d *documents) {
	p := point{at: now.Unix()}
	p.values[0], p.values[1] = m.rates.latest(historyEvery)
	p.values[2], p.values[3] = float64(d.status.Sessions.Held), float64(d.status.Memory.Used)
	m.history.add(p)
}

// latest are the documents of the last second; of a node that has not been started, empty ones.
func (m *sampler) latest() *documents {
	if d := m.docs.Load(); d != nil {
		return d
	}
	return &documents{
		status:       api.Status{Findings: []api.Finding{}, Operations: []api.Operation{}},
		members:      m.s.members(),
		applications: api.Applications{Node: m.s.o.NodeName, Applications: []api.Application{}},
	}
}

// The page's documents.

func (m *sampler) Status() api.Status             { return m.latest().status }
func (m *sampler) Members() api.Members           { return m.latest().members }
func (m *sampler) Applications() api.Applications { return m.latest().applications }
func (m *sampler) History() api.History           { return m.history.document(0) }
