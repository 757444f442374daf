// SPDX-License-Identifier: Apache-2.0

// Command govulncheck looks for known vulnerabilities in the code that the operator calls. The entries of Go's vulnerability database come
// from the Go module golang.org/x/vulndb, so they are to be had wherever the operator can be built. It fails for what a change of this
// repository removes: a function with a known vulnerability that is called, in a dependency of which a release has the fix. Everything else
// is reported: what the installed Go itself brings, what nobody has fixed, and that there was no database, such as without a network.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/vuln/scan"
)

// databaseModule has an entry of the database in each file of the folder data/osv, a form that govulncheck reads beside the usual one.
const databaseModule = "golang.org/x/vulndb@latest"

func main() {
	var folder, database string
	flag.StringVar(&folder, "C", ".", "folder of the module to look at")
	flag.StringVar(&database, "db", os.Getenv("GOVULNDB"), "address of another database; empty: the module "+databaseModule)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, folder, database, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "govulncheck:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, folder, database string, out io.Writer) error {
	if database == "" {
		var err error
		if database, err = fetchDatabase(ctx); err != nil {
			fmt.Fprintln(out, "govulncheck: not checked, since there is no database:", err)
			return nil
		}
	}
	findings, err := check(ctx, folder, database)
	if err != nil {
		return err
	}
	return report(findings, out)
}

// fetchDatabase returns the address of the newest entries that modules bring.
func fetchDatabase(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", databaseModule).Output()
	var module struct{ Dir, Error string }
	if parseErr := json.Unmarshal(out, &module); parseErr != nil {
		return "", fmt.Errorf("go mod download %s: %w", databaseModule, errors.Join(err, parseErr))
	}
	if err != nil || module.Error != "" {
		return "", errors.Join(err, errors.New(module.Error))
	}
	return address(filepath.Join(module.Dir, "data", "osv")), nil
}

func address(folder string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}).String()
}

// finding is what govulncheck says of a vulnerability and one place that it is met at; the innermost frame of the trace comes first.
type finding struct {
	ID    string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Package  string `json:"package"`
		Receiver string `json:"receiver"`
		Function string `json:"function"`
	} `json:"trace"`

	summary string
}

// called reports whether the code calls a function with the vulnerability, and does not only build with its package or module.
func (f finding) called() bool { return f.Trace[0].Function != "" }

// oursToFix reports whether another version of a dependency is all that it takes.
func (f finding) oursToFix() bool {
	return f.called() && f.Fixed != "" && f.Trace[0].Module != "stdlib"
}

func (f finding) String() string {
	at := f.Trace[0]
	name := at.Package + "." + at.Function
	if at.Receiver != "" {
		name = at.Package + "." + strings.TrimPrefix(at.Receiver, "*") + "." + at.Function
	}
	fixed := "no release has a fix"
	if f.Fixed != "" {
		fixed = "fixed in " + f.Fixed
	}
	return fmt.Sprintf("%s: %s\n  %s is called; %s is at %s, %s", f.ID, f.summary, name, at.Module, at.Version, fixed)
}

// check lists, for each vulnerability of the module's code, the gravest finding.
func check(ctx context.Context, folder, database string) ([]finding, error) {
	var out, problems bytes.Buffer
	cmd := scan.Command(ctx, "-C", folder, "-db", database, "-format", "json", "./...")
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := errors.Join(cmd.Start(), cmd.Wait()); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &problems)
	}
	return parse(&out)
}

// parse reads govulncheck's stream of messages.
func parse(in io.Reader) ([]finding, error) {
	found, summaries := map[string]finding{}, map[string]string{}
	for d := json.NewDecoder(in); ; {
		var message struct {
			OSV *struct {
				ID      string `json:"id"`
				Summary string `json:"summary"`
			} `json:"osv"`
			Finding *finding `json:"finding"`
		}
		if err := d.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if message.OSV != nil {
			summaries[message.OSV.ID] = message.OSV.Summary
		}
		if f := message.Finding; f != nil && len(f.Trace) > 0 {
			if had, ok := found[f.ID]; !ok || weight(*f) > weight(had) {
				found[f.ID] = *f
			}
		}
	}
	var out []finding
	for _, f := range found {
		f.summary = summaries[f.ID]
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b finding) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func weight(f finding) int {
	switch {
	case f.oursToFix():
		return 2
	case f.called():
		return 1
	}
	return 0
}

// report prints what was found, and fails if something of it is to be fixed here.
func report(findings []finding, out io.Writer) error {
	var ours []string
	uncalled := 0
	for _, f := range findings {
		if !f.called() {
			uncalled++
			continue
		}
		fmt.Fprintln(out, f)
		if f.oursToFix() {
			ours = append(ours, fmt.Sprintf("%s: %s has to be at %s", f.ID, f.Trace[0].Module, f.Fixed))
		}
	}
	fmt.Fprintf(out, "govulncheck: %d known vulnerabilities in code that is called, %d in code that is not\n", len(findings)-uncalled, uncalled)
	if len(ours) > 0 {
		return errors.New("to be fixed here:\n" + strings.Join(ours, "\n"))
	}
	return nil
}
