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

With --key-file it is one of a cluster: each node has every user's session, wherever it was last used.
When it is told to stop it hands its sessions to the others first, for --drain-timeout at most, or until
a second Ctrl-C. On Linux, SIGHUP makes it read the key file again.

A flag overrides the file of --config, and the file overrides the default.`,
		Example: `  statemesh serve
  statemesh serve --config statemesh.hcl
  statemesh serve --state-addr 0.0.0.0:42424    let web servers on other machines in
  statemesh serve --key-file cluster.key --gossip-addr 10.0.0.5:42425 --transfer-addr 10.0.0.5:42426 --join 10.0.0.6`,
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

// stopWithin is how long a node may take to stop, from the signal on, if it has nothing to hand over. What it may spend on requests in
// flight is less, so that there is time to close everything behind them.
const (
	stopWithin     = 4900 * time.Millisecond
	finishRequests = 4 * time.Second
)

// serve runs one node from its start to its end.
func serve(ctx context.Context, cfg *config.Config, file, addrFile string, log hclog.Logger) error {
	signals := make(chan os.Signal, 3) // each is wanted, however close together
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // should whoever reads the log go away, the sessions are not to go with it
	defer signal.Stop(signals)
	reload, done := notifyReload() // also where there is nothing to reload: a node that is told to must not end, and its sessions with it
	defer done()

	machine, err := config.MachineMemory()
	if err != nil && cfg.Sessions.MaxMemory.Percent != 0 {
		log.Error("cannot start", "error", fmt.Errorf("the machine's memory is unknown: set max_memory to a size, such as 4GiB: %w", err))
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
		log.Error("cannot start", "error", err)
		return errLogged
	}
	if addr := node.Addrs().State; !isLoopback(addr) {
		log.Warn("other machines can reach the sessions: web servers send them unencrypted and show no password, "+
			"so let the firewall admit only the web servers to this address", "state", addr)
	}

	for {
		select {
		case s := <-signals:
			log.Info("stopping", "signal", s.String())
			return stop(node, o.Cluster != nil || o.SnapshotDir != "", signals, log)
		case <-reload:
			if !cfg.Clustered() {
				log.Info("nothing to read again: this node runs alone, without keys")
				continue
			}
			_ = node.ReloadKeys() // it logs
		}
	}
}

// options is cfg as the service wants it, on a machine with so much memory.
func options(cfg *config.Config, machine int64, addrFile string, log hclog.Logger) service.Options {
	o := service.Options{
		NodeName:   cfg.NodeName,
		Version:    buildVersion(),
		StateAddr:  cfg.State.Listen,
		StatusAddr: cfg.Status.Listen,
		Status: service.Access{
			AllowedHosts:   cfg.Status.AllowedHosts,
			Username:       cfg.Status.Username,
			PasswordFile:   cfg.Status.PasswordFile,
			TokenFile:      cfg.Status.TokenFile,
			AdminTokenFile: cfg.Status.AdminTokenFile,
			CertFile:       cfg.Status.CertFile,
			KeyFile:        cfg.Status.KeyFile,
		},
		LongLock:       cfg.Status.LongLock,
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
		LockWait:       cfg.State.LockWait,
		SnapshotDir:    cfg.Sessions.SnapshotDir,
		StopTimeout:    finishRequests,
		Log:            log,
	}
	if cfg.Clustered() {
		o.Cluster = &service.Cluster{
			Name:         cfg.Cluster.Name,
			Gossip:       cfg.Cluster.Listen,
			Advertise:    cfg.Cluster.Advertise,
			Transfer:     cfg.Cluster.Transfer,
			Join:         cfg.Cluster.Join,
			KeyFile:      cfg.Cluster.KeyFile,
			Insecure:     cfg.Cluster.InsecurePlaintext,
			CAFile:       cfg.Cluster.CAFile,
			CertFile:     cfg.Cluster.CertFile,
			CertKeyFile:  cfg.Cluster.CertKeyFile,
			QueryTimeout: cfg.Cluster.QueryTimeout,
			DrainTimeout: cfg.Cluster.DrainTimeout,

			ExpectMembers: cfg.Cluster.ExpectMembers,
		}
	}
	return o
}

// stop stops the node, or gives up on it when it takes too long or a signal says so: then the process ends with the node still running,
// which is what ends the node. If it has sessions to hand over, or to write to disk, the second signal ends only the waiting for others, and
// the third the process.
func stop(node *service.Service, keeps bool, signals <-chan os.Signal, log hclog.Logger) error {
	limit := stopWithin
	if keeps {
		limit = node.StopLimit() + time.Second
	}
	timeout := time.After(limit)
	stopped := make(chan error, 1)
	go func() { stopped <- node.Stop() }() // ends with Stop, or with the process
	for hurried := !keeps; ; hurried = true {
		select {
		case err := <-stopped:
			if err == nil || keeps { // also of a drain that was not complete
				log.Info(node.Farewell())
			}
			if err != nil { // the service has logged what did not end
				return errLogged
			}
			return nil
		case again := <-signals:
			if hurried {
				log.Warn("stopping at once: requests in flight are lost", "signal", again.String())
				return errLogged
			}
			log.Warn("stopping in a hurry: not waiting for requests in flight, nor for sessions to be handed over", "signal", again.String())
			node.Hurry()
		case <-timeout:
			log.Error("not stopped in time: requests in flight are lost", "after", limit)
			return errLogged
		}
	}
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
