package service_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"statemesh/cluster"
	"statemesh/service"
)

// documented are the metrics of docs/metrics.md: "gauge state" by name.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\| [^|]+ \\|[^|]*\\|$")
	all := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if _, twice := all[m[1]]; twice {
			t.Errorf("docs/metrics.md has %s twice", m[1])
		}
		labels := strings.Split(strings.NewReplacer("`", "", " ", "").Replace(m[3]), ",")
		slices.Sort(labels)
		all[m[1]] = strings.TrimSpace(m[2] + " " + strings.Join(labels, " "))
	}
	if rows := strings.Count(string(text), "\n| `"); rows != len(all) {
		t.Errorf("docs/metrics.md has %d rows, of which %d can be read", rows, len(all))
	}
	return all
}

// exported are the metrics of a node, in the same form.
func exported(t *testing.T, n *node) map[string]string {
	t.Helper()
	families, err := n.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			if l.GetName() != "quantile" {
				labels = append(labels, l.GetName())
			}
		}
		slices.Sort(labels)
		all[f.GetName()] = strings.TrimSpace(strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, " "))
	}
	return all
}

// inCompany is a node in a cluster of two, which has had one request of every kind that shows a figure.
func inCompany(t *testing.T) *node {
	t.Helper()
	m := &fakeMesh{members: []cluster.Member{{Name: "test", Self: true, State: "up"}, {Name: "web02", State: "up"}}}
	n := startNode(t, in(m))
	n.dial(t).want(400, setWith("a", -5, 0, "0", "x"))
	return n
}

// Every metric is documented, and everything documented is a metric, with its type and labels.
func TestDocs_ListTheMetrics(t *testing.T) {
	t.Parallel()
	docs := documented(t)
	clustered, alone := exported(t, inCompany(t)), exported(t, startNode(t))
	for name, is := range clustered {
		if says, ok := docs[name]; ok && says != is {
			t.Errorf("%s is %q, docs/metrics.md says %q", name, is, says)
		} else if !ok && strings.HasPrefix(name, "statemesh_") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
	for name := range docs {
		if _, ok := clustered[name]; !ok && (strings.HasPrefix(name, "statemesh_") || hasProcessMetrics) {
			t.Errorf("docs/metrics.md has %s, which is not exported", name)
		}
	}
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Cluster\n") // Gossip is a part of it
	section, _, _ = strings.Cut(section, "\n## ")
	for name := range docs {
		_, isAlone := alone[name]
		ofCluster := strings.Contains(section, "| `"+name+"` |")
		if isAlone && ofCluster {
			t.Errorf("%s: a node that runs alone has it, too", name)
		}
		if !isAlone && !ofCluster && strings.HasPrefix(name, "statemesh_") && name != "statemesh_bad_requests_total" {
			t.Errorf("%s: a node that runs alone does not have it", name)
		}
	}
}

// Prometheus' own opinion of names, units and help.
func TestMetrics_FollowTheConventions(t *testing.T) {
	t.Parallel()
	for _, n := range []*node{inCompany(t), startNode(t, func(o *service.Options) { o.MaxMemory = 1 << 30 })} {
		problems, err := promlint.New(strings.NewReader(n.metrics())).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// hasProcessMetrics: of Windows, and macOS, the library exports fewer.
var hasProcessMetrics = fileExists("/proc/self/stat")

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestMetrics_OfGossip(t *testing.T) {
	t.Parallel()
	m := &fakeMesh{}
	m.stats.Gossip = cluster.Gossip{Health: 2, Heard: time.UnixMilli(1_800_000_000_250), Suspicions: 3, Refuted: 4, TCPOnly: 5, Refused: 6, PacketsIn: 7, BytesOut: 8}
	m.stats.Gossip.Queue, m.stats.Gossip.Dead, m.stats.Gossip.StreamsIn, m.stats.Gossip.NotesIn = 9, 10, 11, 12
	m.stats.Gossip.Probe.Count, m.stats.Gossip.Probe.Took = 13, 1500*time.Millisecond
	n := startNode(t, in(m))
	for series, want := range map[string]float64{
		"health_score": 2, "last_heard_timestamp_seconds": 1_800_000_000.25, "suspicions_total": 3, "refutations_total": 4, "tcp_only_probes_total": 5,
		"refused_total": 6, `packets_total{direction="in"}`: 7, `packets_total{direction="out"}`: 0, `packet_bytes_total{direction="out"}`: 8, "queue_length": 9,
		`messages_total{says="dead"}`: 10, `streams_total{direction="in"}`: 11, "state_received_bytes": 12,
		"probe_duration_seconds_count": 13, "probe_duration_seconds_sum": 1.5,
	} {
		n.wantMetric(t, "statemesh_gossip_"+series, want)
	}
}
