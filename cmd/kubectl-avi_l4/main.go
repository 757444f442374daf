// SPDX-License-Identifier: Apache-2.0

// Command kubectl-avi_l4 is the kubectl plugin "kubectl avi-l4": it explains why a Service or Gateway is not served as asked, shows what
// stands behind it, and gathers what a report of a problem needs. It reads Kubernetes with the rights of whoever calls it, knows no
// password of the Controller and changes nothing.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := newCommand(streams, nil).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// plugin is what the subcommands share.
type plugin struct {
	genericiooptions.IOStreams
	flags   *genericclioptions.ConfigFlags
	output  string                      // "", "json" or "yaml"
	connect func() (*connection, error) // to the cluster, when a command needs it
}

// newCommand makes the command line. connect is how tests reach a cluster of their own; nil: by kubeconfig and flags.
func newCommand(streams genericiooptions.IOStreams, connect func() (*connection, error)) *cobra.Command {
	p := &plugin{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true), connect: connect}
	if p.connect == nil {
		p.connect = p.byFlags
	}
	root := &cobra.Command{
		Use:   "kubectl-avi_l4",
		Short: "Explains and shows what avi-l4-operator serves",
		Long: "Explains why a Service or Gateway is not served as asked, shows what stands behind it, and gathers what a report of a problem\n" +
			"needs. It reads Kubernetes with your rights, knows no password of the Avi Controller, and changes nothing.",
		Version:       version.String(),
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl avi-l4"},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	p.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(p.explainCommand(), p.treeCommand(), p.adoptCommand(), p.bundleCommand(),
		p.planCommand("plan", "Show what the operator would change on the Controller",
			"Shows what the operator would create, change and delete on the Controller now, what it holds, and why.", false),
		p.planCommand("drift", "Show what differs on the Controller from what is wanted",
			"Shows what the Controller holds of served objects otherwise than wanted, such as behind a pause or a dry run: else the operator\n"+
				"repairs what it finds.", true))
	return root
}

// addOutput adds flag --output to a command that has more to give than text.
func (p *plugin) addOutput(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.output, "output", "o", "", "Form of the output: json or yaml; text if empty.")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}
