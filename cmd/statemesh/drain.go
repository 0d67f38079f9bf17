package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"statemesh/service/api"
)

func newDrainCmd() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:        "drain",
		Short:      "Have a node hand all its sessions to the others",
		SuggestFor: []string{"evacuate", "leave"},
		Long: `Have the node on this machine hand all its sessions to the others of its cluster, and take no more of theirs. It goes on
serving web servers, and hands over what they bring, until it is stopped; /readyz says 503 meanwhile, so that a load balancer
sends its users elsewhere. There is no way back but to stop it and start it again.

It is not needed before a node is stopped: that hands over all sessions, too. It makes the stop quick, and shows
beforehand that it will lose nothing.`,
		Example: `  statemesh drain --wait
  statemesh drain --config statemesh.hcl`,
		Args: noArguments,
	}
	a := asks(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until nothing is left, and show how far it is")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.find(cmd); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		var s api.Status
		if _, err := a.ask(ctx, http.MethodPost, "/api/v1/drain", &s); err != nil {
			return err
		}
		if !wait {
			fmt.Fprintln(cmd.OutOrStdout(), "The node is draining. To see how far it is: statemesh status")
			return nil
		}
		return awaitDrain(ctx, a, s, cmd.OutOrStdout(), newLine(cmd.ErrOrStderr()))
	}
	return cmd
}

// askEvery is how often a drain is looked at: often enough for a line that people watch.
const askEvery = 250 * time.Millisecond

// awaitDrain shows how a drain goes until it has ended. Whoever is tired of watching ends only that.
func awaitDrain(ctx context.Context, a *asker, s api.Status, out io.Writer, line *line) error {
	defer line.clear()
	for {
		if d := s.Drain; d != nil {
			switch {
			case d.Done:
				line.clear()
				fmt.Fprintln(out, drainLine(*d))
				return nil
			case d.Problem != "":
				return errors.New(drainLine(*d))
			}
			line.show(drainLine(*d))
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return errors.New("not waiting any more; the node goes on draining")
		}
		if _, err := a.ask(ctx, http.MethodGet, "/api/v1/status", &s); errors.Is(err, errNobody) {
			return fmt.Errorf("the node has ended while it was draining; its log says what became of the rest: %w", err)
		} else if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// line is one that changes in place on a terminal. Elsewhere each change is a line of its own, and not every one is shown.
type line struct {
	w    io.Writer
	tty  bool
	next time.Time
}

func newLine(w io.Writer) *line {
	f, ok := w.(*os.File)
	return &line{w: w, tty: ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))}
}

func (l *line) show(text string) {
	switch now := time.Now(); {
	case l.tty:
		fmt.Fprintf(l.w, "\r\x1b[K%s", text)
	case now.After(l.next):
		l.next = now.Add(2 * time.Second)
		fmt.Fprintln(l.w, text)
	}
}

func (l *line) clear() {
	if l.tty {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}
