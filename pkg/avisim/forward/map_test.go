// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"net/netip"
	"strings"
	"testing"
)

// TestMap moves addresses there and back, and refuses what is not on loopback.
func TestMap(t *testing.T) {
	for _, x := range []struct{ text, from, to string }{
		{"", "10.10.0.7", "127.10.0.7"},
		{"", "::ffff:10.10.0.7", "127.10.0.7"},
		{"", "127.3.0.1", "127.3.0.1"},
		{"", "192.0.2.1", ""},
		{"", "fd00::1", ""},
		{"10.10.0.0/16=127.83.0.0/16, fd00:10:10::/112=127.200.0.0/16", "fd00:10:10::1:7", ""},
		{"10.10.0.0/16=127.83.0.0/16, fd00:10:10::/112=127.200.0.0/16", "fd00:10:10::107", "127.200.1.7"},
		{"10.10.0.0/16=127.83.0.0/16", "10.10.255.1", "127.83.255.1"},
		{"10.10.0.0/16=127.83.0.0/16", "10.11.255.1", ""},
		{"10.10.0.0/16=192.168.0.0/16", "10.10.255.1", ""},
		{"10.0.0.7/32=127.0.0.9/32,10.0.0.0/24=127.9.9.0/24", "10.0.0.7", "127.0.0.9"},
		{"direct", "192.0.2.1", "192.0.2.1"},
	} {
		m, err := ParseMap(x.text)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseMap(m.String()); err != nil || again.String() != m.String() {
			t.Errorf("%s is read as %s: %v", m, again, err)
		}
		from := netip.MustParseAddr(x.from)
		to, err := m.To(from)
		if (err == nil) != (x.to != "") || err == nil && to.String() != x.to {
			t.Errorf("%s: %s is at %s, %v, want %q", m, from, to, err, x.to)
		}
		if back := m.From(to); err == nil && back != from.Unmap() && !from.IsLoopback() {
			t.Errorf("%s: %s comes back as %s", m, from, back)
		}
	}
	for _, text := range []string{"x", "10.0.0.0/8", "10.0.0.0/8=127.0.0.0/16", "10.0.0.0/8=,", "fd00::/64=127.0.0.0/8"} {
		if m, err := ParseMap(text); err == nil || !strings.Contains(err.Error(), `"`) {
			t.Errorf("%q is %s, %v", text, m, err)
		}
	}
}
