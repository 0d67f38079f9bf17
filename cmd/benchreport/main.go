// Command benchreport measures what statemesh promises and writes the figures into docs/benchmarks.md.
//
// Each measurement is a function that starts the servers it needs from a freshly built binary, plays web farms against them
// (package bench), and returns a small struct of figures, which says what they mean for the promise. What is measured, and how,
// stands above each function: throughput.go, flat.go, memory.go, expiry.go, start.go, page.go, and those of clusters, see cluster.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"statemesh/cmd/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

// lab is what measurements are made with.
type lab struct {
	exe      string // the statemesh binary
	quick    bool   // small numbers that show that it works, and nothing else
	progress *bench.Progress
}

// pick is n, or the smaller number of a quick run.
func (l *lab) pick(n, quick int) int {
	if l.quick {
		return quick
	}
	return n
}

func (l *lab) pickTime(d, quick time.Duration) time.Duration {
	if l.quick {
		return quick
	}
	return d
}

// figures are a measurement's result.
type figures interface {
	section() section
}

var measurements = []struct {
	name  string
	title string
	run   func(ctx context.Context, l *lab) (figures, error)
}{
	{"throughput", "Throughput", throughput},
	{"flat", "Flat in size", flat},
	{"memory", "Memory", memory},
	{"expiry", "Expiry", expiry},
	{"start", "Start", start},
	{"page", "The status page", page},
	{"cluster-meet", "Nodes meet", meet},
	{"cluster-fetch", "A session on another node", fetch},
	{"cluster-miss", "A session that is nowhere", miss},
	{"cluster-pair", "Two requests of one user", pair},
	{"cluster-wander", "No stickiness", wander},
	{"cluster-cost", "Cost of being in a cluster", cost},
	{"cluster-flood", "A held refresh key", flood},
	{"cluster-drain", "A node leaves", drain},
	{"cluster-growth", "Growth", growth},
}

func run(ctx context.Context) error {
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	only := flag.String("only", strings.Join(names, ","), "`measurements` to make; those left out keep their figures in the file")
	quick := flag.Bool("quick", false, "small numbers, which show that it works and nothing else; nothing is written without -o")
	out := flag.String("o", "", "`file` to write to, between its markers (default docs/benchmarks.md)")
	exe := flag.String("exe", "", "statemesh `binary` to measure (default: built for the purpose)")
	flag.Parse()
	chosen, err := choose(*only, names)
	if err != nil {
		return err
	}

	l := &lab{exe: *exe, quick: *quick, progress: bench.NewProgress(os.Stderr)}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if *out == "" && !*quick {
		*out = filepath.Join(root, "docs", "benchmarks.md")
	}
	if l.exe == "" {
		dir, err := os.MkdirTemp("", "benchreport")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		l.exe = filepath.Join(dir, "statemesh")
		if err := build(ctx, root, l.exe); err != nil {
			return err
		}
	}

	end, err := keepAwake()
	if err != nil {
		l.progress.Note("processors may sleep between requests, which makes the figures of few connections uncertain: %v", err)
	}
	defer end()

	var errs []error
	for _, m := range measurements {
		if !slices.Contains(chosen, m.name) {
			continue
		}
		l.progress.Note("== %s", m.name)
		began := time.Now()
		result, err := m.run(ctx, l)
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
			l.progress.Note("%s: %v", m.name, err)
			continue
		}
		s := result.section()
		s.title, s.measured = m.title, fmt.Sprintf("%s, %s; took %v", began.Format("2006-01-02 15:04"), machine(), time.Since(began).Round(time.Second))
		fmt.Print(s.markdown(), "\n")
		if *out == "" {
			continue
		}
		if err := s.write(*out); err != nil { // at once: what comes after may fail
			return err
		}
	}
	return errors.Join(errs...)
}

// choose finds the measurements of a list of names; "cluster" is all whose name begins with it.
func choose(list string, names []string) (chosen []string, err error) {
	for _, name := range strings.Split(list, ",") {
		found := false
		for _, n := range names {
			if n == name || strings.HasPrefix(n, name+"-") {
				chosen, found = append(chosen, n), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-only: there is no %q, only cluster, for all of its kind, and %s", name, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

func moduleRoot() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	if _, err := os.Stat(filepath.Join(root, "cmd", "statemesh")); err != nil {
		return "", fmt.Errorf("run it within the project: %w", err)
	}
	return root, nil
}

// build makes the binary as make does.
func build(ctx context.Context, root, exe string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", exe, "./cmd/statemesh")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build statemesh: %w", err)
	}
	return nil
}

// machine says where figures come from.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, found := strings.Cut(string(text), "model name\t: "); found {
			model, _, _ = strings.Cut(after, "\n")
		}
	}
	return fmt.Sprintf("%d × %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
}
