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
	membersDesc = desc("cluster_members", "Members of the cluster as this node sees them, itself included; those left or failed are of the last hour.", "state")
	expectDesc  = desc("cluster_expected_members", "Members that there are to be, as expect_members says; 0 if it says nothing.")
	queriesDesc = desc("queries_total", "Requests for sessions that were not here, by what the cluster said.", "outcome")
	movedDesc   = desc("transfers_total", "Sessions moved to this node and away from it.", "direction")
	movedBDesc  = desc("transfer_bytes_total", "Bytes of the bodies of sessions moved.", "direction")
	movingDesc  = desc("transfers_under_way", "Sessions that are moving.", "direction")

	// Of live members other than this node, by the names that operators gave them.
	connectedDesc = desc("peer_connected", "1 if the member can be reached on its transfer port.", "peer")
	tripDesc      = desc("peer_round_trip_seconds", "Round trip of the last probe on the transfer connection to the member; 0 if there was none.", "peer")
	aheadDesc     = desc("peer_clock_ahead_seconds", "How far the member's clock is ahead of this node's; negative: behind.", "peer")
)

// meshNow is what the cluster says at one moment.
type meshNow struct {
	stats cluster.Stats
	drain cluster.DrainProgress
}

// meshFigures are those without a label.
var meshFigures = figures[meshNow]{
	gaugeOf("cluster_joined", "1 once this node has found its cluster.", func(n *meshNow) float64 { return truth(n.stats.Joined) }),
	gaugeOf("cluster_encrypted", "1 if nodes have a key: what they say to each other is encrypted.", func(n *meshNow) float64 { return truth(n.stats.Encrypted) }),
	counterOf("query_rounds_total", "Questions put to all members.", func(n *meshNow) float64 { return float64(n.stats.Rounds) }),
	counterOf("query_rounds_restarted_total", "Questions put to all members again.", func(n *meshNow) float64 { return float64(n.stats.RoundsRestarted) }),
	gaugeOf("queries_waiting", "Requests that wait for the cluster.", func(n *meshNow) float64 { return float64(n.stats.Waiting) }),
	counterOf("transfers_aborted_total", "Moves of sessions taken back.", func(n *meshNow) float64 { return float64(n.stats.Aborted) }),
	counterOf("transfers_refused_total", "Moves of sessions that the receiver refused.", func(n *meshNow) float64 { return float64(n.stats.Refused) }),
	gaugeOf("copies", "Copies of sessions for which nobody answers.", func(n *meshNow) float64 { return float64(n.stats.Copies) }),
	counterOf("copies_adopted_total", "Copies that became the session.", func(n *meshNow) float64 { return float64(n.stats.Adopted) }),
	counterOf("copies_dropped_total", "Copies dropped because a later one was known.", func(n *meshNow) float64 { return float64(n.stats.Stale) }),
	counterOf("conflicts_total", "Sessions that two nodes had after a split; the lesser one was dropped.", func(n *meshNow) float64 { return float64(n.stats.Conflicts) }),
	counterOf("fences_total", "Times this node was stopped for so long that others may have taken it for dead.", func(n *meshNow) float64 { return float64(n.stats.Fences) }),
	gaugeOf("hints", "Notes of where sessions have gone.", func(n *meshNow) float64 { return float64(n.stats.Notes) }),
	gaugeOf("draining", "1 from the beginning of a drain on.", func(n *meshNow) float64 { return truth(n.stats.Draining) }),
	gaugeOf("drain_sessions", "Sessions that the drain has handed over.", func(n *meshNow) float64 { return float64(n.drain.Sessions) }),
	gaugeOf("drain_bytes", "Bytes of the bodies of sessions that the drain has handed over.", func(n *meshNow) float64 { return float64(n.drain.Bytes) }),
	gaugeOf("drain_remaining_sessions", "Sessions that the drain has not handed over yet.", func(n *meshNow) float64 { return float64(n.drain.Remaining) }),
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
	meshFigures.describe(descs)
	describeGossip(descs)
}

func (c *meshCollector) Collect(out chan<- prometheus.Metric) {
	now := meshNow{c.mesh.Stats(), c.mesh.Progress()}
	s := &now.stats
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
	meshFigures.collect(out, &now)
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
