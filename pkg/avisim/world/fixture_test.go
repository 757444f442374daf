// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestFixtureSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte("licenseTier: BASIC\ndynamics: {placementDelay: 1m, checks: true}\nipam: {quarantine: 1h}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	w := open(t, Settings{FixtureFile: path})
	if got := fmt.Sprint(w.writer.Tier(), w.dynamics, w.ipam.options); got != "BASIC{1m0s 0s true false} {0s 1h0m0s 0s false 0s}" {
		t.Error(got)
	}
}
