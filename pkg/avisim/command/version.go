// SPDX-License-Identifier: Apache-2.0

package command

import (
	"runtime/debug"
	"strings"
)

// builtVersion is the version that the go command noted in the program: that of the module if it was fetched, or else what the
// repository says of the files.
func builtVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(info)
}

// versionOf is the version of a program without the letter before the number, such as "0.3.0", or "devel" if nothing is known.
func versionOf(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}
