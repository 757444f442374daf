// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	old := map[string]any{"name": "p", "_last_modified": "1", "configpb_attributes": map[string]any{"version": 1.0}, "ratio": 1.0,
		"gone": "<b>", "servers": []any{map[string]any{"port": 80.0, "enabled": true}}}
	next := map[string]any{"name": "p", "_last_modified": "2", "configpb_attributes": map[string]any{"version": 2.0}, "ratio": 2.0,
		"text": strings.Repeat("ä", 40), "servers": []any{map[string]any{"port": 80.0, "enabled": false}, map[string]any{"port": 81.0}}}
	want := []string{
		`gone: "<b>" → (none)`, "ratio: 1 → 2", "servers[0].enabled: true → false", `servers[1]: (none) → {"port":81}`,
		`text: (none) → "` + strings.Repeat("ä", 29) + "…",
	}
	if got := differences(old, next); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	many := map[string]any{}
	for _, c := range "abcdefghijklmnop" {
		many[string(c)] = 1.0
	}
	if got := differences(nil, many); len(got) != fieldLimit+1 || got[fieldLimit] != "…" {
		t.Errorf("%q", got)
	}
	if got := differences(old, old); len(got) > 0 {
		t.Errorf("%q", got)
	}
}
