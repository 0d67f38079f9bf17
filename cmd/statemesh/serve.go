package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"statemesh/config"
	"statemesh/service"
)

// errLogged ends a command whose failure stands in its log.
var errLogged = errors.New("failed; the log says why")

func newServeCmd() *cobra.Command {
	var file, addrFile string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node until it is told to stop",
		Long: `Run a node: web servers store their sessions in it. It logs to the standard error stream and runs
until Ctrl-C or SIGTERM; it then finishes requests in flight and ends. A second Ctrl-C ends it at once.

Without any setting it serves web servers on this machine only, as Microsoft's service does: they
connect to 127.0.0.1:42424, and http://127.0.0.1:42480/healthz says that it works.

A flag overrides the file of --config, and the file overrides the default.`,
		Example: `  statemesh serve
  statemesh serve --config statemesh.hcl
  statemesh serve --state-addr 0.0.0.0:42424    let web servers on other machines in`,
		Args:       noArguments,
		SuggestFor: []string{"start", "run", "server"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("config") && file == "" {
				return fmt.Errorf("%w: --config names no file", errUsage)
			}
			cfg, err := config.Load(file, settingsGiven(cmd.Flags()))
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, file, addrFile, newLogger(cfg.Log, cmd.ErrOrStderr()))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false // but the order of the file
	flags.StringVar(&file, "config", "", "read settings from `FILE`; to try it: statemesh check FILE")
	_ = cmd.MarkFlagFilename("config", "hcl")
	for _, s := range config.Default().Settings() {
		flag := flags.VarPF(&settingFlag{Setting: s}, s.Flag, "", s.Help)
		if s.Switch() {
			flag.NoOptDefVal = "true"
		}
		complete := cobra.NoFileCompletions
		if choices := s.Choices(); choices != nil {
			complete = cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp)
		}
		_ = cmd.RegisterFlagCompletionFunc(s.Flag, complete)
	}
	flags.StringVar(&addrFile, "addr-file", "", "once listening, write the addresses to `FILE` as JSON")
	return cmd
}

// settingFlag is a setting as a flag. It takes any text: config judges it, together with the file, so that all mistakes
// come out at once.
type settingFlag struct {
	config.Setting
	text string
	set  bool
}

func (f *settingFlag) Set(text string) error {
	if f.set && f.Repeatable() {
		text = f.text + "," + text
	}
	f.text, f.set = text, true
	return nil
}

// Type is shown in the help text. "bool" is pflag's word for a flag that needs no value; it shows nothing then.
func (f *settingFlag) Type() string {
	if f.Switch() {
		return "bool"
	}
	return f.Kind()
}

func (f *settingFlag) String() string { // the default, for the help text
	if f.set || f.Flag == "" {
		return f.text
	}
	return f.Value()
}

// settingsGiven is what the flags that were used say, for config.Load.
func settingsGiven(flags *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	flags.Visit(func(f *pflag.Flag) {
		if s, ok := f.Value.(*settingFlag); ok {
			given[f.Name] = s.text
		}
	})
	return given
}

func newLogger(c config.Log, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "statemesh",
		Level:      hclog.LevelFromString(c.Level),
		JSONFormat: c.Format == "json",
		Output:     w,
	})
}

// stopWithin is how long a node may take to stop, from the signal on. What it may spend on requests in flight is less,
// so that there is time to close everything behind them.
const (
	stopWithin     = 4900 * time.Millisecond
	finishRequests = 4 * time.Second
)

// serve runs one node from its start to its end.
func serve(ctx context.Context, cfg *config.Config, file, addrFile string, log hclog.Logger) error {
	signals := make(chan os.Signal, 2) // both are wanted, however close together
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	machine, err := config.MachineMemory()
	if err != nil && cfg.Sessions.MaxMemory.Percent != 0 {
		log.Error("cannot start: the machine's memory is unknown", "hint", "set max_memory to a size, such as 4GiB", "error", err)
		return errLogged
	}
	o := options(cfg, machine, addrFile, log)
	log.Info("starting", "version", o.Version, "config", orNone(file), "max-memory", hclog.Fmt("%d MiB", o.MaxMemory>>20))
	if err == nil && o.MaxMemory > machine {
		log.Warn("max_memory is more than this machine has", "machine", hclog.Fmt("%d MiB", machine>>20))
	}

	node, err := service.New(o)
	if err != nil {
		log.Error("cannot start", "error", err)
		return errLogged
	}
	if err := node.Start(ctx); err != nil {
		log.Error("cannot start", append(hintFor(err), "error", err)...)
		return errLogged
	}
	if addr := node.Addrs().State; !isLoopback(addr) {
		log.Warn("other machines can reach the sessions: web servers send them unencrypted and show no password, "+
			"so let the firewall admit only the web servers to this address", "state", addr)
	}

	log.Info("stopping", "signal", (<-signals).String())
	return stop(node, signals, log)
}

// options is cfg as the service wants it, on a machine with so much memory.
func options(cfg *config.Config, machine int64, addrFile string, log hclog.Logger) service.Options {
	return service.Options{
		NodeName:       cfg.NodeName,
		Version:        buildVersion(),
		StateAddr:      cfg.State.Listen,
		StatusAddr:     cfg.Status.Listen,
		AddrFile:       addrFile,
		AspNetVersion:  cfg.State.ASPNetVersion,
		StatusLine:     cfg.State.StatusLine,
		MaxHead:        int(cfg.State.MaxHead),
		MaxBody:        int(cfg.State.MaxBody),
		MaxConnections: cfg.State.MaxConnections,
		IdleTimeout:    cfg.State.IdleTimeout,
		RequestTimeout: cfg.State.RequestTimeout,
		MaxMemory:      cfg.Sessions.MaxMemory.Of(machine),
		MaxWaiting:     cfg.Sessions.MaxWaiting,
		StopTimeout:    finishRequests,
		Log:            log,
	}
}

// stop stops the node, or gives up on it: after a second signal, or when it takes too long. Then the process ends with
// the node still running, which is what ends the node.
func stop(node *service.Service, signals <-chan os.Signal, log hclog.Logger) error {
	stopped := make(chan error, 1)
	go func() { stopped <- node.Stop() }() // ends with Stop, or with the process
	select {
	case err := <-stopped:
		if err != nil { // the service has logged what did not end
			return errLogged
		}
		log.Info("stopped")
		return nil
	case again := <-signals:
		log.Warn("stopping at once: requests in flight are lost", "signal", again.String())
	case <-time.After(stopWithin):
		log.Error("not stopped in time: requests in flight are lost", "after", stopWithin)
	}
	return errLogged
}

// hintFor is what to tell an operator beyond what the system says of a failed start, as a pair for the log.
func hintFor(err error) []any {
	switch {
	case errors.Is(err, errAddrInUse):
		return []any{"hint", "another program has this address, maybe Microsoft's ASP.NET State Service (aspnet_state) or " +
			"another statemesh: stop it, or choose another port"}
	case errors.Is(err, errAddrForbidden):
		return []any{"hint", "the system does not let this user have the port: choose one above 1023, and on Windows one that " +
			"`netsh interface ipv4 show excludedportrange protocol=tcp` does not list"}
	}
	return nil
}

// isLoopback reports whether only this machine can connect to addr, which is an IP address and a port.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	host, _, _ = strings.Cut(host, "%") // the zone of an IPv6 address
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
