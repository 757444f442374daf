// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// describe reads what serves from the mirror, whether or not the run succeeded.
func (r *run) describe() {
	s := &r.record.Serving
	vs := r.serving(r.in.Owner.Key(), s)
	if vs == nil {
		return
	}
	s.Name, s.Tenant, s.VSUUID = vs.Key.Name, vs.Key.Tenant, vs.UUID
	if vip := r.Mirror.Get(model.Key{Kind: model.VsVip, Tenant: s.Tenant, Name: s.Name}); vip != nil {
		s.Addresses, s.FQDNs = addressesOf(vip), names(vip)
	}
	if h, ok := r.Mirror.VSHealth(vs.UUID); ok {
		s.Health = &h
	}
	s.Backends, s.Names = make(map[model.Port][]string), make(map[string][]string)
	chosen := translate.Chosen(r.Mirror.Of(r.in.Owner.Key(), s.Name))
	for name, port := range translate.PoolPorts(&r.in) {
		pool := r.Mirror.Get(model.Key{Kind: model.Pool, Tenant: s.Tenant, Name: name})
		if pool == nil || !pool.Owner.MayBe(r.in.Owner.Key()) || !chosen[name] {
			continue
		}
		if !slices.Contains(s.Ports, port) {
			s.Ports = append(s.Ports, port)
		}
		if body, ok := pool.Body.(*models.Pool); ok {
			service := model.Mark(body.Markers, model.MarkServiceName)
			s.Backends[port] = append(s.Backends[port], service)
			named(s.Names, service, translate.NamesOf(body))
		}
		if h, ok := r.Mirror.PoolHealth(pool.UUID); ok && (h.Up < h.Servers || h.Servers == 0) {
			s.Servers = append(s.Servers, outcome.Servers{Port: port, Text: fmt.Sprintf("%d of %d enabled servers up", h.Up, h.Servers)})
		}
	}
	slices.SortFunc(s.Ports, comparePorts)
	slices.SortFunc(s.Servers, func(a, b outcome.Servers) int {
		return cmp.Or(comparePorts(a.Port, b.Port), cmp.Compare(a.Text, b.Text))
	})
}

func comparePorts(a, b model.Port) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
}

// named keeps the DNS names of a Service that one of its pools has.
func named(of map[string][]string, service string, names []string) {
	for _, n := range names {
		if !slices.Contains(of[service], n) {
			of[service] = append(of[service], n)
		}
	}
}

// addressesOf are the addresses of a VsVip: floating ones if there are any, else IPv4 before IPv6.
func addressesOf(vip *model.Observed) []netip.Addr {
	body, ok := vip.Body.(*models.VsVip)
	if !ok {
		return nil
	}
	var floating, four, six []netip.Addr
	add := func(list *[]netip.Addr, ip *models.IPAddr) {
		if ip == nil || ip.Addr == nil {
			return
		}
		if a, err := netip.ParseAddr(*ip.Addr); err == nil && !slices.Contains(*list, a) {
			*list = append(*list, a)
		}
	}
	for _, v := range body.Vip {
		if v == nil {
			continue
		}
		add(&floating, v.FloatingIP)
		add(&floating, v.FloatingIp6)
		add(&four, v.IPAddress)
		add(&six, v.Ip6Address)
	}
	if len(floating) > 0 {
		return floating
	}
	return append(four, six...)
}

// serving is the owner's VirtualService: the wanted one, or the one that serves under another name or in another tenant.
func (e *Engine) serving(owner model.Owner, s *outcome.Serving) *model.Observed {
	vs := e.Mirror.Get(model.Key{Kind: model.VirtualService, Tenant: s.Tenant, Name: s.Name})
	if vs != nil && vs.Owner.MayBe(owner) {
		return vs
	}
	for _, o := range e.Mirror.Of(owner, s.Name) {
		if o.Key.Kind == model.VirtualService {
			return o
		}
	}
	return nil
}

func names(vip *model.Observed) (out []string) {
	if body, ok := vip.Body.(*models.VsVip); ok {
		for _, d := range body.DNSInfo {
			if d != nil && d.Fqdn != nil {
				out = append(out, *d.Fqdn)
			}
		}
	}
	slices.Sort(out)
	return out
}

// RefreshAddress reads a VsVip again whose address the Controller's IPAM had not given yet.
func (e *Engine) RefreshAddress(ctx context.Context, s *outcome.Serving) error {
	vip, err := e.Mirror.Fetch(ctx, model.Key{Kind: model.VsVip, Tenant: s.Tenant, Name: s.Name})
	if err != nil {
		return fmt.Errorf("reading the address of VsVip %s: %w", s.Name, err)
	}
	s.Addresses = addressesOf(vip)
	return nil
}
