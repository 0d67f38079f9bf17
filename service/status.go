package service

import (
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"statemesh/service/page"
)

// statusGrace is how long a scrape under way may take when the node stops.
const statusGrace = 500 * time.Millisecond

// statusServer answers operators, their probes and Prometheus. It speaks real HTTP and has nothing to do with web servers' sessions.
func (s *Service) statusServer() *http.Server {
	srv := &http.Server{
		Handler:           s.statusHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(newStatusLog(s.log.Named("status")), "", 0),
	}
	if s.guard.cert != nil {
		srv.TLSConfig = s.guard.cert.config()
	}
	srv.RegisterOnShutdown(s.page.Close) // its live readers would not leave
	return srv
}

// statusLog is where net/http writes. Failed handshakes, which anybody can bring about, do not fill the log.
type statusLog struct {
	log       hclog.Logger
	handshake *notice
}

func newStatusLog(log hclog.Logger) *statusLog {
	return &statusLog{log: log, handshake: &notice{log: log, interval: time.Minute}}
}

func (l *statusLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if failed, is := strings.CutPrefix(text, "http: TLS handshake error from "); is {
		l.handshake.warn("somebody could not agree on TLS", "reason", failed)
	} else {
		l.log.Warn(text)
	}
	return len(line), nil
}

func (s *Service) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	for _, path := range page.Paths {
		mux.Handle(path, s.page)
	}
	s.addAPI(mux)
	return s.guard.wrap(mux)
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
