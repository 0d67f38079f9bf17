package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"statemesh/cmd/internal/bench"
)

type throughputFigures struct {
	Pinning     string
	Comparisons []*bench.Comparison
	args        []string
}

// throughput compares pages with the floor's, by the command that users have for it.
func throughput(ctx context.Context, l *lab) (figures, error) {
	args := []string{"bench", "--floor", "--conns", "1,16,128", "--size", "256,2400,32768", "--duration", "1500ms", "--warmup", "300ms", "--rounds", "15", "--json"}
	if l.quick {
		args = []string{"bench", "--floor", "--conns", "1,4", "--size", "256,2400", "--duration", "200ms", "--warmup", "50ms", "--rounds", "2", "--sessions", "1000", "--json"}
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, l.exe, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("statemesh bench: %w", err)
	}
	f := throughputFigures{args: args}
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		return nil, fmt.Errorf("read what statemesh bench says: %w", err)
	}
	return f, nil
}

func (f throughputFigures) section() section {
	s := section{
		how: "A page is GetExclusive, then Set with its cookie. The floor is a server that reads the same requests and writes canned\n" +
			"answers of the same length, storing nothing. Floor and service take turns; the ratios are those of the medians.",
		command: "statemesh " + strings.Join(f.args, " "),
		details: bench.TableHead,
	}
	pages, p99 := f.Comparisons[0], f.Comparisons[0]
	for _, c := range f.Comparisons {
		if c.PagesRatio < pages.PagesRatio {
			pages = c
		}
		if c.P99Ratio > p99.P99Ratio {
			p99 = c
		}
		s.details += c.Row()
	}
	s.details += "\n" + f.Pinning + "."
	where := func(c *bench.Comparison) string { return fmt.Sprintf(" (%d connections, %s B)", c.Conns, c.Size) }
	s.rows = []row{
		{"pages/s, in ratio to the floor, the lowest", "at least 0.90", fmt.Sprintf("%.2f", pages.PagesRatio) + where(pages), pages.PagesRatio >= 0.90},
		{"p99 of pages, in ratio to the floor, the highest", "at most 1.3", fmt.Sprintf("%.2f", p99.P99Ratio) + where(p99), p99.P99Ratio <= 1.3},
	}
	return s
}
