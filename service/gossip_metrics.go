package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"statemesh/cluster"
)

// What finding out who is there costs and how it goes: memberlist's own figures, by names of ours.

// gossipFigures are those without a label.
var gossipFigures = figures[cluster.Gossip]{
	gaugeOf("gossip_health_score", "0: well; from 1 on, this node or its network is slow to answer.", func(g *cluster.Gossip) float64 { return float64(g.Health) }),
	gaugeOf("gossip_last_heard_timestamp_seconds", "When another member last answered or asked, in seconds since 1970; 0: never.", func(g *cluster.Gossip) float64 { return timestamp(g.Heard) }),
	gaugeOf("gossip_queue_length", "News that waits to be passed on, when last looked at.", func(g *cluster.Gossip) float64 { return float64(g.Queue) }),
	gaugeOf("gossip_state_received_bytes", "Bytes of what another member last told of all others, to compare; 0 without encryption.", func(g *cluster.Gossip) float64 { return float64(g.NotesIn) }),
	counterOf("gossip_suspicions_total", "Members that did not answer this node's probes.", func(g *cluster.Gossip) float64 { return float64(g.Suspicions) }),
	counterOf("gossip_refutations_total", "Times that others suspected this node, which then protested.", func(g *cluster.Gossip) float64 { return float64(g.Refuted) }),
	counterOf("gossip_tcp_only_probes_total", "Probes that were answered by TCP and not by UDP.", func(g *cluster.Gossip) float64 { return float64(g.TCPOnly) }),
	counterOf("gossip_refused_total", "Packets and connections of strangers.", func(g *cluster.Gossip) float64 { return float64(g.Refused) }),
	counterOf("gossip_degraded_probes_total", "Probes at longer intervals, because this node was slow itself.", func(g *cluster.Gossip) float64 { return float64(g.DegradedProbes) }),
	counterOf("gossip_degraded_timeouts_total", "Members taken for dead though fewer others confirmed it than should.", func(g *cluster.Gossip) float64 { return float64(g.DegradedTimeouts) }),
	counterOf("gossip_stream_sent_bytes_total", "Bytes sent over connections.", func(g *cluster.Gossip) float64 { return float64(g.StreamBytesOut) }),
}

// timestamp is a time as Prometheus has it: in seconds since 1970; 0 for none.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}

// gossipLabelled are those with one.
var gossipLabelled = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*cluster.Gossip) map[string]float64
}{
	{desc("gossip_messages_total", "Messages taken in, by what they say of a member.", "says"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return map[string]float64{"alive": float64(g.Alive), "suspect": float64(g.Suspect), "dead": float64(g.Dead)}
	}},
	{desc("gossip_packets_total", "UDP packets.", "direction"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return inOut(g.PacketsIn, g.PacketsOut)
	}},
	{desc("gossip_packet_bytes_total", "Bytes of UDP packets.", "direction"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
		return inOut(g.BytesIn, g.BytesOut)
	}},
	{desc("gossip_streams_total", "Connections, accepted and made.", "direction"), prometheus.CounterValue, func(g *cluster.Gossip) map[string]float64 {
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
	{desc("gossip_probe_duration_seconds", "Probing a member."), func(g *cluster.Gossip) (uint64, float64) { return g.Probe.Count, g.Probe.Took.Seconds() }},
	{desc("gossip_spread_duration_seconds", "Passing news on to a few others."), func(g *cluster.Gossip) (uint64, float64) { return g.Spread.Count, g.Spread.Took.Seconds() }},
	{desc("gossip_compare_duration_seconds", "Comparing with another member what both know of all others."), func(g *cluster.Gossip) (uint64, float64) { return g.Compare.Count, g.Compare.Took.Seconds() }},
}

func describeGossip(descs chan<- *prometheus.Desc) {
	gossipFigures.describe(descs)
	for _, f := range gossipLabelled {
		descs <- f.desc
	}
	for _, f := range gossipTimings {
		descs <- f.desc
	}
}

func collectGossip(out chan<- prometheus.Metric, g *cluster.Gossip) {
	gossipFigures.collect(out, g)
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
