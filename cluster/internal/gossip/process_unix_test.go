//go:build unix

package gossip

import (
	"bufio"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProcess_StoppedAndKilled stops a process for 2 s, which nobody takes for its death; for longer, after which it comes back by itself; and
// kills another.
func TestProcess_StoppedAndKilled(t *testing.T) {
	t.Parallel()
	a := startProcess(t, "a", "")
	b := startProcess(t, "b", a.addr)
	c := startProcess(t, "c", a.addr)
	all := []*process{a, b, c}
	for _, p := range all {
		p.expect(t, "joined ")
		p.expect(t, "joined ")
	}

	b.proc.Signal(syscall.SIGSTOP)
	time.Sleep(2 * time.Second)
	b.proc.Signal(syscall.SIGCONT)
	time.Sleep(time.Second)
	for _, p := range all {
		p.quiet(t)
	}

	b.proc.Signal(syscall.SIGSTOP)
	start := time.Now()
	a.expect(t, "failed b")
	c.expect(t, "failed b")
	t.Logf("stopped: taken for dead after %v", time.Since(start))
	b.proc.Signal(syscall.SIGCONT)
	start = time.Now()
	a.expect(t, "joined b")
	c.expect(t, "joined b")
	t.Logf("continued: back after %v", time.Since(start))

	c.proc.Kill()
	start = time.Now()
	a.expect(t, "failed c")
	b.expect(t, "failed c")
	took := time.Since(start)
	t.Logf("killed: noticed after %v", took)
	if took > 8*time.Second { // 4 s on a machine that is not busy with other tests; the bubbles hold it to that
		t.Errorf("noticed after %v", took)
	}
}

// process is a child, seen from its parent.
type process struct {
	id, addr string
	proc     *os.Process
	lines    chan string
}

func startProcess(t *testing.T, id, seed string) *process {
	t.Helper()
	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	proc, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
		Env:   append(os.Environ(), childEnv+"="+id+" "+seed),
		Files: []*os.File{stdin, stdout, os.Stderr},
	})
	if err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	stdout.Close()
	p := &process{id: id, proc: proc, lines: make(chan string, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		hold.Close()
		_ = proc.Kill()
		_, _ = proc.Wait()
		<-done
		out.Close()
	})
	p.addr = strings.TrimPrefix(p.expect(t, "at "), "at ")
	return p
}

// expect waits for a line that starts so.
func (p *process) expect(t *testing.T, what string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case l := <-p.lines:
			if strings.HasPrefix(l, what) {
				return l
			}
		case <-timeout:
			t.Fatalf("%s does not say %q", p.id, what)
		}
	}
}

// quiet checks that nothing has happened.
func (p *process) quiet(t *testing.T) {
	t.Helper()
	for {
		select {
		case l := <-p.lines:
			t.Errorf("%s says %q", p.id, l)
		default:
			return
		}
	}
}
