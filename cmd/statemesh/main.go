// Command statemesh keeps ASP.NET session state: a replacement for Microsoft's ASP.NET State Service.
//
// The package is wiring. Each command reads its flags, calls one package that does the work, and returns an error;
// run turns that into words for the operator and an exit status: 0 done, 1 failed while running, 2 wrong usage or
// configuration.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattn/go-colorable"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"statemesh/cmd/internal/bench"
	"statemesh/config"
)

func main() {
	// Shown on Windows to those who double-click the binary in Explorer, until they press return.
	cobra.MousetrapHelpText = mousetrapText
	cobra.MousetrapDisplayDuration = 0

	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

const mousetrapText = `statemesh has no window of its own: it is started from a command line.

  1. Open PowerShell in this folder (in Explorer: File > Open Windows PowerShell).
  2. To start it:               .\statemesh serve
  3. To see what else it does:  .\statemesh --help

`

// The exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole command.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRootCmd()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	// What goes wrong before a command begins is wrong usage: an unknown command or flag, an argument too many.
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }

	cmd, err := root.ExecuteC()
	var mistakes *config.Mistakes
	if err == nil && !cmd.Runnable() && len(cmd.Flags().Args()) > 0 { // "completion foo", which cobra answers with help
		err = unknownCommand(cmd, cmd.Flags().Args())
	}
	if cmd.Name() == "help" { // it has little to say of itself
		cmd = root
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errLogged):
		return exitFailed
	case errors.As(err, &mistakes):
		_ = mistakes.Write(terminal(stderr))
		fmt.Fprintf(stderr, "%s. For help: %s --help\n", countMistakes(mistakes.Len()), cmd.CommandPath())
		return exitUsage
	case !begun, errors.Is(err, errUsage), errors.Is(err, bench.ErrUsage):
		fmt.Fprintf(stderr, "statemesh: %v\nFor help: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "statemesh: %v\n", err)
		return exitFailed
	}
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "statemesh",
		Short: "Keeps ASP.NET session state",
		Long: `statemesh keeps the session state of ASP.NET web applications, in place of Microsoft's
ASP.NET State Service. Web servers find it by their web.config, unchanged:

  <sessionState mode="StateServer" stateConnectionString="tcpip=127.0.0.1:42424" />`,
		Example: `  statemesh serve                           run on this machine, for this machine
  statemesh serve --config statemesh.hcl    run as a file says
  statemesh check statemesh.hcl             check the file and see what it comes to
  statemesh status                          see how it is doing`,
		Version:                    buildVersion(),
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:              true, // run words them
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.SetVersionTemplate(versionLine())
	root.SetHelpCommand(newHelpCmd())
	root.AddCommand(newServeCmd(), newCheckCmd(), newKeygenCmd(), newMembersCmd(), newStatusCmd(), newDrainCmd(), newBenchCmd(), newVersionCmd())
	return root
}

// terminal is w for Mistakes.Write: with colours if somebody looks at it.
func terminal(w io.Writer) (io.Writer, bool) {
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) || os.Getenv("NO_COLOR") != "" {
		return w, false
	}
	return colorable.NewColorable(f), true // a console of Windows has to be told each colour
}

func countMistakes(n int) string {
	if n == 1 {
		return "1 mistake"
	}
	return fmt.Sprintf("%d mistakes", n)
}
