package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
)

func TestWrite_MakesTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "docs", "benchmarks.md")
	s := section{title: "Start", how: "How.", command: "do it", measured: "then", rows: []row{{"time", "at most 1", "2", false}, {"other", "3", "3", true}}}
	for range 2 { // the second time it replaces itself
		if err := s.write(file); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(newFile, beginMark+"\n", beginMark+"\n\n### Start\n\nHow.\n\n    do it\n\nthen.\n\n"+
			"| what | asked for | measured | |\n|---|---|---|---|\n| time | at most 1 | 2 | **not met** |\n| other | 3 | 3 | met |\n\n", 1)
		if string(text) != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
	}
}

func TestReplaceIn_KeepsWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	const before, after = "# Ours\n\n### Flat in size\nnot the bench's\n", "\nand after\n"
	text := before + beginMark + "\nstale words\n### Throughput\nold throughput\n\n### Memory\nold memory\n| a |\n" + endMark + after
	s := section{title: "Memory", how: "new memory"}
	got, err := s.replaceIn(text)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, before+beginMark) || !strings.HasSuffix(got, endMark+after) {
		t.Errorf("text outside the markers changed:\n%s", got)
	}
	if strings.Contains(got, "old memory") || strings.Contains(got, "stale") || !strings.Contains(got, "old throughput\n\n### Memory\n\nnew memory") {
		t.Errorf("sections:\n%s", got)
	}
	first := section{title: "Flat in size", how: "flat"}
	if got, err = first.replaceIn(got); err != nil {
		t.Fatal(err)
	}
	block := got[strings.Index(got, beginMark):]
	if a, b, c := strings.Index(block, "### Throughput"), strings.Index(block, "### Flat"), strings.Index(block, "### Memory"); a < 0 || b < a || c < b {
		t.Errorf("sections are not in order:\n%s", got)
	}
}

func TestReplaceIn_Markers(t *testing.T) {
	t.Parallel()
	s := section{title: "Start", how: "how"}
	got, err := s.replaceIn("# A file without\n")
	if err != nil || !strings.HasPrefix(got, "# A file without\n\n"+beginMark) || !strings.HasSuffix(got, endMark+"\n") {
		t.Errorf("%v:\n%s", err, got)
	}
	if _, err := s.replaceIn("x " + beginMark + " y"); err == nil {
		t.Error("no error for a block without end")
	}
}

// The verdicts.
func TestSections_SayWhatIsMet(t *testing.T) {
	t.Parallel()
	result := func(pages, p99, p999 float64) *bench.Result {
		return &bench.Result{PagesPerSecond: pages, Page: bench.Latency{P99: p99, P999: p999}}
	}
	point := func(resident int64) memoryPoint { return memoryPoint{resident: resident, bodies: 1000} }
	for _, tt := range []struct {
		name string
		of   figures
		want string // y or n for each row
	}{
		{"throughput", throughputFigures{Comparisons: []*bench.Comparison{{PagesRatio: 0.95, P99Ratio: 1.4}, {PagesRatio: 0.9, P99Ratio: 1}}}, "yn"},
		{"throughput, one low", throughputFigures{Comparisons: []*bench.Comparison{{PagesRatio: 0.95, P99Ratio: 1.3}, {PagesRatio: 0.89, P99Ratio: 1}}}, "ny"},
		{"flat", flatFigures{rounds: [2][]*bench.Result{{result(100, 0, 10)}, {result(95, 0, 12.6)}}}, "yn"},
		{"memory", memoryFigures{sessions: 10, sizes: []memoryOfSize{{loaded: point(2300), rewritten: point(2310)}},
			returned: memoryReturned{live: 1, bodies: 100, lowest: 290, within: time.Second}}, "yny"},
		{"memory not returned", memoryFigures{sessions: 10, returned: memoryReturned{live: 1}}, "n"},
		{"expiry", expiryFigures{window: 8 * time.Second, gone: 7 * time.Second, free: 8 * time.Second, before: result(0, 100, 0), during: result(0, 150, 0)}, "yyny"},
		{"expiry never", expiryFigures{window: 8 * time.Second, before: result(0, 100, 0), during: result(0, 151, 0)}, "ynnn"},
		{"expiry, stored too slowly", expiryFigures{window: 20 * time.Second, gone: 5 * time.Second, free: 6 * time.Second, before: result(0, 100, 0), during: result(0, 100, 0)}, "nyny"},
		{"page", &pageFigures{rounds: [2][]*bench.Result{{result(1000, 0, 0)}, {result(991, 0, 0)}}, answers: []time.Duration{99 * time.Millisecond}}, "yyy"},
		{"page, slow and dear", &pageFigures{rounds: [2][]*bench.Result{{result(1000, 0, 0)}, {result(989, 0, 0)}}, answers: []time.Duration{101 * time.Millisecond}}, "nny"},
		{"start", startFigures{time.Second, 90 * time.Millisecond, 110 * time.Millisecond, 100 * time.Millisecond, 10 * time.Millisecond}, "y"},
	} {
		s := tt.of.section()
		got := ""
		for _, r := range s.rows {
			if r.met {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, got, tt.want, s.rows)
		}
	}
}
