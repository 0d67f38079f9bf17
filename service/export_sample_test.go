package service

import (
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
	"statemesh/wire"
)

// Sample has the node look at itself.
func (s *Service) Sample(now time.Time) { s.sampler.sample(now) }

// RunSampler has it do so every second, for a bubble, in which nothing can listen.
func (s *Service) RunSampler() { s.startSampler() }

// Tell tells listeners what has happened.
func (s *Service) Tell(all []cluster.Event) { s.sampler.stream.tell(all) }

// Listeners is how many there are.
func (s *Service) Listeners() int {
	s.sampler.stream.mu.Lock()
	defer s.sampler.stream.mu.Unlock()
	return len(s.sampler.stream.listeners)
}

// History is what charts show.
func (s *Service) History() api.History { return s.sampler.History() }

// Documents are the latest of each.
func (s *Service) Documents() (api.Status, api.Members, api.Applications) {
	return s.sampler.Status(), s.sampler.Members(), s.sampler.Applications()
}

// Report is what the others are told.
func (s *Service) Report() []byte { return s.sampler.reporter.report() }

// Counted counts a request.
func (s *Service) Counted(op wire.Op, status wire.Status, took time.Duration) {
	s.metrics.tallies[0].request(op, status, took)
}

// MakeReport is a report with applications, and how many of them were left out.
func MakeReport(paths []string, sketch int) (body []byte, read, omitted int) {
	var r reporter
	r.set(report{Sessions: 7})
	apps := make([]reportedApp, len(paths))
	for i, p := range paths {
		apps[i] = reportedApp{Path: p, Sketch: bytesOf(make([]uint64, sketch))}
	}
	r.setApps(apps)
	body = r.report()
	all := allTold{}
	all.take(map[string]cluster.Report{"a": {At: time.Now(), Body: body}})
	return body, len(all["a"].apps), all["a"].omitted
}

// TakeReports takes bodies one after the other, of one member, and returns what is known of it then: sessions, and applications.
func TakeReports(bodies ...string) (sessions int64, apps int) {
	all := allTold{}
	for i, b := range bodies {
		all.take(map[string]cluster.Report{"a": {At: time.Unix(int64(i), 0), Body: []byte(b)}})
	}
	sessions, apps = all["a"].Sessions, len(all["a"].apps)
	all.take(nil)
	if len(all) > 0 {
		panic("a member that has gone is not forgotten")
	}
	return sessions, apps
}
