//go:build linux

// Package e2e tests the built binary: clusters of it as real processes, with real TLS and UDP, under users that judge every answer
// (package farm), while nodes are restarted, killed, stopped in their tracks, and cut off.
//
// The tests run one after the other, since most of them need the machine; each takes seconds. STATEMESH_EXE names a binary to test in
// place of one that is built for the purpose. With -v, each says what its users have seen.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
	_ "statemesh/config"  // so that a change in what the binary is made of
	_ "statemesh/service" // has these tests run again
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		noteSources()
		if binary = os.Getenv("STATEMESH_EXE"); binary != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "statemesh-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "statemesh")
		build := exec.Command("go", "build", "-trimpath", "-o", binary, "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // as it is shipped, also where tests run with -race
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build statemesh: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// noteSources looks at what the binary is made of, as far as this package does not import it: go test runs a test again only if
// something has changed that it has looked at.
func noteSources() {
	files, _ := filepath.Glob("../*.go")
	for _, file := range files {
		os.Stat(file)
	}
}

// patience is how long a test waits for what should come soon.
const patience = 30 * time.Second

// soon bounds a wait.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// cluster starts nodes that have found each other. They do not outlive the test, which fails if one of them panics.
func cluster(t *testing.T, o farm.ClusterOptions) *farm.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs seconds")
	}
	o.Exe, o.Dir = binary, t.TempDir()
	c, err := farm.NewCluster(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, c.Nodes...) })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !o.Alone {
		if err := c.Joined(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// end ends what still runs, and looks at the logs.
func end(t *testing.T, nodes ...*farm.Node) {
	for _, n := range nodes {
		for _, log := range n.Logs() {
			for _, line := range log.Lines() {
				if line.Pairs == nil || strings.Contains(line.Text, "panic") {
					t.Errorf("%s: %s", n.Name, line.Text)
				}
			}
		}
		if n.Started() && n.Running() {
			n.Kill()
		}
		if t.Failed() {
			for _, log := range n.Logs() {
				t.Logf("log of %s:\n%s", n.Name, log)
			}
		}
	}
}

// crowd is users of the cluster, with their sessions stored.
func crowd(t *testing.T, nodes []*farm.Node, o farm.CrowdOptions) *farm.Crowd {
	t.Helper()
	if o.Doors == nil {
		o.Doors = doors(nodes)
	}
	o.Think, o.Pause, o.Seed = 4*time.Millisecond, 20*time.Millisecond, uint64(time.Now().UnixNano())
	c := farm.NewCrowd(o)
	t.Cleanup(func() {
		c.Close()
		secret(t, c, nodes)
	})
	if err := c.Fill(soon(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// secret fails the test if a session's id stands in a log.
func secret(t *testing.T, c *farm.Crowd, nodes []*farm.Node) {
	keys := c.Keys()
	for _, n := range nodes {
		for _, log := range n.Logs() {
			for _, line := range log.Lines() {
				if i := slices.IndexFunc(keys, func(key string) bool { return strings.Contains(line.Text, key[:8]) }); i >= 0 {
					t.Errorf("%s has the id of session %d in its log: %s", n.Name, i, line.Text)
					return
				}
			}
		}
	}
}

func doors(nodes []*farm.Node) (all []*farm.Door) {
	for _, n := range nodes {
		all = append(all, farm.DoorTo(n))
	}
	return all
}

// wait lets users go on for a while.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// wantRight fails the test if users have seen something wrong.
func wantRight(t *testing.T, what string, r *farm.Report) {
	t.Helper()
	t.Logf("%s: %v", what, r)
	if err := r.Err(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if r.Requests == 0 {
		t.Errorf("%s: nobody asked for anything", what)
	}
}

// statemesh runs a command that talks to a node.
func statemesh(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run() // the status says it
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
