// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"testing"
)

// On a terminal progress is one line, which the story takes the place of; elsewhere every line stays.
func TestProgress(t *testing.T) {
	tests := []struct {
		name  string
		width func() int
		want  string
	}{
		{"terminal", func() int { return 18 }, "a\n\r\x1b[2K      one\r\x1b[2K      two, which \r\x1b[2Kb\nc\n"},
		{"file", nil, "a\n      one\n      two, which is long\nb\nc\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			tell := &teller{out: &screen{out: &out, width: test.width}}
			tell.say("a")
			fmt.Fprint(tell.progress(), "one\ntwo, ", "which is long\n", "incomplete")
			tell.say("b")
			tell.say("c")
			if out.String() != test.want {
				t.Errorf("got %q, want %q", out.String(), test.want)
			}
		})
	}
}
