// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// usable is a rule's spec, as Rule.usable says. References are looked up in the owner's tenant.
func (b *builder) usable(r Rule) (spec *v1alpha2.L4RuleSpec, reason, problem string) {
	return r.usable(b.resolved(), b.tenant())
}

// resolved are the facts by which names in the owner's tenant are resolved.
func (b *builder) resolved() *model.Facts { return RuleFacts(b.in.Facts, b.in.Settings, b.tenant()) }

// RuleFacts are those by which a rule is judged whose references are resolved in a tenant.
func RuleFacts(f *model.Facts, s *settings.Settings, tenant string) *model.Facts {
	if tenant == s.Tenant {
		return f
	}
	return f.In(tenant)
}

// ruling is what an owner's rule says about its VirtualService.
type ruling struct {
	spec *v1alpha2.L4RuleSpec // nil: nothing
	// broken: there is a rule, and it can't be used; what serves keeps what a rule may have given it.
	broken bool
	// ssl: TLS is ended on the only port, whose pool is the VirtualService's own.
	ssl bool
}

// ruling reads the owner's rule. With one that can't be used a new owner waits, and a live one keeps what it has.
func (b *builder) ruling() ruling {
	spec, reason, problem := b.usable(b.in.Rule)
	if reason != "" {
		b.blockUnlessLive(reason, problem)
		return ruling{broken: true, ssl: b.in.Live.ssl}
	}
	r := ruling{spec: spec}
	if spec != nil {
		_, r.ssl = sslPort(spec)
	}
	return r
}

// ruleAddress is the third source of a static address.
func (b *builder) ruleAddress() []netip.Addr {
	if b.rule.spec == nil {
		return nil
	}
	text := strings.TrimSpace(b.rule.spec.LoadBalancerIP)
	if text == "" || b.reported(model.Port{}, model.ReasonInvalidAddress) {
		return nil
	}
	return valid(b.staticAddress("loadBalancerIP of L4Rule "+b.in.Rule.Name, text))
}

// fitRule looks whether the owner's listeners are such that its rule can be used on them.
func (b *builder) fitRule(f *frontend) {
	if b.rule.ssl && !b.rule.broken {
		port, _ := sslPort(b.rule.spec)
		if len(f.listeners) != 1 || f.listeners[0].port != port || f.listeners[0].grouped() || f.listeners[0].held != nil {
			b.blockUnlessLive(model.ReasonRuleRejected, fmt.Sprintf("L4Rule %s: enableSsl on %s needs that to be the only port of the %s, with one Service behind it, and its ports are %s",
				b.in.Rule.Name, port, b.in.Owner.Key().Kind.Noun(), portList(f.listeners)))
			b.rule = ruling{broken: true, ssl: b.in.Live.ssl}
		}
	}
	if b.rule.ssl && b.rule.broken {
		b.keepTLS(f)
	}
	if b.rule.spec != nil {
		b.reportUnused(f, b.rule.spec)
	}
	for i := range b.in.Backends {
		b.fitBackend(&b.in.Backends[i])
	}
}

// keepTLS leaves out the ports that a VirtualService which ends TLS doesn't have: it has no policy that selects by port.
func (b *builder) keepTLS(f *frontend) {
	f.listeners = slices.DeleteFunc(f.listeners, func(l listener) bool {
		if !b.open(l.port) {
			b.report(model.Blocked, l.port, model.ReasonRuleRejected, fmt.Sprintf("port %s waits until the L4Rule can be used: TLS is ended on another port", l.port))
		}
		return !b.open(l.port)
	})
	if len(f.listeners) == 0 && !b.blocked {
		b.noneServed()
	}
}

// reportUnused reports what of a rule has no effect on its owner.
func (b *builder) reportUnused(f *frontend, spec *v1alpha2.L4RuleSpec) {
	report := func(severity model.Severity, format string, args ...any) {
		b.report(severity, model.Port{}, model.ReasonRuleIgnored, fmt.Sprintf(format, args...))
	}
	name := said(spec.NetworkProfileRef, defaultNetworkProfile)
	of, known := b.profileProtocol(name)
	if name != "" && known && !slices.ContainsFunc(f.listeners, func(l listener) bool { return l.proto.name == of }) {
		report(model.Degraded, "L4Rule %s: networkProfileRef %s is for %s and is not used: the ports are %s", b.in.Rule.Name, name, of, portList(f.listeners))
	}
	asked := strings.TrimSpace(b.in.Owner.Annotations()[AnnotationApplicationProfile])
	if asked != "" && spec.ApplicationProfileRef != "" && asked != spec.ApplicationProfileRef {
		report(model.Note, "annotation %s: %s is not used, because L4Rule %s names %s", AnnotationApplicationProfile, asked, b.in.Rule.Name, spec.ApplicationProfileRef)
	}
	if len(spec.BackendProperties) > 0 && !slices.ContainsFunc(b.in.Backends, func(x Backend) bool { return x.Rule.same(b.in.Rule) }) {
		report(model.Note, "L4Rule %s: its backendProperties are not used, since they are for the Services that name it", b.in.Rule.Name)
	}
}

// fitBackend reports to a Service that the rule it names is for pools of which none is the Service's.
func (b *builder) fitBackend(backend *Backend) {
	spec, _, _ := b.usable(backend.Rule)
	if spec == nil || len(spec.BackendProperties) == 0 {
		return
	}
	for _, p := range backend.Service.Spec.Ports {
		if backendProperties(spec, portOfService(p)) != nil {
			return
		}
	}
	b.report(model.Note, model.Port{}, model.ReasonRuleIgnored, fmt.Sprintf("L4Rule %s: none of its backendProperties is for a port of Service %s, which has %s", backend.Rule.Name, backend.Service.Name, portsOf(backend.Service)))
}

func portList(listeners []listener) string {
	out := make([]string, len(listeners))
	for i, l := range listeners {
		out[i] = l.port.String()
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}

// backendProperties are those of a rule for a Service's port, nil if there are none.
func backendProperties(spec *v1alpha2.L4RuleSpec, port model.Port) *v1alpha2.BackendProperties {
	for i := range spec.BackendProperties {
		if p := &spec.BackendProperties[i]; p.Port == port.Number && p.Protocol == port.Protocol {
			return p
		}
	}
	return nil
}

// profileProtocol is the protocol that a network profile is of, by its type on the Controller.
func (b *builder) profileProtocol(name string) (protocol string, known bool) {
	kind := cmp.Or(b.resolved().Types[model.NetworkProfile][name], b.in.Facts.Types[model.NetworkProfile][name])
	for _, p := range protocols {
		if strings.HasPrefix(kind, "PROTOCOL_TYPE_"+p.name+"_") {
			return p.name, true
		}
	}
	return "", false
}

// ruledProfile is the network profile that the rule names for a protocol, "" if none. One whose type isn't known is for the
// protocol of the VirtualService's own profile. What AKO's CRD fills in is for TCP only, and there for a licence that has it.
func (b *builder) ruledProfile(p protocol, isBase bool) string {
	if b.rule.spec == nil {
		return ""
	}
	name := b.rule.spec.NetworkProfileRef
	if name == defaultNetworkProfile || name == "" && b.rule.ssl {
		if p.name == "TCP" && (b.rule.ssl || b.in.Facts.LicenseTier != "ESSENTIALS") {
			return defaultNetworkProfile
		}
		return ""
	}
	if of, known := b.profileProtocol(name); known && of == p.name || !known && isBase {
		return name
	}
	return ""
}

// ruledApplication is the application profile that the rule names, "" if none.
func (b *builder) ruledApplication() string {
	switch spec := b.rule.spec; {
	case spec == nil:
		return ""
	case b.rule.ssl:
		return sslApplication(spec)
	default:
		return spec.ApplicationProfileRef
	}
}

// ruleVS gives a VirtualService what the rule says about it.
func (b *builder) ruleVS(o *model.Object, f frontend) {
	vs, ok := o.Body.(*models.VirtualService)
	if !ok {
		return
	}
	vs.ServiceMetadata = keepCRDStatus(vs.ServiceMetadata, b.in.Live.crd[o.Key])
	if b.rule.broken {
		o.Keep = append(o.Keep, "application_profile_ref", "network_profile_ref")
		b.keepServices(vs)
		vs.Markers = marked(vs.Markers, b.in.Live.ruled[o.Key])
		return
	}
	var fields, refused []string
	if b.rule.spec != nil {
		fields, refused = overridden(b, vsOverrides, vs, b.rule.spec, part{key: o.Key, about: "L4Rule " + b.in.Rule.Name})
	}
	if b.rule.ssl && len(f.listeners[0].targets) > 0 {
		vs.PoolRef = new(model.RefByName(model.Pool, f.listeners[0].targets[0].pool))
		fields = append(fields, "pool_ref")
	}
	o.Ruled, vs.Markers = b.claim(o.Key, vs.Markers, fields, refused)
}

// keepServices leaves the ports that serve with the TLS and the network profile that they have.
func (b *builder) keepServices(vs *models.VirtualService) {
	with := func(list []*models.Service, port *uint32) (out []*models.Service) {
		for _, s := range list {
			if s != nil && deref(s.Port, 0) == *port {
				out = append(out, s)
			}
		}
		return out
	}
	for _, s := range vs.Services {
		live := with(b.in.Live.services, s.Port)
		if len(live) != 1 || len(with(vs.Services, s.Port)) != 1 {
			continue // one number for several protocols: which is which the Controller doesn't say
		}
		s.EnableSsl, s.OverrideNetworkProfileRef = new(isSet(live[0].EnableSsl)), again(live[0].OverrideNetworkProfileRef)
	}
}

// rulePool gives a pool what its Service's rule says about it.
func (b *builder) rulePool(o *model.Object, t target) {
	p, ok := o.Body.(*models.Pool)
	if !ok {
		return
	}
	p.ServiceMetadata = keepCRDStatus(p.ServiceMetadata, b.in.Live.crd[o.Key])
	rule := t.backend.Rule
	about := fmt.Sprintf("port %s: L4Rule %s of Service %s", t.port, rule.Name, t.backend.Service.Name)
	spec, reason, problem := b.usable(rule)
	if reason != "" || b.rule.broken && rule.same(b.in.Rule) {
		if !rule.same(b.in.Rule) {
			b.report(model.Degraded, t.port, reason, fmt.Sprintf("port %s: Service %s: %s; %s", t.port, t.backend.Service.Name, problem, b.poolKeeps(t)))
		}
		if b.exists(t) {
			o.Keep = append(o.Keep, "health_monitor_refs")
		}
		p.Markers = marked(p.Markers, b.in.Live.ruled[o.Key])
		return
	}
	var fields, refused []string
	if spec != nil {
		if r := backendProperties(spec, portOfService(t.backendPort)); r != nil {
			fields, refused = overridden(b, poolOverrides, p, r, part{o.Key, t.port, about})
			b.monitors(p, rule, r, t, about)
		}
	}
	o.Ruled, p.Markers = b.claim(o.Key, p.Markers, fields, refused)
}

func (b *builder) poolKeeps(t target) string {
	if b.exists(t) {
		return "its pool keeps what it has"
	}
	return "its pool gets the defaults until then"
}

// claim is what of an object is the operator's because a rule sets it, or did, and the markers with that written down. What the
// rule did not set this time only because the Controller can't have it stays.
func (b *builder) claim(key model.Key, marks marks, fields, refused []string) (ruled []string, _ marks) {
	ruled, keeps := slices.Clone(fields), slices.Clone(fields)
	for _, was := range b.in.Live.ruled[key] {
		switch {
		case slices.Contains(fields, was):
		case slices.Contains(refused, was):
			keeps = append(keeps, was)
		default:
			ruled = append(ruled, was)
		}
	}
	slices.Sort(ruled)
	return ruled, marked(marks, keeps)
}

// marks are an object's markers.
type marks = []*models.RoleFilterMatchLabel

// marked are markers with the fields that a rule sets.
func marked(marks marks, fields []string) marks {
	if len(fields) == 0 {
		return marks
	}
	fields = slices.Clone(fields)
	slices.Sort(fields)
	return append(marks, &models.RoleFilterMatchLabel{Key: new(model.MarkRule), Values: fields})
}

// keepCRDStatus is service_metadata with what AKO noted there of an L4Rule.
func keepCRDStatus(text *string, live crdStatus) *string {
	var m metadata
	if live == (crdStatus{}) || json.Unmarshal([]byte(*text), &m) != nil {
		return text
	}
	m.CRDStatus = live
	return new(m.String())
}
