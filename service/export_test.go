package service

import (
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// What tests reach for besides the exported API.

var Respond = respond

// StatusHandler is what the status address serves.
func (s *Service) StatusHandler() http.Handler { return s.statusHandler() }

// MaxConnections is how many web servers may be connected.
func (s *Service) MaxConnections() int { return s.conns.max }

// AddrFile is where the addresses are to be written.
func (s *Service) AddrFile() string { return s.o.AddrFile }

// Accept runs the accept loop on l until the returned function is called.
func (s *Service) Accept(l net.Listener) (stop func()) {
	loop := newAcceptLoop(l, s.conns)
	var wg sync.WaitGroup
	wg.Go(loop.run)
	return func() {
		loop.stop()
		wg.Wait()
	}
}

// Registry has the metrics.
func (s *Service) Registry() prometheus.Gatherer { return s.metrics.registry }
