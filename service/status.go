package service

import (
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// statusGrace is how long a scrape under way may take when the node stops.
const statusGrace = 500 * time.Millisecond

// statusServer answers operators, their probes and Prometheus. It speaks real HTTP and has nothing to do with web servers' sessions.
func (s *Service) statusServer() *http.Server {
	return &http.Server{
		Handler:           s.statusHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.log.Named("status").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	}
}

func (s *Service) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "statemesh "+s.o.Version+" node "+s.o.NodeName+": see /healthz /readyz /metrics /api/v1/status /api/v1/members")
	})
	s.addAPI(mux)
	return mux
}

// ready says whether new web servers should be sent here.
func (s *Service) ready(w http.ResponseWriter, _ *http.Request) {
	switch phase := s.phase(); phase {
	case phaseStarting, phaseStopping, phaseDraining:
		say(w, http.StatusServiceUnavailable, phase)
	default:
		say(w, http.StatusOK, "ready")
	}
}

func say(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, line+"\n")
}
