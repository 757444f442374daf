// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// SharedVIP is an owner that is a group of Services which share one VirtualService, each with its own ports: those of a namespace
// with the same value of AnnotationSharedVIP. Findings say which of the Services they are about.
type SharedVIP struct {
	Namespace, Group string
	// Members are the Services, the most senior first (CompareSeniority), whose settings are the group's.
	Members []*corev1.Service
}

// SharedVIPOf is the group that a Service asks to be in, "" for none.
func SharedVIPOf(svc *corev1.Service) string { return svc.Annotations[AnnotationSharedVIP] }

// Place says which owner serves a Service of type LoadBalancer, or is to serve it.
type Place struct {
	// Group is the name of the shared VIP; it is empty for a VirtualService of the Service's own.
	Group string
	// Leaving: what serves the Service there is to be removed, after which it is served where it asks to be.
	Leaving bool
	// Shut is why the Service stays although it may be interrupted: where it asks to be it would not be served with all of its ports.
	Shut string
}

// Shut says why a Service that asks to join the group would lose a port there, "" if it would not. The members are those that are served in
// it or come before the Service, and taken are the ports that are served there, each with its Service.
func (g SharedVIP) Shut(svc *corev1.Service, taken map[model.Port]string) string {
	if !plainName.MatchString(g.Group) {
		return fmt.Sprintf("%q can't be part of a name", g.Group)
	}
	for _, p := range svc.Spec.Ports {
		port := portOfService(p)
		holder := taken[port]
		for _, m := range g.Members {
			if _, asks := servicePort(m, port); asks && holder == "" && m.Name != svc.Name {
				holder = m.Name
			}
		}
		if holder != "" && holder != svc.Name {
			return fmt.Sprintf("port %s is Service %s's on shared VIP %s; give this Service another port or another shared VIP", port, holder, g.Group)
		}
	}
	if _, why := Unfit(svc); why != "" {
		return why + "; it would not be served on shared VIP " + g.Group
	}
	if where, differs := g.otherClients(svc); where != "" && (differs || g.vague()) && len(g.Members) > 0 {
		return fmt.Sprintf("%s can't be enforced on shared VIP %s, which lets in the clients that Service %s lets in; make the Services agree", where, g.Group, g.Members[0].Name)
	}
	return ""
}

// stays reports that a Service is served where it no longer asks to be, and why it doesn't move.
func (b *builder) stays(from, to, shut string) {
	change := fmt.Sprintf("annotation %s: %s -> %s", AnnotationSharedVIP, cmp.Or(from, "(unset)"), cmp.Or(to, "(unset)"))
	if shut == "" {
		b.findings = append(b.findings, model.NeedsConsent(change))
		return
	}
	b.report(model.Degraded, model.Port{}, model.ReasonServiceConflict, change+": the Service stays where it is served: "+shut)
}

// MayBeReplaced reports whether what serves a Service may be interrupted.
func MayBeReplaced(svc *corev1.Service) bool {
	return isTrue(svc.Annotations[AnnotationAllowReplacement])
}

// PlaceOf places a Service. alone and groups say what serves it now: a VirtualService of its own, and shared VIPs. It stays there
// until it may be interrupted.
func PlaceOf(svc *corev1.Service, alone bool, groups []string) Place {
	wanted := SharedVIPOf(svc)
	now := wanted
	switch {
	case wanted == "" && alone, wanted != "" && slices.Contains(groups, wanted):
	case alone:
		now = ""
	case len(groups) > 0:
		now = groups[0]
	}
	return Place{Group: now, Leaving: now != wanted && MayBeReplaced(svc)}
}

// CompareSeniority orders the Services of a group: by their creation or, for one that joined a group that others were served in
// before, by that.
func CompareSeniority(group string) func(x, y *corev1.Service) int {
	return func(x, y *corev1.Service) int {
		return cmp.Or(Since(group, x).Compare(Since(group, y)), strings.Compare(x.Name, y.Name))
	}
}

// Since is when a Service became one of a group: when it says that it joined it, else when it was created.
func Since(group string, svc *corev1.Service) time.Time {
	if at, ok := joinedAt(group, svc); ok {
		return at
	}
	return svc.CreationTimestamp.Time
}

// HasJoined reports whether a Service says when it became one of a group.
func HasJoined(group string, svc *corev1.Service) bool {
	_, ok := joinedAt(group, svc)
	return ok
}

func joinedAt(group string, svc *corev1.Service) (time.Time, bool) {
	text, ok := strings.CutPrefix(svc.Annotations[AnnotationJoined], group+" ")
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, text)
	return at, err == nil
}

// Joined is the value of AnnotationJoined. Fractions of a second are kept, which creation timestamps don't have: who joins in the
// second in which others are created comes after them.
func Joined(group string, at time.Time) string {
	return group + " " + at.UTC().Format(time.RFC3339Nano)
}

// Key implements Owner.
func (g SharedVIP) Key() model.Owner {
	return model.Owner{Kind: model.SharedVIPOwner, Namespace: g.Namespace, Name: g.Group}
}

// Annotations are those of the most senior Service. Only all together consent to what interrupts all.
func (g SharedVIP) Annotations() map[string]string {
	if len(g.Members) == 0 {
		return nil
	}
	out := g.Members[0].Annotations
	if slices.ContainsFunc(g.Members, func(m *corev1.Service) bool { return !isTrue(m.Annotations[AnnotationAllowReplacement]) }) {
		out = maps.Clone(out)
		delete(out, AnnotationAllowReplacement)
	}
	return out
}

// Restraint is the strictest of its Services', of the most senior one that has it.
func (g SharedVIP) Restraint() (out Restraint) {
	for _, m := range g.Members {
		if r := RestraintOf(m.Annotations); r.Any() && (!out.Any() || r.Paused() && !out.Paused()) {
			out = r.of(m.Name)
		}
	}
	return out
}

func (g SharedVIP) speaker() string {
	if len(g.Members) == 0 {
		return ""
	}
	return g.Members[0].Name
}

// addresses: the most senior Service that asks for an address decides. Where the group has one already, it is too late for all
// but the most senior one of all.
func (g SharedVIP) addresses(b *builder) []netip.Addr {
	for i, m := range g.Members {
		a, problem := parseAddress(askedAddress(m).text)
		if problem != "" || !a.IsValid() || i > 0 && b.in.Live.Exists && !slices.Contains(b.in.Live.addresses, a) {
			continue
		}
		b.asked = append(b.asked, askedAddress(m).source+" "+a.String())
		return []netip.Addr{a}
	}
	return nil
}

// sourceRanges are those of the most senior Service.
func (g SharedVIP) sourceRanges() (where string, prefixes []string) {
	if len(g.Members) == 0 {
		return "", nil
	}
	return Service{g.Members[0]}.sourceRanges()
}

// otherClients reports whether a Service asks for other clients than the group lets in, and where it asks for some; what can't be read of
// its prefixes doesn't count.
func (g SharedVIP) otherClients(m *corev1.Service) (where string, differs bool) {
	where, texts := Service{m}.sourceRanges()
	_, first := g.sourceRanges()
	asked, _ := parseRanges(texts)
	has, _ := parseRanges(first)
	if len(texts) == 0 {
		where = ""
	}
	return where, !slices.Equal(asked, has)
}

// vague reports whether some of the group's source ranges can't be read, so that those which are in force may be others.
func (g SharedVIP) vague() bool {
	_, texts := g.sourceRanges()
	_, invalid := parseRanges(texts)
	return len(invalid) > 0
}

// Unfit is why a Service can't be served in any shared VIP that doesn't serve it yet, with its reason; "" if nothing keeps it from that.
func Unfit(m *corev1.Service) (reason, why string) {
	asked := askedAddress(m)
	if _, problem := parseAddress(asked.text); problem != "" {
		return model.ReasonInvalidAddress, asked.source + ": " + problem
	}
	where, texts := Service{m}.sourceRanges()
	if prefixes, invalid := parseRanges(texts); len(invalid) > 0 && len(prefixes) == 0 {
		return model.ReasonInvalidSourceRange, rangesMessage(where, invalid)
	}
	return "", ""
}

// led is the group without the say of Services that can't be served in it: they come after all others.
func (g SharedVIP) led(b *builder) Owner {
	s := sharedBuilder{b, g}
	g.Members = slices.Clone(g.Members)
	last := func(m *corev1.Service) int {
		if s.fits(m) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(g.Members, func(x, y *corev1.Service) int { return cmp.Compare(last(x), last(y)) })
	return g
}

// sharedBuilder maps a group of Services.
type sharedBuilder struct {
	*builder
	SharedVIP
}

func (g SharedVIP) listeners(b *builder) []listener {
	if !plainName.MatchString(g.Group) {
		b.blockUnlessLive(model.ReasonInvalidAnnotation, fmt.Sprintf("annotation %s: %q can't be part of a name; give letters, digits, dots, hyphens and underscores", AnnotationSharedVIP, g.Group))
	}
	s, ns := b.in.Settings, b.in.Namespace
	if t := Tenant(s, model.ServiceOwner, ns); t != s.Tenant {
		b.report(model.Note, model.Port{}, model.ReasonUnusedField, fmt.Sprintf("annotation %s of Namespace %s: %s is not used: a shared VIP is in the operator's own tenant, %s", AnnotationTenant, ns.Name, t, s.Tenant))
	}
	return sharedBuilder{b, g}.listeners()
}

// plainName are the values that make names which need no quoting anywhere.
var plainName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func (b sharedBuilder) listeners() []listener {
	out := b.held()
	slices.SortFunc(out, func(x, y listener) int { return comparePorts(x.port, y.port) })
	out = b.supported(out)
	for _, m := range b.Members {
		b.speak(m, func() { b.judge(m, out) })
	}
	if len(out) == 0 && !b.blocked {
		b.report(model.Blocked, model.Port{}, model.ReasonNoService, fmt.Sprintf("none of the Services of shared VIP %s can be served", b.Group))
	}
	slices.SortFunc(out, func(x, y listener) int { return strings.Compare(sharedOrder(x), sharedOrder(y)) })
	return out
}

// sharedOrder is that of AKO's ports and rules: by "SCTP-80", as text.
func sharedOrder(l listener) string { return joined(l.port.Protocol, number(l.port.Number)) }

// speak has what is reported be about one Service.
func (b sharedBuilder) speak(m *corev1.Service, report func()) {
	before, said := b.about, len(b.findings)
	b.about = m.Name
	report()
	b.about = before
	for i := range b.findings[said:] { // those of the Controller's refusals too
		b.findings[said+i].About = cmp.Or(b.findings[said+i].About, m.Name)
	}
}

// held gives each port to one Service: to the one that it is served for already, else to the most senior one that can be served.
func (b sharedBuilder) held() (out []listener) {
	b.holders = make(map[model.Port]string)
	for _, port := range b.ports() {
		proto, ok := protocolOf(port.Protocol)
		asking := b.asking(port)
		if !ok {
			for _, m := range asking {
				b.speak(m, func() {
					b.report(model.Blocked, port, model.ReasonUnsupportedProtocol, fmt.Sprintf("protocol %s is none of TCP, UDP, SCTP", port.Protocol))
				})
			}
			continue
		}
		l := listener{port: port, proto: proto}
		var holder *corev1.Service
		for _, m := range asking {
			b.speak(m, func() {
				if holder != nil {
					b.report(model.Blocked, port, model.ReasonServiceConflict, fmt.Sprintf("port %s: Service %s has it on shared VIP %s already; give this Service another port or another shared VIP", port, holder.Name, b.Group))
					return
				}
				sp, _ := servicePort(m, port)
				if t, ok := b.target(l, b.backend(m), sp); ok {
					holder, l.targets = m, []target{t}
				}
			})
		}
		if holder != nil {
			b.holders[port] = holder.Name
			out = append(out, l)
		}
	}
	return out
}

// ports are all that the Services ask for.
func (b sharedBuilder) ports() (out []model.Port) {
	for _, m := range b.Members {
		for _, p := range m.Spec.Ports {
			if port := portOfService(p); !slices.Contains(out, port) {
				out = append(out, port)
			}
		}
	}
	slices.SortFunc(out, comparePorts)
	return out
}

// asking are the Services that ask for a port and can be served, in the order in which they may have it.
func (b sharedBuilder) asking(port model.Port) (out []*corev1.Service) {
	for _, m := range b.Members {
		if _, asks := servicePort(m, port); asks && b.fits(m) && !b.unguarded(m) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(x, y *corev1.Service) int { return cmp.Compare(b.rank(x, port), b.rank(y, port)) })
	return out
}

// rank is 0 for a Service that a port is served for, else 1.
func (b sharedBuilder) rank(m *corev1.Service, port model.Port) int {
	if _, live := b.in.Live.Pools[b.poolName(b.in.Settings, m, 0, port)]; live {
		return 0
	}
	return 1
}

// live reports whether a Service is served already.
func (b sharedBuilder) live(m *corev1.Service) bool {
	return slices.ContainsFunc(m.Spec.Ports, func(p corev1.ServicePort) bool { return b.rank(m, portOfService(p)) == 0 })
}

// obstacle is why a Service can't be in the group at all, with its reason; "" if it can. One that is in stays.
func (b sharedBuilder) obstacle(m *corev1.Service) (reason, why string) {
	if reason, why = Unfit(m); reason != "" && b.live(m) {
		return "", ""
	}
	return reason, why
}

func (b sharedBuilder) fits(m *corev1.Service) bool {
	reason, _ := b.obstacle(m)
	return reason == ""
}

// unguarded reports whether a Service is to be left out because all clients that the group lets in would reach it: by the ranges of the
// most senior one or, where those can't be read, by what is in force.
func (b sharedBuilder) unguarded(m *corev1.Service) bool {
	where, differs := b.otherClients(m)
	return where != "" && (differs || b.in.Live.Exists && b.vague()) && !b.live(m)
}

func (b sharedBuilder) backend(m *corev1.Service) *Backend {
	for i := range b.in.Backends {
		if s := b.in.Backends[i].Service; s.Namespace == m.Namespace && s.Name == m.Name {
			return &b.in.Backends[i]
		}
	}
	return &Backend{Service: m}
}

// judge reports of one Service what it can't have beside the others.
func (b sharedBuilder) judge(m *corev1.Service, listeners []listener) {
	serviceBuilder{b.builder, m}.ipMode()
	serviceBuilder{b.builder, m}.droppedPorts()
	if asked := SharedVIPOf(m); asked != b.Group {
		b.stays(b.Group, asked, b.backend(m).Shut)
	}
	if reason, why := b.obstacle(m); reason != "" {
		b.leftOut(reason, why)
		return
	}
	if b.unguarded(m) {
		where, _ := b.otherClients(m)
		b.leftOut(model.ReasonSharedVIPMismatch, fmt.Sprintf("%s can't be enforced: shared VIP %s lets in the clients that Service %s lets in, the most senior one; make the Services agree", where, b.Group, b.Members[0].Name))
		return
	}
	b.disagreements(m)
	if slices.ContainsFunc(listeners, func(l listener) bool { return l.targets[0].backend.Service == m }) {
		return
	}
	b.leftOut(obstacle(slices.DeleteFunc(slices.Clone(b.findings), func(f model.Finding) bool { return f.About != m.Name }), "Service"))
}

// leftOut reports that the Service that is being looked at isn't served, which doesn't block the others.
func (b sharedBuilder) leftOut(reason, message string) {
	b.findings = append(b.findings, model.Finding{Severity: model.Blocked, About: b.about, Reason: reason, Message: message})
}

// disagreements reports what a Service asks for that one VirtualService can't have twice: the most senior one decides.
func (b sharedBuilder) disagreements(m *corev1.Service) {
	first := b.Members[0]
	differs := func(what, asked, has string) {
		b.report(model.Degraded, model.Port{}, model.ReasonSharedVIPMismatch, fmt.Sprintf("%s: %s is not used: shared VIP %s has %s; make the Services of the shared VIP agree", what, asked, b.Group, has))
	}
	asked := askedAddress(m)
	switch a, problem := parseAddress(asked.text); {
	case problem != "":
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAddress, asked.source+": "+problem+"; the VirtualService keeps what it has")
	case a.IsValid() && !slices.Contains(b.addresses(b.builder), a):
		differs(asked.source, a.String(), b.addressText())
	}
	if m == first {
		return
	}
	b.strayRanges(m.Annotations)
	by := ", which Service " + first.Name + " decides, the most senior one"
	named := func(key string) string { return strings.TrimSpace(m.Annotations[key]) }
	if asked := named(AnnotationInfraSetting); asked != "" && asked != b.in.Setting.Name {
		differs("annotation "+AnnotationInfraSetting, asked, cmp.Or(b.in.Setting.Name, "none")+by)
	}
	profile := strings.TrimSpace(first.Annotations[AnnotationApplicationProfile])
	if asked := named(AnnotationApplicationProfile); asked != "" && asked != profile {
		differs("annotation "+AnnotationApplicationProfile, asked, cmp.Or(profile, defaultApplicationProfile)+by)
	}
	if own, ok := RuleKey(m.Namespace, m.Annotations); ok && own.String() != b.in.Rule.Name {
		b.report(model.Degraded, model.Port{}, model.ReasonSharedVIPMismatch, fmt.Sprintf("annotation %s: %s is used for the pools of this Service only: the VirtualService of shared VIP %s has %s%s", AnnotationRule, named(AnnotationRule), b.Group, cmp.Or(b.in.Rule.Name, "none"), by))
	}
	where, other := b.otherClients(m)
	if _, texts := (Service{m}).sourceRanges(); where != "" {
		if _, invalid := parseRanges(texts); len(invalid) > 0 {
			b.report(model.Degraded, model.Port{}, model.ReasonInvalidSourceRange, rangesMessage(where, invalid))
		}
	}
	if other {
		what := fmt.Sprintf("shared VIP %s lets in the clients that Service %s lets in, the most senior one; make the Services agree", b.Group, first.Name)
		if where != "" {
			what = where + " is not enforced: " + what
		}
		b.report(model.Degraded, model.Port{}, model.ReasonSharedVIPMismatch, what)
	}
	off, err := trafficOff(m.Annotations)
	if err != nil {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAnnotation, err.Error())
	} else if has, _ := trafficOff(first.Annotations); off != has {
		differs("annotation "+AnnotationDisableTraffic, fmt.Sprint(off), fmt.Sprint(has)+by)
	}
}

// addressText is the group's address, for people.
func (b sharedBuilder) addressText() string {
	if a := b.addresses(b.builder); len(a) > 0 {
		return a[0].String() + ", which a more senior Service asks for"
	}
	out := make([]string, len(b.in.Live.addresses))
	for i, a := range b.in.Live.addresses {
		out[i] = a.String()
	}
	return cmp.Or(strings.Join(out, " and "), "another one") + " already"
}

// names are those of all Services that are served. As with AKO the annotation counts even if autoFQDN is disabled, and none
// without a domain of the cloud.
func (g SharedVIP) names(b *builder, listeners []listener) []string {
	domain := b.domain()
	s := sharedBuilder{b, g}
	if domain == "" { // as with Services: names that are in use stay
		for _, m := range g.Members {
			if asked := m.Annotations[AnnotationHostname]; asked != "" && len(b.in.Live.DNSNames) == 0 {
				s.speak(m, func() {
					b.report(model.Note, model.Port{}, model.ReasonNoDomain, fmt.Sprintf("annotation %s: %s is not registered: the cloud has no DNS domain", AnnotationHostname, asked))
				})
			}
		}
		for i := range listeners {
			listeners[i].names = b.in.Live.Pools[listeners[i].targets[0].pool].names
		}
		return b.registrable(b.in.Live.DNSNames)
	}
	of := make(map[string][]string)
	var out []string
	for _, m := range g.Members {
		if !slices.ContainsFunc(listeners, func(l listener) bool { return l.targets[0].backend.Service == m }) {
			continue
		}
		s.speak(m, func() { of[m.Name] = b.registrable(s.namesOf(m, domain)) })
		for _, n := range of[m.Name] {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	for i := range listeners {
		listeners[i].names = of[listeners[i].targets[0].backend.Service.Name]
	}
	return out
}

// namesOf are a Service's own names.
func (b sharedBuilder) namesOf(m *corev1.Service, domain string) []string {
	if asked := m.Annotations[AnnotationHostname]; strings.TrimSpace(asked) != "" {
		return b.askedNames(asked)
	}
	if b.in.Settings.AutoFQDN == settings.FQDNDisabled {
		return nil
	}
	if n := b.automaticName(m.Namespace, m.Name, domain); n != "" {
		return []string{n}
	}
	return nil
}

func (g SharedVIP) labels(*builder) []string { return nil }

// poolName is <cluster>--<namespace>-<service>-<group>-<protocol>-<port>.
func (g SharedVIP) poolName(s *settings.Settings, svc *corev1.Service, _ int32, listener model.Port) string {
	return name(s, joined(g.Namespace, svc.Name, g.Group, listener.Protocol, number(listener.Number)))
}

func (g SharedVIP) pools(in *Input) map[string]model.Port { return backendPools(in) }

func (g SharedVIP) backendText(svc *corev1.Service) string { return "Service " + svc.Name + "'s" }

// virtualServiceMarks are those of a Gateway of the Services API, as AKO has it.
func (g SharedVIP) virtualServiceMarks() []string {
	return []string{model.MarkNamespace, g.Namespace, model.MarkGatewayName, g.Group}
}

func (g SharedVIP) policySetMarks(string) []string { return g.virtualServiceMarks() }

func (g SharedVIP) poolMarks(_ listener, t target) []string {
	return []string{model.MarkNamespace, g.Namespace, model.MarkServiceName, t.backend.Service.Name,
		model.MarkPort, number(t.port.Number), model.MarkProtocol, t.port.Protocol, model.MarkGatewayName, g.Group}
}

// virtualServiceMetadata has no Gateway, which distinguishes a shared VIP from one.
func (g SharedVIP) virtualServiceMetadata(names []string) metadata {
	return metadata{HostNames: names}
}

func (g SharedVIP) poolMetadata(l listener, t target) metadata {
	return metadata{HostNames: l.names, NamespaceServiceName: []string{t.backend.Service.Namespace + "/" + t.backend.Service.Name}}
}
