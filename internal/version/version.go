// SPDX-License-Identifier: Apache-2.0

// Package version says which release of the operator and its simulator this program is. The number is in the file VERSION and
// nowhere else; CHANGELOG.md's newest release has the same, which a test holds.
package version

import (
	_ "embed"
	"runtime/debug"
	"strings"
)

//go:embed VERSION
var number string

// revision is the commit that an image is made from, set with -ldflags "-X": the image's build has no repository to ask. It ends with
// ".modified" if the files differ from the commit.
var revision string

// Number is the release in the form of Semantic Versioning, such as "0.3.0".
func Number() string { return strings.TrimSpace(number) }

// String is the number and, where it is known, the commit as build metadata: "0.3.0+2e1daa9b1c3d". It ends with ".modified" if
// the program was built from files that differ from that commit.
func String() string {
	info, _ := debug.ReadBuildInfo()
	return text(Number(), revision, info)
}

// revisionLength is how many hexadecimal digits of a commit are shown.
const revisionLength = 12

func text(number, revision string, info *debug.BuildInfo) string {
	revision, modified := strings.CutSuffix(revision, ".modified")
	if revision == "" && info != nil {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	if revision == "" {
		return number
	}
	out := number + "+" + revision[:min(len(revision), revisionLength)]
	if modified {
		out += ".modified"
	}
	return out
}
