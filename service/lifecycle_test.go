package service_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/service"
)

func TestNew_NamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	valid := service.Options{NodeName: "a", StateAddr: "127.0.0.1:0", StatusAddr: "127.0.0.1:0", Log: hclog.NewNullLogger()}
	for _, test := range []struct {
		field string
		spoil func(*service.Options)
	}{
		{"NodeName", func(o *service.Options) { o.NodeName = "" }},
		{"Log", func(o *service.Options) { o.Log = nil }},
		{"StateAddr", func(o *service.Options) { o.StateAddr = "" }},
		{"StateAddr", func(o *service.Options) { o.StateAddr = "42424" }},
		{"StatusAddr", func(o *service.Options) { o.StatusAddr = "127.0.0.1:http" }},
		{"StatusAddr", func(o *service.Options) { o.StatusAddr = "127.0.0.1:70000" }},
		{"AspNetVersion", func(o *service.Options) { o.AspNetVersion = "four" }},
		{"StatusLine", func(o *service.Options) { o.StatusLine = "HTTP/2" }},
		{"MaxHead", func(o *service.Options) { o.MaxHead = 100 }},
		{"MaxBody", func(o *service.Options) { o.MaxBody = -1 }},
		{"MaxConnections", func(o *service.Options) { o.MaxConnections = -1 }},
		{"IdleTimeout", func(o *service.Options) { o.IdleTimeout = -1 }},
		{"RequestTimeout", func(o *service.Options) { o.RequestTimeout = -1 }},
		{"MaxMemory", func(o *service.Options) { o.MaxMemory = -1 }},
		{"MaxWaiting", func(o *service.Options) { o.MaxWaiting = -1 }},
		{"StopTimeout", func(o *service.Options) { o.StopTimeout = -1 }},
	} {
		o := valid
		test.spoil(&o)
		if s, err := service.New(o); err == nil {
			s.Stop()
			t.Errorf("%s: accepted", test.field)
		} else if !strings.Contains(err.Error(), test.field) {
			t.Errorf("%s: the error does not name it: %v", test.field, err)
		}
	}
	s, err := service.New(valid)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func TestStart_TellsItsAddresses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "addrs.json")
	n := startNode(t, func(o *service.Options) { o.AddrFile = file })
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got service.Addrs
	if err := json.Unmarshal(text, &got); err != nil || got != n.Addrs() || got.Node != "test" || strings.HasSuffix(got.State, ":0") {
		t.Errorf("the file says %s (%v), Addrs %+v", text, err, n.Addrs())
	}
	if strings.Count(string(text), "\n") != 1 || !strings.HasSuffix(string(text), "\n") {
		t.Errorf("not one line: %q", text)
	}
	n.log.want(t, "\n", 1)
	n.log.want(t, fmt.Sprintf("[INFO]  service: listening: state=%s status=%s node=test", got.State, got.Status), 1)
	if left, _ := filepath.Glob(file + "?*"); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// Whoever starts a node again and waits for the file must not be told where the last one was.
func TestStart_RemovesWhatTheLastRunLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "addrs.json")
	if err := os.WriteFile(file, []byte(`{"state":"127.0.0.1:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	other := startNode(t)
	n := newNode(t, func(o *service.Options) { o.StateAddr, o.AddrFile = other.Addrs().State, file })
	if err := n.Start(t.Context()); err == nil {
		t.Fatal("two nodes listen on one port")
	}
	if text, err := os.ReadFile(file); err == nil {
		t.Errorf("a node that did not start left %s", text)
	}
	// A folder is not what is meant.
	n = newNode(t, func(o *service.Options) { o.AddrFile = t.TempDir() })
	if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "write addresses to "+n.AddrFile()+": that is a folder") {
		t.Errorf("Start: %v", err)
	}
	if _, err := os.Stat(n.AddrFile()); err != nil {
		t.Errorf("the folder has gone: %v", err)
	}
}

func TestStart_FailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	other := startNode(t)
	for _, test := range []struct {
		name  string
		spoil func(*service.Options)
		want  string
	}{
		{"state port taken", func(o *service.Options) { o.StateAddr = other.Addrs().State }, "listen on " + other.Addrs().State + ": "},
		{"status port taken", func(o *service.Options) { o.StatusAddr = other.Addrs().Status }, "listen on " + other.Addrs().Status + ": "},
		{"address file", func(o *service.Options) { o.AddrFile = filepath.Join(t.TempDir(), "no", "such", "folder") }, "write addresses to "},
	} {
		t.Run(test.name, func(t *testing.T) {
			var opts service.Options
			n := newNode(t, func(o *service.Options) {
				o.StateAddr, o.StatusAddr = free(), free()
				test.spoil(o)
				opts = *o
			})
			err := n.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Start: %v, want %q", err, test.want)
			}
			for _, addr := range []string{opts.StateAddr, opts.StatusAddr} {
				if addr == other.Addrs().State || addr == other.Addrs().Status {
					continue
				}
				l, err := net.Listen("tcp", addr)
				if err != nil {
					t.Errorf("still listening: %v", err)
					continue
				}
				l.Close()
			}
			if err := n.Start(t.Context()); err == nil {
				t.Error("a stopped node started")
			}
		})
	}
}

// Whoever replaces Microsoft's service will meet it on its port.
func TestStart_NamesMicrosoftsService(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.42:42424" // not 127.0.0.1, which some other test may need
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	n := newNode(t, func(o *service.Options) { o.StateAddr = addr })
	if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "Microsoft's ASP.NET State Service") {
		t.Errorf("Start: %v", err)
	}
}

func TestStop_FinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t)
		idle := n.dial(t)
		idle.want(404, get("none"))
		request := set("a", "0", strings.Repeat("x", 20_000))
		type half struct {
			*webServer
			rest string
		}
		var underWay []half
		for _, cut := range []int{50, 300, 10_000} { // what was sent through a pipe has been read
			w := n.pipe(t)
			w.send(request[:cut])
			underWay = append(underWay, half{w, request[cut:]})
		}
		for _, cut := range []int{50, 300} { // and what was sent along with a request that has been answered
			w := n.dial(t)
			w.want(404, get("none")+request[:cut])
			underWay = append(underWay, half{w, request[cut:]})
		}

		stopped := make(chan error)
		go func() { stopped <- n.Stop() }()
		idle.wantEnd() // at once
		if status, text := n.status(t, "/readyz"); status != 503 || text != "stopping\n" {
			t.Errorf("/readyz says %d %q", status, text)
		}
		if status, _ := n.status(t, "/healthz"); status != 200 {
			t.Errorf("/healthz says %d", status)
		}
		if _, err := net.Dial("tcp", n.Addrs().State); err == nil {
			t.Error("a new connection was taken in")
		}
		for _, w := range underWay {
			w.send(w.rest)
			if a := w.receive(); a.status != "200 OK" {
				t.Errorf("a request under way was answered %q", a.raw)
			}
			w.wantEnd()
		}
		if err := <-stopped; err != nil {
			t.Errorf("Stop: %v", err)
		}
		if err := n.Stop(); err != nil {
			t.Errorf("Stop again: %v", err)
		}
	})
}

// A web server that does not end its request is not waited for; nor is one that does not read.
func TestStop_CutsOffAtItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(o *service.Options) { o.StopTimeout = 3 * time.Second })
		stalled, unread, waiting := n.pipe(t), n.pipe(t), n.pipe(t)
		stalled.want(200, set("a", "0", "body"))
		stalled.send(get("a")[:20])
		unread.send(acquire("a"))
		synctest.Wait()
		waiting.send(set("a", "0", "other")) // for its turn, behind the acquire
		synctest.Wait()
		start := time.Now()
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("took %v, want 3s", got)
		}
		n.log.want(t, "[WARN]  service: stopping: cut off requests that took too long: connections=3", 1)
		if ours, theirs := net.Pipe(); true {
			n.ServeConn(theirs)
			newWebServer(t, ours).wantEnd()
		}
	})
}

// The same through sockets.
func TestStop_CutsOffSockets(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		n := start(t, func(o *service.Options) { o.StopTimeout = 300 * time.Millisecond })
		inHead, inBody, unread, waiting := n.dial(t), n.dial(t), n.dial(t), n.dial(t)
		n.dial(t).want(200, set("a", "0", strings.Repeat("x", 30<<20)))
		inHead.want(404, get("none")+get("a")[:20])
		inBody.want(404, get("none")+strings.TrimSuffix(set("b", "0", "body"), "dy"))
		unread.send(acquire("a")) // more than fits into the sockets' buffers
		if _, err := unread.r.ReadByte(); err != nil {
			t.Fatal(err)
		}
		waiting.want(404, get("none")+set("a", "0", "other"))
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if !n.log.has("[WARN]  service: stopping: cut off requests that took too long: connections=4") {
			t.Errorf("not logged: 4 connections cut off, in:\n%s", n.log)
		}
	})
}

// Stop and requests meet at every moment there is: each request is answered whole or not at all.
func TestStop_WhileBusy(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		for range 20 {
			n := start(t)
			var wg sync.WaitGroup
			var mu sync.Mutex
			var answered int
			for i := range 8 {
				nc, err := net.Dial("tcp", n.Addrs().State)
				if err != nil {
					t.Fatal(err)
				}
				w := newWebServer(t, nc)
				wg.Go(func() {
					defer nc.Close()
					for {
						if _, err := io.WriteString(nc, set(fmt.Sprint(i), "0", "body")); err != nil {
							return
						}
						a, err := w.tryReceive()
						if err != nil {
							if a.raw != "" {
								t.Errorf("half an answer: %q", a.raw)
							}
							return
						}
						mu.Lock()
						answered++
						mu.Unlock()
					}
				})
			}
			waitFor(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return answered > 100
			})
			if err := n.Stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if n.log.has("cut off") {
				t.Errorf("Stop did not see the end of requests that were answered:\n%s", n.log)
			}
			wg.Wait()
		}
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(o *service.Options) { o.Version = "1.2.3" })
	for _, test := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"HEAD", "/healthz", 200, ""},
		{"GET", "/readyz", 200, "ready\n"},
		{"GET", "/other", 404, "404 page not found\n"},
		{"POST", "/healthz", 405, "Method Not Allowed\n"},
		{"POST", "/metrics", 405, "Method Not Allowed\n"},
	} {
		if status, text := do(t, n.request(t, test.method, test.path)); status != test.status || text != test.text {
			t.Errorf("%s %s: %d %q, want %d %q", test.method, test.path, status, text, test.status, test.text)
		}
	}
}

func (n *node) status(t *testing.T, path string) (int, string) {
	t.Helper()
	return do(t, n.request(t, "GET", path))
}

// request is one to the status address, until the test ends.
func (n *node) request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Addrs().Status+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// send sends it on a connection of its own. The answer's body is the caller's to close.
func send(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp := send(t, req)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// waitFor waits for what other goroutines, busy with real sockets, are about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatal("waited for 30s")
		}
	}
}
