// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"os"
	"testing"

	"sigs.k8s.io/yaml"
)

// Our own CRD keeps conditions; one like AKO's, which lists only status and error, doesn't, unless it keeps what it doesn't list.
func TestKeepsConditions(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../config/crd/bases/ako.vmware.com_aviinfrasettings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var own map[string]any
	if err := yaml.Unmarshal(raw, &own); err != nil {
		t.Fatal(err)
	}
	crd := func(status map[string]any) map[string]any {
		schema := map[string]any{"openAPIV3Schema": map[string]any{"properties": map[string]any{"status": status}}}
		versions := []any{map[string]any{"name": "v1alpha1"}, map[string]any{"name": "v1beta1", "schema": schema}}
		return map[string]any{"spec": map[string]any{"versions": versions}}
	}
	text := map[string]any{"type": "string"}
	for name, c := range map[string]struct {
		crd  map[string]any
		want bool
	}{
		"ours":             {own, true},
		"AKO's":            {crd(map[string]any{"properties": map[string]any{"status": text, "error": text}}), false},
		"with conditions":  {crd(map[string]any{"properties": map[string]any{"conditions": map[string]any{"type": "array"}}}), true},
		"keeps what comes": {crd(map[string]any{"x-kubernetes-preserve-unknown-fields": true}), true},
		"another version":  {crd(nil), false},
		"empty":            {nil, false},
	} {
		if got := keepsConditions(c.crd, "v1beta1"); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
