// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"slices"
	"testing"
)

func TestParseRanges(t *testing.T) {
	for _, c := range []struct {
		texts, prefixes, invalid []string
	}{
		{texts: nil},
		{texts: []string{"192.0.2.0/24", " 10.1.2.3/8", "10.0.0.0/8 "}, prefixes: []string{"10.0.0.0/8", "192.0.2.0/24"}},
		{texts: []string{"FD00:1::5/64", "0.0.0.0/0"}, prefixes: []string{"0.0.0.0/0", "fd00:1::/64"}},
		{texts: []string{"::ffff:10.1.2.3/104"}, prefixes: []string{"10.0.0.0/8"}},
		{texts: []string{"::ffff:0.0.0.0/95", "::ffff:10.0.0.0/129"}, invalid: []string{"::ffff:0.0.0.0/95", "::ffff:10.0.0.0/129"}},
		{texts: []string{"", "x", "10.1.2.3", "010.0.0.0/8", "10.0.0.0/33", "fe80::1%eth0/64", "10.0.0.0/-1", "x"},
			invalid: []string{"", "010.0.0.0/8", "10.0.0.0/-1", "10.0.0.0/33", "10.1.2.3", "fe80::1%eth0/64", "x"}},
		{texts: []string{"10.0.0.0/8", "x"}, prefixes: []string{"10.0.0.0/8"}, invalid: []string{"x"}},
	} {
		prefixes, invalid := parseRanges(c.texts)
		var got []string
		for _, p := range prefixes {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.prefixes) || !slices.Equal(invalid, c.invalid) {
			t.Errorf("%q: %q and invalid %q, want %q and %q", c.texts, got, invalid, c.prefixes, c.invalid)
		}
	}
}

func TestAnnotatedRanges(t *testing.T) {
	for text, want := range map[string]string{"": "[]", "  ": "[]", "10.0.0.0/8": `["10.0.0.0/8"]`, "a, b,": `["a" " b" ""]`} {
		where, got := annotatedRanges("k", map[string]string{"k": text})
		if fmt.Sprintf("%q", got) != want || where != "annotation k" {
			t.Errorf("%q: %q of %q, want %s", text, got, where, want)
		}
	}
	if where, got := annotatedRanges("k", map[string]string{"other": "10.0.0.0/8"}); where != "" || got != nil {
		t.Errorf("without the annotation: %q of %q", got, where)
	}
}
