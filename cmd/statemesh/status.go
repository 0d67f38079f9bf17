package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"statemesh/service"
	"statemesh/service/api"
)

func newStatusCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "status",
		Short:      "Show how a running node is doing",
		SuggestFor: []string{"info", "stat", "stats"},
		Long: `Show how a running node is doing, and what is wrong with it or its cluster: by default the one on this machine. What was
seen of that, and how to mend it, is on the status page and in --json.`,
		Example: `  statemesh status
  statemesh status --config statemesh.hcl
  statemesh status --status-addr 10.0.0.5:42480 --json`,
		Args: noArguments,
	}
	shows(cmd, "/api/v1/status", writeStatus)
	return cmd
}

func writeStatus(w io.Writer, s api.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("node", "%s, statemesh %s, %s, running for %s", s.Node, s.Version, s.Phase, roundAge(seconds(s.Uptime)))
	if len(s.Findings) == 0 {
		line("findings", "none")
	}
	for _, f := range s.Findings {
		line(f.Severity, "%s", f.Title)
	}
	line("addresses", "%s", addresses(s.Addresses))
	line("sessions", "%s held, %s locked; since the start %s created, %s expired, %s abandoned, %s refused",
		comma(s.Sessions.Held), comma(s.Sessions.Locked), comma(s.Sessions.Created), comma(s.Sessions.TimedOut), comma(s.Sessions.Abandoned), comma(s.Sessions.Refused))
	limit := ""
	if s.Memory.Limit > 0 {
		limit = fmt.Sprintf(" of %s (%.0f%%)", humanize.IBytes(uint64(s.Memory.Limit)), 100*float64(s.Memory.Used)/float64(s.Memory.Limit))
	}
	line("memory", "%s%s, bodies %s", humanize.IBytes(uint64(s.Memory.Used)), limit, humanize.IBytes(uint64(s.Memory.Bodies)))
	line("applications", "%s", comma(s.Applications))
	if c := s.Cluster; c == nil {
		line("cluster", "none: this node runs alone")
	} else {
		joined := ""
		if !c.Joined {
			joined = ", still looking for the others"
		}
		of := ""
		if c.Expected > 0 {
			of = fmt.Sprintf(" of %d", c.Expected)
		}
		line("cluster", "%d%s members%s", c.Members, of, joined)
		line("moved", "%s sessions in (%s), %s out (%s)", comma(int64(c.MovedIn)), humanize.IBytes(c.BytesIn), comma(int64(c.MovedOut)), humanize.IBytes(c.BytesOut))
		line("asked for", "%s", outcomes(c.Queries))
		if c.Conflicts > 0 {
			line("conflicts", "%s sessions that two nodes had after a split", comma(int64(c.Conflicts)))
		}
	}
	if s.Drain != nil {
		line("drain", "%s", drainLine(*s.Drain))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Cluster != nil && len(s.Cluster.Events) > 0 {
		fmt.Fprintln(w)
		for _, e := range s.Cluster.Events {
			fmt.Fprintf(w, "%s  %-5s  %s\n", e.At.Local().Format("2006-01-02 15:04:05"), e.Level, e.Text)
		}
	}
	return nil
}

func addresses(a service.Addrs) string {
	var all []string
	for _, one := range []struct{ name, addr string }{
		{"web servers", a.State}, {"gossip", a.Gossip}, {"transfer", a.Transfer}, {"status", a.Status},
	} {
		if one.addr != "" {
			all = append(all, one.name+" "+one.addr)
		}
	}
	return strings.Join(all, ", ")
}

// outcomes of queries, in the order of how good they are.
func outcomes(queries map[string]uint64) string {
	var all []string
	for _, o := range []string{"here", "held", "nowhere", "unknown", "shed"} {
		all = append(all, fmt.Sprintf("%s %s", comma(int64(queries[o])), o))
	}
	return strings.Join(all, ", ")
}

// drainLine says how a drain goes: "412 of 1,900 sessions handed over to 2 members, 38 MiB, 6s left".
func drainLine(d api.Drain) string {
	line := fmt.Sprintf("%s of %s handed over to %s, %s",
		comma(d.Sessions), english.Plural(int(d.Sessions+d.Remaining), "session", ""), english.Plural(d.Members, "member", ""), humanize.IBytes(uint64(d.Bytes)))
	switch {
	case d.Done:
		line += fmt.Sprintf(", done in %v", seconds(d.Elapsed))
	case d.Problem != "":
		line += ", ended early: " + d.Problem
	case d.Left > 0:
		line += fmt.Sprintf(", %v left", seconds(d.Left))
	}
	return line
}

func comma(n int64) string { return humanize.Comma(n) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
