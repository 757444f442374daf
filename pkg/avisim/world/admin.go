// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"net/url"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// Admin acts on a world as another administrator would: no session, no version gate, no rules, no latency, no log.
type Admin struct{ world *World }

// Admin returns the other administrator.
func (w *World) Admin() *Admin { return &Admin{w} }

// Objects returns copies of all objects of a type, in all tenants, in the order in which they were created. References
// are rendered as "/api/<type>/<uuid>#<name>".
func (a *Admin) Objects(typ string) []map[string]any {
	var out []map[string]any
	a.world.Read(func(s *Reader) {
		r := s.Renderer("", true)
		for _, o := range s.Store.All(typ) {
			out = append(out, r.Object(o))
		}
	})
	return out
}

// Object returns a copy of one object; tenant is a name. A singleton's name is "".
func (a *Admin) Object(typ, tenant, name string) (body map[string]any, found bool) {
	a.world.Read(func(s *Reader) {
		if o, err := s.byName(typ, tenant, name); err == nil {
			body, found = s.Renderer("", true).Object(o), true
		}
	})
	return body, found
}

// Find returns the names of an object and of its tenant.
func (a *Admin) Find(typ, uuid string) (name, tenant string, found bool) {
	a.world.Read(func(s *Reader) {
		if o := s.Store.Get(doc.Ref{Type: typ, UUID: uuid}); o != nil {
			name, tenant, found = o.Name, s.Tenant(o.Tenant), true
		}
	})
	return name, tenant, found
}

// Edit changes an object. The function gets a copy with references rendered as by Object and may write any JSON-like
// value into it; _last_modified is bumped if something changed.
func (a *Admin) Edit(typ, tenant, name string, change func(map[string]any)) (err error) {
	a.world.Write(func(s *Writer) {
		var o *Object
		if o, err = s.byName(typ, tenant, name); err != nil {
			return
		}
		body := s.Renderer("", true).Object(o)
		change(body)
		if body, err = doc.Normal(body); err != nil {
			err = fmt.Errorf("editing %s %q: %w", typ, name, err)
			return
		}
		delete(body, "_last_modified")
		err = s.force(Write{Kind: o.Kind, Old: o, Incoming: body})
	})
	return err
}

// Touch gives an object another _last_modified and changes nothing else.
func (a *Admin) Touch(typ, tenant, name string) (err error) {
	a.world.Write(func(s *Writer) {
		var o *Object
		if o, err = s.byName(typ, tenant, name); err == nil {
			s.Touch(o)
		}
	})
	return err
}

// Create makes an object in a tenant and returns its uuid. Defaults are filled and references resolved as for a client.
func (a *Admin) Create(typ, tenant string, body map[string]any) (uuid string, err error) {
	body, err = doc.Normal(body)
	if err != nil {
		return "", fmt.Errorf("creating %s: %w", typ, err)
	}
	a.world.Write(func(s *Writer) {
		kind := KindOf(typ)
		id, ok := s.Store.TenantByName(tenant)
		if kind == nil || !ok {
			err = fmt.Errorf("creating %s: no such type, or no tenant %q", typ, tenant)
			return
		}
		o, bad := s.apply(&write{Write: Write{Kind: kind, Tenant: id, Incoming: body, Slug: doc.Str(body, "uuid")}, trusted: true})
		if bad != nil {
			err = fmt.Errorf("creating %s %q: %w", typ, doc.Str(body, "name"), bad)
			return
		}
		uuid = o.UUID
	})
	return uuid, err
}

// Remove deletes an object even if others refer to it.
func (a *Admin) Remove(typ, tenant, name string) (err error) {
	a.world.Write(func(s *Writer) {
		var o *Object
		if o, err = s.byName(typ, tenant, name); err == nil {
			s.Store.drop(o)
		}
	})
	return err
}

// AddTenant makes a tenant.
func (a *Admin) AddTenant(name string) error {
	_, err := a.Create("tenant", AdminTenant, map[string]any{"name": name})
	return err
}

// AddVIPNetwork makes a network in Default-Cloud, if there is none of that name, and adds it to the networks that the
// cloud's IPAM profile may use. With a zero first, the whole prefix may be used.
func (a *Admin) AddVIPNetwork(name string, subnet netip.Prefix, first, last netip.Addr) error {
	configured := map[string]any{"prefix": Prefix(subnet.Masked())}
	if first.IsValid() {
		configured["static_ip_ranges"] = []any{map[string]any{
			"range": map[string]any{"begin": Address(first), "end": Address(last)}, "type": "STATIC_IPS_FOR_VIP_AND_SE"}}
	}
	if have, ok := a.Object("network", AdminTenant, name); ok {
		for _, cs := range doc.Messages(have["configured_subnets"]) {
			pm, _ := cs["prefix"].(map[string]any)
			if p, ok := parsePrefix(pm); ok && p == subnet.Masked() {
				return nil // from before a restart
			}
		}
		return a.Edit("network", AdminTenant, name, func(m map[string]any) {
			l, _ := m["configured_subnets"].([]any)
			m["configured_subnets"] = append(l, configured)
		})
	}
	if _, err := a.Create("network", AdminTenant, map[string]any{"name": name, "dhcp_enabled": false,
		"configured_subnets": []any{configured}}); err != nil {
		return err
	}
	return a.Edit("ipamdnsproviderprofile", AdminTenant, "Default-IPAM", func(m map[string]any) {
		internal := m["internal_profile"].(map[string]any) // shipped so
		l, _ := internal["usable_networks"].([]any)
		internal["usable_networks"] = append(l, map[string]any{"nw_ref": "/api/network?name=" + url.QueryEscape(name)})
	})
}

// SetPassword changes the password of a user, or makes a superuser of that name if there is none.
func (a *Admin) SetPassword(username, password string) {
	change := func(m map[string]any) { m["password"] = password }
	if a.Edit("user", AdminTenant, username, change) != nil {
		// A user has no references that could be missing, and its name is free: there is no error to report.
		_, _ = a.Create("user", AdminTenant, map[string]any{"name": username, "password": password, "is_superuser": true})
	}
}

// Tree is everything that the server holds, by type, as Objects returns it; types without objects are left out.
func (a *Admin) Tree() map[string][]map[string]any {
	out := map[string][]map[string]any{}
	for typ := range Kinds() {
		if objs := a.Objects(typ); len(objs) > 0 {
			out[typ] = objs
		}
	}
	return out
}
