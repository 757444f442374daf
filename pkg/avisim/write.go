package avisim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Write is one POST, PUT or PATCH of a client.
type Write struct {
	Kind     *Kind
	Old      *object        // nil on creation
	At       version        // the request's API version
	Tenant   string         // uuid of the tenant that owns the object; that of Old if empty
	Incoming map[string]any // POST, PUT: the body as it came
	Patch    map[string]any // PATCH: the verbs as they came
	Slug     string         // uuid asked for by the client
}

// write is a Write on its way through the pipeline, or the same thing done out of band.
type write struct {
	Write
	world *Writer
	store *store

	cloud ref
	name  string
	body  map[string]any // the whole new document

	trusted bool // out of band: no gates, no rules, no tenant checks
	system  bool
	filling bool // addresses that were left open come now
	moving  bool // and those that are there are replaced
}

// Apply takes a write through all steps and commits it. Nothing is changed on a refusal.
func (s *Writer) Apply(w Write) (*object, *apiError) { return s.apply(&write{Write: w}) }

// force applies a write out of band.
func (s *Writer) force(w Write) error { return s.must(&write{Write: w, trusted: true}) }

// must is apply for callers that want an error value.
func (s *Writer) must(w *write) error {
	if _, err := s.apply(w); err != nil {
		return fmt.Errorf("%s %q: %w", w.Kind.path, w.name, err)
	}
	return nil
}

func (s *Writer) apply(w *write) (*object, *apiError) {
	w.world, w.store = s, s.store
	if w.Old != nil && w.Tenant == "" {
		w.Tenant = w.Old.tenant
	}
	return w.run()
}

// run takes the write through all steps.
func (w *write) run() (*object, *apiError) {
	steps := []func() *apiError{
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
func (w *write) gate() *apiError {
	m := w.Kind.message()
	if m == nil || w.trusted {
		return nil
	}
	for _, p := range append(w.patchParts(), w.Incoming) {
		if err := m.gate(p, w.At, w.breaks); err != nil {
			return err
		}
	}
	return nil
}

// document makes the whole new document: the body of POST and PUT, the old one with the verbs applied for PATCH.
func (w *write) document() *apiError {
	if w.Patch != nil {
		w.body = cloneMap(w.Old.body)
		if err := w.applyPatch(); err != nil {
			return err
		}
	} else {
		w.body = cloneMap(w.Incoming)
	}
	if m := w.Kind.message(); m != nil {
		return m.conform(w.body, w.breaks)
	}
	for k, v := range w.body {
		if l, ok := v.([]any); v == nil || ok && len(l) == 0 {
			delete(w.body, k)
		}
	}
	return nil
}

// settle finds the identity: name, tenant and cloud.
func (w *write) settle() *apiError {
	for _, k := range []string{"url", "uuid", "_last_modified", "configpb_attributes"} {
		delete(w.body, k)
	}
	if w.Kind.path == "vsvip" { // shown to readers, who may echo it
		delete(w.body, "vs_refs")
	}
	w.name = str(w.body, "name")
	if w.name == "" && !w.Kind.singleton {
		return fieldCheck("name", "Missing required field")
	}
	in := resolver{store: w.store, scope: scope{tenant: w.Tenant}}
	if given := str(w.body, "tenant_ref"); given != "" {
		o := in.find("tenant", given)
		switch {
		case o == nil:
			return refuse(statusBadRequest, "Tenant object not found")
		case w.Tenant == allTenants:
			w.Tenant = o.uuid
		case o.uuid != w.Tenant:
			if err := w.breaks("tenant-ref", "tenant_ref %s differs from the tenant of the request", o.name); err != nil {
				return err
			}
		}
	}
	if w.Tenant == allTenants {
		w.Tenant = adminTenant
	}
	w.body["tenant_ref"] = ref{"tenant", w.Tenant}
	if !w.Kind.cloud {
		return nil
	}
	switch given := w.body["cloud_ref"].(type) {
	case ref:
		w.cloud = given
	case string:
		o := in.find("cloud", given)
		if o == nil {
			return refuse(statusBadRequest, "Cloud object not found")
		}
		w.cloud = o.ref
	default:
		if w.Old != nil {
			w.cloud = w.Old.cloud
		} else if o := w.store.lookup("cloud", defaultCloud, scope{tenant: adminTenant}); o != nil {
			w.cloud = o.ref
		}
	}
	if w.Old != nil && w.Old.cloud != w.cloud {
		if err := w.breaks("cloud-change", "Cloud of %s %s cannot be changed", w.Kind.title, w.name); err != nil {
			return err
		}
	}
	w.body["cloud_ref"] = w.cloud
	return nil
}

// current refuses a PUT that was made from an older reading. Evidence: documented for VsVip with its exact text, and
// for three more types; that a PUT without _last_modified passes is inferred.
func (w *write) current() *apiError {
	if w.Old == nil || w.Patch != nil {
		return nil
	}
	if seen := str(w.Incoming, "_last_modified"); seen != "" && seen != microseconds(w.Old.modified) {
		return refuse(statusPreconditionFailed, "Need to reload object data %s", w.Kind.title)
	}
	return nil
}

// tier refuses what the licence tier does not have. Evidence: the schema's edition notes; the answer is unverified.
func (w *write) tier() *apiError {
	m := w.Kind.message()
	if m == nil || w.trusted {
		return nil
	}
	return m.license(w.body, w.licenseTier(), w.breaks)
}

// licenseTier is the tier that holds for the object: the lower one of the system's and its cloud's. Evidence: that a cloud
// has a tier of its own is documented, how the two combine is unverified.
func (w *write) licenseTier() string {
	system := w.world.Tier()
	if c := w.store.get(w.cloud); c != nil {
		for _, t := range lowerTiers {
			if own := str(c.body, "license_tier"); own == t || system == t {
				return t
			}
		}
	}
	return system
}

func (w *write) resolve() *apiError {
	// An edit out of band brings back all references of the object, and some may be dangling after a forced removal.
	r := resolver{w.store, scope{w.Tenant, w.cloud}, w.trusted && w.Old != nil && w.Incoming != nil}
	if err := r.message(w.Kind.message(), w.body); err != nil {
		if w.trusted {
			return err
		}
		if err := w.breaks("ref-exists", "%s", err.text); err != nil {
			return err
		}
		r.lenient = true
		if err := r.message(w.Kind.message(), w.body); err != nil {
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
func (w *write) complete() *apiError {
	w.tier1VRF()
	for _, f := range sortedKeys(w.Kind.refDefaults) {
		w.defaultRef(f, w.Kind.refDefaults[f])
	}
	if w.Kind.path == "virtualservice" {
		w.virtualServiceRefs()
	}
	if m := w.Kind.message(); m != nil {
		m.fill(w.body, w.world.version, w.licenseTier())
	}
	if w.Kind.derive != nil {
		w.Kind.derive(w)
	}
	return nil
}

// defaultRef sets a reference that is missing, if an object of that name can be found.
func (w *write) defaultRef(field, name string) {
	if _, have := w.body[field]; have {
		return
	}
	f := w.Kind.message().fields[field]
	if o := w.store.lookup(f.target, name, scope{w.Tenant, w.cloud}); o != nil {
		w.body[field] = o.ref
	}
}

// virtualServiceRefs fills the references whose default depends on others. Evidence: the VRF is inferred; the profiles are
// documented defaults of the schema per tier.
func (w *write) virtualServiceRefs() {
	if vip := w.store.get(refAt(w.body, "vsvip_ref")); vip != nil && w.body["vrf_context_ref"] == nil {
		if vrf, ok := vip.body["vrf_context_ref"]; ok {
			w.body["vrf_context_ref"] = vrf
		}
	}
	w.defaultRef("vrf_context_ref", "global")
	for f, name := range map[string]string{"application_profile_ref": "System-HTTP", "network_profile_ref": "System-TCP-Proxy"} {
		if own, ok := w.Kind.message().fields[f].presetIn(w.licenseTier()).(string); ok {
			name = own
		}
		w.defaultRef(f, name)
	}
}

// unique refuses a second object of the same name. Evidence: one type's exact text is documented.
func (w *write) unique() *apiError {
	if w.Kind.singleton {
		return nil
	}
	for _, o := range w.store.named(w.Kind.path, w.Tenant, w.name) {
		if o.cloud == w.cloud && (w.Old == nil || o.uuid != w.Old.uuid) {
			keys := "Name and Tenant ref"
			if w.Kind.cloud {
				keys = "Name, Tenant ref and Cloud ref"
			}
			if err := w.breaks("name-unique", "%s with this %s already exists.", w.Kind.verbose(), keys); err != nil {
				return err
			}
		}
	}
	if w.Slug != "" && w.store.get(ref{w.Kind.path, w.Slug}) != nil {
		return refuse(statusConflict, "%s with this Uuid already exists.", w.Kind.verbose())
	}
	return nil
}

func (w *write) rules() *apiError {
	if w.trusted {
		return nil
	}
	for i := range ruleTable {
		r := &ruleTable[i]
		if r.check == nil || r.typ != "" && r.typ != w.Kind.path || w.world.rulesOff[r.id] {
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

func (w *write) addresses() *apiError {
	if w.Kind.path != "vsvip" {
		return nil
	}
	return w.world.ipam.assign(w)
}

func (w *write) mandatory() *apiError {
	m := w.Kind.message()
	if m == nil || w.trusted {
		return nil
	}
	return m.require(w.body, w.breaks)
}

// commit stores the object. A write that changes nothing keeps _last_modified; evidence for that: none, it is the
// choice that makes a needless write visible in the log only.
func (w *write) commit() *object {
	o := &object{ref: ref{typ: w.Kind.path}, kind: w.Kind, name: w.name, tenant: w.Tenant, cloud: w.cloud, body: w.body, system: w.system}
	count := 1.0
	if w.Old != nil {
		o.uuid, o.system, o.tenant = w.Old.uuid, w.Old.system, w.Old.tenant
		if kept, ok := w.Old.body["configpb_attributes"]; ok {
			w.body["configpb_attributes"] = kept
			count = float64(integer(w.Old.body, "configpb_attributes", "version") + 1)
		}
		if equal(w.Old.body, w.body) && !w.world.bumps {
			return w.Old
		}
	} else if o.uuid = w.Slug; o.uuid == "" {
		o.uuid = w.store.newID(w.Kind.path)
	}
	if w.world.version >= configpbSince {
		w.body["configpb_attributes"] = map[string]any{"version": count}
	}
	o.modified = w.world.tick()
	w.store.put(o)
	if o.typ == "cloud" && w.Old == nil {
		w.world.furnish(o)
	}
	return o
}

// Remove deletes an object unless something refers to it. Evidence: text and 403 are documented, the status of the
// system default's text is not.
func (s *Writer) Remove(o *object) *apiError {
	if o.system {
		return refuse(statusForbidden, "Cannot delete system default object")
	}
	parts := s.parts(o) // what the server made for the object and takes away with it
	var users []*object
	for _, x := range append(parts, o) {
		for _, r := range s.store.referrers(x.ref) {
			if r != o && !slices.Contains(parts, r) && !slices.Contains(users, r) {
				users = append(users, r)
			}
		}
	}
	slices.SortFunc(users, func(a, b *object) int { return cmp.Compare(a.seq, b.seq) })
	var by []string
	for _, r := range users {
		by = append(by, r.kind.title+" "+r.name)
	}
	if len(by) > 0 {
		status := statusForbidden
		if o.typ == "cloud" { // documented by an issue
			status = statusBadRequest
		}
		return refuse(status, "Cannot delete, object is referred by: %s", quoteList(by))
	}
	for _, p := range append(parts, o) {
		s.store.drop(p)
	}
	return nil
}

// parts are the objects that the server made for a cloud or a service engine group, with their own.
func (s *Reader) parts(of *object) []*object {
	made := map[string][]string{"cloud": {"vrfcontext", "serviceenginegroup", "serviceengine"}, "serviceenginegroup": {"serviceengine"}}[of.typ]
	if made == nil {
		return nil
	}
	var out []*object
	for _, r := range s.store.referrers(of.ref) {
		if r.system && slices.Contains(made, r.typ) {
			out = append(out, r)
		}
	}
	return out
}

func microseconds(t int64) string { return strconv.FormatInt(t, 10) }

// Touch gives an object another _last_modified and changes nothing else.
func (s *Writer) Touch(o *object) *object {
	touched := *o
	touched.modified = s.tick()
	s.store.put(&touched)
	return &touched
}

// Undo takes a committed write back: now is what it made of old, which is nil if it created the object.
func (s *Writer) Undo(old, now *object) {
	if old == nil {
		_ = s.Remove(now) // nothing refers to it any more; a cloud takes what was made for it along
		return
	}
	s.store.put(old)
}

// configpbSince is the version that brought configpb_attributes to all types. Evidence: documented.
const configpbSince version = 21<<48 | 1<<32 | 1<<16
