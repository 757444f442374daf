// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// cli speaks to the control API of a simulator that runs.
type cli struct {
	out     io.Writer
	control string // host:port
}

// printable shows control characters as escapes: names and paths come from clients, and a terminal would obey them.
type printable struct{ w io.Writer }

func (p printable) Write(b []byte) (int, error) {
	safe := bytes.Buffer{}
	for _, r := range string(b) {
		if r != '\n' && r != '\t' && !strconv.IsPrint(r) {
			safe.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			safe.WriteRune(r)
		}
	}
	if _, err := p.w.Write(safe.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// command makes a subcommand.
func (c *cli) command(use, short string, args cobra.PositionalArgs, run func(context.Context, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		return run(cmd.Context(), args)
	}}
}

// troubles are the commands that make the simulator misbehave.
func (c *cli) troubles() []*cobra.Command {
	const server, file = "which server? IP:PORT, or [IP6]:PORT", "which script? one file"
	check := c.command("check FILE", "Check a script without a simulator", between(1, 1, file), c.scriptCheck)
	run := c.command("run FILE", "Run a script, in place of one that runs", between(1, 1, file), c.scriptRun)
	check.ValidArgsFunction, run.ValidArgsFunction = completeYAML, completeYAML
	return []*cobra.Command{
		c.effectsCommand(),
		group("fault", "Add, list or remove faults",
			c.faultAddCommand(),
			c.command("list", "List the faults", noArguments, c.faultList),
			c.faultRemoveCommand(),
			c.command("clear", "Remove all faults", noArguments, c.remove("/faults"))),
		group("server", "Set a server of pools down or up",
			c.command("down IP:PORT [REASON]", "Set a server down in all pools", between(1, -1, server), c.serverHealth(false)),
			c.command("up IP:PORT", "Set a server up", between(1, -1, server), c.serverHealth(true))),
		group("script", "Check, run or stop a timeline of faults", check, run,
			c.command("stop", "Stop the script", noArguments, c.remove("/script"))),
	}
}

// looks are the commands that show what happens.
func (c *cli) looks() []*cobra.Command {
	return []*cobra.Command{
		c.command("services [SEARCH]", "List virtual services with their states", cobra.ArbitraryArgs, c.services),
		c.command("traffic", "List the ports that carry traffic, and where they are (serve --forward)", noArguments, c.traffic),
		c.command("send PROTOCOL ADDRESS:PORT TEXT", "Send a text by tcp, udp or sctp to a port of a VIP, and print the answer",
			between(3, -1, "send what where? PROTOCOL ADDRESS:PORT TEXT, such as sctp 10.10.0.10:80 hello"), c.send),
		c.requestsCommand(),
		c.command("counters", "Show how many requests each route got", noArguments, c.counters),
		c.command("unexpected PATTERN…", `Fail if a request was made that no pattern allows, such as "GET /api/pool/**"`, cobra.ArbitraryArgs,
			c.unexpected),
		c.harCommand(),
	}
}

// remove makes what deletes a path of the control API.
func (c *cli) remove(path string) func(context.Context, []string) error {
	return func(ctx context.Context, _ []string) error { return c.call(ctx, http.MethodDelete, path, nil, nil) }
}

// call sends a request; in and to may be nil, to may be an io.Writer, which gets the answer as it is.
func (c *cli) call(ctx context.Context, method, path string, in io.Reader, to any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.control+path, in)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("no control API on %s: start the simulator with --control-addr, or name it with --control: %w", c.control, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // what there is of it
		return errors.New(strings.TrimSpace(string(text)))
	}
	switch to := to.(type) {
	case nil:
		return nil
	case io.Writer:
		_, err = io.Copy(to, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(to)
}

func (c *cli) post(ctx context.Context, path string, in, to any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path, bytes.NewReader(b), to)
}

func (c *cli) table(head string, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head)
	rows(w)
	return w.Flush()
}

func (c *cli) effectsCommand() *cobra.Command {
	markdown := false
	cmd := c.command("effects [NAME]", "List what faults can do, or one effect with its parameters",
		between(0, 1, "which effect? avisim effects lists them"), func(_ context.Context, args []string) error {
			switch {
			case markdown:
				_, err := io.WriteString(c.out, avisim.EffectDocs())
				return err
			case len(args) > 0:
				return c.effect(args[0])
			}
			return c.table("EFFECT\tGROUP\tKIND\tWHAT IT DOES", func(w io.Writer) {
				for _, e := range avisim.EffectTable() {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Name, e.Group, e.Kind, e.About)
				}
			})
		})
	cmd.ValidArgsFunction = completeEffect
	cmd.Flags().BoolVar(&markdown, "markdown", false, "all effects with their parameters, as tables of Markdown")
	return cmd
}

// effect shows one effect with its parameters.
func (c *cli) effect(name string) error {
	all := avisim.EffectTable()
	i := slices.IndexFunc(all, func(e avisim.EffectInfo) bool { return e.Name == name })
	if i < 0 {
		return fmt.Errorf("there is no effect %q: avisim effects lists them", name)
	}
	e := all[i]
	_, _ = fmt.Fprintf(c.out, "%s (%s, %s): %s\n\n", e.Name, e.Kind, e.Evidence, e.About)
	return c.table("PARAMETER\tKIND\tDEFAULT\tMEANING", func(w io.Writer) {
		for _, p := range e.Params {
			kind := p.Kind
			if len(p.Enum) > 0 {
				kind = strings.Join(p.Enum, "|")
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, kind, p.Default, p.About)
		}
	})
}

func (c *cli) faultAddCommand() *cobra.Command {
	var f avisim.Fault
	cmd := c.command("add EFFECT [key=value…] [EFFECT [key=value…]…]", "Add a fault",
		between(1, -1, "which effect? avisim effects lists them, avisim fault add --help the conditions"),
		func(ctx context.Context, args []string) error { return c.faultAdd(ctx, f, args) })
	cmd.Long = "Adds a fault of one effect or several; avisim effects lists the effects. The flags are its conditions, all of which must hold:\n" +
		"without any, it is about every request."
	cmd.Example = "  avisim fault add --type pool --method POST --after 2 --count 1 answer status=503 retry_after=5\n" +
		"  avisim fault add --duration 30s leader-change"
	cmd.ValidArgsFunction = completeEffects
	fs := cmd.Flags()
	fs.StringVar(&f.Name, "name", "", "name in the request log")
	fs.StringVar(&f.Method, "method", "", "HTTP method")
	fs.StringVar(&f.Type, "type", "", "object type, login, or the first segment of a special path, such as cluster")
	fs.StringVar(&f.Route, "route", "", "path template, such as /api/pool/{uuid}")
	fs.StringVar(&f.Tenant, "tenant", "", "tenant of the request")
	fs.Func("object-name", "regular `expression` for the object's name", func(s string) (err error) {
		f.ObjectName, err = regexp.Compile(s)
		return err
	})
	fs.IntVar(&f.After, "after", 0, "skip so many requests that match")
	fs.IntVar(&f.Count, "count", 0, "strike so many; 0 is for ever")
	fs.Float64Var(&f.Probability, "probability", 0, "strike with this probability; 0 is always")
	fs.Int64Var(&f.Seed, "seed", 0, "of the probability")
	fs.DurationVar(&f.Duration, "duration", 0, "remove the fault after this; 0 is never")
	completeFlags(cmd, faultCompletions())
	return cmd
}

func (c *cli) faultAdd(ctx context.Context, f avisim.Fault, args []string) error {
	for _, a := range args {
		k, v, isArg := strings.Cut(a, "=")
		switch {
		case !isArg:
			f.Effects = append(f.Effects, avisim.Effect{Name: a, Args: map[string]string{}})
		case len(f.Effects) == 0:
			return fmt.Errorf("%q comes before the effect that it belongs to", a)
		default:
			f.Effects[len(f.Effects)-1].Args[k] = v
		}
	}
	var added struct{ ID int }
	if err := c.post(ctx, "/faults", f, &added); err != nil {
		return err
	}
	if added.ID == 0 {
		_, err := fmt.Fprintln(c.out, "done")
		return err
	}
	_, err := fmt.Fprintf(c.out, "fault %d added\n", added.ID)
	return err
}

func (c *cli) faultList(ctx context.Context, _ []string) error {
	var list []avisim.ActiveFault
	if err := c.call(ctx, http.MethodGet, "/faults", nil, &list); err != nil {
		return err
	}
	return c.table("ID\tSTATE\tSTRUCK\tNAME\tCONDITIONS\tEFFECTS", func(w io.Writer) {
		for _, f := range list {
			var effects []string
			for _, e := range f.Fault.Effects {
				effects = append(effects, e.String())
			}
			_, _ = fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\n", f.ID, f.State, f.Applied, f.Fault.Name, conditions(f.Fault),
				strings.Join(effects, "; "))
		}
	})
}

func conditions(f avisim.Fault) string {
	var out []string
	add := func(on bool, format string, v any) {
		if on {
			out = append(out, fmt.Sprintf(format, v))
		}
	}
	add(f.Method != "", "%s", f.Method)
	add(f.Type != "", "%s", f.Type)
	add(f.Route != "", "%s", f.Route)
	add(f.ObjectName != nil, "name ~ %s", f.ObjectName)
	add(f.Tenant != "", "tenant %s", f.Tenant)
	add(f.After > 0, "after %d", f.After)
	add(f.Count > 0, "%d times", f.Count)
	add(f.Probability > 0, "p=%g", f.Probability)
	add(f.Duration > 0, "for %s", f.Duration)
	if len(out) == 0 {
		return "always"
	}
	return strings.Join(out, ", ")
}

func (c *cli) faultRemoveCommand() *cobra.Command {
	cmd := c.command("remove ID", "Remove a fault and end what it does", between(1, 1, "which fault? avisim fault list has their numbers"),
		func(ctx context.Context, args []string) error {
			return c.remove("/faults/"+url.PathEscape(args[0]))(ctx, nil)
		})
	cmd.ValidArgsFunction = c.completeFaults
	return cmd
}

func (c *cli) serverHealth(up bool) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		at, err := netip.ParseAddrPort(args[0])
		if err != nil {
			return fmt.Errorf("%q is not IP:PORT, or [IP6]:PORT", args[0])
		}
		reason := strings.Join(args[1:], " ")
		if reason == "" && !up {
			reason = "set down by hand"
		}
		return c.post(ctx, "/server-health", map[string]any{"ip": at.Addr().String(), "port": at.Port(), "up": up, "reason": reason}, nil)
	}
}

func (c *cli) services(ctx context.Context, args []string) error {
	var p avisim.ServicePage
	if err := c.call(ctx, http.MethodGet, "/services?page_size=200&search="+url.QueryEscape(strings.Join(args, " ")), nil, &p); err != nil {
		return err
	}
	if err := c.table("NAME\tSTATE\tADDRESSES\tPORTS\tSERVERS UP\tREASON", func(w io.Writer) {
		for _, s := range p.Services {
			var addresses []string
			for _, v := range s.VIPs {
				addresses = append(addresses, v.Addresses...)
			}
			up, total := 0, 0
			for _, x := range s.Pools {
				up, total = up+x.Up, total+x.Total
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%s\n", s.Name, s.State, strings.Join(addresses, ","), strings.Join(s.Ports, ","), up,
				total, s.Reason)
		}
	}); err != nil {
		return err
	}
	if p.Pages > 1 {
		_, err := fmt.Fprintf(c.out, "%d of %d; search for fewer\n", len(p.Services), p.Matched)
		return err
	}
	return nil
}

func (c *cli) requestsCommand() *cobra.Command {
	var follow, whole bool
	cmd := c.command("requests", "Show the request log", noArguments,
		func(ctx context.Context, _ []string) error { return c.requests(ctx, follow, whole) })
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with new ones")
	cmd.Flags().BoolVar(&whole, "json", false, "one JSON object per line, with bodies")
	cmd.AddCommand(c.command("clear", "Empty the request log and the counters", noArguments, c.remove("/requests")))
	return cmd
}

func (c *cli) requests(ctx context.Context, follow, whole bool) error {
	show := func(r avisim.Request) error { _, err := fmt.Fprintln(c.out, requestLine(r)); return err }
	if whole {
		show = func(r avisim.Request) error { return json.NewEncoder(c.out).Encode(r) }
	}
	after := int64(0)
	for {
		var list []avisim.Request
		if err := c.call(ctx, http.MethodGet, fmt.Sprintf("/requests?after=%d&limit=1000000", after), nil, &list); err != nil {
			return err
		}
		for _, r := range list {
			after = r.ID
			if err := show(r); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// requestLine is one request of the log in one line.
func requestLine(r avisim.Request) string {
	path, status := r.Path, strconv.Itoa(r.Status)
	if r.Query != "" {
		path += "?" + r.Query
	}
	if r.Status == 0 {
		status = "cut"
	}
	line := fmt.Sprintf("%s %-6s %s %s %dms", r.Time.Format("15:04:05.000"), r.Method, status, path, r.Took.Milliseconds())
	if r.Fault != "" {
		line += " fault: " + r.Fault
	}
	return line
}

func (c *cli) counters(ctx context.Context, _ []string) error {
	var list []struct {
		avisim.Counter
		Count int
	}
	if err := c.call(ctx, http.MethodGet, "/counters", nil, &list); err != nil {
		return err
	}
	return c.table("METHOD\tROUTE\tSTATUS\tCOUNT", func(w io.Writer) {
		for _, r := range list {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", r.Method, r.Route, r.Status, r.Count)
		}
	})
}

func (c *cli) unexpected(ctx context.Context, args []string) error {
	var list []avisim.Request
	if err := c.call(ctx, http.MethodGet, "/unexpected?"+url.Values{"allowed": args}.Encode(), nil, &list); err != nil {
		return err
	}
	for _, r := range list {
		if _, err := fmt.Fprintf(c.out, "%s %s %d\n", r.Method, r.Path, r.Status); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("%d unexpected requests", len(list))
	}
	return nil
}

func (c *cli) harCommand() *cobra.Command {
	normal := false
	cmd := c.command("har", "Write the request log as an HTTP archive", noArguments, func(ctx context.Context, _ []string) error {
		return c.call(ctx, http.MethodGet, fmt.Sprintf("/har?normal=%t", normal), nil, c.out)
	})
	cmd.Flags().BoolVar(&normal, "normal", false, "number uuids and times, for golden files")
	return cmd
}

func (c *cli) scriptCheck(_ context.Context, args []string) error {
	sc, err := readScript(args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s: %d steps, no mistakes\n", args[0], sc.Len())
	return err
}

func (c *cli) scriptRun(ctx context.Context, args []string) error {
	if _, err := readScript(args[0]); err != nil {
		return err
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, "/script", bytes.NewReader(text), nil)
}
