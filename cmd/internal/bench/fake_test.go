package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"statemesh/cmd/internal/fakestate"
)

// TestMain lets the test binary be the program that the bench starts again as floor and as server.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "bench" && os.Args[2] == "floor" {
		size, _ := strconv.Atoi(os.Args[4])
		if err := ServeFloor(os.Stdin, os.Stdout, size); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serveFake()
		return
	}
	os.Exit(m.Run())
}

// serveFake is "statemesh serve" as far as the bench uses it.
func serveFake() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go newFake().accept(l)
	for i, arg := range os.Args {
		if arg == "--addr-file" {
			text, _ := json.Marshal(map[string]string{"state": l.Addr().String()})
			os.WriteFile(os.Args[i+1], text, 0o600)
		}
	}
	io.Copy(io.Discard, os.Stdin)
}

// fake is a state service: a map behind a mutex.
type fake struct {
	addr string
	http bool // answer HTTP/1.1 200 OK
	// pieces: answers are written in two halves.
	pieces bool

	mu       sync.Mutex // guards what follows
	sessions map[string]*fakeSession
	seen     int
	until    int // requests; then enough is called
	enough   func()
	// spoil, if not nil, may spoil an answer, or close the connection instead by returning an error.
	spoil func(f *fake, r *fakeRequest, answer string) (string, error)
	conns map[net.Conn]bool
}

type fakeSession struct {
	body   string
	before string // the body before
	locked bool
	cookie int
}

type fakeRequest struct {
	fakestate.Request
	node string // that was asked
}

func newFake() *fake {
	return &fake{sessions: make(map[string]*fakeSession), conns: make(map[net.Conn]bool)}
}

// startFake runs a fake until the test ends.
func startFake(t *testing.T) *fake {
	f := newFake()
	f.addr = f.node(t)
	return f
}

// node is one more address of the service, as if it were a cluster.
func (f *fake) node(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { f.accept(l) })
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for nc := range f.conns {
			nc.Close()
		}
		f.mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func (f *fake) accept(l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[nc] = true
		f.mu.Unlock()
		wg.Go(func() { f.serve(nc) })
	}
}

func (f *fake) serve(nc net.Conn) {
	defer func() {
		nc.Close()
		f.mu.Lock()
		delete(f.conns, nc)
		f.mu.Unlock()
	}()
	in := bufio.NewReader(nc)
	for {
		r, err := fakestate.ReadRequest(in)
		if err != nil {
			return
		}
		answer, err := f.answer(&fakeRequest{r, nc.LocalAddr().String()})
		if f.pieces {
			io.WriteString(nc, answer[:len(answer)/2])
			runtime.Gosched()
			answer = answer[len(answer)/2:]
		}
		if _, werr := io.WriteString(nc, answer); err != nil || werr != nil {
			return
		}
	}
}

func (f *fake) answer(r *fakeRequest) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen++; f.seen == f.until {
		f.enough()
	}
	answer := f.respond(r)
	if f.http {
		answer = "HTTP/1.1 " + answer
	}
	if f.spoil != nil {
		return f.spoil(f, r, answer)
	}
	return answer, nil
}

func (f *fake) respond(r *fakeRequest) string {
	s := f.sessions[r.Key]
	switch {
	case s == nil && r.Op == "PUT":
		f.sessions[r.Key] = &fakeSession{body: r.Body, cookie: 1}
		return fakestate.Done()
	case s == nil:
		return fakestate.NotFound()
	case s.locked && r.Op != "HEAD" && (r.Op == "GET" || r.Op == "acquire" || r.Cookie != s.cookie):
		return fakestate.Locked(s.cookie)
	}
	switch r.Op {
	case "GET":
		return fakestate.Read(s.body)
	case "acquire":
		s.locked = true
		s.cookie++
		return fakestate.Acquired(s.cookie, s.body)
	case "release":
		s.locked = false
	case "PUT":
		s.locked, s.before, s.body = false, s.body, r.Body
	case "DELETE":
		delete(f.sessions, r.Key)
	}
	return fakestate.Done()
}

// count is the number of sessions held.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}
