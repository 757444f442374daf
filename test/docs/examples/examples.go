// SPDX-License-Identifier: Apache-2.0

// Package examples reads the commands that the documents show, so that tests can hold them to the programs that they are for.
package examples

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Command is one command of a document.
type Command struct {
	At    string   // file and line
	Words []string // of the program and its arguments; what the reader has to choose is "NAME"
	Line  string   // the shell's, which may have several commands
}

func (c Command) String() string { return c.At + ": " + strings.Join(c.Words, " ") }

// Of returns the arguments if the command is one of the program, given as the words that it begins with.
func (c Command) Of(program ...string) (args []string, ok bool) {
	n := len(program)
	if len(c.Words) < n || !slices.Equal(c.Words[:n], program) {
		return nil, false
	}
	return c.Words[n:], true
}

// placeholder stands for what the reader chooses.
var placeholder = regexp.MustCompile(`<[^<>]*>`)

// Read returns the commands in the fenced blocks of the repository's documents: of blocks marked sh each line, of blocks marked console
// those behind a prompt.
func Read(root string) (all []Command, err error) {
	var files []string
	for _, pattern := range []string{"*.md", filepath.Join("docs", "*.md")} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return nil, err
		}
		all = append(all, Parse(filepath.Base(file), string(content))...)
	}
	return all, nil
}

// Parse returns the commands of one document.
func Parse(name, text string) (all []Command) {
	block, line, begun := "", "", 0
	for i, l := range strings.Split(text, "\n") {
		if mark, fence := strings.CutPrefix(strings.TrimSpace(l), "```"); fence {
			if block != "" {
				mark = ""
			} else if mark == "" {
				mark = "none"
			}
			block = mark
			continue
		}
		switch prompted, ok := strings.CutPrefix(l, "$ "); {
		case line != "": // goes on
		case block == "console" && ok:
			l = prompted
		case block == "sh":
		default:
			continue
		}
		if line == "" {
			begun = i + 1
		}
		line += strings.TrimSuffix(l, "\\")
		if strings.HasSuffix(l, "\\") {
			continue
		}
		line = placeholder.ReplaceAllString(line, "NAME")
		for _, words := range split(line) {
			all = append(all, Command{At: fmt.Sprintf("%s:%d", name, begun), Words: words, Line: line})
		}
		line = ""
	}
	return all
}

// split divides a line as a shell does, into commands and their words. Quotes keep their content as it is, and a number sign at the
// beginning of a word ends the line. Where output goes is left out.
func split(line string) (commands [][]string) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord, redirected := false, false
	end := func() {
		if inWord && !redirected {
			words = append(words, word.String())
		}
		redirected = redirected && !inWord
		word.Reset()
		inWord = false
	}
	next := func() {
		end()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '#' && !inWord:
			next()
			return commands
		case r == ' ' || r == '\t':
			end()
		case r == '>':
			end()
			redirected = true
		case r == '&' || r == '|' || r == ';':
			next()
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	next()
	return commands
}
