// SPDX-License-Identifier: Apache-2.0

package doc

import (
	"fmt"
	"strings"
)

// Dereference follows a path of fields through a body, as a client does that asks nowhere whether a field is there, and reports what it
// would fail at. A dot goes into a message, [] into every entry of a list, which must not be empty, and # asks for a reference with a
// name: "vip[].ip_address.addr", "tenant_ref#".
func Dereference(body any, path string) error {
	part, rest, more := strings.Cut(path, ".")
	key, name := strings.CutSuffix(part, "#")
	key, each := strings.CutSuffix(key, "[]")
	m, _ := body.(map[string]any)
	w, ok := m[key]
	if !ok || w == nil || w == "" {
		return fmt.Errorf("no %s", key)
	}
	entries := []any{w}
	if each {
		if entries, ok = w.([]any); !ok || len(entries) == 0 {
			return fmt.Errorf("%s is no list, or empty", key)
		}
	}
	for _, e := range entries {
		if s, _ := e.(string); name && (len(strings.Split(s, "#")) != 2 || !strings.Contains(s, "-") && !strings.Contains(s, "/tenant/admin#")) {
			return fmt.Errorf("%s is %v, not a url with a name", key, e)
		}
		if more {
			if err := Dereference(e, rest); err != nil {
				return err
			}
		}
	}
	return nil
}
