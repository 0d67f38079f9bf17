package service

import (
	"net"
	"time"

	"statemesh/cluster"
	"statemesh/service/api"
	"statemesh/session"
	"statemesh/wire"
)

// Sample has the node look at itself.
func (s *Service) Sample(now time.Time) { s.sampler.sample(now) }

// RunSampler has it do so every second, for a bubble, in which nothing can listen.
func (s *Service) RunSampler() { s.startSampler() }

// Fill has sessions of small bodies made, each application's asked for from web servers of its own, and the store count them.
func (s *Service) Fill(apps, sessions int, key func(app, session int) string) {
	for i := range sessions {
		b, err := s.store.NewBody(100)
		if err != nil {
			panic(err)
		}
		b.Filled(100)
		k := session.KeyOf([]byte(key(i%apps, i)))
		if r := s.store.Set(k, session.Change{Body: b, Timeout: 1200, Cookie: session.NoCookie}); r.Outcome != session.Done {
			panic(r.Outcome)
		}
	}
	for w := range 3 {
		asker := s.conns.usage.asker(&net.TCPAddr{IP: net.IPv4(10, 0, 0, byte(w)), Port: 1})
		for i := range min(sessions, 100*apps) {
			asker.count(session.KeyOf([]byte(key(i%apps, i))), true, time.Duration(i)*time.Microsecond)
		}
	}
}

// RunExpiry has the store do its own work.
func (s *Service) RunExpiry() { s.startExpiry() }

// Counts is how many applications the store knows by now.
func (s *Service) Counts() int { return len(s.store.Apps()) }

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

// ReportApps is what a node of that name would tell of its applications.
func (s *Service) ReportApps(name string) []byte {
	var a appSampler
	now := time.Now()
	a.sample(now, s.conns.usage.snapshot(s.store.Apps()))
	return mustMarshal(reportedApps{Apps: a.reported(now, name)})
}

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
