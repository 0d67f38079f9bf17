package service_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"statemesh/service"
)

// Each limit: what the web server is told, what the operator is told, and that others go on.

func TestLimit_Head(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t)
		w := n.dial(t)
		w.send("GET " + app + "a HTTP/1.1\r\n")
		for range 40 { // 16 KiB and more, so that the answer has to survive what nobody reads
			w.send("X-Padding: " + strings.Repeat("x", 500) + "\r\n")
		}
		wantStandard400(t, w.receive())
		w.wantEnd()
		n.log.want(t, "[WARN]  service: refused bytes that are no request, closing the connection", 1)
		n.log.want(t, `reason="head too long"`, 1)
		n.wantMetric(t, `statemesh_bad_requests_total{reason="head too long"}`, 1)
		n.wantMetric(t, `statemesh_requests_total{op="unknown",status="400"}`, 1)
	})
}

func TestLimit_HeadIsASetting(t *testing.T) {
	t.Parallel()
	small, large := newNode(t, func(o *service.Options) { o.MaxHead = 512 }), newNode(t, func(o *service.Options) { o.MaxHead = 40 << 10 })
	request := func(padding int) string {
		var b strings.Builder
		b.WriteString("HEAD " + app + "a HTTP/1.1\r\n")
		for ; padding > 0; padding -= 1000 {
			b.WriteString("X: " + strings.Repeat("x", min(padding, 1000)) + "\r\n")
		}
		return b.String() + "\r\n"
	}
	w := small.pipe(t)
	w.want(404, request(100))
	wantStandard400(t, w.ask(request(600)))

	w = large.pipe(t)
	w.want(404, request(30_000))
	w.want(404, request(100))
	w.want(404, request(35_000))
	wantStandard400(t, w.ask(request(45_000)))
}

func TestLimit_Body(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t, func(o *service.Options) { o.MaxBody = 1000 })
		w := n.dial(t)
		w.want(200, set("a", "0", strings.Repeat("x", 1000)))
		wantStandard400(t, w.ask(set("a", "0", strings.Repeat("x", 1001))))
		wantStandard400(t, w.ask(set("a", "0", strings.Repeat("x", 20<<20)))) // all of it is sent before the answer is read
		n.log.want(t, `reason="body too large"`, 1)
		n.wantMetric(t, `statemesh_bad_requests_total{reason="body too large"}`, 2)
		if a := w.want(200, get("a")); len(a.body) != 1000 {
			t.Errorf("%d bytes are stored, want the first 1000", len(a.body))
		}
	})
}

func TestLimit_Connections(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t, func(o *service.Options) { o.MaxConnections = 2 })
		first, second := n.dial(t), n.dial(t)
		first.want(404, get("a"))
		second.want(404, get("a"))
		for range 3 {
			nc, err := net.Dial("tcp", n.Addrs().State)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := nc.Read(make([]byte, 1)); got != 0 || err == nil {
				t.Errorf("a connection too many was answered: %d, %v", got, err)
			}
			nc.Close()
		}
		n.log.want(t, "[WARN]  service: too many connections, closed a new one", 1)
		n.wantMetric(t, "statemesh_connections_refused_total", 3)
		n.wantMetric(t, "statemesh_connections_accepted_total", 2)
		n.wantMetric(t, "statemesh_connections", 2)

		first.want(404, get("a"))
		first.send("GET / HTTP/1.0\r\n\r\n")
		first.receive()
		first.wantEnd()
		// The place is free once the node has noticed.
		for {
			nc, err := net.Dial("tcp", n.Addrs().State)
			if err != nil {
				t.Fatal(err)
			}
			w := newWebServer(t, nc)
			if _, err = nc.Write([]byte(get("a"))); err == nil {
				_, err = w.tryReceive()
			}
			nc.Close()
			if err == nil {
				return
			}
		}
	})
}

func TestLimit_Memory(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(o *service.Options) { o.MaxMemory = 1 << 20 })
	w := n.pipe(t)
	body := strings.Repeat("x", 10_000)
	stored := 0
	for ; stored < 1000; stored++ {
		a := w.ask(set(fmt.Sprint("a", stored), "0", body))
		if a.status != "200 OK" {
			wantStandard400(t, a)
			break
		}
	}
	if stored < 50 || stored > 105 {
		t.Errorf("%d sessions of 10 KB went into 1 MiB", stored)
	}
	wantStandard400(t, w.ask(set("one-more", "0", body)))
	w.want(404, get("one-more"))
	for i := range stored { // those that exist go on
		cookie := w.want(200, acquire(fmt.Sprint("a", i))).header("LockCookie")
		w.want(200, set(fmt.Sprint("a", i), cookie, body))
	}
	w.want(200, remove("a0", "0"))
	w.want(200, set("one-more", "0", body))
	n.log.want(t, "[WARN]  service: refused a session: no memory for it", 1)
	n.log.want(t, "max=1048576", 1)
	n.wantMetric(t, "statemesh_sessions_refused_total", 2)
	n.wantMetric(t, "statemesh_memory_limit_bytes", 1<<20)
}

// A web server that takes no answer to its acquire keeps others from the session, in bounded number and for a bounded time; nobody
// is told that the session does not exist, and no write is lost without a word.
func TestLimit_Waiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(o *service.Options) { o.MaxWaiting = 2 })
		n.pipe(t).want(200, set("a", "0", "body"))
		slow := n.pipe(t)
		slow.send(acquire("a")) // and does not read
		synctest.Wait()

		start := time.Now()
		var wg sync.WaitGroup
		answers := make(chan string, 20)
		ask := func(what, request string) {
			w := n.pipe(t)
			wg.Go(func() {
				a := w.ask(request)
				answers <- fmt.Sprintf("%s %s cookie=%s age=%s after %v", what, a.status, a.header("LockCookie"), a.header("LockAge"), time.Since(start))
			})
			synctest.Wait()
		}
		ask("get", get("a"))
		ask("acquire", acquire("a"))
		ask("over", acquire("a")) // two wait already
		ask("set", set("a", "0", "other"))
		ask("remove", remove("a", "0"))
		ask("over", release("a", "2")) // four wait already
		ask("head", head("a"))
		wg.Wait()
		close(answers)
		var got []string
		for a := range answers {
			got = append(got, a)
		}
		slices.Sort(got)
		if want := []string{
			"acquire 423 Locked cookie=0 age=0 after 2s",
			"get 423 Locked cookie=0 age=0 after 2s",
			"head 200 OK cookie= age= after 0s",
			"over 400 Bad Request cookie= age= after 0s",
			"over 423 Locked cookie=0 age=0 after 0s",
			"remove 400 Bad Request cookie= age= after 8s",
			"set 400 Bad Request cookie= age= after 8s",
		}; !slices.Equal(got, want) {
			t.Errorf("answers are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got := n.metric(t, `statemesh_shed_requests_total{op="set"}`); got != 1 {
			t.Errorf("%v sets were shed, want 1", got)
		}
		n.log.want(t, "did not start a request: too many requests wait for its session, or it has waited too long: web-server=pipe op=get-exclusive session=", 1)
		slow.receive()
		n.pipe(t).want(200, release("a", "2"))
		if a := n.pipe(t).want(200, get("a")); a.body != "body" {
			t.Errorf("body is %q: a shed write was done", a.body)
		}
	})
}

// A Content-Length is a claim. Memory is for bytes that have come.
func TestLimit_ClaimedBodyCostsNothing(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		if underRace {
			t.Skip("under the race detector the store takes its memory from the Go heap, all at once")
		}
		n := start(t)
		w := n.dial(t)
		w.want(404, get("a"))
		before := resident(t)
		const claims = 50
		for i := range claims {
			n.dial(t).send(fmt.Sprintf("PUT %s%d HTTP/1.1\r\nContent-Length:%d\r\n\r\n%s", app, i, 64<<20, strings.Repeat("x", 20_000)))
		}
		for n.metric(t, "statemesh_connections") < claims+1 {
			runtime.Gosched()
		}
		w.want(404, get("a"))
		if grown := resident(t) - before; grown > 16<<20 {
			t.Errorf("%d claims of 64 MiB took %d MiB", claims, grown>>20)
		}
		n.wantMetric(t, "statemesh_session_body_bytes", 0)
		n.wantMetric(t, "statemesh_memory_used_bytes", 0)
	})
}

// resident is the process's resident memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// When file descriptors run out, the accept loop waits and goes on; it neither ends nor spins nor fills the log.
func TestAccept_BacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l := &starvedListener{closed: make(chan struct{})}
		stop := n.Accept(l)
		start := time.Now()
		time.Sleep(150 * time.Second)
		if got := l.count(); got < 140 || got > 170 {
			t.Errorf("%d tries in %v", got, time.Since(start))
		}
		n.log.want(t, "[WARN]  service: cannot accept connections, trying again", 3)
		if !n.log.has("held-back=") {
			t.Errorf("it is not said how many lines were held back:\n%s", n.log)
		}

		ours, theirs := net.Pipe()
		l.offer(theirs)
		w := newWebServer(t, ours)
		w.want(404, get("a"))
		ours.Close()
		stop()
	})
}

// starvedListener has no file descriptors, but for connections that are offered.
type starvedListener struct {
	mu     sync.Mutex
	tries  int
	offers []net.Conn
	closed chan struct{}
}

func (l *starvedListener) offer(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offers = append(l.offers, c)
}

func (l *starvedListener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tries
}

func (l *starvedListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	if len(l.offers) > 0 {
		c := l.offers[0]
		l.offers = nil
		return c, nil
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
}

func (l *starvedListener) Close() error {
	close(l.closed)
	return nil
}

func (l *starvedListener) Addr() net.Addr { return &net.TCPAddr{} }

func wantStandard400(t *testing.T, a answer) {
	t.Helper()
	if want := "400 Bad Request\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"; a.raw != want {
		t.Fatalf("answer is %q, want %q", a.raw, want)
	}
}

// With more memory taken by bodies on their way than may be stored, the next body is not even taken in; its connection goes on.
func TestLimit_MemoryForBodiesOnTheirWay(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(o *service.Options) { o.MaxMemory = 1 << 20 })
	w := n.pipe(t)
	w.want(200, set("a", "0", "body"))
	var half []*webServer
	for i := range 4 {
		w := n.pipe(t)
		request := set(fmt.Sprint("large", i), "0", strings.Repeat("x", 700_000))
		w.send(request[:600_000])
		half = append(half, w)
	}
	wantStandard400(t, w.ask(set("b", "0", strings.Repeat("x", 100_000))))
	w.want(200, get("a"))
	for i, h := range half {
		h.send(strings.Repeat("x", len(set(fmt.Sprint("large", i), "0", strings.Repeat("x", 700_000)))-600_000))
		h.receive()
	}
	w.want(404, get("b"))
	w.want(200, set("c", "0", "body"))
}
