// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// teller writes the story.
type teller struct {
	out    io.Writer
	colour bool
	begin  time.Time // of the step under way
}

func newTeller(out *os.File) *teller {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &teller{out: out, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

func (t *teller) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *teller) good(text string) string { return t.paint("1;32", text) }
func (t *teller) bad(text string) string  { return t.paint("1;31", text) }
func (t *teller) faint(text string) string {
	return t.paint("2", text)
}

// title opens a step.
func (t *teller) title(number, of int, title, about string) {
	t.begin = time.Now()
	fmt.Fprintf(t.out, "\n%s\n", t.paint("1;36", fmt.Sprintf("%d/%d  %s", number, of, title)))
	if about != "" {
		fmt.Fprintf(t.out, "%s\n", t.faint(indent("     ", about)))
	}
}

// did shows a command of the person in the story.
func (t *teller) did(command string) {
	t.begin = time.Now()
	fmt.Fprintf(t.out, "  %s\n", t.paint("1", "$ "+command))
}

// happens tells of something that no command of the person in the story does.
func (t *teller) happens(event string) {
	t.begin = time.Now()
	fmt.Fprintf(t.out, "  %s\n", t.paint("1", "→ "+event))
}

// saw tells what was checked and seen, and how long after the last command.
func (t *teller) saw(format string, args ...any) {
	fmt.Fprintf(t.out, "  %s %s  %s\n", t.good("✓"), fmt.Sprintf(format, args...), t.faint(seconds(time.Since(t.begin))))
}

// show prints something as it is.
func (t *teller) show(text string) {
	fmt.Fprintf(t.out, "%s\n", indent("      ", strings.TrimRight(text, "\n")))
}

// say prints a line outside the steps.
func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// progress prints what is written to it line by line.
func (t *teller) progress() io.Writer { return &progress{teller: t} }

type progress struct {
	*teller
	rest []byte // a line that is not complete yet
}

// Write implements io.Writer.
func (p *progress) Write(text []byte) (int, error) {
	p.rest = append(p.rest, text...)
	for {
		line, rest, complete := bytes.Cut(p.rest, []byte("\n"))
		if !complete {
			return len(text), nil
		}
		fmt.Fprintf(p.out, "%s\n", p.faint("      "+string(line)))
		p.rest = rest
	}
}

func indent(by, text string) string { return by + strings.ReplaceAll(text, "\n", "\n"+by) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
