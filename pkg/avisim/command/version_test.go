// SPDX-License-Identifier: Apache-2.0

package command

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	for in, want := range map[string]string{"v0.3.0": "0.3.0", "": "devel", "(devel)": "devel",
		"v0.3.1-0.20260102030405-2e1daa9b1c3d+dirty": "0.3.1-0.20260102030405-2e1daa9b1c3d+dirty"} {
		if got := versionOf(&debug.BuildInfo{Main: debug.Module{Version: in}}); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := versionOf(nil); got != "devel" {
		t.Errorf("nothing known: %s", got)
	}
}
