package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 20 * time.Second

// process is a running binary.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	stderr syncBuffer
	ended  chan struct{}

	// What its --addr-file says.
	Node, State, Gossip, Transfer, Status string
}

// syncBuffer is a bytes.Buffer that may be read while a process writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// launch runs the binary. It does not outlive the test.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t}
	p.launch(&p.stderr, args...)
	return p
}

func (p *process) launch(stderr io.Writer, args ...string) {
	t := p.t
	t.Helper()
	p.cmd, p.ended = exec.Command(binary, args...), make(chan struct{})
	p.cmd.Stderr = stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // this very process, if it has not ended
		<-p.ended
		if t.Failed() {
			t.Logf("statemesh %s:\n%s", strings.Join(args, " "), p.stderr.String())
		}
	})
}

// serveNode launches a node on free ports and returns once it listens.
func serveNode(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t}
	p.serve(&p.stderr, args...)
	return p
}

func (p *process) serve(stderr io.Writer, args ...string) {
	t := p.t
	t.Helper()
	file := filepath.Join(t.TempDir(), "addrs.json")
	p.launch(stderr, append([]string{"serve", "--state-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--addr-file", file}, args...)...)
	p.until("the address file", func() bool {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err == nil {
			err = json.Unmarshal(text, p)
		}
		if err != nil && runtime.GOOS != "windows" { // there, a file that is just being renamed may not be read
			t.Fatalf("address file %q: %v", text, err)
		}
		return err == nil
	})
}

// until polls for what nothing tells us of. It fails the test if the process ends first.
func (p *process) until(what string, done func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		select {
		case <-p.ended:
			p.t.Fatalf("ended before %s: %v", what, p.cmd.ProcessState)
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// status waits for the process to end.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("still running after %v", patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// connect is a web server's connection to the process.
func (p *process) connect() (net.Conn, *bufio.Reader) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.State)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// readResponse reads one response, head and body, byte for byte.
func readResponse(r *bufio.Reader) ([]byte, error) {
	var response []byte
	length := 0
	for {
		line, err := r.ReadString('\n')
		response = append(response, line...)
		if err != nil {
			return response, err
		}
		if line == "\r\n" {
			break
		}
		if text, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
				return response, err
			}
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return append(response, body...), err
}

func TestServe_ListensAndIsHealthy(t *testing.T) {
	t.Parallel()
	p := serveNode(t, "--node-name", "web07", "--log-format", "json")
	if p.Node != "web07" {
		t.Errorf("node: got %q, want web07", p.Node)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/xyzzy": 404} {
		r, err := http.Get("http://" + p.Status + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, r.StatusCode, want)
		}
		if path == "/metrics" && !strings.Contains(string(body), "\nstatemesh_") {
			t.Errorf("/metrics has no statemesh_:\n%s", body)
		}
	}
	// Both addresses stand in one line of the log, and every line is JSON.
	var listening int
	for line := range strings.Lines(p.stderr.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if entry["state"] == p.State && entry["status"] == p.Status {
			listening++
		}
	}
	if listening != 1 {
		t.Errorf("%d lines with both addresses, want one", listening)
	}
}

// TestServe_AnswersRecordedExchanges sends the recorded requests to the binary and compares its answers byte for byte,
// with all requests on one connection and with one connection each.
func TestServe_AnswersRecordedExchanges(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob("../../wire/testdata/exchanges/*/01.request")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no exchanges: %v", err)
	}
	for _, first := range folders {
		folder := filepath.Dir(first)
		for _, each := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/each=%v", filepath.Base(folder), each), func(t *testing.T) {
				t.Parallel()
				p := serveNode(t) // a fresh one: lock cookies count from the start
				c, r := p.connect()
				requests, err := filepath.Glob(filepath.Join(folder, "*.request"))
				if err != nil {
					t.Fatal(err)
				}
				for i, file := range requests {
					if each && i > 0 {
						c, r = p.connect()
					}
					exchange(t, c, r, file)
				}
			})
		}
	}
}

// exchange sends the request in file and expects the response in the file beside it.
func exchange(t *testing.T, c net.Conn, r *bufio.Reader, file string) {
	t.Helper()
	request, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(strings.TrimSuffix(file, ".request") + ".response")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(request); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	got, err := readResponse(r)
	if err != nil {
		t.Fatalf("%s: %v after %q", file, err, got)
	}
	// What depends on the clock is a run of digits.
	for header, place := range map[string]string{"LockDate: ": "<LOCKDATE>", "LockAge: ": "<LOCKAGE>"} {
		if bytes.Contains(want, []byte(place)) {
			got = regexp.MustCompile(header+"[0-9]+\r\n").ReplaceAll(got, []byte(header+place+"\r\n"))
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%q\nwant\n%q", file, got, want)
	}
}

// A log that nobody reads any more is no reason to lose sessions.
func TestServe_OutlivesItsLog(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &process{t: t}
	p.serve(w, "--log-level", "trace")
	w.Close()
	r.Close()
	c, answers := p.connect()
	for range 3 {
		fmt.Fprint(c, "GET %2fabc HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got, err := readResponse(answers); err != nil || !bytes.HasPrefix(got, []byte("404 Not Found\r\n")) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestServe_TakesSettingsFromFileAndFlags(t *testing.T) {
	t.Parallel()
	file := write(t, "node_name = \"from-file\"\nstate {\n  listen      = \"127.0.0.1:1\"\n  status_line = \"http/1.1\"\n}\n")
	p := serveNode(t, "--config", file)
	if p.Node != "from-file" {
		t.Errorf("node: got %q, want the file's", p.Node)
	}
	if strings.HasSuffix(p.State, ":1") {
		t.Errorf("state: got %q, want the flag's", p.State)
	}
	c, r := p.connect()
	fmt.Fprint(c, "GET %2fabc HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if got, err := readResponse(r); err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 404 Not Found\r\n")) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestServe_FailsIfTheAddressIsTaken(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--state-addr", "--status-addr"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := launch(t, "serve", "--state-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", flag, l.Addr().String())
		if got := p.status(); got != exitFailed {
			t.Errorf("%s: status %d, want %d", flag, got, exitFailed)
		}
		for _, want := range []string{"cannot start", l.Addr().String(), "aspnet_state"} {
			if got := p.stderr.String(); !strings.Contains(got, want) {
				t.Errorf("%s: no %q in:\n%s", flag, want, got)
			}
		}
		if strings.Contains(p.stderr.String(), "Usage") {
			t.Errorf("%s: the usage is shown for a failure that has nothing to do with it:\n%s", flag, p.stderr.String())
		}
	}
}

func TestServe_WarnsOfAnAddressThatOthersReach(t *testing.T) {
	t.Parallel()
	const warning = "other machines can reach the sessions"
	p := serveNode(t)
	if strings.Contains(p.stderr.String(), warning) {
		t.Errorf("a warning for 127.0.0.1:\n%s", p.stderr.String())
	}
	p = serveNode(t, "--state-addr", "0.0.0.0:0")
	p.until("warning", func() bool { return strings.Contains(p.stderr.String(), warning) })
}

func TestServe_RefusesAWrongConfiguration(t *testing.T) {
	t.Parallel()
	p := launch(t, "serve", "--config", write(t, "log {\n  level = loud\n}\n"))
	if got := p.status(); got != exitUsage {
		t.Errorf("status %d, want %d", got, exitUsage)
	}
	if got := p.stderr.String(); !strings.Contains(got, "line 2, in log") || strings.Contains(got, "\x1b[") {
		t.Errorf("got:\n%s", got)
	}
}

// BenchmarkServe_Start is the time from exec to an address file: everything has been listening since just before that.
func BenchmarkServe_Start(b *testing.B) {
	for b.Loop() {
		p := serveNode(b)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
