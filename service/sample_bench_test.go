package service_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"statemesh/cluster"
)

// BenchmarkSample is what a node takes a second to know how it is, and how the two others of its cluster are: with a million sessions and 200
// applications, the same on all. A half of a percent of a core is 5 ms.
func BenchmarkSample(b *testing.B) {
	const apps, sessions = 200, 1_000_000
	m := &fakeMesh{stats: cluster.Stats{Joined: true, Members: 3, Encrypted: true}}
	for i, name := range []string{"test", "web02", "web03"} {
		m.members = append(m.members, cluster.Member{
			ID: name, Name: name, Self: i == 0, State: "up", Connected: true, Version: "dev", Transfer: fmt.Sprintf("10.0.1.%d:1", i), ClockAhead: 1,
		})
	}
	n := newNode(b, in(m))
	n.log.errorsExpected = true // nobody takes the sessions
	if err := n.StartMesh(b.Context()); err != nil {
		b.Fatal(err)
	}
	n.Fill(apps, sessions, func(app, session int) string { return key(app, fmt.Sprintf("%024d", session/apps)) })
	n.RunExpiry()
	for n.Counts() < apps {
		runtime.Gosched()
	}
	now := time.Now()
	n.Sample(now)
	others := n.Report()
	b.Logf("a report has %d bytes", len(others))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i++; i%2 == 0 { // they come every two seconds, with the applications every ten
			body := others
			if i%10 != 0 {
				body = fmt.Appendf(nil, `{"sessions": %d, "sees": ["test", "web02", "web03"]}`, i)
			}
			m.mu.Lock()
			m.reports = map[string]cluster.Report{"web02": {ID: "web02", At: now, Body: body}, "web03": {ID: "web03", At: now, Body: body}}
			m.mu.Unlock()
		}
		n.Sample(now)
		now = now.Add(time.Second)
	}
}

// BenchmarkDocuments is what one look at each document of such a node costs.
func BenchmarkDocuments(b *testing.B) {
	n := newNode(b)
	n.Fill(200, 20_000, func(app, session int) string { return key(app, fmt.Sprintf("%024d", session/200)) })
	for i := range 600 {
		n.Sample(time.Unix(int64(i), 0))
	}
	h := n.StatusHandler()
	for _, name := range []string{"status", "members", "applications", "history"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/api/v1/"+name, nil))
				if size = rec.Body.Len(); rec.Code != 200 || !json.Valid(rec.Body.Bytes()[:size]) {
					b.Fatal(rec.Code)
				}
			}
			b.ReportMetric(float64(size), "B/answer")
		})
	}
}
