// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func TestRuleKey(t *testing.T) {
	for _, c := range []struct {
		text string
		want types.NamespacedName
		ok   bool
	}{
		{"", types.NamespacedName{}, false},
		{"  ", types.NamespacedName{}, false},
		{" rule ", types.NamespacedName{Namespace: "core", Name: "rule"}, true},
		{"net/rule", types.NamespacedName{Namespace: "net", Name: "rule"}, true},
		{"/rule", types.NamespacedName{}, true},
		{"net/", types.NamespacedName{}, true},
		{"a/b/c", types.NamespacedName{}, true},
	} {
		if key, ok := RuleKey("core", map[string]string{AnnotationRule: c.text}); key != c.want || ok != c.ok {
			t.Errorf("%q: %v %v, want %v %v", c.text, key, ok, c.want, c.ok)
		}
	}
}

// full is a part of a rule with something in every field, strings and lists of them being references.
func full(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		full(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			full(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		full(v.Index(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32:
		v.SetInt(7)
	}
}

// TestOverridesCoverTheRule: each field of a rule is read by something, and each row of the tables sets the field of the body that
// it names and no other.
func TestOverridesCoverTheRule(t *testing.T) {
	var spec v1alpha2.L4RuleSpec
	full(reflect.ValueOf(&spec).Elem())
	spec.BackendProperties[0].Enabled = new(false) // true says nothing
	elsewhere := []string{"applicationProfileRef", "networkProfileRef", "loadBalancerIP", "listenerProperties", "backendProperties"}
	covers(t, vsOverrides, &spec, elsewhere)
	covers(t, poolOverrides, &spec.BackendProperties[0], []string{"port", "protocol", "healthMonitorRefs", "healthMonitorCrdRefs"})
}

func covers[B, R any](t *testing.T, table []override[B, R], rule *R, elsewhere []string) {
	t.Helper()
	known := slices.Clone(elsewhere)
	for _, row := range table {
		known = append(known, row.rule)
		body := new(B)
		if !row.set(body, rule) {
			t.Errorf("%s sets nothing", row.rule)
		}
		if row.set(new(B), new(R)) {
			t.Errorf("%s sets something although the rule says nothing", row.rule)
		}
		v := reflect.ValueOf(body).Elem()
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if set := !v.Field(i).IsZero(); set != (name == row.body) {
				t.Errorf("%s: %s is set: %v", row.rule, name, set)
			}
		}
	}
	typ := reflect.TypeFor[R]()
	for i := range typ.NumField() {
		if name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); !slices.Contains(known, name) {
			t.Errorf("nothing reads %s", name)
		}
	}
}

// TestReferencesCoverTheRule: every field that ends in Ref or Refs is looked up.
func TestReferencesCoverTheRule(t *testing.T) {
	var spec v1alpha2.L4RuleSpec
	full(reflect.ValueOf(&spec).Elem())
	var got []string
	for _, r := range references(&spec) {
		got = append(got, r.field)
		if len(r.names) != 1 || r.names[0] != "x" || r.kind.Type().Title == "" || !r.kind.Type().OnDemand && !r.kind.Type().Shared {
			t.Errorf("reference %+v", r)
		}
	}
	want := func(typ reflect.Type, prefix string) {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			ref := strings.HasSuffix(name, "Ref") || strings.HasSuffix(name, "Refs")
			if ref && name != "healthMonitorCrdRefs" && !slices.Contains(got, prefix+name) {
				t.Errorf("%s is not looked up", prefix+name)
			}
		}
	}
	want(reflect.TypeFor[v1alpha2.L4RuleSpec](), "")
	want(reflect.TypeFor[v1alpha2.BackendProperties](), "backendProperties[0].")
	if kinds := RuleKinds(&v1alpha2.L4Rule{Spec: spec}); len(kinds) != 11 || !slices.Contains(kinds, model.HealthMonitor) {
		t.Errorf("kinds: %v", kinds)
	}
}
