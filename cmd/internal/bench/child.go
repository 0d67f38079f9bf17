package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 10 * time.Second
)

// Server is a state service, or the floor, in a child process.
type Server struct {
	Addr   string // for web servers
	Status string // empty: it has none
	PID    int

	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *tail
	exited chan struct{}
}

// StartServer starts exe as "serve", with args added, on free ports, on the servers' core.
func StartServer(ctx context.Context, exe string, cores *Cores, args ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "statemesh-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	addrFile := filepath.Join(dir, "addrs")
	args = append([]string{"serve", "--state-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--addr-file", addrFile, "--log-level", "warn"}, args...)
	s, err := Start(exec.Command(exe, args...), cores)
	if err != nil {
		return nil, err
	}
	if err := s.awaitAddrs(ctx, addrFile); err != nil {
		s.Stop()
		return nil, fmt.Errorf("start statemesh serve: %w%s", err, s.stderr)
	}
	return s, nil
}

// StartFloor starts exe as the floor, on the servers' core.
func StartFloor(ctx context.Context, exe string, cores *Cores, size int) (*Server, error) {
	cmd := exec.Command(exe, "bench", "floor", "--size", strconv.Itoa(size))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s, err := Start(cmd, cores)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { s.stdin.Close() })
	defer unhook()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("start the floor: %w%s", err, s.stderr)
	}
	s.Addr = string(bytes.TrimSpace(line))
	return s, nil
}

// Start starts a process on the servers' core.
func Start(cmd *exec.Cmd, cores *Cores) (*Server, error) {
	s := &Server{cmd: cmd, stderr: new(tail), exited: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	cmd.Stderr = s.stderr
	cmd.SysProcAttr = childAttr()
	if err := cores.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	s.PID = cmd.Process.Pid
	go func() {
		defer close(s.exited)
		cmd.Wait()
	}()
	return s, nil
}

// awaitAddrs waits for the file in which the server says where it listens.
func (s *Server) awaitAddrs(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not say where it listens: %w", ctx.Err())
		case <-s.exited:
			return errors.New("it ended")
		case <-tick.C:
		}
		var addrs struct{ State, Status string }
		text, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(text, &addrs) == nil && addrs.State != "" {
			s.Addr, s.Status = addrs.State, addrs.Status
			return nil
		}
	}
}

// Stop ends the process, kindly at first, and waits until it has gone.
func (s *Server) Stop() {
	s.stdin.Close()
	terminate(s.cmd.Process)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.cmd.Process.Kill()
		<-s.exited
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - 4096; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buf) == 0 {
		return ""
	}
	return "\n" + string(t.buf)
}
