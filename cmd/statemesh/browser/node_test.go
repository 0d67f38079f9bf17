//go:build linux

package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
	"statemesh/cmd/internal/farm"
	_ "statemesh/config" // so that a change in what the binary is made of has these tests run again
)

// build makes the binary, once for all tests.
var build = sync.OnceValues(func() (string, error) { return compile("statemesh", nil) })

// odd is a binary of another version, whose clock is five seconds ahead: what cannot be had of the real one on one machine.
var odd = sync.OnceValues(func() (string, error) {
	return compile("odd", map[string][2]string{
		"cluster/node.go": {"Clock: n.o.clock,", "Clock: func() time.Time { return time.Now().Add(5 * time.Second) },"},
	}, "-ldflags", "-X main.version=9.9.9")
})

var dir string // of binaries

func TestMain(m *testing.M) {
	os.Exit(func() int {
		noteSources()
		var err error
		if dir, err = os.MkdirTemp("", "statemesh-browser"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		return m.Run()
	}())
}

// noteSources looks at what the binary is made of, as far as this package does not import it: go test runs a test again only if something has changed
// that it has looked at.
func noteSources() {
	files, _ := filepath.Glob("../*.go")
	for _, file := range files {
		os.Stat(file)
	}
}

// compile builds a binary, with one text of each of some files replaced by another.
func compile(name string, changes map[string][2]string, flags ...string) (string, error) {
	replace := map[string]string{}
	for file, change := range changes {
		path, err := filepath.Abs(filepath.Join("../../..", file))
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if bytes.Count(text, []byte(change[0])) != 1 {
			return "", fmt.Errorf("%s does not say %q, or says it twice", file, change[0])
		}
		replace[path] = filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(replace[path], bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	exe := filepath.Join(dir, name)
	cmd := exec.Command("go", slices.Concat([]string{"build", "-trimpath", "-overlay", file, "-o", exe}, flags, []string{".."})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // as it is shipped, also where tests run with -race
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return exe, nil
}

func made(t *testing.T, exe func() (string, error)) string {
	t.Helper()
	path, err := exe()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// soon bounds a wait.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start has nodes run until the test ends.
func start(t *testing.T, nodes ...*farm.Node) {
	t.Helper()
	for _, n := range nodes {
		t.Cleanup(func() {
			if n.Started() && n.Running() {
				n.Kill()
			}
			if t.Failed() {
				for _, log := range n.Logs() {
					t.Logf("log of %s:\n%s", n.Name, last(log.String(), 6000))
				}
			}
		})
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }

// cluster starts nodes that have found each other.
func cluster(t *testing.T, o farm.ClusterOptions) *farm.Cluster {
	t.Helper()
	o.Exe, o.Dir = made(t, build), t.TempDir()
	c, err := farm.NewCluster(o)
	if err != nil {
		t.Fatal(err)
	}
	start(t, c.Nodes...)
	if err := c.Joined(soon(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// pageOf is where a node's page is; of one that is not simply on this machine, through a door to where it is.
func pageOf(t *testing.T, n *farm.Node) string {
	t.Helper()
	there := &url.URL{Scheme: "http", Host: n.Status, Path: "/"}
	if n.Host == nil {
		return there.String()
	}
	door := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(there) },
		Transport:     transport(n),
		FlushInterval: -1,
	})
	t.Cleanup(door.Close)
	t.Cleanup(door.CloseClientConnections)
	return door.URL + "/"
}

// load runs statemesh bench until the test ends, or the returned function is called.
func load(t *testing.T, nodes []*farm.Node, flags ...string) (stop func()) {
	t.Helper()
	args := []string{"bench", "--duration", "15m", "--warmup", "0s"}
	for _, n := range nodes {
		args = append(args, "--addr", n.State)
	}
	var out bytes.Buffer
	cmd := exec.Command(made(t, build), append(args, flags...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(stop)
	t.Cleanup(func() {
		if t.Failed() {
			stop()
			t.Logf("bench: %s", last(out.String(), 2000))
		}
	})
	return stop
}

// webServer is one, connected to a node.
func webServer(t *testing.T, n *farm.Node, app string, size int) *bench.WebServer {
	t.Helper()
	w, err := bench.NewWebServer(t.Context(), bench.WebServerOptions{Addr: n.State, Dial: n.Dial, App: app, Size: bench.Size{Min: size, Max: size}, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// asks sends a request, and wants a status.
func asks(t *testing.T, w *bench.WebServer, r bench.Request, status int) bench.Answer {
	t.Helper()
	a, err := w.Do(r, 5*time.Second)
	if err != nil || a.Status != status {
		t.Fatalf("%v of session %d: %d %v, want %d", r.Verb, r.Session, a.Status, err, status)
	}
	return a
}

// kinds are the findings that a page shows.
func (tab *tab) kinds() []string {
	tab.t.Helper()
	return eval[[]string](tab, `[...document.querySelectorAll("[data-kind]")].map((f) => f.dataset.kind)`)
}

// wantNone fails the test if a page shows one of some kinds of findings.
func (tab *tab) wantNone(kinds ...string) {
	tab.t.Helper()
	for _, kind := range tab.kinds() {
		if slices.Contains(kinds, kind) {
			tab.t.Errorf("before there is a reason, the page shows %s: %s", kind, tab.text("[data-kind="+kind+"]"))
		}
	}
}

// untilFound waits for a kind of finding, and returns what it says.
func (tab *tab) untilFound(kind string) string {
	tab.t.Helper()
	tab.until("the finding "+kind, `document.querySelector("[data-kind=`+kind+`]") !== null`)
	return tab.text("[data-kind=" + kind + "]")
}
