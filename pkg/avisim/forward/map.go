// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"fmt"
	"net/netip"
	"strings"
)

// Map says where the addresses of a simulated network are to be found on this machine, such as 10.10.0.7 at 127.10.0.7. Linux takes all
// of 127.0.0.0/8 for its own, so that a process needs no rights to listen there. The zero value is [Loopback].
type Map struct {
	pairs  []pair
	direct bool
}

type pair struct{ from, to netip.Prefix }

// Loopback maps 10.0.0.0/8 to 127.0.0.0/8.
var loopback = pair{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}

// ParseMap reads pairs of prefixes that are as long, "10.0.0.0/8=127.0.0.0/8,fd00:10:10::/112=127.200.0.0/16", of which the first that
// has an address decides; or "direct", for addresses that are this machine's own, as in a network namespace. An empty text is
// "10.0.0.0/8=127.0.0.0/8".
func ParseMap(text string) (Map, error) {
	switch text = strings.TrimSpace(text); text {
	case "":
		return Map{}, nil
	case "direct":
		return Map{direct: true}, nil
	}
	var m Map
	for s := range strings.SplitSeq(text, ",") {
		from, to, _ := strings.Cut(strings.TrimSpace(s), "=")
		f, err1 := netip.ParsePrefix(from)
		t, err2 := netip.ParsePrefix(to)
		if err1 != nil || err2 != nil {
			return Map{}, fmt.Errorf("%q is not prefix=prefix", s)
		}
		if hostBits(f) != hostBits(t) {
			return Map{}, fmt.Errorf("%q: %s has %d bits for hosts, %s has %d", s, f, hostBits(f), t, hostBits(t))
		}
		m.pairs = append(m.pairs, pair{f.Masked(), t.Masked()})
	}
	return m, nil
}

// String is the text that ParseMap reads.
func (m Map) String() string {
	if m.direct {
		return "direct"
	}
	var out []string
	for _, p := range m.all() {
		out = append(out, p.from.String()+"="+p.to.String())
	}
	return strings.Join(out, ",")
}

func (m Map) all() []pair {
	if len(m.pairs) == 0 {
		return []pair{loopback}
	}
	return m.pairs
}

// To is where an address of the simulated network is on this machine. Unless the map is direct, that is on loopback always.
func (m Map) To(a netip.Addr) (netip.Addr, error) {
	a = a.Unmap()
	out := a
	if m.direct {
		return out, nil
	}
	for _, p := range m.all() {
		if p.from.Contains(a) {
			out = move(a, p.from, p.to)
			break
		}
	}
	if !out.IsLoopback() {
		return netip.Addr{}, fmt.Errorf("%s is at %s, which is not on loopback: the map is %s", a, out, m)
	}
	return out, nil
}

// From is the address in the simulated network of one on this machine.
func (m Map) From(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if m.direct {
		return a
	}
	for _, p := range m.all() {
		if p.to.Contains(a) {
			return move(a, p.to, p.from)
		}
	}
	return a
}

func hostBits(p netip.Prefix) int { return p.Addr().BitLen() - p.Bits() }

// move puts the host bits of an address into another prefix.
func move(a netip.Addr, from, to netip.Prefix) netip.Addr {
	host, out := a.AsSlice(), to.Addr().AsSlice()
	for i := range hostBits(from) {
		bit := host[len(host)-1-i/8] & (1 << (i % 8))
		out[len(out)-1-i/8] |= bit
	}
	b, _ := netip.AddrFromSlice(out)
	return b
}
