package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/cmd/internal/fakestate"
)

func testOptions(t *testing.T, out *bytes.Buffer) Options {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Conns: []int{2}, Sizes: []Size{{256, 256}}, Duration: 20 * time.Millisecond, Mix: RW, Sessions: 10, Minutes: 20, Rounds: 2, Exe: exe, Out: out}
}

func TestMain_OneRun(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	var out bytes.Buffer
	o := testOptions(t, &out)
	o.Addrs = []string{service.addr}
	if err := Main(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pages/s", "requests/s", "p99.9", "wrong answers: 0", "not pinned"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	if n := service.count(); n != 0 {
		t.Errorf("%d sessions left behind", n)
	}
	o.Keep = true
	if err := Main(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if n := service.count(); n != 10 {
		t.Errorf("%d sessions kept, want 10", n)
	}
}

func TestMain_WrongAnswersAreAnError(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var acquired atomic.Int32
	service.spoil = func(_ *fake, r *fakeRequest, answer string) (string, error) {
		if r.Op != "acquire" {
			return answer, nil
		}
		if acquired.Add(1) == 3 { // of two connections: one has had a wrong answer
			stop()
		}
		return fakestate.NotFound(), nil
	}
	var out bytes.Buffer
	o := testOptions(t, &out)
	o.Addrs = []string{service.addr}
	o.JSON = true
	o.Duration = time.Minute // it is stopped before, however slow the machine is
	err := Main(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "wrong answers") {
		t.Errorf("Main: %v, want an error about wrong answers", err)
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Wrong() == 0 || len(r.FirstFaults) == 0 {
		t.Errorf("%v, want faults in %s", err, &out)
	}
}

func TestMain_CtrlCEndsWithAResult(t *testing.T) {
	t.Parallel()
	service := startFake(t)
	var out bytes.Buffer
	o := testOptions(t, &out)
	o.Addrs = []string{service.addr}
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	service.until, service.enough = 200, cancel
	if err := Main(ctx, o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "pages/s") || strings.Contains(out.String(), " 0 pages/s") {
		t.Errorf("no result: %s", &out)
	}
	if n := service.count(); n != 0 {
		t.Errorf("%d sessions left behind", n)
	}
}

// Not parallel with the others: it holds this process to one core.
func TestMain_Floor(t *testing.T) {
	var out bytes.Buffer
	o := testOptions(t, &out)
	o.Floor = true
	if err := Main(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"round", "median", "ratio", "pinned"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}

	out.Reset()
	o.Conns, o.Sizes, o.Mix = []int{1, 3}, []Size{{16, 16}, {70000, 70000}}, Typical
	if err := Main(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n| "); rows != 4 {
		t.Errorf("%d rows, want 4:\n%s", rows, &out)
	}

	out.Reset()
	o.JSON = true
	o.Duration = 300 * time.Millisecond // a busy machine may do nothing for a while
	if err := Main(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	var got struct{ Comparisons []Comparison }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Comparisons {
		if len(c.Rounds) != 2 || c.PagesRatio <= 0 || c.P99Ratio <= 0 || c.Floor.PagesPerSecond <= 0 {
			t.Errorf("makes no sense: %+v", c)
		}
	}
}

func TestMain_OwnService(t *testing.T) {
	var out bytes.Buffer
	o := testOptions(t, &out)
	if err := Main(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "wrong answers: 0") {
		t.Errorf("no result: %s", &out)
	}
}

func TestMain_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *Options){
		"several without floor": func(o *Options) { o.Conns = []int{1, 2} },
		"floor with a range":    func(o *Options) { o.Floor, o.Sizes = true, []Size{{100, 200}} },
		"no duration":           func(o *Options) { o.Duration = 0 },
		"negative warmup":       func(o *Options) { o.Warmup = -1 },
		"no rounds":             func(o *Options) { o.Floor, o.Rounds = true, 0 },
		"no connections":        func(o *Options) { o.Conns = []int{0} },
		"nothing":               func(o *Options) { o.Conns = nil },
		"too small":             func(o *Options) { o.Sizes = []Size{{15, 15}} },
		"range upside down":     func(o *Options) { o.Sizes = []Size{{200, 100}} },
		"sessions":              func(o *Options) { o.Sessions = 1 },
		"no sessions":           func(o *Options) { o.Sessions, o.Shared = 0, true },
		"timeout":               func(o *Options) { o.Minutes = 525601 },
		"address":               func(o *Options) { o.Addrs = []string{"localhost"} },
		"rate":                  func(o *Options) { o.Rate = -1 },
	} {
		var out bytes.Buffer
		o := testOptions(t, &out)
		change(&o)
		if err := Main(t.Context(), o); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v, want ErrUsage", name, err)
		}
	}
}

func TestStartServer_SaysWhyItDidNotStart(t *testing.T) {
	t.Parallel()
	if s, err := StartServer(t.Context(), "/nonexistent", nil); err == nil {
		s.Stop()
		t.Error("no error")
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := Median(tt.of, func(v float64) float64 { return v }); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestProgress_PlainLinesWhereThereIsNoTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &Progress{w: &out, every: time.Microsecond}
	shown := make(chan struct{}, 1)
	stop := p.watch(func() string {
		select {
		case shown <- struct{}{}:
		default:
		}
		return "12 pages"
	})
	<-shown
	stop()
	if line, _, _ := strings.Cut(out.String(), "\n"); line != "12 pages" || strings.ContainsRune(out.String(), '\r') {
		t.Errorf("progress: %q", &out)
	}
}
