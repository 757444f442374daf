// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"regexp"
	"testing"
)

// TestEffectTable holds the table to its own rules.
func TestEffectTable(t *testing.T) {
	seen := map[string]bool{}
	for i := range effectTable {
		e := &effectTable[i]
		if seen[e.name] || !regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)*$`).MatchString(e.name) {
			t.Errorf("name %q", e.name)
		}
		seen[e.name] = true
		given := map[string]string{}
		for j := range e.params {
			p := &e.params[j]
			if paramKinds[p.Kind] == nil || p.About == "" || (p.Kind == "enum") != (len(p.Enum) > 0) {
				t.Errorf("%s: parameter %+v", e.name, p)
			}
			if p.Kind == "server" {
				given[p.Name] = "10.0.0.1:80"
			} else if err := p.check(p.Default); err != nil {
				t.Errorf("%s: default: %v", e.name, err)
			}
		}
		a, err := e.settle(given)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		h := e.build(a, newChance(1, 0))
		does := map[string]bool{kindRequest: h.before != nil || h.process != nil || h.after != nil || h.deliver != nil || h.lose,
			kindAction: h.act != nil, kindState: h.hold != nil}
		if !does[e.kind] || e.about == "" || e.grade == "" {
			t.Errorf("%s: kind %s does nothing of it", e.name, e.kind)
		}
	}
}
