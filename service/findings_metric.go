package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"statemesh/service/api"
	"statemesh/service/findings"
)

var findingsDesc = desc("findings", "1 if something of this kind and severity is wrong; docs/status-page.md says what, and what to do.", "kind", "severity")

// findingsCollector shows every kind of finding from the start, in both severities: one that is a warning today may be trouble tomorrow.
type findingsCollector struct{ sampler *sampler }

func (c findingsCollector) Describe(descs chan<- *prometheus.Desc) { descs <- findingsDesc }

func (c findingsCollector) Collect(out chan<- prometheus.Metric) {
	type series struct{ kind, severity string }
	found := map[series]bool{}
	for _, f := range c.sampler.latest().status.Findings {
		found[series{f.Kind, f.Severity}] = true
	}
	for _, kind := range findings.Kinds {
		for _, severity := range []string{api.Trouble, api.Warning} {
			out <- prometheus.MustNewConstMetric(findingsDesc, prometheus.GaugeValue, truth(found[series{kind, severity}]), kind, severity)
		}
	}
}
