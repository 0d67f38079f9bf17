package session_test

import "testing"

// BenchmarkCensus counts 1,000,000 sessions.
func BenchmarkCensus(b *testing.B) {
	const n = 1_000_000
	st := benchStore(b, n, 20)
	defer st.Close()
	for b.Loop() {
		st.Count()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/session")
}
