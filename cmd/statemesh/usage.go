package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"statemesh/config"
)

// errUsage marks errors that are the operator's to mend on the command line.
var errUsage = errors.New("wrong usage")

// unknownCommand is what a command that only has others below it makes of an argument: one that does not exist.
func unknownCommand(parent *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	suggestion := ""
	if near := parent.SuggestionsFor(args[0]); len(near) > 0 {
		suggestion = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return fmt.Errorf(`there is no command "%s"%s`, args[0], suggestion)
}

// newHelpCmd replaces cobra's, which answers a command that does not exist with everything there is.
func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if parent, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range parent.Commands() {
					if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), typed) {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				about, rest = cmd.Root(), args
			}
			return unknownCommand(about, rest)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag() // else the first help about it does not show it
			return about.Help()
		},
	}
}

// noArguments is for commands that take flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if cmd.Flags().Lookup("config") != nil {
		hint = fmt.Sprintf("; if that is the configuration file: --config %s", args[0])
	}
	return fmt.Errorf(`%s takes no argument, but got "%s"%s`, cmd.Name(), args[0], hint)
}

// oneFile is for commands that take the name of a file.
func oneFile(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("%s needs the name of the configuration file", cmd.Name())
	case 1:
		return nil
	}
	return fmt.Errorf("%s takes one file, but got %d arguments; a name with spaces needs quotes", cmd.Name(), len(args))
}

// wrongFlag words what pflag has to say about a flag.
func wrongFlag(cmd *cobra.Command, err error) error {
	if before := cmd.Flags().Args(); cmd == cmd.Root() && len(before) > 0 {
		return unknownCommand(cmd, before) // "statemesh serv --config": the flag is not what is wrong
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	flag, dashes := unknown.GetSpecifiedName(), "--"
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		flag, _, _ = strings.Cut(short, "=")
		dashes = "-"
		if cmd.Flags().Lookup(flag) != nil {
			return fmt.Errorf("a flag begins with two dashes: --%s", flag)
		}
	}
	for _, sub := range cmd.Commands() {
		if sub.Flags().Lookup(flag) != nil {
			return fmt.Errorf("--%s is a flag of a command: %s --%[1]s", flag, sub.CommandPath())
		}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := config.Nearest(flag, known); near != "" {
		return fmt.Errorf("there is no flag %s%s; did you mean --%s?", dashes, flag, near)
	}
	return fmt.Errorf("there is no flag %s%s", dashes, flag)
}
