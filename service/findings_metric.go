package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"statemesh/service/findings"
)

var findingsDesc = prometheus.NewDesc(prefix+"findings", "1 if something of this kind is wrong; docs/status-page.md says what, and what to do.", []string{"kind"}, nil)

// findingsCollector shows every kind of finding from the start.
type findingsCollector struct{ sampler *sampler }

func (c findingsCollector) Describe(descs chan<- *prometheus.Desc) { descs <- findingsDesc }

func (c findingsCollector) Collect(out chan<- prometheus.Metric) {
	found := map[string]bool{}
	for _, f := range c.sampler.latest().status.Findings {
		found[f.Kind] = true
	}
	for _, kind := range findings.Kinds {
		out <- prometheus.MustNewConstMetric(findingsDesc, prometheus.GaugeValue, truth(found[kind]), kind)
	}
}
