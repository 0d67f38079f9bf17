package farm

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"statemesh/cmd/internal/fakestate"
)

// fake is a perfect cluster, unless it is told to be wrong: a map behind a mutex, reached through several addresses.
type fake struct {
	doors []*Door

	mu        sync.Mutex // guards what follows
	sessions  map[string]*fakeSession
	listeners map[string]net.Listener
	conns     map[net.Conn]string // to their nodes
	// wrong, if not nil, may do something else than what is right, and says whether it has.
	wrong func(s *fakeSession, r *fakeRequest) (answer string, done bool)
	// unreliable closes one connection in so many, before or after doing what it was asked for.
	unreliable int
	random     *rand.Rand
}

type fakeSession struct {
	body, before string
	removed      string // what it was before it was removed
	exists       bool
	locked       bool
	cookie       int
	node         string // that was asked last
}

type fakeRequest struct {
	fakestate.Request
	node string // that was asked
}

func startFake(t *testing.T, nodes int) *fake {
	t.Helper()
	f := &fake{
		sessions: make(map[string]*fakeSession), listeners: make(map[string]net.Listener), conns: make(map[net.Conn]string),
		random: rand.New(rand.NewPCG(1, 1)),
	}
	var wg sync.WaitGroup
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("n%d", i)
		f.listeners[name] = l
		f.doors = append(f.doors, &Door{Name: name, Addr: func() string { return l.Addr().String() }})
		wg.Go(func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				f.mu.Lock()
				f.conns[nc] = name
				f.mu.Unlock()
				wg.Go(func() { f.serve(name, nc) })
			}
		})
	}
	t.Cleanup(func() {
		for _, d := range f.doors {
			f.kill(d.Name)
		}
		wg.Wait()
	})
	return f
}

// kill ends a node, with the sessions that were asked for through it last.
func (f *fake) kill(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners[node].Close()
	for nc, name := range f.conns {
		if name == node {
			nc.Close()
		}
	}
	for _, s := range f.sessions {
		if s.node == node {
			s.exists, s.locked = false, false
		}
	}
}

func (f *fake) serve(node string, nc net.Conn) {
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
		answer, ok := f.answer(&fakeRequest{r, node})
		if !ok {
			return
		}
		if _, err := io.WriteString(nc, answer); err != nil {
			return
		}
	}
}

func (f *fake) answer(r *fakeRequest) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[r.Key]
	if s == nil {
		s = new(fakeSession)
		f.sessions[r.Key] = s
	}
	if f.unreliable > 0 && f.random.IntN(f.unreliable) == 0 {
		if f.random.IntN(2) == 0 {
			f.right(s, r)
		}
		return "", false
	}
	if f.wrong != nil {
		if answer, done := f.wrong(s, r); done {
			return answer, true
		}
	}
	return f.right(s, r), true
}

func (f *fake) right(s *fakeSession, r *fakeRequest) string {
	if s.exists || r.Op == "PUT" {
		s.node = r.node
	}
	switch {
	case !s.exists && r.Op == "PUT":
		s.exists, s.body, s.cookie = true, r.Body, s.cookie+1
		return fakestate.Done()
	case !s.exists:
		return fakestate.NotFound()
	case r.Op == "PUT" && r.Flags == 1:
		return fakestate.Done()
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
		s.exists, s.locked, s.removed = false, false, s.body
	}
	return fakestate.Done()
}
