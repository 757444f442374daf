// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
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

	// changed is told of every change: old is nil for a new object, now for one that is gone.
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
