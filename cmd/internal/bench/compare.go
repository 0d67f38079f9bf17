package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Comparison is what rounds measured that alternated between the floor and the target.
type Comparison struct {
	Conns  int     `json:"conns"`
	Size   string  `json:"size"`
	Rounds []Round `json:"rounds"`

	// Medians over the rounds.
	Floor  Figures `json:"floor"`
	Target Figures `json:"target"`

	PagesRatio float64 `json:"pages_ratio"` // target to floor: higher is better
	P99Ratio   float64 `json:"p99_ratio"`   // of pages: lower is better
}

// Round is one turn of each.
type Round struct {
	Floor  *Result `json:"floor"`
	Target *Result `json:"target"`
}

// Figures are what a comparison is about.
type Figures struct {
	PagesPerSecond float64 `json:"pages_per_second"`
	P99            float64 `json:"p99_us"`
}

// compare measures one number of connections with one size.
func (m *measurement) compare(ctx context.Context, conns int, size Size) (*Comparison, error) {
	floor, err := StartFloor(ctx, m.o.Exe, m.cores, size.Max)
	if err != nil {
		return nil, err
	}
	defer floor.Stop()
	target, done, err := m.target(ctx)
	if err != nil {
		return nil, err
	}
	defer done()

	against := func(s *Server, addrs []string) (*Farm, error) {
		o := m.farmOptions(addrs, conns, size)
		o.canned = s == floor
		f, err := NewFarm(o)
		if err != nil {
			return nil, err
		}
		return f, f.Dial(ctx)
	}
	floorFarm, err := against(floor, []string{floor.Addr})
	if err != nil {
		return nil, err
	}
	defer floorFarm.Close()
	targetFarm, err := against(target, m.addrs(target))
	if err != nil {
		return nil, err
	}
	defer targetFarm.Close()
	if err := targetFarm.Fill(ctx, m.o.Progress); err != nil {
		return nil, err
	}

	c := &Comparison{Conns: conns, Size: size.String()}
	for i := 0; i < m.o.Rounds && ctx.Err() == nil; i++ {
		var r Round
		turns := []func(){
			func() { r.Floor = m.run(ctx, floorFarm, floor, fmt.Sprintf("round %d, floor: ", i+1)) },
			func() { r.Target = m.run(ctx, targetFarm, target, fmt.Sprintf("round %d, target: ", i+1)) },
		}
		if i%2 == 1 { // so that neither side always has the better half of what the machine does meanwhile
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			turn()
		}
		if ctx.Err() != nil {
			break // not a whole round
		}
		c.Rounds = append(c.Rounds, r)
		m.o.Progress.Note("conns %d, size %v, round %d: floor %s, target %s pages/s; p99 %s, %s", conns, size, i+1,
			comma(r.Floor.PagesPerSecond), comma(r.Target.PagesPerSecond), us(r.Floor.Page.P99), us(r.Target.Page.P99))
		if m.o.Mix == Create {
			if err := targetFarm.Empty(ctx, m.o.Progress); err != nil {
				return nil, err
			}
		}
	}
	c.conclude()
	return c, m.tidy(ctx, target, targetFarm)
}

// conclude takes the medians.
func (c *Comparison) conclude() {
	if len(c.Rounds) == 0 {
		return
	}
	side := func(of func(Round) *Result) Figures {
		return Figures{
			PagesPerSecond: Median(c.Rounds, func(r Round) float64 { return of(r).PagesPerSecond }),
			P99:            Median(c.Rounds, func(r Round) float64 { return of(r).Page.P99 }),
		}
	}
	c.Floor = side(func(r Round) *Result { return r.Floor })
	c.Target = side(func(r Round) *Result { return r.Target })
	c.PagesRatio = ratio(c.Target.PagesPerSecond, c.Floor.PagesPerSecond)
	c.P99Ratio = ratio(c.Target.P99, c.Floor.P99)
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0 // nothing was measured; JSON knows no infinity
	}
	return a / b
}

// Median is that of what of says of each.
func Median[T any](all []T, of func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = of(v)
	}
	slices.SortFunc(values, cmp.Compare)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Wrong is the number of wrong answers in all rounds.
func (c *Comparison) Wrong() (n uint64) {
	for _, r := range c.Rounds {
		n += r.Floor.Wrong() + r.Target.Wrong()
	}
	return n
}

// Print writes the comparison for people.
func (c *Comparison) Print(w io.Writer) {
	if len(c.Rounds) == 0 {
		fmt.Fprintln(w, "no round was finished")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "round\tfloor pages/s\ttarget pages/s\tratio\tfloor p99\ttarget p99\tratio\tfarm busy\tfloor cpu/page\ttarget cpu/page\t")
	for i, r := range c.Rounds {
		fmt.Fprintf(t, "%d\t%s\t%s\t%.3f\t%s\t%s\t%.2f\t%s\t%s\t%s\t\n", i+1,
			comma(r.Floor.PagesPerSecond), comma(r.Target.PagesPerSecond), ratio(r.Target.PagesPerSecond, r.Floor.PagesPerSecond),
			us(r.Floor.Page.P99), us(r.Target.Page.P99), ratio(r.Target.Page.P99, r.Floor.Page.P99),
			busy(r.Target), perPage(r.Floor), perPage(r.Target))
	}
	fmt.Fprintf(t, "median\t%s\t%s\t%.3f\t%s\t%s\t%.2f\t\t\t\t\n", comma(c.Floor.PagesPerSecond), comma(c.Target.PagesPerSecond), c.PagesRatio,
		us(c.Floor.P99), us(c.Target.P99), c.P99Ratio)
	t.Flush()
	fmt.Fprintf(w, "\n  wrong answers: %d\n", c.Wrong())
	for _, r := range c.Rounds {
		r.Floor.printFaults(w)
		r.Target.printFaults(w)
	}
}

func busy(r *Result) string {
	if r.ClientBusy == 0 {
		return "?"
	}
	return fmt.Sprintf("%.0f %%", r.ClientBusy*100)
}

// perPage is the server's processor time for a page, which says more than the ratio where the farm is the slower side.
func perPage(r *Result) string {
	if r.ServerBusy == 0 || r.PagesPerSecond == 0 {
		return "?"
	}
	return us(r.ServerBusy / r.PagesPerSecond * 1e6)
}

// TableHead and Row make a markdown table of comparisons.
const TableHead = "| connections | body | floor pages/s | target pages/s | ratio | floor p99 | target p99 | ratio |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n"

// Row is the comparison's line of the table.
func (c *Comparison) Row() string {
	return fmt.Sprintf("| %d | %s B | %s | %s | **%.2f** | %s | %s | **%.2f** |\n", c.Conns, c.Size,
		comma(c.Floor.PagesPerSecond), comma(c.Target.PagesPerSecond), c.PagesRatio, us(c.Floor.P99), us(c.Target.P99), c.P99Ratio)
}
