package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"statemesh/cluster"
)

// What finding out who is there costs and how it goes: memberlist's own figures, by names of ours.

func gossipDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+"gossip_"+name, help, labels, nil)
}

// gossipFigures are those without a label.
var gossipFigures = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*cluster.Gossip) float64
}{
	{gossipDesc("health_score", "0: well; from 1 on, this node or its network is slow to answer."), prometheus.GaugeValue, func(g *cluster.Gossip) float64 { return float64(g.Health) }},
	{gossipDesc("last_heard_timestamp_seconds", "When another member last answered or asked, in seconds since 1970; 0: never."), prometheus.GaugeValue, func(g *cluster.Gossip) float64 {
		if g.Heard.IsZero() {
			return 0
		}
		return float64(g.Heard.UnixMilli()) / 1e3
	}},
	{gossipDesc("queue_length", "News that waits to be passed on, when last looked at."), prometheus.GaugeValue, func(g *cluster.Gossip) float64 { return float64(g.Queue) }},
	{gossipDesc("state_received_bytes", "Bytes of what another member last told of all others, to compare; 0 without encryption."), prometheus.GaugeValue, func(g *cluster.Gossip) float64 { return float64(g.NotesIn) }},
	{gossipDesc("suspicions_total", "Members that did not answer this node's probes."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.Suspicions) }},
	{gossipDesc("refutations_total", "Times that others suspected this node, which then protested."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.Refuted) }},
	{gossipDesc("tcp_only_probes_total", "Probes that were answered by TCP and not by UDP."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.TCPOnly) }},
	{gossipDesc("refused_total", "Packets and connections of strangers."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.Refused) }},
	{gossipDesc("degraded_probes_total", "Probes at longer intervals, because this node was slow itself."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.DegradedProbes) }},
	{gossipDesc("degraded_timeouts_total", "Members taken for dead though fewer others confirmed it than should."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.DegradedTimeouts) }},
	{gossipDesc("stream_sent_bytes_total", "Bytes sent over connections."), prometheus.CounterValue, func(g *cluster.Gossip) float64 { return float64(g.StreamBytesOut) }},
}

// gossipLabelled are those with one.
var gossipLabelled = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*cluster.Gossip) map[string]float64
}{
	{gossipDesc("messages_total", "Messages taken in, by what they say of a member.", "says"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return map[string]float64{"alive": float64(g.Alive), "suspect": float64(g.Suspect), "dead": float64(g.Dead)}
	}},
	{gossipDesc("packets_total", "UDP packets.", "direction"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return inOut(g.PacketsIn, g.PacketsOut)
	}},
	{gossipDesc("packet_bytes_total", "Bytes of UDP packets.", "direction"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return inOut(g.BytesIn, g.BytesOut)
	}},
	{gossipDesc("streams_total", "Connections, accepted and made.", "direction"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return inOut(g.StreamsIn, g.StreamsOut)
	}},
}

func inOut(in, out uint64) map[string]float64 {
	return map[string]float64{"in": float64(in), "out": float64(out)}
}

// gossipTimings are how often and how long.
var gossipTimings = []struct {
	desc *prometheus.Desc
	of   func(*cluster.Gossip) (uint64, float64)
}{
	{gossipDesc("probe_duration_seconds", "Probing a member."), func(g *cluster.Gossip) (uint64, float64) { return g.Probe.Count, g.Probe.Took.Seconds() }},
	{gossipDesc("spread_duration_seconds", "Passing news on to a few others."), func(g *cluster.Gossip) (uint64, float64) { return g.Spread.Count, g.Spread.Took.Seconds() }},
	{gossipDesc("compare_duration_seconds", "Comparing with another member what both know of all others."), func(g *cluster.Gossip) (uint64, float64) { return g.Compare.Count, g.Compare.Took.Seconds() }},
}

func describeGossip(descs chan<- *prometheus.Desc) {
	for _, f := range gossipFigures {
		descs <- f.desc
	}
	for _, f := range gossipLabelled {
		descs <- f.desc
	}
	for _, f := range gossipTimings {
		descs <- f.desc
	}
}

func collectGossip(out chan<- prometheus.Metric, g *cluster.Gossip) {
	for _, f := range gossipFigures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(g))
	}
	for _, f := range gossipLabelled {
		for label, v := range f.of(g) {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, v, label)
		}
	}
	for _, f := range gossipTimings {
		count, sum := f.of(g)
		out <- prometheus.MustNewConstSummary(f.desc, count, sum, nil)
	}
}
