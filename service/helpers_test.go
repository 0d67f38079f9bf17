package service_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"statemesh/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a service under test with its log. Its in-memory connections work without start.
type node struct {
	*service.Service
	log *logBook
}

// newNode makes a node that listens to nothing. When the test ends it is stopped, and has neither panicked nor logged an error.
func newNode(t testing.TB, configure ...func(*service.Options)) *node {
	t.Helper()
	n := &node{log: &logBook{}}
	o := service.Options{
		NodeName:   "test",
		StateAddr:  "127.0.0.1:0",
		StatusAddr: "127.0.0.1:0",
		Log:        hclog.New(&hclog.LoggerOptions{Output: n.log, Level: hclog.Info}),
	}
	for _, c := range configure {
		c(&o)
	}
	var err error
	if n.Service, err = service.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil && !n.log.errorsExpected {
			t.Errorf("stop: %v", err)
		}
		if !n.log.errorsExpected && n.log.has("[ERROR]") {
			t.Errorf("errors were logged:\n%s", n.log)
		}
	})
	return n
}

// startNode makes one that listens on free ports of 127.0.0.1.
func startNode(t testing.TB, configure ...func(*service.Options)) *node {
	t.Helper()
	n := newNode(t, configure...)
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// bothWays runs a test with event loops, where there are any, and with a goroutine for each connection. start is startNode.
func bothWays(t *testing.T, test func(t *testing.T, start starter)) {
	t.Helper()
	for _, way := range []struct {
		name      string
		goroutine bool
	}{{"automatic", false}, {"goroutines", true}} {
		t.Run(way.name, func(t *testing.T) {
			test(t, func(t testing.TB, configure ...func(*service.Options)) *node {
				return startNode(t, append(configure, func(o *service.Options) { o.GoroutinePerConn = way.goroutine })...)
			})
		})
	}
}

type starter func(testing.TB, ...func(*service.Options)) *node

func traceLog(o *service.Options) { o.Log.SetLevel(hclog.Trace) }

// pipe connects a web server in memory. Bytes arrive at the node as they are written, one write at a time.
func (n *node) pipe(t testing.TB) *webServer {
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { n.ServeConn(theirs) })
	t.Cleanup(func() {
		ours.Close()
		wg.Wait()
	})
	return newWebServer(t, ours)
}

// dial connects one over TCP.
func (n *node) dial(t testing.TB) *webServer {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(context.Background(), "tcp", n.Addrs().State)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return newWebServer(t, nc)
}

// dialAside connects one over TCP that a goroutine of its own serves, also where the node serves others by event loops.
func (n *node) dialAside(t testing.TB) *webServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		ours.Close()
		wg.Wait()
	})
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { n.ServeConn(theirs) })
	return newWebServer(t, ours)
}

// metrics is what /metrics shows.
func (n *node) metrics() string {
	rec := httptest.NewRecorder()
	n.StatusHandler().ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/metrics", nil))
	return rec.Body.String()
}

// metric is the value of one series, such as `statemesh_requests_total{op="get",status="200"}`.
func (n *node) metric(t testing.TB, series string) float64 {
	t.Helper()
	for line := range strings.Lines(n.metrics()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no series %s", series)
	return 0
}

func (n *node) wantMetric(t testing.TB, series string, want float64) {
	t.Helper()
	if got := n.metric(t, series); got != want {
		t.Errorf("%s is %v, want %v", series, got, want)
	}
}

// logBook keeps what is logged.
type logBook struct {
	errorsExpected bool
	panicAt        string // set before use: the first write of it panics
	waitAt         string // set before use: a write of it waits until goOn is closed
	goOn           chan struct{}

	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	if l.waitAt != "" && bytes.Contains(p, []byte(l.waitAt)) {
		<-l.goOn
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panicAt != "" && bytes.Contains(p, []byte(l.panicAt)) {
		l.panicAt = ""
		panic("the log is broken")
	}
	return l.buf.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBook) has(s string) bool { return strings.Contains(l.String(), s) }

func (l *logBook) want(t testing.TB, text string, times int) {
	t.Helper()
	if got := strings.Count(l.String(), text); got != times {
		t.Errorf("%q was logged %d times, want %d, in:\n%s", text, got, times, l)
	}
}

// webServer is the other end of a connection. It fails the test on any network error.
type webServer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func newWebServer(t testing.TB, nc net.Conn) *webServer {
	return &webServer{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (w *webServer) send(raw string) {
	w.t.Helper()
	if _, err := io.WriteString(w.nc, raw); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

// answer is one response.
type answer struct {
	raw    string
	status string // such as "200 OK", without any HTTP version
	body   string
}

// header is a header's value, empty if there is none.
func (a answer) header(name string) string {
	_, rest, _ := strings.Cut(a.raw, "\r\n"+name+": ")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func (w *webServer) receive() answer {
	w.t.Helper()
	a, err := w.tryReceive()
	if err != nil {
		w.t.Fatalf("receive: %v, after %q", err, a.raw)
	}
	return a
}

func (w *webServer) tryReceive() (answer, error) {
	raw := make([]byte, 0, 1<<10)
	for !bytes.HasSuffix(raw, []byte("\r\n\r\n")) {
		line, err := w.r.ReadSlice('\n')
		raw = append(raw, line...)
		if err != nil {
			return answer{raw: string(raw)}, err
		}
	}
	a := answer{raw: string(raw)}
	size, err := strconv.Atoi(a.header("Content-Length"))
	if err != nil {
		return a, err
	}
	raw = slices.Grow(raw, size)[:len(raw)+size]
	_, err = io.ReadFull(w.r, raw[len(raw)-size:])
	a.raw = string(raw)
	a.body = a.raw[len(raw)-size:]
	a.status, _, _ = strings.Cut(strings.TrimPrefix(a.raw, "HTTP/1.1 "), "\r\n")
	return a, err
}

// ask sends a request and receives its answer.
func (w *webServer) ask(raw string) answer {
	w.t.Helper()
	w.send(raw)
	return w.receive()
}

// want is ask, with the status that it must have.
func (w *webServer) want(status int, raw string) answer {
	w.t.Helper()
	a := w.ask(raw)
	if !strings.HasPrefix(a.status, strconv.Itoa(status)+" ") {
		w.t.Fatalf("answer is %q, want %d; to %.200q", a.status, status, raw)
	}
	return a
}

// wantEnd says that the node sends nothing more and closes.
func (w *webServer) wantEnd() {
	w.t.Helper()
	rest, err := io.ReadAll(w.r)
	if len(rest) > 0 || err != nil && !errors.Is(err, io.ErrClosedPipe) {
		w.t.Fatalf("connection goes on with %q, %v; want its end", rest, err)
	}
}

// wantNothing says that the node is silent for d, for use in a bubble.
func (w *webServer) wantNothing(d time.Duration) {
	w.t.Helper()
	w.nc.SetReadDeadline(time.Now().Add(d))
	b, err := w.r.ReadByte()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("read %q, %v; want nothing", b, err)
	}
	w.nc.SetReadDeadline(time.Time{})
}

// The requests, as web servers send them.

const app = "%2fLM%2fW3SVC%2f2%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2f"

func get(id string) string { return "GET " + app + id + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }

func acquire(id string) string {
	return "GET " + app + id + " HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n"
}

func release(id string, cookie string) string {
	return "GET " + app + id + " HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:" + cookie + "\r\n\r\n"
}

func set(id, cookie, body string) string { return setWith(id, 20, 0, cookie, body) }

func setUninitialised(id, body string) string { return setWith(id, 20, 1, "0", body) }

func setWith(id string, timeout, flags int, cookie, body string) string {
	return fmt.Sprintf("PUT %s%s HTTP/1.1\r\nHost: localhost\r\nTimeout:%d\r\nContent-Length:%d\r\nExtraFlags:%d\r\nLockCookie:%s\r\n\r\n%s",
		app, id, timeout, len(body), flags, cookie, body)
}

func remove(id, cookie string) string {
	return "DELETE " + app + id + " HTTP/1.1\r\nHost: localhost\r\nLockCookie:" + cookie + "\r\n\r\n"
}

func head(id string) string { return "HEAD " + app + id + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }

// A conversation is a folder of golden exchanges.
type conversation struct {
	name      string
	exchanges []exchange
}

type exchange struct{ request, response string }

// conversations are those of ../wire/testdata, in which <LOCKDATE> and <LOCKAGE> stand for runs of digits.
func conversations(t testing.TB) []conversation {
	t.Helper()
	folders, err := filepath.Glob("../wire/testdata/exchanges/*/01.request")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no exchanges found: %v", err)
	}
	var all []conversation
	for _, first := range folders {
		folder := filepath.Dir(first)
		c := conversation{name: filepath.Base(folder)}
		for n := 1; ; n++ {
			request, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("%02d.request", n)))
			if os.IsNotExist(err) {
				break
			}
			response, err2 := os.ReadFile(filepath.Join(folder, fmt.Sprintf("%02d.response", n)))
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			c.exchanges = append(c.exchanges, exchange{string(request), string(response)})
		}
		all = append(all, c)
	}
	return all
}

var clockValues = regexp.MustCompile(`(LockDate|LockAge): \d+\r`)

// check compares an answer with the golden one.
func (e exchange) check(t testing.TB, got answer, prefix string) {
	t.Helper()
	want := prefix + strings.NewReplacer("<LOCKDATE>", "0", "<LOCKAGE>", "0").Replace(e.response)
	if masked := clockValues.ReplaceAllString(got.raw, "$1: 0\r"); masked != want {
		t.Fatalf("to %q\nthe answer is %q\nwant          %q", e.request, masked, want)
	}
}
