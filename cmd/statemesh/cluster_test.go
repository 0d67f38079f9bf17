package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"statemesh/service/api"
)

// keyFile makes a cluster's key as an operator does.
func keyFile(t testing.TB) string {
	t.Helper()
	_, key, _ := runHere("keygen")
	file := filepath.Join(t.TempDir(), "cluster.key")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serveMember launches a node of the cluster of key that knows others.
func serveMember(t testing.TB, name, key string, others []*process, args ...string) *process {
	t.Helper()
	args = append([]string{"--node-name", name, "--gossip-addr", "127.0.0.1:0", "--transfer-addr", "127.0.0.1:0", "--key-file", key}, args...)
	for _, o := range others {
		args = append(args, "--join", o.Gossip)
	}
	return serveNode(t, args...)
}

// untilMembers waits until the node sees so many members up and can speak to each.
func (p *process) untilMembers(n int) {
	p.t.Helper()
	p.until(fmt.Sprint(n, " members"), func() bool {
		status, stdout, _ := runHere("members", "--json", "--status-addr", p.Status)
		var m api.Members
		if status != exitDone || json.Unmarshal([]byte(stdout), &m) != nil {
			return false
		}
		ready := 0
		for _, one := range m.Members {
			if one.State == "up" && (one.Self || one.Connected) {
				ready++
			}
		}
		return ready == n
	})
}

// put stores sessions through the node, and get reads one through it.
func (p *process) put(from, to int) {
	p.t.Helper()
	c, r := p.connect()
	for i := from; i < to; i++ {
		fmt.Fprintf(c, "PUT %%2fapp%%2fs%d HTTP/1.1\r\nHost: localhost\r\nTimeout:20\r\nContent-Length:4\r\nLockCookie:0\r\n\r\n%04d", i, i)
		if got, err := readResponse(r); err != nil || !strings.HasPrefix(string(got), "200 OK\r\n") {
			p.t.Fatalf("put %d: %q, %v", i, got, err)
		}
	}
}

func (p *process) get(from, to int) {
	p.t.Helper()
	c, r := p.connect()
	for i := from; i < to; i++ {
		fmt.Fprintf(c, "GET %%2fapp%%2fs%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i)
		if got, err := readResponse(r); err != nil || !strings.HasPrefix(string(got), "200 OK\r\n") || !strings.HasSuffix(string(got), fmt.Sprintf("\r\n\r\n%04d", i)) {
			p.t.Fatalf("get %d: %q, %v", i, got, err)
		}
	}
}

func TestCluster_Commands(t *testing.T) {
	t.Parallel()
	key := keyFile(t)
	a := serveMember(t, "web01", key, nil)
	b := serveMember(t, "web02", key, []*process{a})
	a.untilMembers(2)
	b.untilMembers(2)
	a.put(0, 50)
	b.get(0, 5) // they come over

	if status, stdout, _ := runHere("members", "--status-addr", b.Status); status != exitDone || !strings.Contains(stdout, "web01") || !strings.Contains(stdout, "this node") {
		t.Errorf("members: status %d\n%s", status, stdout)
	}
	if status, stdout, _ := runHere("status", "--status-addr", a.Status); status != exitDone ||
		!strings.Contains(stdout, "2 members") || !strings.Contains(stdout, "gossip "+a.Gossip) || !strings.Contains(stdout, "web02 joined") {
		t.Errorf("status: status %d\n%s", status, stdout)
	}

	status, stdout, stderr := runHere("drain", "--wait", "--status-addr", a.Status)
	if status != exitDone || !strings.HasPrefix(stdout, "45 of 45 sessions handed over to 1 member, ") {
		t.Errorf("drain: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if status, _, stderr := runHere("drain", "--wait", "--status-addr", b.Status); status != exitFailed || !strings.Contains(stderr, "no other member takes sessions") {
		t.Errorf("drain of the last one: status %d, stderr %q", status, stderr)
	}
	if _, stdout, _ := runHere("members", "--status-addr", a.Status); strings.Count(stdout, "draining") < 1 {
		t.Errorf("members after drain:\n%s", stdout)
	}
	b.get(0, 50)
	a.put(50, 51) // a draining node still serves
	b.get(50, 51)
}

func TestCluster_RefusesABadKeyFile(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.key")
	if err := os.WriteFile(bad, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, bad + ".missing"} {
		p := launch(t, "serve", "--state-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0", "--transfer-addr", "127.0.0.1:0", "--key-file", file)
		if got := p.status(); got != exitFailed {
			t.Errorf("status %d, want %d", got, exitFailed)
		}
		if log := p.stderr.String(); !strings.Contains(log, "cannot start") || !strings.Contains(log, "statemesh keygen") || strings.Contains(log, "horse") {
			t.Errorf("got:\n%s", log)
		}
	}
}
