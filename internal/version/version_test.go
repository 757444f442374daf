// SPDX-License-Identifier: Apache-2.0

package version

import (
	"regexp"
	"runtime/debug"
	"testing"
)

func TestNumber(t *testing.T) {
	if !regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(Number()) {
		t.Errorf("VERSION holds %q, want the form of Semantic Versioning", Number())
	}
}

func TestText(t *testing.T) {
	const commit = "2e1daa9b1c3d5e7f90123456789abcdef0123456"
	built := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: modified}}}
	}
	tests := []struct {
		name, revision string
		info           *debug.BuildInfo
		want           string
	}{
		{"nothing known", "", nil, "0.3.0"},
		{"no repository", "", &debug.BuildInfo{}, "0.3.0"},
		{"a clean repository", "", built("false"), "0.3.0+2e1daa9b1c3d"},
		{"a changed repository", "", built("true"), "0.3.0+2e1daa9b1c3d.modified"},
		{"an image", "abc1234", nil, "0.3.0+abc1234"},
		{"an image of changed files", commit + ".modified", nil, "0.3.0+2e1daa9b1c3d.modified"},
		{"what was set comes first", "abc1234", built("true"), "0.3.0+abc1234"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := text("0.3.0", test.revision, test.info); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
