// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// fixture is a file that describes the world which a new Controller finds. docs/simulator.md explains it, and
// config/components/simulator/fixture holds one for each kind of cloud.
type fixture struct {
	LicenseTier string          `yaml:"licenseTier"`
	Tenants     []fixtureTenant `yaml:"tenants"`
	Users       []fixtureUser   `yaml:"users"`
	Clouds      []fixtureCloud  `yaml:"clouds"`
	Objects     []fixtureObject `yaml:"objects"`
	IPAM        fixtureIPAM     `yaml:"ipam"`
	Dynamics    fixtureDynamics `yaml:"dynamics"`

	path    string
	root    *yaml.Node
	shipped uint64 // seq of the last shipped object
}

type fixtureTenant struct {
	Name      string `yaml:"name"`
	TenantVRF bool   `yaml:"tenantVRF"`
}

type fixtureUser struct {
	Name     string `yaml:"name"`
	Password string `yaml:"password"`
}

type fixtureCloud struct {
	Name     string           `yaml:"name"`
	Type     string           `yaml:"type"`
	VRFs     []fixtureVRF     `yaml:"vrfs"`
	Networks []fixtureNetwork `yaml:"networks"`
	SEGroups []fixtureGroup   `yaml:"seGroups"`
	IPAM     fixtureProfile   `yaml:"ipam"`
	DNS      fixtureDNS       `yaml:"dns"`
	Set      map[string]any   `yaml:"set"`
}

type fixtureVRF struct {
	Name   string         `yaml:"name"`
	Tier1  string         `yaml:"tier1"`
	Routes []fixtureRoute `yaml:"routes"`
	Set    map[string]any `yaml:"set"`
}

type fixtureRoute struct {
	Prefix  string `yaml:"prefix"`
	NextHop string `yaml:"nextHop"`
}

type fixtureNetwork struct {
	Name     string          `yaml:"name"`
	VRF      string          `yaml:"vrf"`
	Floating bool            `yaml:"floating"`
	Subnets  []fixtureSubnet `yaml:"subnets"`
	Set      map[string]any  `yaml:"set"`
}

type fixtureSubnet struct {
	Prefix string         `yaml:"prefix"`
	Ranges []fixtureRange `yaml:"ranges"`
}

type fixtureRange struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
	For  string `yaml:"for"`
}

type fixtureGroup struct {
	Name        string         `yaml:"name"`
	Engines     int            `yaml:"engines"`
	MaxVSPerSE  int            `yaml:"maxVSPerSE"`
	MaxSE       int            `yaml:"maxSE"`
	MinScaleout int            `yaml:"minScaleout"`
	HA          string         `yaml:"ha"`
	Set         map[string]any `yaml:"set"`
}

type fixtureProfile struct {
	Type          string   `yaml:"type"`
	Name          string   `yaml:"name"`
	Networks      []string `yaml:"networks"`
	AllocateInVRF bool     `yaml:"allocateInVRF"`
}

type fixtureDNS struct {
	Name    string   `yaml:"name"`
	Domains []string `yaml:"domains"`
}

type fixtureObject struct {
	Type   string         `yaml:"type"`
	Tenant string         `yaml:"tenant"`
	Body   map[string]any `yaml:"body"`
}

type fixtureIPAM struct {
	Async      time.Duration `yaml:"async"`
	Quarantine time.Duration `yaml:"quarantine"`
}

type fixtureDynamics struct {
	PlacementDelay time.Duration `yaml:"placementDelay"`
	Initialization time.Duration `yaml:"initialization"`
	Checks         bool          `yaml:"checks"`
	Capacity       bool          `yaml:"capacity"`
}

// fixtureClouds are the kinds of cloud with what marks them. Evidence: documented by the schema and by a client that distinguishes clouds
// by these fields; credentials and the rest of what a real cloud needs are left out.
var fixtureClouds = map[string]struct {
	vtype string
	field string
	value map[string]any
}{
	"none": {"CLOUD_NONE", "", nil},
	"vcenter": {"CLOUD_VCENTER", "vcenter_configuration", map[string]any{"datacenter": "dc-1", "privilege": "WRITE_ACCESS",
		"vcenter_url": "vcenter.example.org", "username": "avi", "password": "avi"}},
	"nsxt-overlay": {"CLOUD_NSXT", "nsxt_configuration", nsxt("OVERLAY")},
	"nsxt-vlan":    {"CLOUD_NSXT", "nsxt_configuration", nsxt("VLAN")},
	"aws":          {"CLOUD_AWS", "aws_configuration", map[string]any{"region": "eu-central-1", "vpc_id": "vpc-0a0a0a0a"}},
	"azure":        {"CLOUD_AZURE", "azure_configuration", map[string]any{"location": "westeurope", "resource_group": "avi"}},
	"gcp":          {"CLOUD_GCP", "gcp_configuration", map[string]any{"region_name": "europe-west3", "se_project_id": "avi"}},
	"openstack": {"CLOUD_OPENSTACK", "openstack_configuration", map[string]any{"admin_tenant": "avi", "mgmt_network_name": "mgmt",
		"privilege": "WRITE_ACCESS", "username": "avi"}},
}

func nsxt(zone string) map[string]any {
	return map[string]any{"nsxt_url": "nsx.example.org", "data_network_config": map[string]any{"tz_type": zone,
		"transport_zone": "/infra/sites/default/enforcement-points/default/transport-zones/tz-1"}}
}

var fixtureRangeTypes = map[string]string{"": "STATIC_IPS_FOR_VIP_AND_SE", "vip-and-se": "STATIC_IPS_FOR_VIP_AND_SE",
	"vip": "STATIC_IPS_FOR_VIP", "se": "STATIC_IPS_FOR_SE"}

var fixtureHA = map[string]string{"": "", "n-plus-m": "HA_MODE_SHARED", "active-active": "HA_MODE_SHARED_PAIR",
	"active-standby": "HA_MODE_LEGACY_ACTIVE_STANDBY"}

var licenseTiers = []string{"ENTERPRISE", "ENTERPRISE_WITH_CLOUD_SERVICES", "ENTERPRISE_18", "ENTERPRISE_16", "BASIC", "ESSENTIALS"}

// loadFixture reads a fixture file. Errors name file and line, and say what to write instead.
func loadFixture(path string) (*fixture, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // whoever starts the simulator names the file
	if err != nil {
		return nil, fmt.Errorf("reading the fixture: %w", err)
	}
	return parseFixture(path, raw)
}

func parseFixture(path string, raw []byte) (*fixture, error) {
	f := &fixture{path: path, root: &yaml.Node{}}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil && !errors.Is(err, io.EOF) { // an empty file changes nothing
		return nil, f.explain(err)
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: there is a second document: put all into one", path)
	}
	if err := yaml.Unmarshal(raw, f.root); err != nil {
		return nil, f.explain(err)
	}
	return f, nil
}

var unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type \w+\.(\S+)$`)

// explain turns the decoder's errors into ones that say what may be written.
func (f *fixture) explain(err error) error {
	var bad *yaml.TypeError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%s: %s", f.path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var out []error
	for _, text := range bad.Errors {
		if m := unknownField.FindStringSubmatch(text); m != nil {
			out = append(out, fmt.Errorf("%s:%s: there is no field %q here: use %s", f.path, m[1], m[2], strings.Join(fixtureFields(m[3]), ", ")))
			continue
		}
		line, rest, _ := strings.Cut(strings.TrimPrefix(text, "line "), ": ")
		out = append(out, fmt.Errorf("%s:%s: %s", f.path, line, rest))
	}
	return errors.Join(out...)
}

// fixtureFields lists the fields of one of the types above.
func fixtureFields(name string) []string {
	var fields []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for f := range t.Fields() {
			tag := f.Tag.Get("yaml")
			if tag == "" {
				continue
			}
			if t.Name() == name {
				fields = append(fields, tag)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[fixture]())
	slices.Sort(fields)
	return slices.Compact(fields)
}

// at is an error about what is at the path of keys and indexes.
func (f *fixture) at(path []any, format string, args ...any) error {
	n := f.root
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line, text := n.Line, ""
	for _, p := range path {
		var next *yaml.Node
		switch p := p.(type) {
		case string:
			text += "." + p
			for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == p {
					next = n.Content[i+1]
					line = n.Content[i].Line
				}
			}
		case int:
			text += fmt.Sprintf("[%d]", p)
			if n != nil && p < len(n.Content) {
				next = n.Content[p]
				line = next.Line
			}
		}
		n = next
	}
	return fmt.Errorf("%s:%d: %s: %s", f.path, line, strings.TrimPrefix(text, "."), fmt.Sprintf(format, args...))
}

func choose[V any](m map[string]V) string {
	keys := slices.DeleteFunc(doc.Keys(m), func(k string) bool { return k == "" })
	return strings.Join(keys, ", ")
}

// build makes the objects.
func (f *fixture) build(s *Writer) error {
	f.shipped = s.Store.seq
	for i, t := range f.Tenants {
		if t.Name == "" {
			return f.at([]any{"tenants", i}, "name is missing")
		}
		body := map[string]any{"name": t.Name}
		if t.TenantVRF {
			body["config_settings"] = map[string]any{"tenant_vrf": true, "se_in_provider_context": true, "tenant_access_to_provider_se": true}
		}
		if err := f.make(s, []any{"tenants", i}, "tenant", doc.Ref{}, body); err != nil {
			return err
		}
	}
	for i, c := range f.Clouds {
		if err := f.cloud(s, []any{"clouds", i}, c); err != nil {
			return err
		}
	}
	if f.LicenseTier != "" {
		if !slices.Contains(licenseTiers, f.LicenseTier) {
			return f.at([]any{"licenseTier"}, "%q is not a tier: use %s", f.LicenseTier, strings.Join(licenseTiers, ", "))
		}
		if err := s.set("systemconfiguration", "", doc.Ref{}, map[string]any{"default_license_tier": f.LicenseTier}); err != nil {
			return err
		}
	}
	for i, o := range f.Objects {
		if err := f.object(s, []any{"objects", i}, o); err != nil {
			return err
		}
	}
	return nil
}

// apply takes over what is not an object: this has to be done after a restart too.
func (f *fixture) apply(w *World, fresh bool) error {
	for i, u := range f.Users {
		if u.Name == "" || u.Password == "" {
			return f.at([]any{"users", i}, "name or password is missing")
		}
		if fresh {
			w.Admin().SetPassword(u.Name, u.Password)
		}
	}
	if f.IPAM != (fixtureIPAM{}) {
		w.Switches().SetIPAM(IPAM{Async: f.IPAM.Async, Quarantine: f.IPAM.Quarantine})
	}
	if d := f.Dynamics; d != (fixtureDynamics{}) {
		w.Switches().SetDynamics(Dynamics(d))
	}
	return nil
}

// make creates one object of the admin tenant with a stable uuid, or changes the one that is shipped under its name.
func (f *fixture) make(s *Writer, path []any, typ string, cloud doc.Ref, body map[string]any) error {
	name, _ := body["name"].(string)
	if cloud != (doc.Ref{}) {
		body["cloud_ref"] = cloud.String()
	}
	for _, o := range s.Store.Named(typ, AdminTenant, name) {
		if o.Cloud != cloud {
			continue
		}
		if !o.System && o.Seq > f.shipped {
			return f.at(path, "there is another %s named %q: give it another name", typ, name)
		}
		if err := s.set(typ, name, cloud, body); err != nil {
			return f.at(path, "%v", err)
		}
		return nil
	}
	var err error
	if body, err = doc.Normal(body); err != nil {
		return f.at(path, "%v", err)
	}
	id := doc.Str(body, "uuid")
	if id == "" {
		id = stable(typ, cloud.UUID+"/"+AdminTenant, name)
	}
	if err := s.force(Write{Kind: KindOf(typ), Tenant: AdminTenant, Incoming: body, Slug: id}); err != nil {
		return f.at(path, "%v", err)
	}
	return nil
}

// set changes fields of a shipped object of the admin tenant.
func (s *Writer) set(typ, name string, cloud doc.Ref, fields map[string]any) error {
	fields, err := doc.Normal(fields)
	if err != nil {
		return err
	}
	for _, o := range s.Store.Named(typ, AdminTenant, name) {
		if o.Cloud == cloud {
			return s.force(Write{Kind: o.Kind, Old: o, Patch: map[string]any{"replace": fields}})
		}
	}
	return fmt.Errorf("there is no %s %q", typ, name)
}

func (f *fixture) cloud(s *Writer, path []any, c fixtureCloud) error {
	kind, ok := fixtureClouds[c.Type]
	switch {
	case c.Name == "":
		return f.at(path, "name is missing")
	case !ok:
		return f.at(append(path, "type"), "%q is not a cloud type: use one of %s", c.Type, choose(fixtureClouds))
	}
	body := map[string]any{"name": c.Name, "vtype": kind.vtype, "license_tier": "ENTERPRISE"}
	if kind.field != "" {
		body[kind.field] = maps.Clone(kind.value)
	}
	if kind.vtype == "CLOUD_VCENTER" { // documented: a client that reads the cloud needs it; the first network serves as well as any
		body[kind.field].(map[string]any)["management_network"] = "/api/vimgrnwruntime/" +
			portGroup(0, stable("cloud", "/"+AdminTenant, c.Name))
	}
	for k, v := range c.Set {
		body[k] = v
	}
	if err := f.make(s, path, "cloud", doc.Ref{}, body); err != nil {
		return err
	}
	cloud := s.Store.Lookup("cloud", c.Name, Scope{Tenant: AdminTenant})
	for i, v := range c.VRFs {
		if err := f.vrf(s, append(slices.Clone(path), "vrfs", i), cloud, v); err != nil {
			return err
		}
	}
	for i, n := range c.Networks {
		if err := f.network(s, append(slices.Clone(path), "networks", i), cloud, i, n); err != nil {
			return err
		}
	}
	for i, g := range c.SEGroups {
		if err := f.group(s, append(slices.Clone(path), "seGroups", i), cloud, g); err != nil {
			return err
		}
	}
	return f.profiles(s, path, cloud, c)
}

// named makes a reference by name in a cloud.
func namedRef(typ, name string, cloud *Object) string {
	q := "/api/" + typ + "?name=" + url.QueryEscape(name)
	if cloud != nil {
		q += "&cloud=" + url.QueryEscape(cloud.Name)
	}
	return q
}

func (f *fixture) vrf(s *Writer, path []any, cloud *Object, v fixtureVRF) error {
	if v.Name == "" {
		return f.at(path, "name is missing")
	}
	body := map[string]any{"name": v.Name}
	if v.Tier1 != "" {
		body["attrs"] = []any{map[string]any{"key": tier1Attribute, "value": v.Tier1}}
	}
	var routes []any
	for i, r := range v.Routes {
		here := append(path, "routes", i)
		p, err := netip.ParsePrefix(r.Prefix)
		if err != nil {
			return f.at(append(here, "prefix"), "%q is not a prefix such as 10.0.0.0/8", r.Prefix)
		}
		hop, err := netip.ParseAddr(r.NextHop)
		if err != nil {
			return f.at(append(here, "nextHop"), "%q is not an address", r.NextHop)
		}
		routes = append(routes, map[string]any{"route_id": fmt.Sprint(i + 1), "prefix": Prefix(p.Masked()), "next_hop": Address(hop)})
	}
	if routes != nil {
		body["static_routes"] = routes
	}
	for k, x := range v.Set {
		body[k] = x
	}
	return f.make(s, path, "vrfcontext", cloud.Ref, body)
}

// portGroup is the uuid of a network of a vCenter cloud.
func portGroup(index int, cloud string) string {
	return fmt.Sprintf("dvportgroup-%d-%s", 100+index, cloud)
}

func (f *fixture) network(s *Writer, path []any, cloud *Object, index int, n fixtureNetwork) error {
	if n.Name == "" {
		return f.at(path, "name is missing")
	}
	body := map[string]any{"name": n.Name, "dhcp_enabled": len(n.Subnets) == 0}
	if n.VRF != "" {
		if s.Store.Lookup("vrfcontext", n.VRF, Scope{AdminTenant, cloud.Ref}) == nil {
			return f.at(append(path, "vrf"), "cloud %q has no VRF %q: add it to the cloud's vrfs", cloud.Name, n.VRF)
		}
		body["vrf_context_ref"] = namedRef("vrfcontext", n.VRF, cloud)
	}
	if doc.Str(cloud.Body, "vtype") == "CLOUD_VCENTER" { // documented: such networks have uuids of this form
		body["uuid"] = portGroup(index, cloud.UUID)
	}
	if n.Floating {
		body["attrs"] = []any{map[string]any{"key": floatingNetwork, "value": "true"}}
	}
	var subnets []any
	for i, sn := range n.Subnets {
		here := append(slices.Clone(path), "subnets", i)
		p, err := netip.ParsePrefix(sn.Prefix)
		if err != nil || p != p.Masked() {
			return f.at(append(here, "prefix"), "%q is not a network prefix such as 10.0.0.0/24", sn.Prefix)
		}
		var ranges []any
		for j, r := range sn.Ranges {
			at := append(slices.Clone(here), "ranges", j)
			use, ok := fixtureRangeTypes[r.For]
			if !ok {
				return f.at(append(at, "for"), "%q is not a use: use %s", r.For, choose(fixtureRangeTypes))
			}
			from, err1 := netip.ParseAddr(r.From)
			to, err2 := netip.ParseAddr(r.To)
			if err1 != nil || err2 != nil || !p.Contains(from) || !p.Contains(to) || to.Less(from) {
				return f.at(at, "%q to %q is not a range of addresses inside %s", r.From, r.To, p)
			}
			ranges = append(ranges, map[string]any{"type": use, "range": map[string]any{"begin": Address(from), "end": Address(to)}})
		}
		subnet := map[string]any{"prefix": Prefix(p)}
		if ranges != nil {
			subnet["static_ip_ranges"] = ranges
		}
		subnets = append(subnets, subnet)
	}
	if subnets != nil {
		body["configured_subnets"] = subnets
	}
	for k, v := range n.Set {
		body[k] = v
	}
	return f.make(s, path, "network", cloud.Ref, body)
}

func (f *fixture) group(s *Writer, path []any, cloud *Object, g fixtureGroup) error {
	ha, ok := fixtureHA[g.HA]
	switch {
	case g.Name == "":
		return f.at(path, "name is missing")
	case !ok:
		return f.at(append(path, "ha"), "%q is not a mode: use %s", g.HA, choose(fixtureHA))
	case g.Engines < 0 || g.MaxVSPerSE < 0 || g.MaxSE < 0 || g.MinScaleout < 0:
		return f.at(path, "numbers must not be negative")
	}
	body := map[string]any{"name": g.Name}
	for field, n := range map[string]int{"max_vs_per_se": g.MaxVSPerSE, "max_se": g.MaxSE, "min_scaleout_per_vs": g.MinScaleout} {
		if n > 0 {
			body[field] = n
		}
	}
	if ha != "" {
		body["ha_mode"] = ha
	}
	for k, v := range g.Set {
		body[k] = v
	}
	if err := f.make(s, path, "serviceenginegroup", cloud.Ref, body); err != nil {
		return err
	}
	group := s.Store.Lookup("serviceenginegroup", g.Name, Scope{AdminTenant, cloud.Ref})
	for len(s.placement.groupOf(group.Ref).engines) < g.Engines {
		if s.newEngine(group) == nil {
			return f.at(append(path, "engines"), "the service engines of group %q can't be made: their names are taken", g.Name)
		}
	}
	return nil
}

// profiles makes the cloud's IPAM and DNS profiles.
func (f *fixture) profiles(s *Writer, path []any, cloud *Object, c fixtureCloud) error {
	set := map[string]any{}
	usable := []any{}
	for i, name := range c.IPAM.Networks {
		if s.Store.Lookup("network", name, Scope{AdminTenant, cloud.Ref}) == nil {
			return f.at(append(path, "ipam", "networks", i), "cloud %q has no network %q: add it to the cloud's networks", c.Name, name)
		}
		usable = append(usable, map[string]any{"nw_ref": namedRef("network", name, cloud)})
	}
	if len(usable) == 0 {
		for _, n := range c.Networks {
			if !n.Floating && len(n.Subnets) > 0 && slices.ContainsFunc(n.Subnets, func(x fixtureSubnet) bool {
				return len(x.Ranges) == 0 || slices.ContainsFunc(x.Ranges, func(r fixtureRange) bool { return r.For != "se" })
			}) {
				usable = append(usable, map[string]any{"nw_ref": namedRef("network", n.Name, cloud)})
			}
		}
	}
	switch c.IPAM.Type {
	case "none":
	case "", "internal":
		if len(usable) == 0 || slices.Contains(publicClouds, doc.Str(cloud.Body, "vtype")) {
			break // public clouds allocate by themselves
		}
		name := c.IPAM.Name
		if name == "" {
			name = c.Name + "-IPAM"
		}
		if err := f.make(s, path, "ipamdnsproviderprofile", doc.Ref{}, map[string]any{"name": name, "type": "IPAMDNS_TYPE_INTERNAL",
			"allocate_ip_in_vrf": c.IPAM.AllocateInVRF, "internal_profile": map[string]any{"usable_networks": usable}}); err != nil {
			return err
		}
		set["ipam_provider_ref"] = namedRef("ipamdnsproviderprofile", name, nil)
	default:
		return f.at(append(path, "ipam", "type"), "%q is not an IPAM: use internal or none", c.IPAM.Type)
	}
	if len(c.DNS.Domains) > 0 {
		name := c.DNS.Name
		if name == "" {
			name = c.Name + "-DNS"
		}
		domains := []any{}
		for _, d := range c.DNS.Domains {
			domains = append(domains, map[string]any{"domain_name": d, "pass_through": true})
		}
		if err := f.make(s, path, "ipamdnsproviderprofile", doc.Ref{}, map[string]any{"name": name, "type": "IPAMDNS_TYPE_INTERNAL_DNS",
			"internal_profile": map[string]any{"dns_service_domain": domains}}); err != nil {
			return err
		}
		set["dns_provider_ref"] = namedRef("ipamdnsproviderprofile", name, nil)
	}
	if len(set) == 0 {
		return nil
	}
	return s.set("cloud", c.Name, doc.Ref{}, set)
}

// object makes a further object, with the checks that a client's write meets.
func (f *fixture) object(s *Writer, path []any, o fixtureObject) error {
	kind := KindOf(o.Type)
	if kind == nil || kind.Singleton {
		return f.at(append(path, "type"), "%q is not a type of objects: use one as in /api/<type>, such as pool", o.Type)
	}
	if o.Tenant == "" {
		o.Tenant = AdminTenant
	}
	tenant, ok := s.Store.TenantByName(o.Tenant)
	if !ok {
		return f.at(append(path, "tenant"), "there is no tenant %q: add it to tenants", o.Tenant)
	}
	body, err := doc.Normal(o.Body)
	if err != nil {
		return f.at(append(path, "body"), "%v", err)
	}
	id := doc.Str(body, "uuid")
	if id == "" {
		id = stable(o.Type, tenant+"/"+doc.Str(body, "cloud_ref"), doc.Str(body, "name"))
	}
	if err := s.must(&write{Write: Write{Kind: kind, At: s.version, Tenant: tenant, Incoming: body, Slug: id}}); err != nil {
		return f.at(append(path, "body"), "%v", err)
	}
	return nil
}
