package session_test

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkCensus counts 1,000,000 sessions; how long a shard is locked at a time is measured as well.
func BenchmarkCensus(b *testing.B) {
	const n = 1_000_000
	st := benchStore(b, n, 20)
	defer st.Close()
	var steps []time.Duration
	for b.Loop() {
		c := st.NewCensus()
		for done := false; !done; {
			began := time.Now()
			done = c.Step()
			steps = append(steps, time.Since(began))
		}
		c.Publish()
	}
	slices.Sort(steps)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/session")
	b.ReportMetric(float64(steps[len(steps)/2].Nanoseconds())/1e3, "µs-locked-p50")
	b.ReportMetric(float64(steps[len(steps)*999/1000].Nanoseconds())/1e3, "µs-locked-p99.9")
}
