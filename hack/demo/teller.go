// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// teller writes the story.
type teller struct {
	out    *screen
	colour bool
	begin  time.Time // of the step under way
}

func newTeller(out *os.File) *teller {
	terminal := term.IsTerminal(int(out.Fd()))
	s := &screen{out: out}
	if terminal {
		s.width = func() int {
			width, _, err := term.GetSize(int(out.Fd()))
			if err != nil || width <= 0 { // some terminals don't know theirs
				return 80
			}
			return width
		}
	}
	return &teller{out: s, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

// screen is where the story is written. On a terminal it has one line for progress, which the next text takes the place of.
type screen struct {
	out   io.Writer
	width func() int // of the terminal, in columns; nil if it is none

	mu        sync.Mutex
	temporary bool // whether the last line is one of progress
}

// clearLine goes to the begin of the terminal's line and empties it.
const clearLine = "\r\x1b[2K"

// Write implements io.Writer.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temporary {
		s.temporary = false
		fmt.Fprint(s.out, clearLine)
	}
	return s.out.Write(text)
}

// progress shows a line until the next one, and for good where the screen is no terminal. One that is too long for the terminal is cut: it
// could not be taken back.
func (s *screen) progress(line string, paint func(string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.width == nil {
		fmt.Fprintln(s.out, paint(line))
		return
	}
	if characters, width := []rune(line), max(s.width()-1, 1); len(characters) > width {
		line = string(characters[:width])
	}
	s.temporary = true
	fmt.Fprint(s.out, clearLine, paint(line))
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

// happens prints something that no command of the person in the story does.
func (t *teller) happens(event string) {
	t.begin = time.Now()
	fmt.Fprintf(t.out, "  %s\n", t.paint("1", "→ "+event))
}

// saw prints what was checked and seen, and how long after the last command.
func (t *teller) saw(format string, args ...any) {
	fmt.Fprintf(t.out, "  %s %s  %s\n", t.good("✓"), fmt.Sprintf(format, args...), t.faint(seconds(time.Since(t.begin))))
}

// show prints something as it is.
func (t *teller) show(text string) {
	fmt.Fprintf(t.out, "%s\n", indent("      ", strings.TrimRight(text, "\n")))
}

// say prints a line outside the steps.
func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// progress shows what is written to it line by line, each in the place of the one before on a terminal.
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
		p.out.progress("      "+string(line), p.faint)
		p.rest = rest
	}
}

func indent(by, text string) string { return by + strings.ReplaceAll(text, "\n", "\n"+by) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
