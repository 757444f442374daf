// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Object is one stored object. It is immutable: a change stores a new one with the same identity.
type Object struct {
	doc.Ref
	Kind     *Kind
	Name     string
	Tenant   string  // uuid of the tenant
	Cloud    doc.Ref // zero for types without a cloud
	Seq      uint64  // order of creation
	Modified int64   // µs since the epoch, unique in the store
	since    int64   // µs: creation, or the last change of enabled or of the SE group
	seen     []int64 // for a pool, µs since which each server is there and enabled, in the order of servers
	System   bool    // made by the server: can't be deleted
	Body     map[string]any
}

// nameKey finds objects by name; more than one only if they are in different clouds.
type nameKey struct{ typ, tenant, name string }

// shelf holds the objects of one type.
type shelf struct {
	byUUID  map[string]*Object
	ordered []*Object // by seq
}

// Store holds all objects with the indexes that keep lookups and deletes cheap. It has no lock of its own: the world's
// lock guards it.
type Store struct {
	shelves    map[string]*shelf
	names      map[nameKey][]*Object
	in         map[doc.Ref]map[doc.Ref]struct{} // who refers to the key
	seq        uint64
	Generation uint64        // raised with every change
	random     *rand.ChaCha8 // nil: real randomness

	// changed is called with every change: old is nil for a new object, now for one that is gone.
	changed func(old, now *Object)
}

func newStore(seed int64) *Store {
	s := &Store{shelves: map[string]*shelf{}, names: map[nameKey][]*Object{}, in: map[doc.Ref]map[doc.Ref]struct{}{},
		changed: func(_, _ *Object) {}}
	for path := range Kinds() {
		s.shelves[path] = &shelf{byUUID: map[string]*Object{}}
	}
	if seed != 0 {
		var key [32]byte
		for i := range 8 {
			key[i] = byte(seed >> (8 * i))
		}
		s.random = rand.NewChaCha8(key)
	}
	return s
}

// newID makes a uuid of the recorded form, <type>-<uuid4>.
func (s *Store) newID(typ string) string {
	if s.random == nil {
		return typ + "-" + uuid.NewString()
	}
	for {
		id, _ := uuid.NewRandomFromReader(s.random)                                    // ChaCha8.Read never fails
		if at := typ + "-" + id.String(); s.Get(doc.Ref{Type: typ, UUID: at}) == nil { // after a restart the sequence begins anew
			return at
		}
	}
}

// Get returns an object, nil if there is none.
func (s *Store) Get(r doc.Ref) *Object {
	if sh := s.shelves[r.Type]; sh != nil {
		return sh.byUUID[r.UUID]
	}
	return nil
}

// All returns the objects of a type in the order in which they were created. The list is the store's own.
func (s *Store) All(typ string) []*Object {
	if sh := s.shelves[typ]; sh != nil {
		return sh.ordered
	}
	return nil
}

// Refers reports whether one object refers to another one.
func (s *Store) Refers(from, to doc.Ref) bool {
	_, refers := s.in[to][from]
	return refers
}

// Dangling counts the references to objects that are not there.
func (s *Store) Dangling() int {
	n := 0
	for to, from := range s.in {
		if s.Get(to) == nil {
			n += len(from)
		}
	}
	return n
}

// Named returns the objects of a type with the name in a tenant, one per cloud.
func (s *Store) Named(typ, tenant, name string) []*Object { return s.names[nameKey{typ, tenant, name}] }

// TenantByName returns the uuid of a tenant.
func (s *Store) TenantByName(name string) (string, bool) {
	if objs := s.Named("tenant", AdminTenant, name); len(objs) > 0 {
		return objs[0].UUID, true
	}
	return "", false
}

// put stores an object, new or changed, and brings the indexes up to date.
func (s *Store) put(o *Object) {
	sh := s.shelves[o.Type]
	old := sh.byUUID[o.UUID]
	if o.since == 0 {
		o.age(old)
	}
	if old == nil {
		if o.Seq == 0 {
			o.Seq = s.seq + 1
		}
		s.seq = max(s.seq, o.Seq)
		sh.ordered = slices.Insert(sh.ordered, sh.position(o), o)
	} else {
		o.Seq = old.Seq
		sh.ordered[sh.position(old)] = o
		s.unindex(old)
	}
	sh.byUUID[o.UUID] = o
	key := nameKey{o.Type, o.Tenant, o.Name}
	s.names[key] = append(s.names[key], o)
	for to := range doc.References(o.Body) {
		if s.in[to] == nil {
			s.in[to] = map[doc.Ref]struct{}{}
		}
		s.in[to][o.Ref] = struct{}{}
	}
	s.Generation++
	s.changed(old, o)
}

// age carries over from the older state of the object since when it is what it is.
func (o *Object) age(old *Object) {
	o.since = o.Modified
	if old != nil && doc.Bool(old.Body, "enabled", true) == doc.Bool(o.Body, "enabled", true) &&
		old.Body["se_group_ref"] == o.Body["se_group_ref"] {
		o.since = old.since
	}
	if o.Type != "pool" {
		return
	}
	before := map[Endpoint]int64{}
	if old != nil {
		for i, b := range doc.Messages(old.Body["servers"]) {
			if doc.Bool(b, "enabled", true) {
				before[EndpointOf(old, b)] = old.seen[i]
			}
		}
	}
	servers := doc.Messages(o.Body["servers"])
	o.seen = make([]int64, len(servers))
	for i, b := range servers {
		o.seen[i] = o.Modified
		if t, ok := before[EndpointOf(o, b)]; ok && doc.Bool(b, "enabled", true) {
			o.seen[i] = t
		}
	}
}

// drop removes an object without asking who refers to it.
func (s *Store) drop(o *Object) {
	sh := s.shelves[o.Type]
	i := sh.position(o)
	sh.ordered = slices.Delete(sh.ordered, i, i+1)
	delete(sh.byUUID, o.UUID)
	s.unindex(o)
	s.Generation++
	s.changed(o, nil)
}

func (s *Store) unindex(o *Object) {
	key := nameKey{o.Type, o.Tenant, o.Name}
	if rest := slices.DeleteFunc(s.names[key], func(x *Object) bool { return x.Ref == o.Ref }); len(rest) > 0 {
		s.names[key] = rest
	} else {
		delete(s.names, key)
	}
	for to := range doc.References(o.Body) {
		delete(s.in[to], o.Ref)
		if len(s.in[to]) == 0 {
			delete(s.in, to)
		}
	}
}

func (sh *shelf) position(o *Object) int {
	i, _ := slices.BinarySearchFunc(sh.ordered, o.Seq, func(x *Object, seq uint64) int { return cmp.Compare(x.Seq, seq) })
	return i
}

// Referrers returns the objects that refer to one, in the order in which they were created.
func (s *Store) Referrers(to doc.Ref) []*Object {
	out := make([]*Object, 0, len(s.in[to]))
	for from := range s.in[to] {
		if o := s.Get(from); o != nil && from != to {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *Object) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}

// Visible reports whether a request in the tenant may see the object. Evidence: isolation is recorded; the admin tenant's
// shared types are documented; "*" is documented.
func (o *Object) Visible(tenant string) bool {
	return tenant == AllTenants || o.Tenant == tenant || o.Tenant == AdminTenant && o.Kind.shared
}

// Quote renders names as the Controller's language prints a list of strings.
func Quote(items []string) string {
	q := make([]string, len(items))
	for i, s := range items {
		mark := "'"
		if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
			mark = `"`
		}
		q[i] = mark + s + mark
	}
	return "[" + strings.Join(q, ", ") + "]"
}

// Endpoint is one server of a pool, whatever pool it is in.
type Endpoint struct {
	Addr netip.Addr
	Port int
}

// EndpointOf is the server of one entry of a pool's servers.
func EndpointOf(pool *Object, server map[string]any) Endpoint {
	a, _ := netip.ParseAddr(doc.Str(server, "ip", "addr"))
	port := doc.Int(server, "port")
	if port == 0 {
		port = doc.Int(pool.Body, "default_server_port")
	}
	return Endpoint{a, port}
}

// Kind is a type of objects with what the schema does not say of it.
type Kind struct {
	*schema.Type
	traits
}

// kinds holds all types, by path.
var kinds = sync.OnceValue(func() map[string]*Kind {
	known := typeTraits()
	out := map[string]*Kind{}
	for _, t := range schema.Types() {
		own, ok := known[t.Path]
		if !ok {
			own = traits{shared: true, loose: true}
		}
		out[t.Path] = &Kind{t, own}
	}
	return out
})

// Kinds returns all types by path. The map is shared.
func Kinds() map[string]*Kind { return kinds() }

// KindOf returns the type of a path, nil if there is none.
func KindOf(path string) *Kind { return kinds()[path] }

// The tenant that owns what is shared, and what a request names to see all tenants.
const (
	AdminTenant = "admin" // name and uuid at once
	AllTenants  = "*"
)

// Scope is where references of a request are looked up.
type Scope struct {
	Tenant string  // uuid, or AllTenants
	cloud  doc.Ref // the cloud of the object that refers; zero if it has none
}

// Resolver replaces the reference strings in a body by refs.
type Resolver struct {
	Store   *Store
	Scope   Scope
	lenient bool // keep references to objects that are not there
}

// message resolves the reference fields of a body along the schema; m may be nil for a schemaless type.
func (r Resolver) message(m *schema.Message, body map[string]any) *schema.Refusal {
	for _, name := range doc.Keys(body) {
		var f *schema.Field
		if m != nil {
			f = m.Fields[name]
		}
		v := body[name]
		var err *schema.Refusal
		switch {
		case f != nil && f.Kind == "ref":
			v, err = r.value(f.Target, v)
		case f != nil && f.Kind == "msg":
			err = r.messages(schema.Messages()[f.Target], v)
		case strings.HasSuffix(name, "_ref") || strings.HasSuffix(name, "_refs"):
			v, err = r.value(guessed(name), v)
		default:
			err = r.messages(nil, v)
		}
		if err != nil {
			return err
		}
		body[name] = v
	}
	return nil
}

// messages resolves what a value holds: a message, or a list of them.
func (r Resolver) messages(m *schema.Message, v any) *schema.Refusal {
	for _, b := range doc.Elements(v) {
		if sub, ok := b.(map[string]any); ok {
			if err := r.message(m, sub); err != nil {
				return err
			}
		}
	}
	return nil
}

// refTypes corrects the types that field names of schemaless objects suggest.
var refTypes = map[string]string{
	"vrf": "vrfcontext", "nw": "network", "segroup": "serviceenginegroup",
	"defaulttenant": "tenant", "userprofile": "useraccountprofile",
	"ipamprovider": "ipamdnsproviderprofile", "dnsprovider": "ipamdnsproviderprofile",
}

// Guess finds the type of a reference field that the schema does not list, nil if it can't.
func Guess(field string) *Kind {
	base := strings.TrimSuffix(strings.TrimSuffix(field, "s"), "_ref")
	base = strings.ReplaceAll(base, "_", "")
	if t, ok := refTypes[base]; ok {
		base = t
	}
	return KindOf(base)
}

func guessed(field string) string {
	if kind := Guess(field); kind != nil {
		return kind.Path
	}
	return ""
}

func (r Resolver) value(typ string, v any) (any, *schema.Refusal) {
	switch x := v.(type) {
	case []any:
		out := make([]any, 0, len(x))
		for _, e := range x {
			w, err := r.value(typ, e)
			if err != nil {
				return nil, err
			}
			if w != nil {
				out = append(out, w)
			}
		}
		return out, nil
	case string:
		if x == "" {
			return nil, nil
		}
		if KindOf(typ) == nil {
			return x, nil // a type that is not simulated: kept as it came
		}
		o := r.Find(typ, x)
		if o == nil && (r.lenient || KindOf(typ).loose) {
			if id := uuidIn(typ, x); id != "" {
				return doc.Ref{Type: typ, UUID: id}, nil
			}
			return x, nil
		}
		if o == nil {
			// Evidence: the text is documented by a client that matches on it; 400 likewise.
			return nil, schema.Refuse(schema.StatusBadRequest, "%s object not found", KindOf(typ).Title)
		}
		return o.Ref, nil
	}
	return v, nil
}

// uuidIn is the uuid in a reference of a path form, "" for other forms.
func uuidIn(typ, s string) string {
	s, _, _ = strings.Cut(s, "#")
	_, id, _ := strings.Cut(s, "/api/"+typ+"/")
	if strings.ContainsAny(id, "?/") {
		return ""
	}
	return id
}

// Find looks an object up by any of the forms that a reference may have:
//
//	https://host/api/pool/pool-<uuid>#name   absolute, with or without the name (recorded)
//	/api/pool/pool-<uuid>                    relative (recorded)
//	/api/pool?name=x&tenant=t&cloud=c        by name, with or without a slash before the ? (documented)
//	pool-<uuid>                              the bare uuid (documented)
func (r Resolver) Find(typ, s string) *Object {
	s, _, _ = strings.Cut(s, "#")
	i := strings.Index(s, "/api/")
	if i < 0 {
		return r.Visible(r.Store.Get(doc.Ref{Type: typ, UUID: s}))
	}
	path, query, _ := strings.Cut(s[i+len("/api/"):], "?")
	path = strings.Trim(path, "/")
	at, id, _ := strings.Cut(path, "/")
	if at != typ {
		return nil
	}
	if id != "" {
		return r.Visible(r.Store.Get(doc.Ref{Type: typ, UUID: id}))
	}
	q, err := url.ParseQuery(query)
	if err != nil || q.Get("name") == "" {
		return r.Visible(r.Store.Get(doc.Ref{Type: typ, UUID: q.Get("uuid")}))
	}
	sc := r.Scope
	if t := q.Get("tenant"); t != "" {
		id, ok := r.Store.TenantByName(t)
		if !ok {
			return nil
		}
		sc.Tenant = id
	}
	if c := q.Get("cloud"); c != "" {
		o := r.Store.Lookup("cloud", c, Scope{Tenant: sc.Tenant})
		if o == nil {
			return nil
		}
		sc.cloud = o.Ref
	}
	return r.Store.Lookup(typ, q.Get("name"), sc)
}

// Visible returns the object if the request may see it, else nil.
func (r Resolver) Visible(o *Object) *Object {
	if o == nil || !o.Visible(r.Scope.Tenant) {
		return nil
	}
	return o
}

// Lookup finds an object by name: in the scope's tenant first, then among the admin tenant's shared objects; within the
// scope's cloud if the type belongs to one. Evidence: inferred.
func (s *Store) Lookup(typ, name string, sc Scope) *Object {
	tenants := []string{sc.Tenant, AdminTenant}
	if sc.Tenant == AllTenants {
		tenants = []string{AdminTenant}
	}
	for _, t := range tenants {
		for _, o := range s.Named(typ, t, name) {
			if o.Visible(sc.Tenant) && (!o.Kind.Cloud || sc.cloud == doc.Ref{} || o.Cloud == sc.cloud) {
				return o
			}
		}
	}
	return nil
}

// Renderer turns stored bodies into what a client reads.
type Renderer struct {
	store *Store
	Base  string // "https://host", from the request's Host header
	names bool   // append #name to references and to the object's own url
}

// URL of an object. Evidence: recorded: with #name after a write and with include_name, without it after a read.
func (r *Renderer) URL(to doc.Ref) string {
	u := r.Base + "/api/" + to.Type + "/" + to.UUID
	if r.names {
		if o := r.store.Get(to); o != nil {
			u += "#" + o.Name
		}
	}
	return u
}

// Value renders a value: references become URLs.
func (r *Renderer) Value(v any) any {
	switch x := v.(type) {
	case doc.Ref:
		return r.URL(x)
	case map[string]any:
		out := make(map[string]any, len(x)+4)
		for k, e := range x {
			out[k] = r.Value(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = r.Value(e)
		}
		return out
	}
	return v
}

// secretFields are never shown. Evidence: recorded for keys, inferred for passwords.
var secretFields = map[string][]string{"user": {"password"}, "sslkeyandcertificate": {"key", "key_passphrase"}}

// Sensitive is what a read shows in place of a secret. Evidence: recorded for keys.
const Sensitive = "<sensitive>"

// tenantless are the types that have no tenant_ref. Evidence: recorded for the tenant and the system configuration, documented
// for the others.
var tenantless = map[string]bool{"tenant": true, "systemconfiguration": true, "controllerproperties": true, "user": true,
	"useraccountprofile": true}

// Object renders a whole object into a map of its own.
func (r *Renderer) Object(o *Object) map[string]any {
	out := r.Value(o.Body).(map[string]any)
	for _, f := range secretFields[o.Type] {
		delete(out, f)
	}
	if tenantless[o.Type] {
		delete(out, "tenant_ref")
	}
	out["url"] = r.URL(o.Ref)
	out["uuid"] = o.UUID
	out["name"] = o.Name
	out["_last_modified"] = Microseconds(o.Modified)
	return out
}

// Renderer renders stored bodies for a client that reached the Controller as base, such as "https://host"; with names, a
// reference ends with #name.
func (s *Reader) Renderer(base string, names bool) *Renderer {
	return &Renderer{store: s.Store, Base: base, names: names}
}
