package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"statemesh/config"
)

func newCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:        "check FILE",
		Short:      "Check a configuration file and print what it comes to",
		SuggestFor: []string{"validate", "verify", "test"},
		Long: `Read a configuration file as serve would, and start nothing.

If the file is valid, the configuration that it comes to is printed, with every setting that the
file leaves out: itself a valid file. If not, every mistake is shown with its line and with what is
allowed there, and the exit status is 2.`,
		Example: `  statemesh check statemesh.hcl
  statemesh check statemesh.hcl > full.hcl    a file with every setting in it`,
		Args: oneFile,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"hcl"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0], nil)
			if err != nil {
				return err
			}
			machine, err := config.MachineMemory()
			if err != nil {
				machine = 0 // then it is not shown; serve would say so
			}
			if err := cfg.Write(cmd.OutOrStdout(), machine); err != nil {
				return fmt.Errorf("print the configuration: %w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is valid.\n", args[0])
			return nil
		},
	}
}
