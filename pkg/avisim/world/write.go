// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Write is one POST, PUT or PATCH of a client.
type Write struct {
	Kind     *Kind
	Old      *Object        // nil on creation
	At       schema.Version // the request's API version
	Tenant   string         // uuid of the tenant that owns the object; that of Old if empty
	Incoming map[string]any // POST, PUT: the body as it came
	Patch    map[string]any // PATCH: the verbs as they came
	Slug     string         // uuid asked for by the client
}

// write is a Write on its way through the pipeline, or the same thing done out of band.
type write struct {
	Write
	world *Writer
	store *Store

	cloud doc.Ref
	name  string
	body  map[string]any // the whole new document

	trusted bool // out of band: no gates, no rules, no tenant checks
	system  bool
	filling bool // addresses that were left open come now
	moving  bool // and those that are there are replaced
}

// Apply takes a write through all steps and commits it. Nothing is changed on a refusal.
func (s *Writer) Apply(w Write) (*Object, *schema.Refusal) { return s.apply(&write{Write: w}) }

// force applies a write out of band.
func (s *Writer) force(w Write) error { return s.must(&write{Write: w, trusted: true}) }

// must is apply for callers that want an error value.
func (s *Writer) must(w *write) error {
	if _, err := s.apply(w); err != nil {
		return fmt.Errorf("%s %q: %w", w.Kind.Path, w.name, err)
	}
	return nil
}

func (s *Writer) apply(w *write) (*Object, *schema.Refusal) {
	w.world, w.store = s, s.Store
	if w.Old != nil && w.Tenant == "" {
		w.Tenant = w.Old.Tenant
	}
	return w.run()
}

// run takes the write through all steps.
func (w *write) run() (*Object, *schema.Refusal) {
	steps := []func() *schema.Refusal{
		w.gate, w.document, w.settle, w.current, w.tier, w.resolve, w.complete, w.unique, w.rules, w.addresses, w.mandatory,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return w.commit(), nil
}

// gate refuses what is newer than the request's version. Evidence: documented by issues, text exact.
func (w *write) gate() *schema.Refusal {
	m := w.Kind.Message()
	if m == nil || w.trusted {
		return nil
	}
	for _, p := range append(w.patchParts(), w.Incoming) {
		if err := m.Gate(p, w.At, w.breaks); err != nil {
			return err
		}
	}
	return nil
}

// document makes the whole new document: the body of POST and PUT, the old one with the verbs applied for PATCH.
func (w *write) document() *schema.Refusal {
	if w.Patch != nil {
		w.body = doc.CloneMap(w.Old.Body)
		if err := w.applyPatch(); err != nil {
			return err
		}
	} else {
		w.body = doc.CloneMap(w.Incoming)
	}
	if m := w.Kind.Message(); m != nil {
		return m.Conform(w.body, w.breaks)
	}
	for k, v := range w.body {
		if l, ok := v.([]any); v == nil || ok && len(l) == 0 {
			delete(w.body, k)
		}
	}
	return nil
}

// patchVerbs are applied in this order if a body has several. Evidence: the verbs are documented, the order is not.
var patchVerbs = []string{"delete", "replace", "add"}

// applyPatch applies the verbs to w.body. Evidence: documented ("API - HTTP PATCH Support"): for scalars add is replace and
// delete resets to the default; for lists add appends, and merges entries that have a key, replace replaces, delete
// removes the entries named. Which fields are an entry's key is unverified (listKey).
func (w *write) applyPatch() *schema.Refusal {
	if len(w.Patch) == 0 {
		return schema.Refuse(schema.StatusBadRequest, "Patch data must have one of add, replace, delete or json_patch")
	}
	for verb, v := range w.Patch {
		if verb == "json_patch" {
			continue
		}
		if _, ok := v.(map[string]any); !ok || !slices.Contains(patchVerbs, verb) {
			return schema.Refuse(schema.StatusBadRequest, "Invalid patch operation %s", verb)
		}
	}
	for _, verb := range patchVerbs {
		part, _ := w.Patch[verb].(map[string]any)
		for _, name := range doc.Keys(part) {
			if err := w.applyField(verb, name, doc.Clone(part[name])); err != nil {
				return err
			}
		}
	}
	if ops, ok := w.Patch["json_patch"]; ok {
		l, ok := ops.([]any)
		if !ok {
			return schema.Refuse(schema.StatusBadRequest, "json_patch must be a list")
		}
		for _, op := range doc.Messages(l) {
			if err := jsonPatch(w.body, op); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *write) applyField(verb, name string, v any) *schema.Refusal {
	entries, isList := v.([]any)
	if verb == "replace" || !isList {
		if verb == "delete" {
			delete(w.body, name)
		} else {
			w.body[name] = v // an empty list or a null is dropped when the document is conformed
		}
		return nil
	}
	// Entries are compared with stored ones, so they have to look like stored ones first.
	part := map[string]any{name: entries}
	m := w.Kind.Message()
	if m != nil {
		if err := m.Conform(part, w.breaks); err != nil {
			return err
		}
	}
	r := Resolver{Store: w.store, Scope: Scope{w.Old.Tenant, w.Old.Cloud}}
	if err := r.message(m, part); err != nil {
		return err
	}
	entries, _ = part[name].([]any)
	have, _ := w.body[name].([]any)
	for _, e := range entries {
		if verb == "delete" {
			have = slices.DeleteFunc(have, func(x any) bool { return named(name, e, x) })
		} else {
			have = merge(name, have, e)
		}
	}
	w.body[name] = have
	return nil
}

// named reports whether a patch entry names a stored one: by those of its key fields that it has, or as a whole if it has none.
func named(list string, e, x any) bool {
	em, ok1 := e.(map[string]any)
	xm, ok2 := x.(map[string]any)
	if !ok1 || !ok2 {
		return doc.Equal(e, x)
	}
	some := false
	for _, k := range schema.ListKey(list) {
		if v, have := em[k]; have {
			some = true
			if !doc.Equal(v, xm[k]) {
				return false
			}
		}
	}
	return some || doc.Equal(e, x)
}

// merge adds an entry to a list: into the entry with the same key if there is one, else at the end.
func merge(list string, have []any, e any) []any {
	em, ok := e.(map[string]any)
	if !ok {
		if slices.ContainsFunc(have, func(x any) bool { return doc.Equal(e, x) }) {
			return have
		}
		return append(have, e)
	}
	keys := schema.ListKey(list)
	for _, x := range have {
		xm, ok := x.(map[string]any)
		if !ok || len(keys) == 0 || !slices.ContainsFunc(keys, func(k string) bool { return em[k] != nil }) {
			continue
		}
		if slices.ContainsFunc(keys, func(k string) bool { return !doc.Equal(em[k], xm[k]) }) {
			continue
		}
		for k, v := range em {
			xm[k] = v
		}
		return have
	}
	return append(have, e)
}

// patchParts returns what a PATCH sets, as bodies: one for each verb, and one for each operation of json_patch.
func (w *write) patchParts() []map[string]any {
	var parts []map[string]any
	for _, verb := range patchVerbs {
		if p, ok := w.Patch[verb].(map[string]any); ok {
			parts = append(parts, p)
		}
	}
	for _, op := range doc.Messages(w.Patch["json_patch"]) {
		path := strings.Split(strings.TrimPrefix(doc.Str(op, "path"), "/"), "/")
		v := op["value"]
		for _, p := range slices.Backward(path) {
			if _, err := strconv.Atoi(p); err == nil || p == "-" {
				v = []any{v}
			} else {
				v = map[string]any{p: v}
			}
		}
		if p, ok := v.(map[string]any); ok {
			parts = append(parts, p)
		}
	}
	return parts
}

// settle finds the identity: name, tenant and cloud.
func (w *write) settle() *schema.Refusal {
	for _, k := range []string{"url", "uuid", "_last_modified", "configpb_attributes"} {
		delete(w.body, k)
	}
	if w.Kind.Path == "vsvip" { // shown to readers, who may echo it
		delete(w.body, "vs_refs")
	}
	w.name = doc.Str(w.body, "name")
	if w.name == "" && !w.Kind.Singleton {
		return schema.FieldCheck("name", "Missing required field")
	}
	in := Resolver{Store: w.store, Scope: Scope{Tenant: w.Tenant}}
	if given := doc.Str(w.body, "tenant_ref"); given != "" {
		o := in.Find("tenant", given)
		switch {
		case o == nil:
			return schema.Refuse(schema.StatusBadRequest, "Tenant object not found")
		case w.Tenant == AllTenants:
			w.Tenant = o.UUID
		case o.UUID != w.Tenant:
			if err := w.breaks("tenant-ref", "tenant_ref %s differs from the tenant of the request", o.Name); err != nil {
				return err
			}
		}
	}
	if w.Tenant == AllTenants {
		w.Tenant = AdminTenant
	}
	w.body["tenant_ref"] = doc.Ref{Type: "tenant", UUID: w.Tenant}
	if !w.Kind.Cloud {
		return nil
	}
	switch given := w.body["cloud_ref"].(type) {
	case doc.Ref:
		w.cloud = given
	case string:
		o := in.Find("cloud", given)
		if o == nil {
			return schema.Refuse(schema.StatusBadRequest, "Cloud object not found")
		}
		w.cloud = o.Ref
	default:
		if w.Old != nil {
			w.cloud = w.Old.Cloud
		} else if o := w.store.Lookup("cloud", defaultCloud, Scope{Tenant: AdminTenant}); o != nil {
			w.cloud = o.Ref
		}
	}
	if w.Old != nil && w.Old.Cloud != w.cloud {
		if err := w.breaks("cloud-change", "Cloud of %s %s cannot be changed", w.Kind.Title, w.name); err != nil {
			return err
		}
	}
	w.body["cloud_ref"] = w.cloud
	return nil
}

// current refuses a PUT that was made from an older reading. Evidence: documented for VsVip with its exact text, and
// for three more types; that a PUT without _last_modified passes is inferred.
func (w *write) current() *schema.Refusal {
	if w.Old == nil || w.Patch != nil {
		return nil
	}
	if seen := doc.Str(w.Incoming, "_last_modified"); seen != "" && seen != Microseconds(w.Old.Modified) {
		return schema.Refuse(schema.StatusPreconditionFailed, "Need to reload object data %s", w.Kind.Title)
	}
	return nil
}

// tier refuses what the licence tier does not have. Evidence: the schema's edition notes; the answer is unverified.
func (w *write) tier() *schema.Refusal {
	m := w.Kind.Message()
	if m == nil || w.trusted {
		return nil
	}
	return m.License(w.body, w.licenseTier(), w.breaks)
}

// licenseTier is the tier that holds for the object: the lower one of the system's and its cloud's. Evidence: that a cloud
// has a tier of its own is documented, how the two combine is unverified.
func (w *write) licenseTier() string {
	system := w.world.Tier()
	if c := w.store.Get(w.cloud); c != nil {
		for _, t := range schema.LowerTiers {
			if own := doc.Str(c.Body, "license_tier"); own == t || system == t {
				return t
			}
		}
	}
	return system
}

func (w *write) resolve() *schema.Refusal {
	// An edit out of band brings back all references of the object, and some may be dangling after a forced removal.
	r := Resolver{w.store, Scope{w.Tenant, w.cloud}, w.trusted && w.Old != nil && w.Incoming != nil}
	if err := r.message(w.Kind.Message(), w.body); err != nil {
		if w.trusted {
			return err
		}
		if err := w.breaks("ref-exists", "%s", err.Text); err != nil {
			return err
		}
		r.lenient = true
		if err := r.message(w.Kind.Message(), w.body); err != nil {
			return err
		}
	}
	for k, v := range w.body { // a reference that turned out empty counts as unset
		if v == nil {
			delete(w.body, k)
		}
	}
	return nil
}

// complete fills defaults and derived fields.
func (w *write) complete() *schema.Refusal {
	w.tier1VRF()
	for _, f := range doc.Keys(w.Kind.refDefaults) {
		w.defaultRef(f, w.Kind.refDefaults[f])
	}
	if w.Kind.Path == "virtualservice" {
		w.virtualServiceRefs()
	}
	if m := w.Kind.Message(); m != nil {
		m.Fill(w.body, w.world.version, w.licenseTier())
	}
	if w.Kind.derive != nil {
		w.Kind.derive(w)
	}
	return nil
}

// tier1VRF finds the VRF of an object that names a tier-1 router and no VRF. Evidence: inferred from a client that leaves
// the VRF out where there is a router.
func (w *write) tier1VRF() {
	field := map[string]string{"vsvip": "vrf_context_ref", "pool": "vrf_ref"}[w.Kind.Path]
	path := doc.Str(w.body, "tier1_lr")
	if field == "" || path == "" || w.body[field] != nil {
		return
	}
	for _, v := range w.store.All("vrfcontext") {
		if v.Cloud == w.cloud && v.Visible(w.Tenant) && slices.ContainsFunc(doc.Messages(v.Body["attrs"]), func(m map[string]any) bool {
			return doc.Str(m, "key") == tier1Attribute && doc.Str(m, "value") == path
		}) {
			w.body[field] = v.Ref
			return
		}
	}
}

// tier1Attribute is the attribute of a VRF that holds the path of its NSX-T tier-1 router. Evidence: documented by a client.
const tier1Attribute = "tier1path"

// defaultRef sets a reference that is missing, if an object of that name can be found.
func (w *write) defaultRef(field, name string) {
	if _, have := w.body[field]; have {
		return
	}
	f := w.Kind.Message().Fields[field]
	if o := w.store.Lookup(f.Target, name, Scope{w.Tenant, w.cloud}); o != nil {
		w.body[field] = o.Ref
	}
}

// virtualServiceRefs fills the references whose default depends on others. Evidence: the VRF is inferred; the profiles are
// documented defaults of the schema per tier.
func (w *write) virtualServiceRefs() {
	if vip := w.store.Get(doc.RefAt(w.body, "vsvip_ref")); vip != nil && w.body["vrf_context_ref"] == nil {
		if vrf, ok := vip.Body["vrf_context_ref"]; ok {
			w.body["vrf_context_ref"] = vrf
		}
	}
	w.defaultRef("vrf_context_ref", "global")
	for f, name := range map[string]string{"application_profile_ref": "System-HTTP", "network_profile_ref": "System-TCP-Proxy"} {
		if own, ok := w.Kind.Message().Fields[f].PresetIn(w.licenseTier()).(string); ok {
			name = own
		}
		w.defaultRef(f, name)
	}
}

// deriveTenant fills the tenant's settings. Evidence: documented defaults of the schema.
func deriveTenant(w *write) {
	if _, have := w.body["config_settings"]; !have {
		w.body["config_settings"] = map[string]any{
			"tenant_vrf": false, "se_in_provider_context": true, "tenant_access_to_provider_se": true}
	}
}

// derivePool gives a server without a host name its address as one. Evidence: recorded.
func derivePool(w *write) {
	for _, s := range doc.Messages(w.body["servers"]) {
		if _, have := s["hostname"]; !have {
			s["hostname"] = doc.Str(s, "ip", "addr")
		}
	}
}

// deriveVirtualService fills a port's range end (recorded), the profiles that depend on the tier (documented) and the
// cloud's kind (recorded).
func deriveVirtualService(w *write) {
	for _, s := range doc.Messages(w.body["services"]) {
		if end, _ := s["port_range_end"].(float64); end == 0 {
			s["port_range_end"] = s["port"]
		}
	}
	if w.body["ssl_profile_ref"] == nil && slices.ContainsFunc(doc.Messages(w.body["services"]),
		func(m map[string]any) bool { return doc.Bool(m, "enable_ssl", false) }) {
		if o := w.store.Lookup("sslprofile", "System-Standard-PFS", Scope{w.Tenant, w.cloud}); o != nil {
			w.body["ssl_profile_ref"] = o.Ref // recorded
		}
	}
	if c := w.store.Get(w.cloud); c != nil {
		if v, ok := c.Body["vtype"]; ok {
			w.body["cloud_type"] = v
		}
	}
}

// deriveUser fills what a client may leave out. Evidence: inferred.
func deriveUser(w *write) {
	keepSecrets(w)
	for k, v := range map[string]any{"username": w.name, "full_name": "", "email": "", "local": true, "is_superuser": false, "is_active": true,
		"default_tenant_ref": doc.Ref{Type: "tenant", UUID: AdminTenant}} {
		if w.body[k] == nil {
			w.body[k] = v
		}
	}
}

// keepSecrets carries the secrets over that a client which echoes what it read can't know. Evidence: inferred.
func keepSecrets(w *write) {
	for _, f := range secretFields[w.Kind.Path] {
		if old := w.Old; old != nil && (w.body[f] == nil || w.body[f] == Sensitive) && old.Body[f] != nil {
			w.body[f] = old.Body[f]
		}
	}
}

// unique refuses a second object of the same name. Evidence: one type's exact text is documented.
func (w *write) unique() *schema.Refusal {
	if w.Kind.Singleton {
		return nil
	}
	for _, o := range w.store.Named(w.Kind.Path, w.Tenant, w.name) {
		if o.Cloud == w.cloud && (w.Old == nil || o.UUID != w.Old.UUID) {
			keys := "Name and Tenant ref"
			if w.Kind.Cloud {
				keys = "Name, Tenant ref and Cloud ref"
			}
			if err := w.breaks("name-unique", "%s with this %s already exists.", w.Kind.Verbose(), keys); err != nil {
				return err
			}
		}
	}
	if w.Slug != "" && w.store.Get(doc.Ref{Type: w.Kind.Path, UUID: w.Slug}) != nil {
		return schema.Refuse(schema.StatusConflict, "%s with this Uuid already exists.", w.Kind.Verbose())
	}
	return nil
}

func (w *write) rules() *schema.Refusal {
	if w.trusted {
		return nil
	}
	for i := range ruleTable {
		r := &ruleTable[i]
		if r.check == nil || r.typ != "" && r.typ != w.Kind.Path || w.world.rulesOff[r.id] {
			continue
		}
		if text := r.check(w); text != "" {
			if err := w.breaks(r.id, "%s", text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *write) addresses() *schema.Refusal {
	if w.Kind.Path != "vsvip" {
		return nil
	}
	return w.world.ipam.assign(w)
}

func (w *write) mandatory() *schema.Refusal {
	m := w.Kind.Message()
	if m == nil || w.trusted {
		return nil
	}
	return m.Require(w.body, w.breaks)
}

// commit stores the object. A write that changes nothing keeps _last_modified; evidence for that: none, it is the
// choice that makes a needless write visible in the log only.
func (w *write) commit() *Object {
	o := &Object{Ref: doc.Ref{Type: w.Kind.Path}, Kind: w.Kind, Name: w.name, Tenant: w.Tenant, Cloud: w.cloud, Body: w.body, System: w.system}
	count := 1.0
	if w.Old != nil {
		o.UUID, o.System, o.Tenant = w.Old.UUID, w.Old.System, w.Old.Tenant
		if kept, ok := w.Old.Body["configpb_attributes"]; ok {
			w.body["configpb_attributes"] = kept
			count = float64(doc.Int(w.Old.Body, "configpb_attributes", "version") + 1)
		}
		if doc.Equal(w.Old.Body, w.body) && !w.world.bumps {
			return w.Old
		}
	} else if o.UUID = w.Slug; o.UUID == "" {
		o.UUID = w.store.newID(w.Kind.Path)
	}
	if w.world.version >= ConfigPBSince {
		w.body["configpb_attributes"] = map[string]any{"version": count}
	}
	o.Modified = w.world.tick()
	w.store.put(o)
	if o.Type == "cloud" && w.Old == nil {
		w.world.furnish(o)
	}
	return o
}

// Touch gives an object another _last_modified and changes nothing else.
func (s *Writer) Touch(o *Object) *Object {
	touched := *o
	touched.Modified = s.tick()
	s.Store.put(&touched)
	return &touched
}

// Undo takes a committed write back: now is what it made of old, which is nil if it created the object.
func (s *Writer) Undo(old, now *Object) {
	if old == nil {
		_ = s.Remove(now) // nothing refers to it any more; a cloud takes what was made for it along
		return
	}
	s.Store.put(old)
}

// Microseconds is a time as _last_modified shows it.
func Microseconds(t int64) string { return strconv.FormatInt(t, 10) }

// ConfigPBSince is the version that brought configpb_attributes to all types. Evidence: documented.
const ConfigPBSince schema.Version = 21<<48 | 1<<32 | 1<<16
