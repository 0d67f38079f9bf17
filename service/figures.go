package service

import "github.com/prometheus/client_golang/prometheus"

// figures are metrics without labels that are read off an S when Prometheus asks.
type figures[S any] []figure[S]

type figure[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*S) float64
}

// desc describes a metric of the node's, whose name is that without statemesh_.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// gaugeOf is what goes up and down.
func gaugeOf[S any](name, help string, of func(*S) float64) figure[S] {
	return figure[S]{desc(name, help), prometheus.GaugeValue, of}
}

// counterOf is what only grows.
func counterOf[S any](name, help string, of func(*S) float64) figure[S] {
	return figure[S]{desc(name, help), prometheus.CounterValue, of}
}

func (all figures[S]) describe(descs chan<- *prometheus.Desc) {
	for _, f := range all {
		descs <- f.desc
	}
}

func (all figures[S]) collect(out chan<- prometheus.Metric, from *S) {
	for _, f := range all {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(from))
	}
}
