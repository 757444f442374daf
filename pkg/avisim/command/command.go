// SPDX-License-Identifier: Apache-2.0

// Package command is the program avisim: it runs a simulated Avi Controller until it is told to stop, and talks to one that runs.
//
// Without a subcommand it serves: the Controller's API on one listener, and with --control-addr, on another one, the control API
// and a page for people. The subcommands (avisim help) speak to the control API.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Main runs the command line of this process and ends the process if that fails: with status 2 for a flag that there is not or a value
// that a flag does not take, and with 1 for every other error. The version is what the program says of itself; if it is empty, what the
// go command noted when it built the program.
func Main(version string) {
	if version == "" {
		version = builtVersion()
	}
	log.SetFlags(0)
	log.SetPrefix("avisim: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := execute(ctx, os.Stdout, version, os.Args[1:])
	stop()
	switch {
	case errors.As(err, new(usageError)):
		log.Print(err)
		os.Exit(2)
	case err != nil:
		log.Fatal(err)
	}
}

// Check reports what is wrong with a command line, without running it: a command that there is not, a flag, or an argument. What a
// command finds out when it runs, such as that a file is missing, is not looked at.
func Check(args []string) error {
	root := newCommand(io.Discard, "")
	root.InitDefaultCompletionCmd(args...)
	cmd, rest, err := root.Find(arguments(root, args))
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// usageError is about a command line with a flag that there is not, or with a value that a flag does not take.
type usageError struct{ error }

// execute runs the command of a command line.
func execute(ctx context.Context, out io.Writer, version string, args []string) error {
	root := newCommand(out, version)
	root.SetArgs(arguments(root, args))
	return root.ExecuteContext(ctx)
}

func newCommand(out io.Writer, version string) *cobra.Command {
	serve := serveCommand()
	root := &cobra.Command{
		Use: "avisim", Short: "A simulated Avi Controller", SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Long: "Runs a simulated Avi Controller, as avisim serve does, and with a command talks to the control API of one that runs: on\n" +
			"127.0.0.1:9444, unless AVISIM_CONTROL or --control names another. With a value, --version is that of the simulated Controller.",
		Example: "  avisim --ca-file ca.crt --control-addr 127.0.0.1:9444\n" +
			"  avisim fault add --type pool --method POST --count 1 answer status=503\n  avisim requests --follow",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return noCommand(cmd, args)
		},
		RunE: serve.RunE,
	}
	root.Flags().AddFlagSet(serve.Flags())
	c := &cli{out: printable{out}}
	root.PersistentFlags().StringVar(&c.control, "control", cmp.Or(os.Getenv("AVISIM_CONTROL"), "127.0.0.1:9444"),
		"`host:port` of the control API that commands speak to")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetOut(c.out)
	root.SetFlagErrorFunc(flagError)
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"run", "Simulate:", []*cobra.Command{serve}},
		{"trouble", "Make trouble:", c.troubles()},
		{"look", "See what happens:", c.looks()},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(c.command("version", "Print the version of this program; the same as --version alone", noArguments,
		func(context.Context, []string) error {
			_, err := fmt.Fprintln(c.out, "avisim", version)
			return err
		}))
	return root
}

// arguments brings a command line into the form that is read. A flag of any command may have one dash instead of two, as in scripts and
// manifests of when package flag read them; and --version without a value asks for the version of this program.
func arguments(root *cobra.Command, args []string) []string {
	takesValue := map[string]bool{"help": false}
	var learn func(*cobra.Command)
	learn = func(cmd *cobra.Command) {
		for _, fs := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
			fs.VisitAll(func(f *pflag.Flag) { takesValue[f.Name] = f.NoOptDefVal == "" })
		}
		for _, sub := range cmd.Commands() {
			learn(sub)
		}
	}
	learn(root)
	args = slices.Clone(args)
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		single, one := strings.CutPrefix(args[i], "-")
		name, _, valued := strings.Cut(strings.TrimPrefix(single, "-"), "=")
		value, known := takesValue[name]
		if !one || !known {
			continue
		}
		if !strings.HasPrefix(single, "-") {
			args[i] = "-" + args[i]
		}
		if value && !valued {
			i++ // what the flag takes, whatever it looks like
		}
	}
	if slices.Equal(args, []string{"--version"}) {
		return []string{"version"}
	}
	return args
}

// flagError says where the flags are listed.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); len(args) > 0 && !cmd.HasParent() {
		return noCommand(cmd, args) // the flag is one of the command that was meant
	}
	return usageError{fmt.Errorf("%w: %s --help lists the flags", err, cmd.CommandPath())}
}

// group makes a command that only its subcommands do something for.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, RunE: noCommand, SuggestionsMinimumDistance: 2}
	g.AddCommand(commands...)
	return g
}

// noCommand is the error about words that are no command of cmd.
func noCommand(cmd *cobra.Command, args []string) error {
	words := append(strings.Fields(cmd.CommandPath())[1:], args...)
	text := fmt.Sprintf("there is no command %q: %s --help lists what there is", strings.Join(words, " "), cmd.CommandPath())
	if len(args) > 0 {
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
	}
	return errors.New(text)
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, and %q is one", cmd.CommandPath(), args[0])
	}
	return nil
}

// between accepts so many arguments; otherwise it asks the question. A negative most is no limit.
func between(least, most int, question string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return errors.New(question)
		}
		return nil
	}
}
