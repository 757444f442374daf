// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"net/netip"
	"strings"
)

// networkFlag is one --network: name=prefix[,first-last].
type networkFlag struct {
	name        string
	prefix      netip.Prefix
	first, last netip.Addr // zero: the whole prefix
}

type networkFlags []networkFlag

func (f *networkFlags) String() string { return "" }

// Type is part of pflag.Value.
func (f *networkFlags) Type() string { return "network" }

// Set parses one flag.
func (f *networkFlags) Set(s string) error {
	name, rest, ok := strings.Cut(s, "=")
	cidr, span, ranged := strings.Cut(rest, ",")
	p, err := netip.ParsePrefix(cidr)
	if !ok || name == "" || err != nil {
		return fmt.Errorf("%q is not name=prefix[,first-last]", s)
	}
	n := networkFlag{name: name, prefix: p}
	if ranged {
		first, last, _ := strings.Cut(span, "-")
		if n.first, err = netip.ParseAddr(first); err == nil {
			n.last, err = netip.ParseAddr(last)
		}
		if err != nil {
			return fmt.Errorf("range %q: %w", span, err)
		}
	}
	*f = append(*f, n)
	return nil
}
