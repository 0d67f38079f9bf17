package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Options are what the command can be told.
type Options struct {
	Addrs    []string      // Default: a service of our own, started for the purpose
	Conns    []int         // Required. Several: a comparison each
	Sizes    []Size        // Required. Likewise
	Duration time.Duration // Required: of a run, after Warmup
	Warmup   time.Duration
	Mix      Mix
	Sessions int
	Minutes  int
	App      string
	Seed     uint64        // Default: another one each time
	Spread   Spread        // Default Sticky
	Think    time.Duration // between a page's requests
	Shared   bool
	Rate     float64
	Floor    bool // compare with the floor
	Rounds   int  // of the comparison
	Keep     bool // leave the sessions in the service
	JSON     bool

	Exe      string    // the statemesh binary. Default: this one
	Out      io.Writer // Required: for the result
	Progress *Progress
}

func (o *Options) validate() error {
	switch {
	case len(o.Conns) == 0 || len(o.Sizes) == 0:
		return usagef("no number of connections, or no size")
	case len(o.Conns)*len(o.Sizes) > 1 && !o.Floor:
		return usagef("several numbers of connections or sizes are for comparisons: add --floor")
	case o.Duration <= 0:
		return usagef("--duration: %v is not positive", o.Duration)
	case o.Warmup < 0:
		return usagef("--warmup: %v is negative", o.Warmup)
	case o.Floor && o.Rounds < 1:
		return usagef("--rounds: %d is not positive", o.Rounds)
	}
	for _, addr := range o.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return usagef("--addr: %q is not host:port", addr)
		}
	}
	for _, size := range o.Sizes {
		if o.Floor && size.Min != size.Max {
			return usagef("--size: the floor answers with one size, not %v", size)
		}
		for _, conns := range o.Conns {
			f := (&measurement{o: *o}).farmOptions([]string{"checked later"}, conns, size)
			if err := f.validate(); err != nil {
				return err
			}
		}
	}
	return nil
}

// measurement is one call of the command.
type measurement struct {
	o     Options
	cores *Cores
	where string // what was pinned
}

// Main measures and prints. The error is about wrong answers, if there were any.
func Main(ctx context.Context, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = mix64(uint64(time.Now().UnixNano()))
	}
	if o.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program to start it again: %w", err)
		}
		o.Exe = exe
	}
	m := &measurement{o: o, where: "not pinned: the service is not ours to hold"}
	if o.Floor || len(o.Addrs) == 0 {
		m.cores, m.where = Pin()
		defer m.cores.Unpin()
	}
	if o.Floor && len(o.Addrs) > 0 {
		m.where += "; the target was not started here and runs where it likes"
	}
	if o.Floor {
		return m.comparisons(ctx)
	}
	return m.single(ctx)
}

// single is one run against one service.
func (m *measurement) single(ctx context.Context) error {
	target, done, err := m.target(ctx)
	if err != nil {
		return err
	}
	defer done()
	f, err := NewFarm(m.farmOptions(m.addrs(target), m.o.Conns[0], m.o.Sizes[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Dial(ctx); err != nil {
		return err
	}
	if err := f.Fill(ctx, m.o.Progress); err != nil {
		return fmt.Errorf("store the sessions: %w", err)
	}
	r := m.run(ctx, f, target, "")
	if m.o.JSON {
		err = m.printJSON(struct {
			Pinning string `json:"pinning"`
			*Result
		}{m.where, r})
	} else {
		r.Print(m.o.Out)
		fmt.Fprintf(m.o.Out, "  %s\n", m.where)
	}
	return errors.Join(err, wrongAnswers(r.Wrong()), m.tidy(ctx, target, f))
}

// comparisons are rounds against floor and target for each number of connections with each size.
func (m *measurement) comparisons(ctx context.Context) error {
	var all []*Comparison
	var wrong uint64
	for _, size := range m.o.Sizes {
		for _, conns := range m.o.Conns {
			c, err := m.compare(ctx, conns, size)
			if err != nil {
				return err
			}
			all = append(all, c)
			wrong += c.Wrong()
			if ctx.Err() != nil {
				break
			}
		}
	}
	switch {
	case m.o.JSON:
		if err := m.printJSON(struct {
			Pinning     string        `json:"pinning"`
			Mix         Mix           `json:"mix"`
			Sessions    int           `json:"sessions"`
			Comparisons []*Comparison `json:"comparisons"`
		}{m.where, m.o.Mix, m.o.Sessions, all}); err != nil {
			return err
		}
	case len(all) == 1:
		all[0].Print(m.o.Out)
		fmt.Fprintf(m.o.Out, "  %s\n", m.where)
	default:
		fmt.Fprint(m.o.Out, TableHead)
		for _, c := range all {
			fmt.Fprint(m.o.Out, c.Row())
		}
		fmt.Fprintf(m.o.Out, "\n%s; medians of %d rounds of %v; wrong answers: %d\n", m.where, m.o.Rounds, m.o.Duration, wrong)
	}
	return wrongAnswers(wrong)
}

func wrongAnswers(n uint64) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d wrong answers", n)
}

func (m *measurement) printJSON(v any) error {
	return json.NewEncoder(m.o.Out).Encode(v)
}

// target is the service to measure: nil if it is not ours, else one that done stops.
func (m *measurement) target(ctx context.Context) (s *Server, done func(), err error) {
	if len(m.o.Addrs) > 0 {
		return nil, func() {}, nil
	}
	s, err = StartServer(ctx, m.o.Exe, m.cores)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Stop, nil
}

func (m *measurement) addrs(s *Server) []string {
	if s == nil {
		return m.o.Addrs
	}
	return []string{s.Addr}
}

func (m *measurement) farmOptions(addrs []string, conns int, size Size) FarmOptions {
	return FarmOptions{
		Addrs:    addrs,
		Conns:    conns,
		Sessions: m.o.Sessions,
		Size:     size,
		Mix:      m.o.Mix,
		Minutes:  m.o.Minutes,
		App:      m.o.App,
		Seed:     m.o.Seed,
		Spread:   m.o.Spread,
		Think:    m.o.Think,
		Shared:   m.o.Shared,
		Rate:     m.o.Rate,
	}
}

// run is Farm.Run, with the server's processor time.
func (m *measurement) run(ctx context.Context, f *Farm, s *Server, what string) *Result {
	if m.o.Progress != nil {
		m.o.Progress.Prefix = what
		defer func() { m.o.Progress.Prefix = "" }()
	}
	var cpu cpuMeter
	if s != nil {
		cpu = newCPUMeter(s.PID)
	}
	r := f.Run(ctx, m.o.Warmup, m.o.Duration, m.o.Progress)
	if s != nil {
		r.ServerBusy = cpu.busy()
	}
	return r
}

// tidyTimeout bounds the removal of the sessions, which goes on after a Ctrl-C.
const tidyTimeout = 30 * time.Second

// tidy leaves a service that is not ours as it was found.
func (m *measurement) tidy(ctx context.Context, s *Server, f *Farm) error {
	if s != nil || m.o.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	if err := f.Empty(ctx, m.o.Progress); err != nil {
		return fmt.Errorf("remove the bench's sessions: %w", err)
	}
	return nil
}
