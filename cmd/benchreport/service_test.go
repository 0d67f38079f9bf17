package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"statemesh/cmd/internal/bench"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	text := "# HELP statemesh_sessions Sessions held.\nstatemesh_sessions 1.000001e+06\nstatemesh_requests_total{op=\"get\"} 5\nstatemesh_memory_used_bytes 12\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
	defer server.Close()
	s := &service{Server: &bench.Server{Status: strings.TrimPrefix(server.URL, "http://")}}
	got, err := s.metrics(t.Context())
	if err != nil || got[metricSessions] != 1000001 || got[metricMemory] != 12 {
		t.Errorf("%v, %v", got, err)
	}
	text = "statemesh_sessions 1\n"
	if _, err := s.metrics(t.Context()); err == nil || !strings.Contains(err.Error(), metricMemory) {
		t.Errorf("%v, want an error about %s", err, metricMemory)
	}
}
