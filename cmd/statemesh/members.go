package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"statemesh/service/api"
)

func newMembersCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "members",
		Short:      "List the nodes of the cluster, as one of them sees it",
		SuggestFor: []string{"nodes", "peers", "list"},
		Long: `List the nodes of the cluster, as a running node sees it: by default the one on this machine. Nodes that left or
failed within the last hour are shown, too.

  up          it works
  suspect     it has not answered for a moment
  draining    it hands its sessions to others, and takes none
  leaving     it has nothing left and is about to end
  left        it has ended, as it should
  failed      it has not answered for some seconds: its sessions are lost, unless it comes back`,
		Example: `  statemesh members
  statemesh members --config statemesh.hcl
  statemesh members --status-addr 10.0.0.5:42480 --json`,
		Args: noArguments,
	}
	shows(cmd, "/api/v1/members", func(w io.Writer, m api.Members) error { return writeMembers(w, m, time.Now()) })
	return cmd
}

func writeMembers(w io.Writer, m api.Members, now time.Time) error {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tFOR\tSESSIONS\tGOSSIP\tTRANSFER\tROUND TRIP\tVERSION\tNOTE")
	for _, n := range m.Members {
		note, trip, sessions := "", "-", "-"
		switch {
		case n.Self:
			note = "this node"
		case n.Connected && n.RoundTrip > 0:
			trip = n.RoundTrip.Round(10 * time.Microsecond).String()
		case n.LastError != "":
			note = "no connection: " + n.LastError
		case !n.Connected && n.State != "left" && n.State != "failed":
			note = "no connection"
		}
		if n.Said != nil {
			sessions = comma(n.Said.Sessions)
			if len(n.Said.Unreachable) > 0 {
				note = strings.TrimPrefix(note+"; cannot reach "+strings.Join(n.Said.Unreachable, ", "), "; ")
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			n.Name, n.State, since(n.Since, now), sessions, orDash(n.Gossip), orDash(n.Transfer), trip, orDash(n.Version), note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// since is how long ago t was, in a word: "3s", "2h10m".
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return roundAge(max(0, now.Sub(t)))
}

// roundAge keeps of a length of time what people care about.
func roundAge(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
