// SPDX-License-Identifier: Apache-2.0

// Command local-cluster runs a Kubernetes cluster on this machine without containers; see package cluster.
//
//	go run ./hack/local-cluster start [--nodes 3] [--dual-stack] [--dir .local/cluster] [--detach]
//	go run ./hack/local-cluster kubeconfig
//	go run ./hack/local-cluster kubectl get pods
//	go run ./hack/local-cluster stop [--delete]
//	go run ./hack/local-cluster build
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
)

const usage = `usage: local-cluster <command> [flags]

  start       start a cluster and run it until ctrl-C; with --detach, in the background
  stop        stop the cluster that runs in the background
  kubeconfig  print the path of the administrator's kubeconfig
  kubectl     run kubectl on the cluster; all further arguments are kubectl's
  build       build the cluster's programs and print their folder
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "local-cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return flag.ErrHelp
	}
	command, args := args[0], args[1:]
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	dir := flags.String("dir", filepath.Join(".local", "cluster"), "folder of the cluster's state")
	switch command {
	case "start":
		options := cluster.Options{Log: os.Stderr}
		flags.IntVar(&options.Nodes, "nodes", 3, "how many nodes there are")
		flags.BoolVar(&options.DualStack, "dual-stack", false, "give nodes, pods and Services IPv6 addresses too")
		detach := flags.Bool("detach", false, "run in the background until stop")
		if err := flags.Parse(args); err != nil {
			return err
		}
		options.Dir = *dir
		if *detach {
			return startDetached(ctx, options)
		}
		return start(ctx, options)
	case "stop":
		remove := flags.Bool("delete", false, "remove the cluster's state too")
		if err := flags.Parse(args); err != nil {
			return err
		}
		return stop(ctx, *dir, *remove)
	case "kubeconfig":
		if err := flags.Parse(args); err != nil {
			return err
		}
		path, err := kubeconfig(*dir)
		if err == nil {
			fmt.Println(path)
		}
		return err
	case "kubectl":
		return kubectl(ctx, *dir, args)
	case "build":
		if err := flags.Parse(args); err != nil {
			return err
		}
		programs, err := cluster.Binaries(ctx, os.Stderr)
		if err == nil {
			fmt.Println(programs)
		}
		return err
	default:
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("unknown command %q", command)
	}
}

// start runs a cluster until the context ends or one of its processes does.
func start(ctx context.Context, options cluster.Options) error {
	c, err := cluster.Start(ctx, options)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", c.Kubeconfig())
	if err := os.WriteFile(readyFile(options.Dir), nil, 0o600); err != nil {
		return errors.Join(err, c.Stop())
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-c.Failed():
	}
	return errors.Join(err, os.Remove(readyFile(options.Dir)), c.Stop())
}

// readyFile exists while the cluster serves.
func readyFile(dir string) string { return filepath.Join(dir, "ready") }

// startDetached runs start in a process of its own and returns when the cluster serves.
func startDetached(ctx context.Context, options cluster.Options) error {
	if pid, err := cluster.Owner(options.Dir); err != nil || pid != 0 {
		return errors.Join(err, fmt.Errorf("a cluster is running in %s", options.Dir))
	}
	// Built here, so that the progress is seen.
	if _, err := cluster.Binaries(ctx, os.Stderr); err != nil {
		return err
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(readyFile(options.Dir)); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(options.Dir, "local-cluster.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// No context: it outlives this process.
	background := exec.CommandContext(context.Background(), self, "start", "--dir", options.Dir,
		fmt.Sprintf("--nodes=%d", options.Nodes), fmt.Sprintf("--dual-stack=%t", options.DualStack))
	background.Stdout, background.Stderr = log, log
	background.SysProcAttr = detached()
	if err := background.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- background.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), background.Process.Signal(syscall.SIGTERM), <-ended)
		case err := <-ended:
			content, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the cluster did not start: %w\n%s", err, content)
		case <-time.After(100 * time.Millisecond):
		}
		if _, err := os.Stat(readyFile(options.Dir)); err == nil {
			path, err := kubeconfig(options.Dir)
			if err == nil {
				fmt.Printf("export KUBECONFIG=%s\n", path)
			}
			return err
		}
	}
}

// stop ends a cluster in the background and waits until it has.
func stop(ctx context.Context, dir string, remove bool) error {
	pid, err := cluster.Owner(dir)
	if err != nil {
		return err
	}
	if pid != 0 {
		process, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		if err := process.Signal(syscall.SIGTERM); err != nil {
			return fmt.Errorf("end process %d: %w", pid, err)
		}
		for pid != 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
			if pid, err = cluster.Owner(dir); err != nil {
				return err
			}
		}
	}
	if remove {
		return os.RemoveAll(dir)
	}
	return nil
}

func kubeconfig(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "kubeconfig"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no cluster in %s: %w", dir, err)
	}
	return path, nil
}

// kubectl hands its arguments on as they are, so the cluster's folder is taken from the one flag it looks for.
func kubectl(ctx context.Context, dir string, args []string) error {
	if len(args) > 0 {
		if value, ok := strings.CutPrefix(args[0], "--dir="); ok {
			dir, args = value, args[1:]
		}
	}
	config, err := kubeconfig(dir)
	if err != nil {
		return err
	}
	programs, err := cluster.Binaries(ctx, os.Stderr)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(programs, "kubectl"), append([]string{"--kubeconfig", config}, args...)...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
