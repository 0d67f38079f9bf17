package service

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"statemesh/cluster"
)

// meshCollector has the figures of a node in a cluster; one that runs alone has none of them. What each means to an operator stands in
// docs/metrics.md, which a test compares with what is exported.
type meshCollector struct {
	mesh     mesh
	expected int // members; 0: not known
}

var (
	membersDesc = prometheus.NewDesc(prefix+"cluster_members", "Members of the cluster as this node sees them, itself included; those left or failed are of the last hour.", []string{"state"}, nil)
	expectDesc  = desc("cluster_expected_members", "Members that there are to be, as expect_members says; 0 if it says nothing.")
	queriesDesc = prometheus.NewDesc(prefix+"queries_total", "Requests for sessions that were not here, by what the cluster said.", []string{"outcome"}, nil)
	movedDesc   = prometheus.NewDesc(prefix+"transfers_total", "Sessions moved to this node and away from it.", []string{"direction"}, nil)
	movedBDesc  = prometheus.NewDesc(prefix+"transfer_bytes_total", "Bytes of the bodies of sessions moved.", []string{"direction"}, nil)
	movingDesc  = prometheus.NewDesc(prefix+"transfers_under_way", "Sessions that are moving.", []string{"direction"}, nil)

	// Of live members other than this node, by the names that operators gave them.
	connectedDesc = prometheus.NewDesc(prefix+"peer_connected", "1 if the member can be reached on its transfer port.", []string{"peer"}, nil)
	tripDesc      = prometheus.NewDesc(prefix+"peer_round_trip_seconds", "Round trip of the last probe on the transfer connection to the member; 0 if there was none.", []string{"peer"}, nil)
	aheadDesc     = prometheus.NewDesc(prefix+"peer_clock_ahead_seconds", "How far the member's clock is ahead of this node's; negative: behind.", []string{"peer"}, nil)
)

// meshFigures are those without a label.
var meshFigures = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*cluster.Stats, *cluster.DrainProgress) float64
}{
	{desc("cluster_joined", "1 once this node has found its cluster."), prometheus.GaugeValue, of(func(s *cluster.Stats) float64 { return truth(s.Joined) })},
	{desc("cluster_encrypted", "1 if nodes have a key: what they say to each other is encrypted."), prometheus.GaugeValue, of(func(s *cluster.Stats) float64 { return truth(s.Encrypted) })},
	{desc("query_rounds_total", "Questions put to all members."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Rounds) })},
	{desc("query_rounds_restarted_total", "Questions put to all members again."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.RoundsRestarted) })},
	{desc("queries_waiting", "Requests that wait for the cluster."), prometheus.GaugeValue, of(func(s *cluster.Stats) float64 { return float64(s.Waiting) })},
	{desc("transfers_aborted_total", "Moves of sessions taken back."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Aborted) })},
	{desc("transfers_refused_total", "Moves of sessions that the receiver refused."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Refused) })},
	{desc("copies", "Copies of sessions for which nobody answers."), prometheus.GaugeValue, of(func(s *cluster.Stats) float64 { return float64(s.Copies) })},
	{desc("copies_adopted_total", "Copies that became the session."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Adopted) })},
	{desc("copies_dropped_total", "Copies dropped because a later one was known."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Stale) })},
	{desc("conflicts_total", "Sessions that two nodes had after a split; the lesser one was dropped."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Conflicts) })},
	{desc("fences_total", "Times this node was stopped for so long that others may have taken it for dead."), prometheus.CounterValue, of(func(s *cluster.Stats) float64 { return float64(s.Fences) })},
	{desc("hints", "Notes of where sessions have gone."), prometheus.GaugeValue, of(func(s *cluster.Stats) float64 { return float64(s.Notes) })},
	{desc("draining", "1 from the beginning of a drain on."), prometheus.GaugeValue, of(func(s *cluster.Stats) float64 { return truth(s.Draining) })},
	{desc("drain_sessions", "Sessions that the drain has handed over."), prometheus.GaugeValue, ofDrain(func(p *cluster.DrainProgress) int64 { return p.Sessions })},
	{desc("drain_bytes", "Bytes of the bodies of sessions that the drain has handed over."), prometheus.GaugeValue, ofDrain(func(p *cluster.DrainProgress) int64 { return p.Bytes })},
	{desc("drain_remaining_sessions", "Sessions that the drain has not handed over yet."), prometheus.GaugeValue, ofDrain(func(p *cluster.DrainProgress) int64 { return p.Remaining })},
}

func of(f func(*cluster.Stats) float64) func(*cluster.Stats, *cluster.DrainProgress) float64 {
	return func(s *cluster.Stats, _ *cluster.DrainProgress) float64 { return f(s) }
}

func ofDrain(f func(*cluster.DrainProgress) int64) func(*cluster.Stats, *cluster.DrainProgress) float64 {
	return func(_ *cluster.Stats, p *cluster.DrainProgress) float64 { return float64(f(p)) }
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// watch adds the cluster's figures. It is called once, before any connection is served.
func (m *metrics) watch(c mesh, expected int) {
	m.fetches = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    prefix + "query_duration_seconds",
		Help:    "How long requests for sessions that were not here waited for the cluster.",
		Buckets: seconds(buckets[:]),
	}, []string{"outcome"})
	for _, o := range outcomes {
		m.fetches.WithLabelValues(o) // shown from the start: a rate needs a beginning
	}
	m.registry.MustRegister(&meshCollector{c, expected}, m.fetches)
}

// outcomes of queries that are shown although they have not happened.
var outcomes = []string{"here", "nowhere", "held", "unknown", "shed"}

// fetched counts how long a request waited for the cluster.
func (m *metrics) fetched(a cluster.Answer, took time.Duration) {
	if m.fetches == nil { // it runs alone
		return
	}
	m.fetches.WithLabelValues(strings.ToLower(a.Outcome.String())).Observe(took.Seconds())
}

func seconds(all []time.Duration) []float64 {
	in := make([]float64, len(all))
	for i, d := range all {
		in[i] = d.Seconds()
	}
	return in
}

func (c *meshCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{membersDesc, expectDesc, queriesDesc, movedDesc, movedBDesc, movingDesc, connectedDesc, tripDesc, aheadDesc} {
		descs <- d
	}
	for _, f := range meshFigures {
		descs <- f.desc
	}
	describeGossip(descs)
}

func (c *meshCollector) Collect(out chan<- prometheus.Metric) {
	s, p := c.mesh.Stats(), c.mesh.Progress()
	count := func(d *prometheus.Desc, n uint64, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
	}
	gauge := func(d *prometheus.Desc, n int, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), label)
	}
	c.collectMembers(out)
	for _, o := range outcomes {
		count(queriesDesc, s.Fetches[o], o)
	}
	count(movedDesc, s.MovedIn, "in")
	count(movedDesc, s.MovedOut, "out")
	count(movedBDesc, s.BytesIn, "in")
	count(movedBDesc, s.BytesOut, "out")
	gauge(movingDesc, s.Arriving, "in")
	gauge(movingDesc, s.Leaving, "out")
	collectGossip(out, &s.Gossip)
	for _, f := range meshFigures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(&s, &p))
	}
}

// memberStates are shown although no member may be in them.
var memberStates = []string{"up", "suspect", "draining", "leaving", "left", "failed"}

func (c *meshCollector) collectMembers(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	in := map[string]int{}
	seen := map[string]bool{} // two members may have been given one name
	for _, m := range c.mesh.Members() {
		in[m.State]++
		if m.Self || m.State == "left" || m.State == "failed" || seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		gauge(connectedDesc, truth(m.Connected), m.Name)
		gauge(tripDesc, m.RoundTrip.Seconds(), m.Name)
		gauge(aheadDesc, m.ClockAhead.Seconds(), m.Name)
	}
	for _, state := range memberStates {
		gauge(membersDesc, float64(in[state]), state)
	}
	gauge(expectDesc, float64(c.expected))
}
