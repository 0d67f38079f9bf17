package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"statemesh/service"
)

func newKeygenCmd() *cobra.Command {
	return &cobra.Command{
		Use:        "keygen",
		Short:      "Print a new key for a cluster",
		SuggestFor: []string{"key", "genkey", "keys"},
		Long: `Print a new key for a cluster. Whoever has it can join the cluster and read every session: keep it from
others' eyes, and let only the user that statemesh runs as read the file.

Do it once, on one node, and copy the file to the others. To change the key of a running cluster see
docs/security.md.`,
		Example: `  statemesh keygen > cluster.key
  statemesh serve --key-file cluster.key --join web02`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), service.NewKey()); err != nil {
				return fmt.Errorf("print the key: %w", err)
			}
			return nil
		},
	}
}
