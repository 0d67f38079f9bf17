package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"statemesh/cmd/internal/bench"
)

func newBenchCmd() *cobra.Command {
	var o bench.Options
	var sizes []string
	var mix, spread string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a state service, and check every answer it gives",
		Long: `Measure a state service, ours or Microsoft's, and check every answer it gives.

The bench plays web servers: it stores sessions, then asks for pages for a while, one at a time on each connection, each
with sessions of its own. A page is the requests that ASP.NET sends for one:

  rw        GetExclusive, then Set: a page that changes the session
  readonly  Get
  typical   60 % rw, 25 % readonly, 10 % GetExclusive then ReleaseExclusive, 5 % ResetTimeout
  create    Set of a session that is new
  miss      GetExclusive of a session that does not exist
  pair      two rw at the same moment for one session, from two connections

It checks that every body is the one last stored under its key and that no lock cookie is handed out twice. A wrong answer is
counted and makes the exit status 1. Ctrl-C ends the run early, with its result.

Given the --addr of several nodes of a cluster, each connection has one of them, and its users are sticky. With --spread they move:

  alternate each page of a session is asked for on the next node
  page      each page is asked for on some node
  request   each request goes to some node

Without --addr it starts a service of its own for the purpose. From any other it removes its sessions afterwards, unless
told to --keep them; those it could not remove expire after --timeout.

With --floor it takes turns between the service and the floor: a server that does nothing but read requests and write canned
answers, and so shows what the machine can do at all. Several numbers of connections or sizes give a table.`,
		Example: `  statemesh bench
  statemesh bench --addr state1:42424 --conns 64 --duration 10s --size 2400 --mix typical
  statemesh bench --addr web01:42424 --addr web02:42424 --addr web03:42424 --spread request
  statemesh bench --floor --conns 1,16,128 --size 256,2400,32768`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Mix, err = bench.ParseMix(mix); err != nil {
				return err
			}
			if o.Spread, err = bench.ParseSpread(spread); err != nil {
				return err
			}
			for _, text := range sizes {
				size, err := bench.ParseSize(text)
				if err != nil {
					return err
				}
				o.Sizes = append(o.Sizes, size)
			}
			o.Out = cmd.OutOrStdout()
			o.Progress = bench.NewProgress(os.Stderr)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return bench.Main(ctx, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.Addrs, "addr", nil, "host:port of the service; again for each of its nodes (default: start one)")
	f.IntSliceVar(&o.Conns, "conns", []int{64}, "connections")
	f.StringSliceVar(&sizes, "size", []string{"2400"}, "bytes of a session, or a range: 1000-4000")
	f.StringVar(&mix, "mix", string(bench.RW), "what pages do: rw, readonly, typical, create, miss, pair")
	f.StringVar(&spread, "spread", string(bench.Sticky), "how users move between several nodes: sticky, alternate, page, request")
	f.DurationVar(&o.Think, "think", 0, "how long a page works between its requests")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to measure")
	f.DurationVar(&o.Warmup, "warmup", time.Second, "how long to run before that")
	f.IntVar(&o.Sessions, "sessions", 10000, "sessions to store beforehand, divided among the connections")
	f.BoolVar(&o.Shared, "shared", false, "let every connection use every session, waiting for the ones that are locked")
	f.IntVar(&o.Minutes, "timeout", 20, "minutes until an unused session expires")
	f.Float64Var(&o.Rate, "rate", 0, "pages per second, whatever the service makes of them (default: as many as it can take)")
	f.StringVar(&o.App, "app", "/LM/W3SVC/1/ROOT", "path of the web application to be")
	f.Uint64Var(&o.Seed, "seed", 0, "what session ids and bodies are made from (default: another each time)")
	f.BoolVar(&o.Keep, "keep", false, "leave the sessions in the service")
	f.BoolVar(&o.Floor, "floor", false, "take turns with the least a server can do, and show the ratio")
	f.IntVar(&o.Rounds, "rounds", 5, "turns each, with --floor")
	f.BoolVar(&o.JSON, "json", false, "print the result as one JSON object")
	cmd.AddCommand(newFloorCmd())
	return cmd
}

// newFloorCmd is how bench --floor starts its child.
func newFloorCmd() *cobra.Command {
	var size int
	cmd := &cobra.Command{
		Use:    "floor",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.ServeFloor(cmd.InOrStdin(), cmd.OutOrStdout(), size)
		},
	}
	cmd.Flags().IntVar(&size, "size", 2400, "bytes of the canned bodies")
	return cmd
}
