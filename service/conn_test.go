package service_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// One connection, and what it does to others.

func TestRefused_ConnectionGoesOn(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	w := n.pipe(t)
	large := strings.Repeat("x", 50_000) // more than the buffer: must be read and dropped
	for _, request := range []string{
		setWith("a", 525601, 0, "0", "body"),
		setWith("a", 525601, 0, "0", large),
		setWith("a", 20, 0, "0", ""),
		"GET " + app + "a HTTP/1.1\r\nExclusive: perhaps\r\n\r\n",
		"GET " + app + "a HTTP/1.1\r\nExclusive: perhaps\r\nContent-Length: 50000\r\n\r\n" + large,
	} {
		wantStandard400(t, w.ask(request))
		w.want(404, get("a"))
	}
	n.log.want(t, "refused a request", 1) // and the rest held back
	n.wantMetric(t, `statemesh_bad_requests_total{reason="Exclusive is neither acquire nor release"}`, 2)
}

// No web server sends a body with a GET, but what says that it has one must not be taken for the next request.
func TestBodyOfAnyVerbIsSkipped(t *testing.T) {
	t.Parallel()
	w := newNode(t).pipe(t)
	w.want(200, set("a", "0", "body"))
	for _, size := range []int{1, 100, 5_000, 100_000} {
		body := strings.Repeat("x", size)
		with := func(request string) string {
			return strings.Replace(request, "\r\n\r\n", fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", size), 1) + body
		}
		w.want(200, with(get("a")))
		w.want(200, with(head("a")))
		w.want(404, with(remove("b", "0")))
	}
}

func TestCloseWhenAsked(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t)
		for _, request := range []string{
			"GET " + app + "a HTTP/1.0\r\n\r\n",
			"GET " + app + "a HTTP/1.1\r\nConnection: close\r\n\r\n",
			"GET " + app + "a HTTP/1.0\r\n\r\n" + get("b"), // with something behind it, which must not spoil the answer
		} {
			w := n.dial(t)
			w.want(404, request)
			w.wantEnd()
		}
	})
}

func TestGarbage_DisturbsNobodyElse(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, start starter) {
		t.Parallel()
		n := start(t)
		w := n.dial(t)
		w.want(200, set("a", "0", "body"))
		garbage := []func(*rand.Rand) string{
			func(r *rand.Rand) string { return "GET / \x00\r\n\r\n" },
			func(r *rand.Rand) string {
				return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x80", 500) + "\r\n"
			},
			func(r *rand.Rand) string { return "POST / HTTP/1.1\r\n\r\n" },
			func(r *rand.Rand) string { return "PUT " + app + "a HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n" },
			func(r *rand.Rand) string {
				return "PUT " + app + "a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
			},
			func(r *rand.Rand) string { return strings.Repeat("x", 100_000) },
			func(r *rand.Rand) string { return strings.Repeat("\r\n", 1_000) },
			func(r *rand.Rand) string { return set("a", "0", "body")[:r.IntN(150)] },
			func(r *rand.Rand) string {
				b := make([]byte, r.IntN(3_000))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				return string(b)
			},
		}
		var wg sync.WaitGroup
		for worker := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(1, worker))
				for i := range 100 {
					nc, err := net.Dial("tcp", n.Addrs().State)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.WriteString(nc, garbage[i%len(garbage)](r))
					if i%2 == 0 {
						nc.(*net.TCPConn).CloseWrite()
						_, _ = io.Copy(io.Discard, nc)
					}
					nc.Close()
				}
			})
		}
		for range 500 {
			cookie := w.want(200, acquire("a")).header("LockCookie")
			w.want(200, set("a", cookie, "body"))
		}
		wg.Wait()
		w.want(200, get("a"))
		if got := strings.Count(n.log.String(), "\n"); got > 10 {
			t.Errorf("400 connections with garbage made %d lines of log:\n%s", got, n.log)
		}
	})
}

// Whoever goes away before the whole answer was handed over holds no lock.
func TestAcquire_UndoneIfTheWebServerIsGone(t *testing.T) {
	t.Parallel()
	for _, read := range []string{"nothing", "the head"} {
		t.Run(read, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				w, gone := n.pipe(t), n.pipe(t)
				w.want(200, setUninitialised("a", "body"))
				gone.send(acquire("a"))
				synctest.Wait() // until it is being answered
				if read == "the head" {
					if _, err := gone.r.ReadByte(); err != nil {
						t.Fatal(err)
					}
				}
				gone.nc.Close()
				a := w.want(200, acquire("a")) // waits for its turn until that is undone
				if a.header("LockCookie") != "3" || a.header("ActionFlags") != "1" {
					t.Errorf("answer is %q, want the next cookie, and the news that the session is new", a.raw)
				}
				w.want(200, release("a", "3"))
				n.wantMetric(t, "statemesh_sessions_locked", 0)
			})
		})
	}
}

// A mistake in this program costs the connection that brought it out, and neither the others nor a lock.
func TestPanic_CostsOneConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const id = "verysecretsessionid00000"
		n := newNode(t, traceLog)
		n.log.errorsExpected = true
		w := n.pipe(t)
		w.want(200, set(id, "0", "body"))
		n.ServeConn(&panickingConn{request: acquire(id), value: "secret " + id})
		time.Sleep(time.Second) // a flood of these would be held back
		n.ServeConn(&panickingConn{request: set(id, "2", "other"), value: errors.New(id)})
		if a := w.want(200, acquire(id)); a.header("LockCookie") != "3" || a.body != "other" {
			t.Errorf("answer is %q", a.raw)
		}
		n.log.want(t, "[ERROR] service: a request brought out a mistake in this program, closed its connection", 2)
		n.log.want(t, "panic with a string", 1)
		n.log.want(t, "(*panickingConn).Write", 2) // in the stacks
		n.wantMetric(t, "statemesh_panics_total", 2)
		n.wantMetric(t, "statemesh_connections", 1)
		if n.log.has(id) {
			t.Errorf("the log holds a session id:\n%s", n.log)
		}
	})
}

// panickingConn brings one request and panics when it is answered.
type panickingConn struct {
	net.Conn
	request string
	value   any
}

func (c *panickingConn) Read(p []byte) (int, error) {
	n := copy(p, c.request)
	c.request = c.request[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *panickingConn) Write([]byte) (int, error)        { panic(c.value) }
func (c *panickingConn) Close() error                     { return nil }
func (c *panickingConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *panickingConn) SetReadDeadline(time.Time) error  { return nil }
func (c *panickingConn) SetWriteDeadline(time.Time) error { return nil }

// The steady path costs no memory.
func TestAllocations(t *testing.T) {
	t.Run("memory", func(t *testing.T) { testAllocations(t, newNode(t).pipe(t)) })
	bothWays(t, func(t *testing.T, start starter) { testAllocations(t, start(t).dial(t)) })
}

func testAllocations(t *testing.T, w *webServer) {
	body := strings.Repeat("x", 2400)
	w.want(200, set("a", "0", body))
	w.want(200, set("page", "0", body))
	w.want(200, set("short", "0", "body")) // the store takes new memory for the first body of each size
	cookie := 2
	for ; cookie < 1000; cookie++ { // so that all of those below have four digits
		w.want(200, acquire("page"))
		w.want(200, release("page", fmt.Sprint(cookie)))
	}
	for _, test := range []struct {
		name     string
		requests []string // COOKIE is the next lock's
	}{
		{"get", []string{get("a")}},
		{"missing", []string{get("b")}},
		{"acquire, release", []string{acquire("page"), release("page", "COOKIE")}},
		{"acquire, locked, set", []string{acquire("page"), acquire("page"), set("page", "COOKIE", body)}},
		{"head", []string{head("a")}},
		{"set", []string{set("a", "0", body)}},
		{"set, larger than the buffer", []string{set("a", "0", strings.Repeat("x", 20_000))}},
		{"set uninitialised", []string{setUninitialised("a", "body")}},
	} {
		var requests, cookies, answers [][]byte
		for _, r := range test.requests {
			raw := []byte(strings.Replace(r, "COOKIE", fmt.Sprint(cookie), 1))
			if i := strings.Index(r, "COOKIE"); i >= 0 {
				cookies = append(cookies, raw[i:i+4])
			}
			requests = append(requests, raw)
			answers = append(answers, make([]byte, len(w.ask(string(raw)).raw)))
		}
		got := testing.AllocsPerRun(1000, func() {
			for _, c := range cookies {
				cookie++
				strconv.AppendInt(c[:0], int64(cookie), 10)
			}
			for i := range requests {
				if _, err := w.nc.Write(requests[i]); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(w.nc, answers[i]); err != nil {
					t.Fatal(err)
				}
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations, want 0", test.name, got)
		}
		if len(cookies) > 0 {
			cookie++
		}
		for _, a := range answers {
			if string(a[:6]) != "200 OK" && !(strings.HasPrefix(string(a), "423") && test.name == "acquire, locked, set") && test.name != "missing" {
				t.Errorf("%s: answer is %.30q", test.name, a)
			}
		}
	}
}
