//go:build unix

package main

import (
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lastLine of the log is the process's account of itself.
func (p *process) lastLine() string {
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	return lines[len(lines)-1]
}

func TestCluster_StopHandsSessionsOver(t *testing.T) {
	t.Parallel()
	key := keyFile(t)
	a := serveMember(t, "web01", key, nil)
	b := serveMember(t, "web02", key, []*process{a})
	c := serveMember(t, "web03", key, []*process{a})
	for _, p := range []*process{a, b, c} {
		p.untilMembers(3)
	}
	a.put(0, 200)
	a.signal(syscall.SIGTERM)
	if got := a.status(); got != exitDone {
		t.Errorf("status %d, want %d", got, exitDone)
	}
	if got := a.lastLine(); !regexp.MustCompile(`\[INFO\]  statemesh: drained 200 sessions \(0\.0 MB\) to 2 members in [0-9.]+m?s$`).MatchString(got) {
		t.Errorf("the last line is %q", got)
	}
	b.get(0, 100)
	c.get(0, 200)
	for _, p := range []*process{b, c} {
		p.until("news of the node that left", func() bool {
			_, stdout, _ := runHere("members", "--status-addr", p.Status)
			return regexp.MustCompile(`(?m)^web01 +left `).MatchString(stdout)
		})
	}
}

func TestCluster_LastOneSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	p := serveMember(t, "web01", keyFile(t), nil)
	p.put(0, 3)
	p.signal(syscall.SIGTERM)
	if got := p.status(); got != exitFailed {
		t.Errorf("status %d, want %d", got, exitFailed)
	}
	p.untilLoggedAtEnd("[ERROR] statemesh.service: sessions are lost: nobody took them, and no snapshot_dir is set: sessions=3")
	if got := p.lastLine(); !strings.Contains(got, "statemesh: drained 0 sessions (0.0 MB) to 0 members in ") {
		t.Errorf("the last line is %q", got)
	}
}

// untilLoggedAtEnd is for a process that has ended.
func (p *process) untilLoggedAtEnd(text string) {
	p.t.Helper()
	if !strings.Contains(p.stderr.String(), text) {
		p.t.Errorf("not in the log: %s\n%s", text, p.stderr.String())
	}
}

// What the last node of a cluster leaves, or one that runs alone, its next start finds.
func TestServe_KeepsSessionsFromOneStartToTheNext(t *testing.T) {
	t.Parallel()
	key := keyFile(t)
	for name, start := range map[string]func(dir string) *process{
		"alone":    func(dir string) *process { return serveNode(t, "--snapshot-dir", dir) },
		"the last": func(dir string) *process { return serveMember(t, "web01", key, nil, "--snapshot-dir", dir) },
	} {
		dir := t.TempDir()
		first := start(dir)
		first.put(0, 100)
		first.signal(syscall.SIGTERM)
		if got := first.status(); got != exitDone {
			t.Errorf("%s: status %d, want %d\n%s", name, got, exitDone, first.stderr.String())
		}
		first.untilLoggedAtEnd("wrote sessions for the next start: sessions=100")
		second := start(dir)
		second.get(0, 100)
		second.put(100, 101)
	}
}

// A start that fails leaves what the last run has kept.
func TestCluster_FailedStartKeepsTheSnapshot(t *testing.T) {
	t.Parallel()
	key, dir := keyFile(t), t.TempDir()
	first := serveMember(t, "web01", key, nil, "--snapshot-dir", dir)
	first.put(0, 100)
	first.signal(syscall.SIGTERM)
	if got := first.status(); got != exitDone {
		t.Fatalf("status %d, want %d", got, exitDone)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range []string{"--state-addr", "--status-addr", "--gossip-addr", "--transfer-addr"} {
		p := launch(t, "serve", "--state-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
			"--transfer-addr", "127.0.0.1:0", "--key-file", key, "--snapshot-dir", dir, flag, taken.Addr().String())
		if got := p.status(); got != exitFailed {
			t.Errorf("%s: status %d, want %d", flag, got, exitFailed)
		}
		if log := p.stderr.String(); !strings.Contains(log, "Another program has this address") {
			t.Errorf("%s: got:\n%s", flag, log)
		}
	}
	serveMember(t, "web01", key, nil, "--snapshot-dir", dir).get(0, 100)
}

func TestCluster_SecondSignalHurries(t *testing.T) {
	t.Parallel()
	p := serveMember(t, "web01", keyFile(t), nil, "--snapshot-dir", t.TempDir())
	p.put(0, 3)
	p.halfRequest()
	p.signal(syscall.SIGTERM)
	p.untilLogged("stopping: signal=")
	begun := time.Now()
	p.signal(os.Interrupt)
	if got := p.status(); got != exitDone {
		t.Errorf("status %d, want %d", got, exitDone)
	}
	if took := time.Since(begun); took >= finishRequests {
		t.Errorf("took %v: it has waited for the request", took)
	}
	p.untilLoggedAtEnd("stopping in a hurry")
	p.untilLoggedAtEnd("wrote sessions for the next start: sessions=3")
}

func TestCluster_ReadsItsKeysAgain(t *testing.T) {
	t.Parallel()
	file := keyFile(t)
	p := serveMember(t, "web01", file, nil)
	_, second, _ := runHere("keygen")
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte(second), first...), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	p.untilLogged("keys read again: ")
	if err := os.WriteFile(file, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	p.untilLogged("the keys stay as they are: the key file cannot be used")
	if log := p.stderr.String(); strings.Contains(log, strings.TrimSpace(second)) || strings.Contains(log, strings.TrimSpace(string(first))) {
		t.Error("a key is in the log")
	}
	p.put(0, 1) // it goes on
}
