// SPDX-License-Identifier: Apache-2.0

package world

import "testing"

// TestTraits shows that each type with traits is in the schema, and that their default references name fields that it has.
func TestTraits(t *testing.T) {
	for path, known := range typeTraits() {
		kind := KindOf(path)
		if kind == nil {
			t.Errorf("type %s has traits, and is not in the schema", path)
			continue
		}
		for field := range known.refDefaults {
			if kind.Message() == nil || kind.Message().Fields[field] == nil {
				t.Errorf("%s has no field %s", path, field)
			}
		}
	}
}
