package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/dustin/go-humanize"
)

// Latencies are recorded in nanoseconds, to 0.1 µs or three digits.
const (
	lowestLatency  = int64(100)
	highestLatency = int64(time.Minute)
	latencyDigits  = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(int64(d), lowestLatency), highestLatency)) // cannot fail: in range
}

// Result is what one Run measured.
type Result struct {
	Mix      Mix     `json:"mix"`
	Spread   Spread  `json:"spread"`
	Conns    int     `json:"conns"`
	Size     string  `json:"size"`
	Sessions int     `json:"sessions"`
	Seconds  float64 `json:"seconds"`

	Pages             uint64  `json:"pages"`
	Requests          uint64  `json:"requests"`
	PagesPerSecond    float64 `json:"pages_per_second"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	MBPerSecond       float64 `json:"mb_per_second"` // both ways
	Page              Latency `json:"page"`
	Request           Latency `json:"request"`
	Wait              Latency `json:"wait,omitzero"` // of the second of a pair, from the first one's Set on
	Polls             uint64  `json:"polls"`         // requests that met another's lock, with Shared and Pair

	// The share of one processor that each side used; 0 if unknown.
	ClientBusy float64 `json:"client_busy,omitempty"`
	ServerBusy float64 `json:"server_busy,omitempty"`

	Faults      map[string]uint64 `json:"faults,omitempty"`
	FirstFaults []string          `json:"first_faults,omitempty"`
}

// Latency is how long things took, in microseconds.
type Latency struct {
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p99_9_us"`
	Max  float64 `json:"max_us"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{} // and not its smallest step
	}
	us := func(quantile float64) float64 { return float64(h.ValueAtQuantile(quantile)) / 1000 }
	return Latency{us(50), us(90), us(99), us(99.9), float64(h.Max()) / 1000}
}

func (f *Farm) result(took time.Duration) *Result {
	pages, trips, waits := newHistogram(), newHistogram(), newHistogram()
	var bytes, polls uint64
	for _, c := range f.conns {
		pages.Merge(c.pages)
		trips.Merge(c.trips)
		waits.Merge(c.waits)
		for ; c != nil; c = c.second {
			bytes += c.sent + c.received
			polls += c.polls
		}
	}
	seconds := max(took, time.Nanosecond).Seconds()
	r := &Result{
		Mix:               f.o.Mix,
		Spread:            f.o.Spread,
		Conns:             f.o.Conns,
		Size:              f.o.Size.String(),
		Sessions:          f.o.Sessions,
		Seconds:           seconds,
		Pages:             uint64(pages.TotalCount()),
		Requests:          uint64(trips.TotalCount()),
		PagesPerSecond:    float64(pages.TotalCount()) / seconds,
		RequestsPerSecond: float64(trips.TotalCount()) / seconds,
		MBPerSecond:       float64(bytes) / seconds / 1e6,
		Page:              latencyOf(pages),
		Request:           latencyOf(trips),
		Wait:              latencyOf(waits),
		Polls:             polls,
	}
	r.Faults, r.FirstFaults = f.faults.take()
	return r
}

// progress is the line shown during a Run.
func (f *Farm) progress(begin, end time.Duration) string {
	now := f.clock()
	if now < begin {
		return fmt.Sprintf("warming up: %s pages", humanize.Comma(int64(f.done())))
	}
	left := max(end-now, 0).Round(time.Second)
	line := fmt.Sprintf("%s pages, %v left", humanize.Comma(int64(f.done())), left)
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	var wrong uint64
	for _, n := range f.faults.counts {
		wrong += n
	}
	if wrong > 0 {
		line += fmt.Sprintf(", %s WRONG ANSWERS", humanize.Comma(int64(wrong)))
	}
	return line
}

// Wrong is the number of wrong answers.
func (r *Result) Wrong() (n uint64) {
	for _, count := range r.Faults {
		n += count
	}
	return n
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d connections, %s sessions of %s bytes, %.1f s\n\n",
		r.Mix, r.Conns, humanize.Comma(int64(r.Sessions)), r.Size, r.Seconds)
	fmt.Fprintf(w, "  %s pages/s   %s requests/s   %.1f MB/s\n\n", comma(r.PagesPerSecond), comma(r.RequestsPerSecond), r.MBPerSecond)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tp50\tp90\tp99\tp99.9\tmax\t")
	r.Page.print(t, "page")
	r.Request.print(t, "request")
	if r.Wait != (Latency{}) {
		r.Wait.print(t, "second's wait")
	}
	t.Flush()
	if r.Polls > 0 {
		fmt.Fprintf(w, "\n  %s polls of sessions that were locked\n", humanize.Comma(int64(r.Polls)))
	}
	if r.ClientBusy > 0 && r.ServerBusy > 0 {
		fmt.Fprintf(w, "\n  processor time: this side %.0f %%, the service %.0f %% of one core\n", r.ClientBusy*100, r.ServerBusy*100)
	}
	fmt.Fprintf(w, "\n  wrong answers: %s\n", humanize.Comma(int64(r.Wrong())))
	r.printFaults(w)
}

func (l Latency) print(t io.Writer, name string) {
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, us(l.P50), us(l.P90), us(l.P99), us(l.P999), us(l.Max))
}

func (r *Result) printFaults(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, "    %s: %s\n", name, humanize.Comma(int64(r.Faults[name])))
	}
	if len(r.FirstFaults) > 0 {
		fmt.Fprintln(w, "  the first:")
		for _, text := range r.FirstFaults {
			fmt.Fprintf(w, "    %s\n", text)
		}
	}
}

func comma(f float64) string { return humanize.Comma(int64(f + 0.5)) }

// us shows microseconds with a unit that fits.
func us(v float64) string {
	switch {
	case v < 1000:
		return fmt.Sprintf("%.1f µs", v)
	case v < 1e6:
		return fmt.Sprintf("%.2f ms", v/1e3)
	default:
		return fmt.Sprintf("%.2f s", v/1e6)
	}
}
