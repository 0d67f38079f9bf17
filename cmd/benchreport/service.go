package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"statemesh/cmd/internal/bench"
)

// service is a service under measurement, with a farm connected to it.
type service struct {
	*bench.Server
	*bench.Farm
}

// service starts one. The farm may have many requests in flight while it stores its sessions.
func (l *lab) service(ctx context.Context, cores *bench.Cores, o bench.FarmOptions) (*service, error) {
	server, err := bench.StartServer(ctx, l.exe, cores)
	if err != nil {
		return nil, err
	}
	s := &service{Server: server}
	if s.Farm, err = s.farm(ctx, o); err != nil {
		server.Stop()
		return nil, err
	}
	return s, nil
}

// farm connects one more farm to the service.
func (s *service) farm(ctx context.Context, o bench.FarmOptions) (*bench.Farm, error) {
	o.Addrs, o.Depth = []string{s.Addr}, 64
	f, err := bench.NewFarm(o)
	if err != nil {
		return nil, err
	}
	return f, f.Dial(ctx)
}

func (s *service) stop() {
	s.Farm.Close()
	s.Server.Stop()
}

// resident is the service's physical memory, once it has come to rest.
func (s *service) resident(ctx context.Context, rest time.Duration) (int64, error) {
	if err := sleep(ctx, rest); err != nil {
		return 0, err
	}
	return bench.ResidentBytes(s.PID)
}

// The metrics that measurements look at.
const (
	metricSessions = "statemesh_sessions"
	metricMemory   = "statemesh_memory_used_bytes"
)

// metrics asks the service for its figures.
func (s *service) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Status+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for metrics: %w", err)
	}
	defer resp.Body.Close()
	found := make(map[string]float64)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			found[name] = value
		}
	}
	for _, name := range []string{metricSessions, metricMemory} {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("the service has no metric %s", name)
		}
	}
	return found, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func count(n int) string { return humanize.Comma(int64(n)) }
