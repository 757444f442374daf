// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/alb-sdk/go/models"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// String prints the plan as a change request: what is done to which object, in which order, and why.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Empty() {
		fmt.Fprintf(&b, "%s: no change\n", p.Owner)
	} else {
		fmt.Fprintf(&b, "%s: %s\n", p.Owner, p.summary())
	}
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d. %s %s", i+1, s.Op, s.Key)
		if len(s.Needs) > 0 {
			after := make([]string, len(s.Needs))
			for j, n := range s.Needs {
				after[j] = fmt.Sprint(n + 1)
			}
			fmt.Fprintf(&b, " (after %s)", strings.Join(after, ", "))
		}
		fmt.Fprintf(&b, ": %s\n", s.Reason)
		for _, line := range s.lines() {
			fmt.Fprintf(&b, "       %s\n", line)
		}
	}
	for _, f := range p.Findings {
		fmt.Fprintf(&b, "  !  %s: %s\n", f.Reason, f.Message)
	}
	return b.String()
}

func (p *Plan) summary() string {
	counts := map[Op]int{}
	for _, s := range p.Steps {
		counts[s.Op]++
	}
	var parts []string
	for _, op := range []Op{Create, Update, Delete} {
		if counts[op] > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", counts[op], op))
		}
	}
	return strings.Join(parts, ", ")
}

func (s Step) lines() []string {
	switch s.Op {
	case Create:
		return created(s.Body)
	case Update:
		var out []string
		for _, c := range s.Fields {
			out = append(out, c.lines()...)
		}
		return out
	}
	return nil
}

// created prints what of a new object matters to a network engineer; the whole body is in the golden files.
func created(body any) []string {
	switch o := body.(type) {
	case *models.VsVip:
		var out []string
		for _, v := range o.Vip {
			out = append(out, "address: "+vipText(v))
		}
		for _, d := range o.DNSInfo {
			out = append(out, "DNS name: "+*d.Fqdn)
		}
		return out
	case *models.ApplicationPersistenceProfile:
		return []string{"persistence: " + deref(o.PersistenceType) + " for " + text(o.IPPersistenceProfile)}
	case *models.Pool:
		out := []string{"health monitor: " + cmp.Or(refNames(o.HealthMonitorRefs), "none")}
		if o.ApplicationPersistenceProfileRef != nil {
			out = append(out, "persistence profile: "+refText(*o.ApplicationPersistenceProfileRef))
		}
		for _, n := range o.PlacementNetworks {
			out = append(out, "servers' network: "+refText(deref(n.NetworkRef)))
		}
		for _, s := range o.Servers {
			out = append(out, "server: "+serverText(s))
		}
		return out
	case *models.PoolGroup:
		var out []string
		for _, m := range o.Members {
			out = append(out, "member: "+memberText(m))
		}
		return out
	case *models.L4PolicySet:
		var out []string
		for _, r := range o.L4ConnectionPolicy.Rules {
			out = append(out, "rule: "+ruleText(r))
		}
		return out
	case *models.NetworkSecurityPolicy:
		var out []string
		for _, r := range o.Rules {
			out = append(out, "rule: "+securityText(r))
		}
		return out
	case *models.VirtualService:
		out := []string{"network profile: " + model.ParseRef(*o.NetworkProfileRef).Name, "Service Engine group: " + refText(deref(o.SeGroupRef))}
		for _, s := range o.Services {
			out = append(out, "listens on: "+serviceText(s))
		}
		if o.NetworkSecurityPolicyRef != nil {
			out = append(out, "network security policy: "+refText(*o.NetworkSecurityPolicyRef))
		}
		return out
	}
	return setFields(body)
}

// setFields prints the owned fields of a body for whose type created has no words.
func setFields(body any) (out []string) {
	v := reflect.ValueOf(body).Elem()
	for _, f := range fieldsOf(v.Type()) {
		if field := v.Field(f.index); !empty(field) && !bookkeeping[f.name] {
			out = append(out, f.name+": "+text(field.Interface()))
		}
	}
	return out
}

// bookkeeping are fields that say whose an object is, not what it does.
var bookkeeping = map[string]bool{"created_by": true, "markers": true, "service_metadata": true, "cloud_config_cksum": true}

func (c FieldChange) lines() []string {
	if gone, come, ok := c.elements(); ok {
		if len(gone) == 1 && len(come) == 1 {
			return []string{c.Field + ": " + gone[0] + " -> " + come[0]}
		}
		var out []string
		for _, g := range gone {
			out = append(out, c.Field+": - "+g)
		}
		for _, n := range come {
			out = append(out, c.Field+": + "+n)
		}
		if len(out) > 0 {
			return out
		}
	}
	if from, to, ok := c.members(); ok {
		var out []string
		for _, key := range slices.Sorted(maps.Keys(to)) {
			if !reflect.DeepEqual(from[key], to[key]) {
				out = append(out, fmt.Sprintf("%s %s: %s -> %s", c.Field, key, text(from[key]), text(to[key])))
			}
		}
		return out
	}
	return []string{fmt.Sprintf("%s: %s -> %s", c.Field, text(c.From), text(c.To))}
}

// members reads a field that holds JSON in a string, as service_metadata does.
func (c FieldChange) members() (from, to map[string]any, ok bool) {
	f, isString := c.From.(*string)
	t, isString2 := c.To.(*string)
	if !isString || !isString2 || json.Unmarshal([]byte(*f), &from) != nil || json.Unmarshal([]byte(*t), &to) != nil {
		return nil, nil, false
	}
	return from, to, true
}

// elements compares lists by what a person would call their elements.
func (c FieldChange) elements() (gone, come []string, ok bool) {
	from, okFrom := texts(c.From)
	to, okTo := texts(c.To)
	if !okFrom || !okTo {
		return nil, nil, false
	}
	return notIn(to, from), notIn(from, to), true
}

// notIn are the elements of list that other doesn't have.
func notIn(other, list []string) (out []string) {
	there := sets.New(other...)
	for _, e := range list {
		if !there.Has(e) {
			out = append(out, e)
		}
	}
	return out
}

func texts(v any) ([]string, bool) {
	if v == nil {
		return nil, true
	}
	if policy, isPolicy := v.(*models.L4ConnectionPolicy); isPolicy {
		v = policy.Rules
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return nil, false
	}
	out := make([]string, list.Len())
	for i := range out {
		out[i] = text(list.Index(i).Interface())
	}
	return out, true
}

func text(v any) string {
	switch o := v.(type) {
	case nil:
		return "(unset)"
	case *models.Server:
		return serverText(o)
	case *models.L4Rule:
		return ruleText(o)
	case *models.IPPersistenceProfile:
		if o != nil && o.IPPersistentTimeout != nil {
			return fmt.Sprintf("%d min", *o.IPPersistentTimeout)
		}
	case *models.NetworkSecurityRule:
		return securityText(o)
	case *models.PoolGroupMember:
		return memberText(o)
	case *models.Service:
		return serviceText(o)
	case *models.Vip:
		return vipText(o)
	case *models.DNSInfo:
		return deref(o.Fqdn)
	case *models.RoleFilterMatchLabel:
		return deref(o.Key) + "=" + strings.Join(o.Values, ",")
	case *string:
		if ref := model.ParseRef(*o); ref.Kind != "" {
			return refText(*o)
		}
		return fmt.Sprintf("%q", *o)
	case string:
		return refText(o)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func refText(s string) string {
	ref := model.ParseRef(s)
	if ref.Name != "" {
		return ref.Name
	}
	if ref.UUID != "" {
		return ref.UUID
	}
	return s
}

func refNames(refs []string) string {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = refText(r)
	}
	return strings.Join(out, ", ")
}

func serverText(s *models.Server) string {
	out := "?"
	if s.IP != nil {
		out = deref(s.IP.Addr)
	}
	if strings.Contains(out, ":") {
		out = "[" + out + "]"
	}
	if s.Port != nil {
		out += ":" + strconv.Itoa(int(*s.Port))
	}
	if s.Enabled != nil && !*s.Enabled {
		out += " disabled"
	}
	if s.ServerNode != nil {
		out += " on " + *s.ServerNode
	}
	return out
}

func ruleText(r *models.L4Rule) string {
	var match []string
	if r.Match != nil && r.Match.Port != nil {
		match = append(match, fmt.Sprintf("port %v", r.Match.Port.Ports))
	}
	if r.Match != nil && r.Match.Protocol != nil {
		match = append(match, deref(r.Match.Protocol.Protocol))
	}
	target := "pool ?"
	if r.Action != nil && r.Action.SelectPool != nil {
		target = "pool " + refText(deref(r.Action.SelectPool.PoolRef))
		if group := r.Action.SelectPool.PoolGroupRef; group != nil {
			target = "pool group " + refText(*group)
		}
	}
	return strings.Join(match, " and ") + " -> " + target
}

// securityText is "deny clients that are not in 10.0.0.0/8" for the rules that the operator writes.
func securityText(r *models.NetworkSecurityRule) string {
	action := strings.ToLower(strings.TrimPrefix(deref(r.Action), "NETWORK_SECURITY_POLICY_ACTION_TYPE_"))
	if r.Match == nil || r.Match.ClientIP == nil {
		return action + " others"
	}
	var prefixes []string
	for _, p := range r.Match.ClientIP.Prefixes {
		if p != nil && p.IPAddr != nil && p.Mask != nil {
			prefixes = append(prefixes, fmt.Sprintf("%s/%d", deref(p.IPAddr.Addr), *p.Mask))
		}
	}
	in := "in "
	if deref(r.Match.ClientIP.MatchCriteria) == "IS_NOT_IN" {
		in = "not in "
	}
	return action + " clients that are " + in + strings.Join(prefixes, ", ")
}

func memberText(m *models.PoolGroupMember) string {
	ratio := uint32(1) // the Controller's default
	if m.Ratio != nil {
		ratio = *m.Ratio
	}
	return fmt.Sprintf("%s, ratio %d", refText(deref(m.PoolRef)), ratio)
}

func serviceText(s *models.Service) string {
	out := "?"
	if s.Port != nil {
		out = fmt.Sprint(*s.Port)
	}
	if s.OverrideNetworkProfileRef != nil && *s.OverrideNetworkProfileRef != "" {
		out += " with " + refText(*s.OverrideNetworkProfileRef)
	}
	return out
}

func vipText(v *models.Vip) string {
	var out []string
	for _, ip := range []*models.IPAddr{v.IPAddress, v.Ip6Address} {
		if ip != nil {
			out = append(out, deref(ip.Addr))
		}
	}
	if len(out) == 0 {
		out = append(out, "allocated by the Controller")
	}
	switch n := v.IPAMNetworkSubnet; {
	case n == nil:
	case n.NetworkRef != nil:
		out = append(out, "from network "+refText(*n.NetworkRef))
	case n.SubnetUUID != nil:
		out = append(out, "from subnet "+*n.SubnetUUID)
	}
	if v.AutoAllocateFloatingIP != nil && *v.AutoAllocateFloatingIP {
		out = append(out, "with a floating address")
	}
	return strings.Join(out, " ")
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
