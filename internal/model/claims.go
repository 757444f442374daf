// SPDX-License-Identifier: Apache-2.0

package model

import (
	"strings"

	"github.com/vmware/alb-sdk/go/models"
)

// Claims are what only one VsVip should have: its names in DNS, in small letters, and its addresses. Other kinds claim nothing.
func Claims(body any) []string {
	vip, ok := body.(*models.VsVip)
	if !ok {
		return nil
	}
	var out []string
	for _, d := range vip.DNSInfo {
		if d != nil && d.Fqdn != nil {
			out = append(out, strings.ToLower(*d.Fqdn))
		}
	}
	return append(out, Addresses(vip)...)
}

// Addresses are those of a VsVip, in text.
func Addresses(vip *models.VsVip) (out []string) {
	for _, v := range vip.Vip {
		if v == nil {
			continue
		}
		for _, ip := range []*models.IPAddr{v.IPAddress, v.Ip6Address, v.FloatingIP, v.FloatingIp6} {
			if ip != nil && ip.Addr != nil {
				out = append(out, *ip.Addr)
			}
		}
	}
	return out
}
