package avisim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// object is one stored object. It is immutable: a change stores a new one with the same identity.
type object struct {
	ref
	kind     *Kind
	name     string
	tenant   string  // uuid of the tenant
	cloud    ref     // zero for types without a cloud
	seq      uint64  // order of creation
	modified int64   // µs since the epoch, unique in the store
	since    int64   // µs: creation, or the last change of enabled or of the SE group
	seen     []int64 // for a pool, µs since which each server is there and enabled, in the order of servers
	system   bool    // made by the server: can't be deleted
	body     map[string]any
}

// nameKey finds objects by name; more than one only if they are in different clouds.
type nameKey struct{ typ, tenant, name string }

// shelf holds the objects of one type.
type shelf struct {
	byUUID  map[string]*object
	ordered []*object // by seq
}

// store holds all objects with the indexes that keep lookups and deletes cheap. It has no lock of its own: the world's
// lock guards it.
type store struct {
	shelves    map[string]*shelf
	names      map[nameKey][]*object
	in         map[ref]map[ref]struct{} // who refers to the key
	seq        uint64
	generation uint64        // raised with every change
	random     *rand.ChaCha8 // nil: real randomness

	// changed is told of every change: old is nil for a new object, now for one that is gone.
	changed func(old, now *object)
}

func newStore(seed int64) *store {
	s := &store{shelves: map[string]*shelf{}, names: map[nameKey][]*object{}, in: map[ref]map[ref]struct{}{}, changed: func(_, _ *object) {}}
	for path := range kinds() {
		s.shelves[path] = &shelf{byUUID: map[string]*object{}}
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
func (s *store) newID(typ string) string {
	if s.random == nil {
		return typ + "-" + uuid.NewString()
	}
	for {
		id, _ := uuid.NewRandomFromReader(s.random)                    // ChaCha8.Read never fails
		if at := typ + "-" + id.String(); s.get(ref{typ, at}) == nil { // after a restart the sequence begins anew
			return at
		}
	}
}

func (s *store) get(r ref) *object {
	if sh := s.shelves[r.typ]; sh != nil {
		return sh.byUUID[r.uuid]
	}
	return nil
}

// all returns the objects of a type in the order in which they were created. The list is the store's own.
func (s *store) all(typ string) []*object {
	if sh := s.shelves[typ]; sh != nil {
		return sh.ordered
	}
	return nil
}

// Refers reports whether one object refers to another one.
func (s *store) Refers(from, to ref) bool {
	_, refers := s.in[to][from]
	return refers
}

// Dangling counts the references to objects that are not there.
func (s *store) Dangling() int {
	n := 0
	for to, from := range s.in {
		if s.get(to) == nil {
			n += len(from)
		}
	}
	return n
}

// named returns the objects of a type with the name in a tenant, one per cloud.
func (s *store) named(typ, tenant, name string) []*object { return s.names[nameKey{typ, tenant, name}] }

// tenantByName returns the uuid of a tenant.
func (s *store) tenantByName(name string) (string, bool) {
	if objs := s.named("tenant", adminTenant, name); len(objs) > 0 {
		return objs[0].uuid, true
	}
	return "", false
}

// put stores an object, new or changed, and brings the indexes up to date.
func (s *store) put(o *object) {
	sh := s.shelves[o.typ]
	old := sh.byUUID[o.uuid]
	if o.since == 0 {
		o.age(old)
	}
	if old == nil {
		if o.seq == 0 {
			o.seq = s.seq + 1
		}
		s.seq = max(s.seq, o.seq)
		sh.ordered = slices.Insert(sh.ordered, sh.position(o), o)
	} else {
		o.seq = old.seq
		sh.ordered[sh.position(old)] = o
		s.unindex(old)
	}
	sh.byUUID[o.uuid] = o
	key := nameKey{o.typ, o.tenant, o.name}
	s.names[key] = append(s.names[key], o)
	for to := range references(o.body) {
		if s.in[to] == nil {
			s.in[to] = map[ref]struct{}{}
		}
		s.in[to][o.ref] = struct{}{}
	}
	s.generation++
	s.changed(old, o)
}

// age carries over from the older state of the object since when it is what it is.
func (o *object) age(old *object) {
	o.since = o.modified
	if old != nil && boolean(old.body, "enabled", true) == boolean(o.body, "enabled", true) && old.body["se_group_ref"] == o.body["se_group_ref"] {
		o.since = old.since
	}
	if o.typ != "pool" {
		return
	}
	before := map[endpointKey]int64{}
	if old != nil {
		for i, b := range messages(old.body["servers"]) {
			if boolean(b, "enabled", true) {
				before[endpointOf(old, b)] = old.seen[i]
			}
		}
	}
	servers := messages(o.body["servers"])
	o.seen = make([]int64, len(servers))
	for i, b := range servers {
		o.seen[i] = o.modified
		if t, ok := before[endpointOf(o, b)]; ok && boolean(b, "enabled", true) {
			o.seen[i] = t
		}
	}
}

// drop removes an object without asking who refers to it.
func (s *store) drop(o *object) {
	sh := s.shelves[o.typ]
	i := sh.position(o)
	sh.ordered = slices.Delete(sh.ordered, i, i+1)
	delete(sh.byUUID, o.uuid)
	s.unindex(o)
	s.generation++
	s.changed(o, nil)
}

func (s *store) unindex(o *object) {
	key := nameKey{o.typ, o.tenant, o.name}
	if rest := slices.DeleteFunc(s.names[key], func(x *object) bool { return x.ref == o.ref }); len(rest) > 0 {
		s.names[key] = rest
	} else {
		delete(s.names, key)
	}
	for to := range references(o.body) {
		delete(s.in[to], o.ref)
		if len(s.in[to]) == 0 {
			delete(s.in, to)
		}
	}
}

func (sh *shelf) position(o *object) int {
	i, _ := slices.BinarySearchFunc(sh.ordered, o.seq, func(x *object, seq uint64) int { return cmp.Compare(x.seq, seq) })
	return i
}

// referrers returns the objects that refer to one, in the order in which they were created.
func (s *store) referrers(to ref) []*object {
	out := make([]*object, 0, len(s.in[to]))
	for from := range s.in[to] {
		if o := s.get(from); o != nil && from != to {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *object) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// visible reports whether a request in the tenant may see the object. Evidence: isolation is recorded; the admin tenant's
// shared types are documented; "*" is documented.
func (o *object) visible(tenant string) bool {
	return tenant == allTenants || o.tenant == tenant || o.tenant == adminTenant && o.kind.shared
}

// quoteList renders names as the Controller's language prints a list of strings.
func quoteList(items []string) string {
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
