package avisim

import (
	"fmt"
	"net/netip"
	"net/url"
)

// The methods here act as another administrator would: no session, no version gate, no rules, no latency, no log.

// Objects returns copies of all objects of a type, in all tenants, in the order in which they were created. References
// are rendered as "/api/<type>/<uuid>#<name>".
func (s *Server) Objects(typ string) []map[string]any {
	s.catchUp()
	s.mu.RLock()
	defer s.mu.RUnlock()
	sh := s.store.shelves[typ]
	if sh == nil {
		return nil
	}
	r := &renderer{store: s.store, names: true}
	out := make([]map[string]any, len(sh.ordered))
	for i, o := range sh.ordered {
		out[i] = r.object(o)
	}
	return out
}

// Object returns a copy of one object; tenant is a name. A singleton's name is "".
func (s *Server) Object(typ, tenant, name string) (map[string]any, bool) {
	s.catchUp()
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, err := s.byName(typ, tenant, name)
	if err != nil {
		return nil, false
	}
	return (&renderer{store: s.store, names: true}).object(o), true
}

func (s *Server) byName(typ, tenant, name string) (*object, error) {
	id, ok := s.store.tenantByName(tenant)
	if !ok {
		return nil, fmt.Errorf("no tenant %q", tenant)
	}
	objs := s.store.named(typ, id, name)
	if len(objs) == 0 {
		return nil, fmt.Errorf("no %s %q in tenant %q", typ, name, tenant)
	}
	return objs[0], nil
}

// Edit changes an object. The function gets a copy with references rendered as by Object and may write any JSON-like
// value into it; _last_modified is bumped if something changed.
func (s *Server) Edit(typ, tenant, name string, change func(map[string]any)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.byName(typ, tenant, name)
	if err != nil {
		return err
	}
	body := (&renderer{store: s.store, names: true}).object(o)
	change(body)
	if body, err = normal(body); err != nil {
		return fmt.Errorf("editing %s %q: %w", typ, name, err)
	}
	w := &write{server: s, store: s.store, kind: o.kind, old: o, at: s.version, tenant: o.tenant, incoming: body, trusted: true}
	delete(body, "_last_modified")
	return w.do()
}

// Create makes an object in a tenant and returns its uuid. Defaults are filled and references resolved as for a client.
func (s *Server) Create(typ, tenant string, body map[string]any) (uuid string, err error) {
	body, err = normal(body)
	if err != nil {
		return "", fmt.Errorf("creating %s: %w", typ, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.store.shelves[typ]
	id, ok := s.store.tenantByName(tenant)
	if sh == nil || !ok {
		return "", fmt.Errorf("creating %s: no such type, or no tenant %q", typ, tenant)
	}
	w := &write{server: s, store: s.store, kind: sh.kind, at: s.version, tenant: id, incoming: body, trusted: true, slug: str(body, "uuid")}
	o, bad := w.run()
	if bad != nil {
		return "", fmt.Errorf("creating %s %q: %w", typ, w.name, bad)
	}
	return o.uuid, nil
}

// Remove deletes an object even if others refer to it.
func (s *Server) Remove(typ, tenant, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.byName(typ, tenant, name)
	if err != nil {
		return err
	}
	s.discard(o)
	return nil
}

// AddTenant makes a tenant.
func (s *Server) AddTenant(name string) error {
	_, err := s.Create("tenant", adminTenant, map[string]any{"name": name})
	return err
}

// AddVIPNetwork makes a network in Default-Cloud, if there is none of that name, and adds it to the networks that the
// cloud's IPAM profile may use. With a zero first, the whole prefix may be used.
func (s *Server) AddVIPNetwork(name string, subnet netip.Prefix, first, last netip.Addr) error {
	configured := map[string]any{"prefix": prefix(subnet.Masked())}
	if first.IsValid() {
		configured["static_ip_ranges"] = []any{map[string]any{
			"range": map[string]any{"begin": address(first), "end": address(last)}, "type": "STATIC_IPS_FOR_VIP_AND_SE"}}
	}
	if have, ok := s.Object("network", adminTenant, name); ok {
		for _, cs := range messages(have["configured_subnets"]) {
			pm, _ := cs["prefix"].(map[string]any)
			if p, ok := parsePrefix(pm); ok && p == subnet.Masked() {
				return nil // from before a restart
			}
		}
		return s.Edit("network", adminTenant, name, func(m map[string]any) {
			l, _ := m["configured_subnets"].([]any)
			m["configured_subnets"] = append(l, configured)
		})
	}
	if _, err := s.Create("network", adminTenant, map[string]any{"name": name, "dhcp_enabled": false, "configured_subnets": []any{configured}}); err != nil {
		return err
	}
	return s.Edit("ipamdnsproviderprofile", adminTenant, "Default-IPAM", func(m map[string]any) {
		internal := m["internal_profile"].(map[string]any) // shipped so
		l, _ := internal["usable_networks"].([]any)
		internal["usable_networks"] = append(l, map[string]any{"nw_ref": "/api/network?name=" + url.QueryEscape(name)})
	})
}

// Tree is everything that the server holds, by type, as Objects returns it; types without objects are left out.
func (s *Server) Tree() map[string][]map[string]any {
	out := map[string][]map[string]any{}
	for _, t := range objectTypes() {
		if objs := s.Objects(t.path); len(objs) > 0 {
			out[t.path] = objs
		}
	}
	return out
}

// do runs the write for callers that want an error value.
func (w *write) do() error {
	if _, err := w.run(); err != nil {
		return fmt.Errorf("%s %q: %w", w.kind.path, w.name, err)
	}
	return nil
}
