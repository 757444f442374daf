// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
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

// command is one subcommand. Its words are what is typed to get it.
type command struct {
	words, args, about string
	run                func(*cli, context.Context, []string) error
}

func commands() []command {
	return []command{
		{"serve", "[flags]", "run a simulated Controller; the same as no subcommand (avisim serve --help)", nil},
		{"effects", "[NAME|--markdown]", "list what faults can do, or one effect with its parameters", (*cli).effects},
		{"fault add", "[conditions] EFFECT [key=value…]", "add a fault (avisim fault add --help)", (*cli).faultAdd},
		{"fault list", "", "list the faults", (*cli).faultList},
		{"fault remove", "ID", "remove a fault and end what it does", (*cli).faultRemove},
		{"fault clear", "", "remove all faults", (*cli).faultClear},
		{"server down", "IP:PORT [REASON]", "set a server down in all pools", serverHealth(false)},
		{"server up", "IP:PORT", "set a server up", serverHealth(true)},
		{"services", "[SEARCH]", "list virtual services with their states", (*cli).services},
		{"traffic", "", "list the ports that carry traffic, and where they are (serve --forward)", (*cli).traffic},
		{"send", "PROTOCOL ADDRESS:PORT TEXT", "send a text by tcp, udp or sctp to a port of a VIP, and print the answer", (*cli).send},
		{"requests", "[--follow] [--json]", "show the request log", (*cli).requests},
		{"requests clear", "", "empty the request log and the counters", func(c *cli, ctx context.Context, _ []string) error {
			return c.call(ctx, http.MethodDelete, "/requests", nil, nil)
		}},
		{"counters", "", "show how many requests each route got", (*cli).counters},
		{"unexpected", "PATTERN…", `fail if a request was made that no pattern allows, such as "GET /api/pool/**"`, (*cli).unexpected},
		{"har", "[--normal]", "write the request log as an HTTP archive", (*cli).har},
		{"script check", "FILE", "check a script without a simulator", (*cli).scriptCheck},
		{"script run", "FILE", "run a script, in place of one that runs", (*cli).scriptRun},
		{"script stop", "", "stop the script", func(c *cli, ctx context.Context, _ []string) error {
			return c.call(ctx, http.MethodDelete, "/script", nil, nil)
		}},
	}
}

func (c *cli) usage() error {
	_, _ = fmt.Fprint(c.out, "avisim [--control HOST:PORT] COMMAND\n\n")
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	for _, x := range commands() {
		_, _ = fmt.Fprintf(w, "  %s %s\t%s\n", x.words, x.args, x.about)
	}
	_, _ = fmt.Fprintf(w, "\nCommands speak to the control API on %s; set AVISIM_CONTROL, or give --control after the command, for another.\n",
		c.control)
	return w.Flush()
}

// run finds the command with the most words that fit. --control may stand anywhere after it.
func (c *cli) run(ctx context.Context, args []string) error {
	for i := 0; i < len(args); i++ {
		if v, ok := strings.CutPrefix(args[i], "--control="); ok {
			c.control = v
			args = slices.Delete(slices.Clone(args), i, i+1)
			i--
		} else if args[i] == "--control" && i+1 < len(args) {
			c.control = args[i+1]
			args = slices.Delete(slices.Clone(args), i, i+2)
			i--
		}
	}
	var best *command
	all := commands()
	for i, x := range all {
		words := strings.Fields(x.words)
		if x.run != nil && len(args) >= len(words) && slices.Equal(args[:len(words)], words) && (best == nil ||
			len(words) > len(strings.Fields(best.words))) {
			best = &all[i]
		}
	}
	if best == nil {
		if err := c.usage(); err != nil || len(args) == 0 || args[0] == "help" {
			return err
		}
		return fmt.Errorf("there is no command %q", strings.Join(args, " "))
	}
	return best.run(c, ctx, args[len(strings.Fields(best.words)):])
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

func none(args []string, what string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, and %q is one", what, args[0])
	}
	return nil
}

func (c *cli) effects(_ context.Context, args []string) error {
	if len(args) == 0 {
		return c.table("EFFECT\tGROUP\tKIND\tWHAT IT DOES", func(w io.Writer) {
			for _, e := range avisim.EffectTable() {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Name, e.Group, e.Kind, e.About)
			}
		})
	}
	if args[0] == "--markdown" {
		_, err := io.WriteString(c.out, avisim.EffectDocs())
		return err
	}
	all := avisim.EffectTable()
	i := slices.IndexFunc(all, func(e avisim.EffectInfo) bool { return e.Name == args[0] })
	if i < 0 {
		return fmt.Errorf("there is no effect %q: avisim effects lists them", args[0])
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

func (c *cli) faultAdd(ctx context.Context, args []string) error {
	var f avisim.Fault
	fs := flag.NewFlagSet("avisim fault add", flag.ContinueOnError)
	fs.SetOutput(c.out)
	fs.StringVar(&f.Name, "name", "", "name in the request log")
	fs.StringVar(&f.Method, "method", "", "HTTP method")
	fs.StringVar(&f.Type, "type", "", "object type, login, or the first segment of a special path, such as cluster")
	fs.StringVar(&f.Route, "route", "", "path template, such as /api/pool/{uuid}")
	fs.StringVar(&f.Tenant, "tenant", "", "tenant of the request")
	object := fs.String("object-name", "", "regular expression for the object's name")
	fs.IntVar(&f.After, "after", 0, "skip so many requests that match")
	fs.IntVar(&f.Count, "count", 0, "strike so many; 0 is for ever")
	fs.Float64Var(&f.Probability, "probability", 0, "strike with this probability; 0 is always")
	fs.Int64Var(&f.Seed, "seed", 0, "of the probability")
	fs.DurationVar(&f.Duration, "duration", 0, "remove the fault after this; 0 is never")
	fs.Usage = func() {
		_, _ = fmt.Fprintln(c.out, "avisim fault add [conditions] EFFECT [key=value…] [EFFECT [key=value…]…]\navisim effects lists the effects; the conditions are:")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	for _, a := range fs.Args() {
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
	if len(f.Effects) == 0 {
		fs.Usage()
		return errors.New("which effect?")
	}
	if *object != "" {
		re, err := regexp.Compile(*object)
		if err != nil {
			return fmt.Errorf("--object-name: %w", err)
		}
		f.ObjectName = re
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

func (c *cli) faultList(ctx context.Context, args []string) error {
	var list []avisim.ActiveFault
	if err := errors.Join(none(args, "fault list"), c.call(ctx, http.MethodGet, "/faults", nil, &list)); err != nil {
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

func (c *cli) faultRemove(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("which fault? avisim fault list has their numbers")
	}
	return c.call(ctx, http.MethodDelete, "/faults/"+url.PathEscape(args[0]), nil, nil)
}

func (c *cli) faultClear(ctx context.Context, args []string) error {
	if err := none(args, "fault clear"); err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, "/faults", nil, nil)
}

func serverHealth(up bool) func(*cli, context.Context, []string) error {
	return func(c *cli, ctx context.Context, args []string) error {
		if len(args) == 0 {
			return errors.New("which server? IP:PORT, or [IP6]:PORT")
		}
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

func (c *cli) requests(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("avisim requests", flag.ContinueOnError)
	fs.SetOutput(c.out)
	follow := fs.Bool("follow", false, "go on with new ones")
	whole := fs.Bool("json", false, "one JSON object per line, with bodies")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if err := none(fs.Args(), "requests"); err != nil {
		return err
	}
	show := func(r avisim.Request) error { _, err := fmt.Fprintln(c.out, requestLine(r)); return err }
	if *whole {
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
		if !*follow {
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

func (c *cli) counters(ctx context.Context, args []string) error {
	var list []struct {
		avisim.Counter
		Count int
	}
	if err := errors.Join(none(args, "counters"), c.call(ctx, http.MethodGet, "/counters", nil, &list)); err != nil {
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

func (c *cli) har(ctx context.Context, args []string) error {
	normal := slices.Equal(args, []string{"--normal"})
	if !normal && len(args) > 0 {
		return fmt.Errorf("har takes --normal, and %q is something else", args[0])
	}
	return c.call(ctx, http.MethodGet, fmt.Sprintf("/har?normal=%t", normal), nil, c.out)
}

func oneFile(args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("which script? one file")
	}
	return args[0], nil
}

func (c *cli) scriptCheck(_ context.Context, args []string) error {
	file, err := oneFile(args)
	if err != nil {
		return err
	}
	sc, err := readScript(file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s: %d steps, no mistakes\n", file, sc.Len())
	return err
}

func (c *cli) scriptRun(ctx context.Context, args []string) error {
	file, err := oneFile(args)
	if err != nil {
		return err
	}
	if _, err := readScript(file); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, "/script", bytes.NewReader(text), nil)
}
