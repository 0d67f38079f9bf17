package farm

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
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
	op, key, body, node string
	cookie, flags       int
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
		r, err := readRequest(in)
		if err != nil {
			return
		}
		r.node = node
		answer, ok := f.answer(r)
		if !ok {
			return
		}
		if _, err := io.WriteString(nc, answer); err != nil {
			return
		}
	}
}

func readRequest(in *bufio.Reader) (*fakeRequest, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	r := &fakeRequest{op: words[0], key: words[1]}
	length := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		name, value, found := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		if !found {
			break
		}
		switch name {
		case "Exclusive":
			r.op = strings.TrimSpace(value)
		case "LockCookie":
			r.cookie, _ = strconv.Atoi(value)
		case "ExtraFlags":
			r.flags, _ = strconv.Atoi(value)
		case "Content-Length":
			length, _ = strconv.Atoi(value)
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	r.body = string(body)
	return r, err
}

func (f *fake) answer(r *fakeRequest) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[r.key]
	if s == nil {
		s = new(fakeSession)
		f.sessions[r.key] = s
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
	if s.exists || r.op == "PUT" {
		s.node = r.node
	}
	switch {
	case !s.exists && r.op == "PUT":
		s.exists, s.body, s.cookie = true, r.body, s.cookie+1
		return say("200 OK", "", "")
	case !s.exists:
		return say("404 Not Found", "", "")
	case r.op == "PUT" && r.flags == 1:
		return say("200 OK", "", "")
	case s.locked && r.op != "HEAD" && (r.op == "GET" || r.op == "acquire" || r.cookie != s.cookie):
		return say("423 Locked", fmt.Sprintf("LockDate: 1\r\nLockAge: 0\r\nLockCookie: %d\r\n", s.cookie), "")
	}
	switch r.op {
	case "GET":
		return say("200 OK", "Timeout: 20\r\n", s.body)
	case "acquire":
		s.locked = true
		s.cookie++
		return say("200 OK", fmt.Sprintf("LockCookie: %d\r\nTimeout: 20\r\n", s.cookie), s.body)
	case "release":
		s.locked = false
	case "PUT":
		s.locked, s.before, s.body = false, s.body, r.body
	case "DELETE":
		s.exists, s.locked, s.removed = false, false, s.body
	}
	return say("200 OK", "", "")
}

func say(status, headers, body string) string {
	return fmt.Sprintf("%s\r\nX-AspNet-Version: 4.0.30319\r\n%sCache-Control: private\r\nContent-Length: %d\r\n\r\n%s", status, headers, len(body), body)
}
