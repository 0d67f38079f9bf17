package service

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"statemesh/session"
	"statemesh/wire"
)

// metrics are the node's figures, in a registry of their own: of requests and connections, counted here; of sessions and memory, asked of
// the store when somebody looks; of the cluster (cluster_metrics.go); and of the Go runtime and the process. docs/metrics.md says what each
// means, and a test that it leaves none out. No label holds anything of a request.
type metrics struct {
	registry *prometheus.Registry
	tallies  [tallies]tally
	next     atomic.Uint32
	sessions *sessionCollector

	badRequests   *prometheus.CounterVec
	shedRequests  *prometheus.CounterVec
	openConns     prometheus.Gauge
	acceptedConns prometheus.Counter
	refusedConns  prometheus.Counter
	cutConns      *prometheus.CounterVec
	statusRefused *prometheus.CounterVec
	panics        prometheus.Counter
	fetches       *prometheus.HistogramVec // nil: the node runs alone
}

func newMetrics(store *session.Store, version string) *metrics {
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		sessions:      &sessionCollector{store: store},
		badRequests:   counters("bad_requests_total", "Requests answered 400 for what they say.", "reason"),
		shedRequests:  counters("shed_requests_total", "Requests not started because too many waited for the session, or this one too long.", "op"),
		openConns:     prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "connections", Help: "Open connections of web servers."}),
		acceptedConns: counter("connections_accepted_total", "Connections of web servers taken in."),
		refusedConns:  counter("connections_refused_total", "Connections closed at once because there were too many."),
		cutConns:      counters("connections_cut_total", "Connections closed because the web server did not do its part in time.", "reason"),
		statusRefused: counters("status_refused_total", "Requests to the status address that were refused.", "reason"),
		panics:        counter("panics_total", "Requests that brought out a mistake in this program."),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        prefix + "build_info",
		Help:        "1, with what this program is.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	// What has few values is shown from the start: a rate needs a beginning.
	for _, reason := range refusals {
		m.statusRefused.WithLabelValues(reason)
	}
	for _, reason := range []string{"stalled", "unread", "idle"} {
		m.cutConns.WithLabelValues(reason)
	}
	for op := wire.Op(1); op < wire.Op(ops); op++ {
		m.shedRequests.WithLabelValues(op.String())
	}
	m.registry.MustRegister(
		(*requestCollector)(m), m.sessions, m.badRequests, m.shedRequests, m.openConns, m.acceptedConns, m.refusedConns, m.cutConns,
		m.statusRefused, m.panics, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

const prefix = "statemesh_"

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{label})
}

// badRequest's reasons are constants, so they are few.
func (m *metrics) badRequest(reason string)      { m.badRequests.WithLabelValues(reason).Inc() }
func (m *metrics) cut(reason string)             { m.cutConns.WithLabelValues(reason).Inc() }
func (m *metrics) refusedAtStatus(reason string) { m.statusRefused.WithLabelValues(reason).Inc() }
func (m *metrics) shed(op wire.Op)               { m.shedRequests.WithLabelValues(op.String()).Inc() }

// watchCertificate shows when the status address's certificate ends.
func (m *metrics) watchCertificate(c *certificate) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "status_certificate_expiry_timestamp_seconds",
		Help: "When the status address's certificate ends, in seconds since 1970; 0 without one.",
	}, func() float64 {
		if c == nil {
			return 0
		}
		return float64(c.current().Leaf.NotAfter.Unix())
	}))
}

// A tally is what some of the connections have counted. The steady path counts in these and not in Prometheus' own counters, all of which
// are one memory word for all processors: with two of them a Counter, two sums and a Histogram took 230 ns a request, and it
// gets worse with each processor. Here it is 6 ns.
type tally struct {
	requests [ops][statuses][len(buckets) + 1]atomic.Uint64 // by duration: the count and the histogram in one addition
	nanos    [ops]atomic.Uint64
	received atomic.Uint64
	sent     atomic.Uint64
	_        [64]byte // keep neighbours off this cache line
}

const (
	tallies  = 16
	ops      = int(wire.OpResetTimeout) + 1 // 0 is none
	statuses = int(wire.StatusLocked) + 1
)

// buckets are the upper bounds of the histogram's: from an answer out of memory on one's own machine to what no web server waits for.
var buckets = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// nextTally deals the tallies out to connections.
func (m *metrics) nextTally() *tally { return &m.tallies[m.next.Add(1)%tallies] }

// request counts one.
func (t *tally) request(op wire.Op, s wire.Status, took time.Duration) {
	i := 0
	for i < len(buckets) && took > buckets[i] {
		i++
	}
	t.requests[op][s][i].Add(1)
	t.nanos[op].Add(uint64(took))
}

// add counts bytes and sets them back.
func (t *tally) add(b *traffic) {
	t.received.Add(uint64(b.received))
	t.sent.Add(uint64(b.sent))
	*b = traffic{}
}

// requestCollector adds the tallies up for Prometheus.
type requestCollector metrics

var (
	requestsDesc = desc("requests_total", "Requests answered.", "op", "status")
	durationDesc = desc("request_duration_seconds", "From a request's complete head to its written answer.", "op")
	receivedDesc = desc("received_bytes_total", "Bytes received from web servers.")
	sentDesc     = desc("sent_bytes_total", "Bytes sent to web servers.")
)

func (r *requestCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, durationDesc, receivedDesc, sentDesc} {
		descs <- d
	}
}

func (r *requestCollector) Collect(out chan<- prometheus.Metric) {
	for op := range wire.Op(ops) {
		r.collectOp(out, op)
	}
	var received, sent uint64
	for i := range r.tallies {
		received += r.tallies[i].received.Load()
		sent += r.tallies[i].sent.Load()
	}
	out <- prometheus.MustNewConstMetric(receivedDesc, prometheus.CounterValue, float64(received))
	out <- prometheus.MustNewConstMetric(sentDesc, prometheus.CounterValue, float64(sent))
}

// collectOp shows every status of every operation from the start, 0 as it may be: a rate needs a beginning.
func (r *requestCollector) collectOp(out chan<- prometheus.Metric, op wire.Op) {
	var within [len(buckets) + 1]uint64
	for status := range wire.Status(statuses) {
		var count uint64
		for b := range within {
			var n uint64
			for i := range r.tallies {
				n += r.tallies[i].requests[op][status][b].Load()
			}
			within[b] += n
			count += n
		}
		if op != 0 || status == wire.StatusBadRequest {
			out <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(count), op.String(), status.String()[:3])
		}
	}
	cumulative := make(map[float64]uint64, len(buckets))
	var count, nanos uint64
	for b, bound := range buckets {
		count += within[b]
		cumulative[bound.Seconds()] = count
	}
	count += within[len(buckets)]
	for i := range r.tallies {
		nanos += r.tallies[i].nanos[op].Load()
	}
	out <- prometheus.MustNewConstHistogram(durationDesc, count, time.Duration(nanos).Seconds(), cumulative, op.String())
}

// sessionCollector asks the store.
type sessionCollector struct {
	mu    sync.Mutex // held while asking, so that the store is not closed meanwhile
	store *session.Store
}

// sessionFigures are what it is asked for.
var sessionFigures = figures[session.Stats]{
	gaugeOf("sessions", "Sessions held.", func(s *session.Stats) float64 { return float64(s.Active) }),
	counterOf("sessions_created_total", "Sessions created.", func(s *session.Stats) float64 { return float64(s.Created) }),
	counterOf("sessions_timed_out_total", "Sessions that expired.", func(s *session.Stats) float64 { return float64(s.TimedOut) }),
	counterOf("sessions_abandoned_total", "Sessions removed by a web server.", func(s *session.Stats) float64 { return float64(s.Abandoned) }),
	counterOf("sessions_refused_total", "New sessions refused for lack of memory.", func(s *session.Stats) float64 { return float64(s.Refused) }),
	gaugeOf("sessions_locked", "Sessions locked by a web server.", func(s *session.Stats) float64 { return float64(s.Locked) }),
	gaugeOf("lock_waiters", "Requests that are held back because their session is locked.", func(s *session.Stats) float64 { return float64(s.Held) }),
	gaugeOf("requests_waiting", "Requests that wait for their turn on a session.", func(s *session.Stats) float64 { return float64(s.Waiting) }),
	gaugeOf("applications", "Applications that have sessions.", func(s *session.Stats) float64 { return float64(s.Apps) }),
	gaugeOf("session_body_bytes", "Bytes of all sessions' bodies.", func(s *session.Stats) float64 { return float64(s.BodyBytes) }),
	gaugeOf("memory_used_bytes", "Bytes that the limit is held against.", func(s *session.Stats) float64 { return float64(s.UsedBytes) }),
	gaugeOf("memory_limit_bytes", "Bytes that sessions may take; 0 is no limit.", func(s *session.Stats) float64 { return float64(s.MaxMemory) }),
}

func (c *sessionCollector) Describe(descs chan<- *prometheus.Desc) { sessionFigures.describe(descs) }

func (c *sessionCollector) Collect(out chan<- prometheus.Metric) {
	if stats, ok := c.stats(); ok {
		sessionFigures.collect(out, &stats)
	}
}

func (c *sessionCollector) stats() (session.Stats, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store == nil {
		return session.Stats{}, false
	}
	return c.store.Stats(), true
}

// forgetStore is called before the store is closed.
func (m *metrics) forgetStore() {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	m.sessions.store = nil
}
