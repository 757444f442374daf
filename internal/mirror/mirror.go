// SPDX-License-Identifier: Apache-2.0

// Package mirror keeps what the Controller holds of the operator's: a bulk load at the start, a full read again at a jittered interval, and
// the operator's own writes folded in between. What others have changed is reported to a listener by owner. Reading costs lists, never one
// call for each object, so a restart costs a few pages.
package mirror

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Scope says which objects are the operator's.
type Scope struct {
	Controller  string // host; another Controller holds other objects
	ClusterName string
	CreatedBy   string
	Cloud       string
	Tenant      string
	OwnTenant   bool // the account sees no other tenant
	// TakeOver is the UID of the cluster that this one replaces under the cluster's name, or TakeOverUnrecorded; empty: none.
	TakeOver string
}

// PoolHealth counts a pool's servers in the Controller's inventory.
type PoolHealth struct {
	State       string
	Servers, Up int
}

// ErrNotLoaded is returned before the first complete load: what the Controller holds is unknown, so nothing may be
// concluded from what the mirror lacks.
var ErrNotLoaded = errors.New("the Controller's objects have not been read yet")

// ErrNoCloud says that the Controller has no cloud of the configured name.
var ErrNoCloud = errors.New("create it or fix cloudName in the ConfigMap")

// Mirror is safe for concurrent use. What it returns is shared and must not be changed.
type Mirror struct {
	client *avi.Client
	log    logr.Logger
	// Changed is called with the owners whose objects are no longer what the operator last saw, and with nil after a load that follows a time
	// without knowledge, when every owner is worth a look. Set it before Run.
	Changed func(owners []model.Owner)
	// HealthChanged is called with the owners whose health is no longer what was last read. Set it before Run.
	HealthChanged func(owners []model.Owner)
	// Loaded is called after each complete load. Set it before Run.
	Loaded func()
	// Cluster reads the UID of Namespace kube-system, by which clusters of the same name are distinguished; nil: they are not. Set it
	// before Run.
	Cluster func(context.Context) (string, error)
	// Known reports which owners there are in this cluster, whether or not they are served; nil: only the one that claims a name is
	// looked at. Set it before Run.
	Known func(context.Context) (map[model.Owner]bool, error)
	// Refused is called when the cluster's name is found to belong to another cluster, once until that changes. Set it before Run.
	Refused func(error)

	mu      sync.RWMutex
	scope   Scope
	objects map[model.Key]*entry
	owners  index[model.Owner]
	named   index[string]  // by name, the kinds whose markers don't name an owner
	common  index[bool]    // the objects without an owner, at true
	behind  index[service] // pools of Gateways and of shared VIPs, by the Service that their markers name
	claims  index[string]  // by DNS name and by address
	codec   *codec
	drift   map[model.Key]bool   // what the last load found changed, or gone, behind the operator's back
	gone    map[model.Key]uint64 // own deletes, so that an older list doesn't bring the object back
	seq     uint64               // counts own writes
	epoch   uint64               // counts the times that a load under way became worthless
	facts   *model.Facts
	asked   map[ask]bool            // the kinds that are listed because somebody refers to them
	health  map[string]model.Health // by UUID of the VirtualService
	pools   map[string]PoolHealth   // by UUID of the pool
	err     error
	at      time.Time // of the last complete load
	beat    time.Time // of Run's last round

	identity   identity
	turnedAway bool // somebody could not claim the name

	reload             chan struct{}
	learning, claiming sync.Mutex

	tenants sync.Mutex
	absent  map[string]absence // by a tenant's name; under tenants
}

// ask is a kind that somebody refers to in a tenant; an empty tenant is the configured one.
type ask struct {
	tenant string
	kind   model.Kind
}

// New returns an empty mirror; Run fills it.
func New(client *avi.Client, log logr.Logger) *Mirror {
	m := &Mirror{client: client, log: log, reload: make(chan struct{}, 1), asked: make(map[ask]bool),
		absent: make(map[string]absence), Changed: func([]model.Owner) {}, HealthChanged: func([]model.Owner) {}, Loaded: func() {},
		Refused: func(error) {}}
	m.clear()
	m.err = ErrNotLoaded
	return m
}

func (m *Mirror) clear() {
	m.objects, m.codec = make(map[model.Key]*entry), new(codec)
	m.owners, m.behind, m.common = make(index[model.Owner]), make(index[service]), make(index[bool])
	m.named, m.claims = make(index[string]), make(index[string])
	m.gone = make(map[model.Key]uint64)
	m.drift = make(map[model.Key]bool)
	m.health, m.pools = nil, nil
	m.facts = nil
	m.identity = identity{}
}

// SetScope says which objects to mirror. A change empties the mirror and loads it anew.
func (m *Mirror) SetScope(s Scope) {
	m.mu.Lock()
	changed := s != m.scope
	if changed {
		m.scope = s
		m.epoch++
		m.clear()
		m.err = ErrNotLoaded
	}
	m.mu.Unlock()
	m.Reload()
}

// Reload asks for a full read as soon as possible.
func (m *Mirror) Reload() {
	select {
	case m.reload <- struct{}{}:
	default:
	}
}

// Err says why the mirror can't be relied on; nil once a load was complete. A later load that fails doesn't make what
// was read before unusable, and is logged instead.
func (m *Mirror) Err() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.facts == nil && m.err == nil {
		return ErrNotLoaded
	}
	return m.err
}

// Expire declares what was read before now too old to act on, and asks for a new load. A replica that becomes the
// leader does it, since the leader before it has written meanwhile.
func (m *Mirror) Expire() {
	m.mu.Lock()
	m.err = ErrNotLoaded
	m.epoch++
	m.mu.Unlock()
	m.Reload()
}

// Alive is an error if Run has not come round for longer than its bounded calls can take.
func (m *Mirror) Alive() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if quiet := time.Since(m.beat); !m.beat.IsZero() && quiet > stuckAfter {
		return fmt.Errorf("reading the Controller has been stuck for %s", quiet.Round(time.Second))
	}
	return nil
}

const stuckAfter = 10 * time.Minute

// LoadedAt is the time of the last complete load, zero if there was none.
func (m *Mirror) LoadedAt() time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.at
}

// Facts are what is known of the Controller, nil before the first load.
func (m *Mirror) Facts() *model.Facts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.facts
}

// Get returns one object, nil if the Controller doesn't hold it as ours.
func (m *Mirror) Get(key model.Key) *model.Observed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.objects[key]; e != nil {
		return e.observed()
	}
	return nil
}

// Of returns all objects of an owner whose VirtualService is called name: those whose markers say so, and those that belong
// to them by their name, as VsVips do, since their markers don't name the owner.
func (m *Mirror) Of(owner model.Owner, name string) []*model.Observed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []*model.Observed
	for _, e := range m.of(owner, name) {
		out = append(out, e.observed())
	}
	return out
}

// Has reports whether there are objects of an owner whose VirtualService is called name.
func (m *Mirror) Has(owner model.Owner, name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.of(owner, name)) > 0
}

// Serves reports whether there is a VirtualService of an owner, which is to be called name.
func (m *Mirror) Serves(owner model.Owner, name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.ContainsFunc(m.of(owner, name), func(e *entry) bool { return e.head.Key.Kind == model.VirtualService })
}

// Behind lists, in order, the Services that the markers of an owner's pools name.
func (m *Mirror) Behind(owner model.Owner, name string) (out []string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range m.of(owner, name) {
		if e.service != "" && !slices.Contains(out, e.service) {
			out = append(out, e.service)
		}
	}
	slices.Sort(out)
	return out
}

func (m *Mirror) of(owner model.Owner, name string) []*entry {
	out := slices.Clone(m.owners[owner])
	if untold := owner.Untold(); untold != owner {
		out = append(out, m.owners[untold]...)
	}
	names := map[string]bool{name: true}
	for _, e := range out {
		if e.head.Key.Kind == model.VirtualService {
			names[e.head.Key.Name] = true
		}
	}
	for name := range names {
		for _, e := range m.named[name] {
			vs := m.objects[model.Key{Kind: model.VirtualService, Tenant: e.head.Key.Tenant, Name: name}]
			policy := m.objects[model.Key{Kind: model.L4PolicySet, Tenant: e.head.Key.Tenant, Name: name}]
			own := e.head.Owner
			if (own == (model.Owner{}) || own.MayBe(owner)) && vs.mayBe(owner) && policy.mayBe(owner) {
				out = append(out, e)
			}
		}
	}
	return out
}

// mayBe reports whether nothing, or an object that may be of the owner, is there.
func (e *entry) mayBe(owner model.Owner) bool { return e == nil || e.head.Owner.MayBe(owner) }

// Claiming lists the VsVips that have a DNS name, in small letters, or an address.
func (m *Mirror) Claiming(claim string) []model.Key {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []model.Key
	for _, e := range m.claims[claim] {
		out = append(out, e.head.Key)
	}
	slices.SortFunc(out, func(a, b model.Key) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// All returns every object without its body; the order is undefined.
func (m *Mirror) All() []*model.Observed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*model.Observed, 0, len(m.objects))
	for _, e := range m.objects {
		out = append(out, &e.head)
	}
	return out
}

// UUID finds an object's UUID, its own in the tenant or one that it only refers to.
func (m *Mirror) UUID(kind model.Kind, tenant, name string) (string, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.objects[model.Key{Kind: kind, Tenant: tenant, Name: name}]; e != nil {
		return e.head.UUID, true
	}
	if m.facts == nil {
		return "", false
	}
	if uuid, ok := m.facts.Tenants[tenant].Shared[kind][name]; ok {
		return uuid, true
	}
	uuid, ok := m.facts.Shared[kind][name]
	return uuid, ok
}

// VSHealth returns a VirtualService's health by UUID; ok is false while it isn't known.
func (m *Mirror) VSHealth(uuid string) (model.Health, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	h, ok := m.health[uuid]
	return h, ok
}

// PoolHealth returns a pool's health by UUID; ok is false while it isn't known.
func (m *Mirror) PoolHealth(uuid string) (PoolHealth, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	h, ok := m.pools[uuid]
	return h, ok
}

// Wrote folds in the Controller's answer to an own write and returns the object. Nobody waits while the answer is decoded, which for a pool
// of thousands of servers takes as long as hundreds of others.
func (m *Mirror) Wrote(kind model.Kind, answer json.RawMessage) (*model.Observed, error) {
	for {
		m.mu.RLock()
		r, c, epoch := m.reader(), m.codec, m.epoch
		m.mu.RUnlock()
		o, mark, err := r.decode(kind, answer)
		if err != nil {
			return nil, err
		}
		if !r.ours(o, mark) {
			return o, &NotOursError{Key: o.Key, CreatedBy: o.CreatedBy, Cluster: mark.cluster, Unformed: !mark.formed}
		}
		e, err := c.entry(o, 0)
		if err != nil {
			return nil, err
		}
		if kept := m.fold(e, epoch); kept != nil {
			return kept.with(o.Body), nil
		}
	}
}

// fold puts in an object as an own write's answer has it. It is nil where that was read under settings that are no longer in force.
func (m *Mirror) fold(e *entry, epoch uint64) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch != epoch {
		return nil
	}
	m.seq++
	e.seq = m.seq
	delete(m.gone, e.head.Key)
	return m.put(e)
}

// Gone folds in an own delete, or the news that an object isn't there any more.
func (m *Mirror) Gone(key model.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	m.gone[key] = m.seq
	m.drop(key)
}

// TakeDrift reports, once for each load, whether that load found an object changed or gone which the operator hadn't touched.
// Only a plan shows whether the change matters: others may set the fields that we do not own.
func (m *Mirror) TakeDrift(key model.Key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.drift[key]
	delete(m.drift, key)
	return found
}

// Fetch reads one object by name and folds it in. A name that is taken by somebody else gives a *NotOursError, one
// that isn't taken an *avi.Error with ReasonNotFound.
func (m *Mirror) Fetch(ctx context.Context, key model.Key) (*model.Observed, error) {
	raw, err := m.client.GetByName(ctx, key.Kind, key.Tenant, key.Name, m.query(key.Kind, false))
	if avi.ReasonOf(err) == avi.ReasonNotFound {
		m.Gone(key)
	}
	if err != nil {
		return nil, err
	}
	return m.Wrote(key.Kind, raw)
}

// NotOursError says that an object of the wanted name belongs to somebody else.
type NotOursError struct {
	Key       model.Key
	Owner     model.Owner // of the same operator; zero if it isn't ours at all
	CreatedBy string
	Cluster   string
	// Unformed: the markers don't go with the name, as on objects that AKO makes for Ingresses.
	Unformed bool
}

func (e *NotOursError) Error() string {
	if e.Owner != (model.Owner{}) {
		return fmt.Sprintf("%s exists on the Controller and belongs to %s; rename one of the two", e.Key, e.Owner)
	}
	by := "without created_by"
	if e.CreatedBy != "" {
		by = "created by " + e.CreatedBy
	}
	of := fmt.Sprintf("marker clustername %q", e.Cluster)
	if e.Unformed {
		of += ", other markers not those of a Service or Gateway of the name"
	}
	return fmt.Sprintf("%s exists on the Controller and isn't this operator's (%s, %s); rename or remove one of the two", e.Key, by, of)
}

// marked is what an object's markers say: its cluster, and whether they go with its name.
type marked struct {
	cluster string
	formed  bool
}

// put takes an entry in, and returns it as it is kept.
func (m *Mirror) put(e *entry) *entry {
	e = m.assign(e)
	key := e.head.Key
	m.drop(key)
	m.objects[key] = e
	for _, c := range e.claims {
		m.claims.insert(c, e)
	}
	switch t := key.Kind.Type(); {
	case t.Common:
		m.common.insert(true, e)
	case t.OwnerByName:
		m.named.insert(key.Name, e)
	default:
		m.owners.insert(e.head.Owner, e)
	}
	if s, ok := e.behind(); ok {
		m.behind.insert(s, e)
	}
	if key.Kind == model.VirtualService {
		m.assignOthers(e.head.Owner, key.Tenant)
	}
	return e
}

func (m *Mirror) drop(key model.Key) {
	old := m.objects[key]
	if old == nil {
		return
	}
	delete(m.objects, key)
	for _, c := range old.claims {
		m.claims.remove(c, old)
	}
	switch t := key.Kind.Type(); {
	case t.Common:
		m.common.remove(true, old)
	case t.OwnerByName:
		m.named.remove(key.Name, old)
	default:
		m.owners.remove(old.head.Owner, old)
	}
	if s, ok := old.behind(); ok {
		m.behind.remove(s, old)
	}
}

// reader reads what the Controller renders, for settings and with what is known of the Controller.
type reader struct {
	scope Scope
	facts *model.Facts
}

func (m *Mirror) reader() reader { return reader{m.scope, m.facts} }

// ours reports whether an object is ours: by its markers and its name, and by created_by where the type has it.
func (r reader) ours(o *model.Observed, mark marked) bool {
	if !mark.formed || !model.Ours(r.scope.ClusterName, o.Key.Name, mark.cluster) {
		return false
	}
	rest := strings.TrimPrefix(o.Key.Name, r.scope.ClusterName+"--")
	if names := o.Key.Kind.Type().Names; names != nil && !names.MatchString(rest) {
		return false
	}
	return !o.Key.Kind.Type().CreatedBy || o.CreatedBy == r.scope.CreatedBy
}

// mute reports whether an object that was ours doesn't say whose it is any more, and nothing on it says that it is another's: a
// Controller that leaves out fields does so for all objects at once.
func (r reader) mute(o *model.Observed, mark marked) bool {
	return (mark.cluster == "" || mark.cluster == r.scope.ClusterName) && (o.CreatedBy == "" || o.CreatedBy == r.scope.CreatedBy)
}

// decode reads a body as the Controller renders it.
func (r reader) decode(kind model.Kind, raw json.RawMessage) (o *model.Observed, mark marked, err error) {
	body := model.NewBody(kind)
	if err := json.Unmarshal(raw, body); err != nil {
		return nil, mark, fmt.Errorf("reading a %s of the Controller: %w", kind.Title(), err)
	}
	head := kind.Type().Head(body)
	if head.Name == nil || deref(head.UUID) == "" {
		return nil, mark, fmt.Errorf("reading a %s of the Controller: it has no name or no uuid", kind.Title())
	}
	o = &model.Observed{
		Key:  model.Key{Kind: kind, Tenant: r.tenant(deref(head.TenantRef)), Name: *head.Name},
		UUID: *head.UUID, CreatedBy: deref(head.CreatedBy), Body: body,
	}
	mark.cluster, o.Owner = model.OwnerOf(head.Markers)
	mark.formed = model.Formed(mark.cluster, kind, o.Key.Name, head.Markers)
	if vs, ok := body.(*models.VirtualService); ok {
		o.Owner = model.VirtualServiceOwner(o.Owner, vs.ServiceMetadata)
	}
	return o, mark, nil
}

// tenant names the tenant of a reference, which carries the name behind '#' or only the UUID.
func (r reader) tenant(text string) string {
	ref := model.ParseRef(text)
	switch {
	case ref.Name != "":
		return ref.Name
	case ref.UUID == "":
		return r.scope.Tenant
	case r.facts != nil:
		for name, uuid := range r.facts.Shared[model.Tenant] {
			if uuid == ref.UUID {
				return name
			}
		}
	}
	return ref.UUID // the tenant admin has its name as its UUID
}

// affected are the owners that have to look when an object changes: its own, or that of the VirtualService that a VsVip
// belongs to, or all whose objects use it.
func (m *Mirror) affected(e *entry) []model.Owner {
	o := &e.head
	if o.Key.Kind.Type().Common {
		return m.users(o)
	}
	if o.Owner != (model.Owner{}) {
		return []model.Owner{o.Owner}
	}
	if vs := m.objects[model.Key{Kind: model.VirtualService, Tenant: o.Key.Tenant, Name: o.Key.Name}]; vs != nil {
		return []model.Owner{vs.head.Owner}
	}
	return nil
}

func sameBody(a, b any) bool { return reflect.DeepEqual(a, b) }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
