// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"strings"
	"unicode/utf8"
)

// Measures of a terminal's picture, in pixels but for the longest line, in characters: longer ones are broken as a terminal does.
const (
	longest    = 118
	cellWidth  = 7.8
	lineHeight = 18
	margin     = 16
)

// The picture has a background of its own, so that it can be read on a light page and on a dark one. Each line is as wide as its
// characters, whichever font the reader has.
//
//go:embed terminal.svg
var terminalTemplate string

var terminalSVG = template.Must(template.New("terminal").Parse(terminalTemplate))

type terminalLine struct {
	Text    string
	Y       int
	Width   float64
	Command bool
}

// spaces makes those that SVG keeps of those that it drops at the beginning of a text, and of which it takes several for one.
var spaces = strings.NewReplacer(" ", "\u00a0")

// terminal draws a command and what it has printed.
func terminal(command, output string) ([]byte, error) {
	lines := append([]string{command}, strings.Split(strings.TrimRight(output, "\n"), "\n")...)
	data := struct {
		Width, Height int
		Title         string
		Margin        int
		Lines         []terminalLine
	}{Title: command, Margin: margin}
	columns := 0
	for i, line := range lines {
		for _, part := range broken(line, longest) {
			columns = max(columns, utf8.RuneCountInString(part))
			if part != "" {
				data.Lines = append(data.Lines, terminalLine{spaces.Replace(part), data.Height + margin + lineHeight*2/3,
					float64(utf8.RuneCountInString(part)) * cellWidth, i == 0})
			}
			data.Height += lineHeight
		}
	}
	data.Width, data.Height = int(float64(columns)*cellWidth)+2*margin, data.Height+2*margin
	var out bytes.Buffer
	err := terminalSVG.Execute(&out, data)
	return out.Bytes(), err
}

// broken is a line in parts of at most so many characters, broken at spaces where there are any. What is left goes on below the line's
// beginning.
func broken(line string, most int) (out []string) {
	indent := strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " "))+2)
	for {
		runes := []rune(line)
		if len(runes) <= most {
			return append(out, line)
		}
		at := most
		if space := strings.LastIndex(string(runes[:most+1]), " "); space > len(indent) {
			at = utf8.RuneCountInString(string(runes[:most+1])[:space])
		}
		out = append(out, strings.TrimRight(string(runes[:at]), " "))
		line = indent + strings.TrimLeft(string(runes[at:]), " ")
	}
}
