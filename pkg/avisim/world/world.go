// SPDX-License-Identifier: Apache-2.0

// Package world is everything that a simulated Controller knows, behind one lock: objects and their references, the rules of writes,
// addresses, service engines and states, and how all of that is shipped, described by a fixture, and kept in a file. It speaks no HTTP.
//
// A [World] is looked at by [World.Read] and changed by [World.Write]. A write of a client goes through the pipeline of write.go: version
// gate, patch, tier, references, defaults, uniqueness, rules, addresses, commit. [Admin] and [Switches] act from outside of that.
package world

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Settings are what a World begins with. The zero value is usable.
type Settings struct {
	Username, Password string // of the first user; default admin / avi123$%, which is no secret
	Version            string // of the simulated Controller; default "30.2.1"
	LicenseTier        string // default "ENTERPRISE"
	Seed               int64  // deterministic uuids of created objects when != 0; shipped objects always have the same

	UnknownFields  string          // "accept" (the default) or "reject"
	StrictEvidence schema.Evidence // rules of which less is known only warn

	Now         func() time.Time     // default time.Now
	FixtureFile string               // clouds, networks, tenants and more that a new Controller finds
	StateFile   string               // keeps the state
	Logf        func(string, ...any) // called with failures that no client sees; default: dropped
}

// World is everything that the simulated Controller knows, behind one read-write lock: objects, addresses, service engines,
// states. It speaks no HTTP. All methods are safe for concurrent use.
type World struct {
	mu sync.RWMutex // never held while sleeping or writing to a client
	inside
	writer *Writer
	loaded *snapshot // what the state file held, until all parts have taken theirs
	lock   *flock.Flock
	parts  []part
}

// inside is what the lock guards.
type inside struct {
	settings Settings
	version  schema.Version
	now      func() time.Time

	store     *Store
	ipam      *ipam
	placement *placement
	agenda    agenda
	dynamics  Dynamics
	overrides map[doc.Ref]State // states set by hand
	forced    []*forced         // replaced, never changed
	health    map[Endpoint][]healthEvent

	lastTick int64
	rulesOff map[string]bool
	warnings map[string]*Warning // by rule
	bumps    bool                // see SetNoOpBump
	cluster  Cluster

	history  []storeChange
	replicas []*Replica
	changes  []Change
	changeID int64

	saver    atomic.Pointer[saver] // nil without a state file
	revision atomic.Int64          // counts changes of objects and health
	ipamSlow atomic.Int64          // ns, see IPAM.Slow
}

// Reader looks at a world, or at a replica of it that lags behind, at one moment. It is valid until the function that got it
// returns.
type Reader struct {
	*inside
	Store *Store
}

// Writer changes a world. It is valid until the function that got it returns.
type Writer struct{ Reader }

// New makes a world with the objects that a Controller ships with, those of the fixture and a usable Default-Cloud; or, if
// there is a state file, with what is in it.
func New(o Settings) (*World, error) {
	w, err := empty(o)
	if err != nil {
		return nil, err
	}
	if err := w.claim(); err != nil {
		return nil, err
	}
	if err := w.populate(); err != nil {
		w.release()
		return nil, err
	}
	w.watch()
	return w, nil
}

// Clone makes a world of its own that begins with the state of this one, as after a restart: without what is planned, without IPAM and
// Dynamics, and without a file.
func (w *World) Clone() (*World, error) {
	var state bytes.Buffer
	if err := w.snapshot().write(&state); err != nil {
		return nil, err
	}
	in, err := readSnapshot(state.Bytes())
	if err != nil {
		return nil, err
	}
	o := w.settings
	o.Version, o.FixtureFile, o.StateFile = in.Version, "", ""
	c, err := empty(o)
	if err != nil {
		return nil, err
	}
	c.Write(func(s *Writer) { err = s.restore(in) })
	if err != nil {
		return nil, err
	}
	c.loaded = in
	c.watch()
	return c, nil
}

// empty makes a world without objects.
func empty(o Settings) (*World, error) {
	for p, v := range map[*string]string{&o.Username: "admin", &o.Password: "avi123$%", &o.Version: "30.2.1", &o.LicenseTier: "ENTERPRISE"} {
		*p = cmp.Or(*p, v)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	v, err := schema.ParseVersion(o.Version)
	if err != nil {
		return nil, err
	}
	w := &World{inside: inside{
		settings: o, version: v, now: o.Now,
		store: newStore(o.Seed), ipam: newIPAM(), health: map[Endpoint][]healthEvent{}, overrides: map[doc.Ref]State{},
		rulesOff: defaultRules(o.UnknownFields), warnings: map[string]*Warning{},
	}}
	if w.now == nil {
		w.now = time.Now
	}
	w.writer = &Writer{Reader{&w.inside, w.store}}
	w.placement = newPlacement(w.writer)
	w.store.changed = w.follow
	w.cluster = Cluster{Body: shippedCluster(), Modified: w.tick(), UpSince: upSince(w.now())}
	return w, nil
}

// watch begins to take note of changes.
func (w *World) watch() {
	w.store.changed = func(old, now *Object) {
		w.follow(old, now)
		w.writer.journal(old, now)
	}
}

// check reports settings that make no sense.
func (o Settings) check() error {
	if o.StrictEvidence != "" && !slices.Contains(schema.Grades, o.StrictEvidence) {
		return fmt.Errorf("strict evidence %q is none of %v", o.StrictEvidence, schema.Grades)
	}
	if !slices.Contains([]string{"", "accept", "reject"}, o.UnknownFields) {
		return fmt.Errorf("unknown fields %q is neither accept nor reject", o.UnknownFields)
	}
	return nil
}

// Read calls look with the world as it is now. It may run beside others that read.
func (w *World) Read(look func(*Reader)) {
	w.CatchUp()
	w.mu.RLock()
	defer w.mu.RUnlock()
	look(&w.writer.Reader)
}

// ReadReplica calls look with a replica of the world as it lags behind now.
func (w *World) ReadReplica(r *Replica, look func(*Reader)) {
	w.CatchUp()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.catchUp(w.now())
	look(&Reader{&w.inside, r.store})
}

// Write calls change with the world, which nobody else looks at meanwhile.
func (w *World) Write(change func(*Writer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.agenda.catchUp(w.now())
	change(w.writer)
}

// CatchUp does what is due by now: addresses that a cloud hands out late, addresses that move.
func (w *World) CatchUp() {
	if now := w.now(); w.agenda.due(now) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.agenda.catchUp(now)
	}
}

// Username is the name of the first user.
func (w *World) Username() string { return w.settings.Username }

// Now is the time by the world's clock.
func (w *World) Now() time.Time { return w.now() }

// Version is the version of the simulated Controller.
func (w *World) Version() (v schema.Version) {
	w.Read(func(s *Reader) { v = s.version })
	return v
}

// Revision is raised with each change of an object or of a server's health. It needs no lock.
func (s *inside) Revision() int64 { return s.revision.Load() }

// VIPDelay is how much longer a write of a VsVip takes: see IPAM.Slow.
func (w *World) VIPDelay() time.Duration { return time.Duration(w.ipamSlow.Load()) }

// follow keeps what depends on the objects up to date with the store.
func (w *World) follow(old, now *Object) {
	switch {
	case now == nil:
		delete(w.overrides, old.Ref)
		if old.Type == "vsvip" {
			w.ipam.release(old.UUID, w.now())
		}
	case now.Type == "vsvip":
		w.writer.settleVIPs(now, old)
	}
	switch o := cmp.Or(now, old); o.Type {
	case "virtualservice", "serviceengine", "serviceenginegroup":
		w.placement.changed(old, now)
	}
	w.Dirty()
}

// tick returns the next _last_modified: now in µs, but always more than the last one. Evidence: recorded.
func (s *inside) tick() int64 {
	s.lastTick = max(s.now().UnixMicro(), s.lastTick+1)
	return s.lastTick
}

// Version is the version of the simulated Controller.
func (s *Reader) Version() schema.Version { return s.version }

// Tier is the default licence tier of the system configuration.
func (s *Reader) Tier() string {
	if o := s.Singleton("systemconfiguration"); o != nil {
		return doc.Str(o.Body, "default_license_tier")
	}
	return ""
}

// Singleton returns the one object of a type, nil if there is none.
func (s *Reader) Singleton(typ string) *Object {
	return s.Store.Get(doc.Ref{Type: typ, UUID: KindOf(typ).SingletonUUID()})
}

// Tenant is the name of a tenant, or its uuid if there is none of it.
func (s *Reader) Tenant(uuid string) string {
	if t := s.Store.Get(doc.Ref{Type: "tenant", UUID: uuid}); t != nil {
		return t.Name
	}
	return uuid
}

// User finds a user by its name or, as documented for both, its username.
func (s *Reader) User(name string) *Object {
	if name == "" {
		return nil
	}
	if objs := s.Store.Named("user", AdminTenant, name); len(objs) > 0 {
		return objs[0]
	}
	for _, o := range s.Store.All("user") {
		if doc.Str(o.Body, "username") == name {
			return o
		}
	}
	return nil
}

func (s *Reader) byName(typ, tenant, name string) (*Object, error) {
	id, ok := s.Store.TenantByName(tenant)
	if !ok {
		return nil, fmt.Errorf("no tenant %q", tenant)
	}
	objs := s.Store.Named(typ, id, name)
	if len(objs) == 0 {
		return nil, fmt.Errorf("no %s %q in tenant %q", typ, name, tenant)
	}
	return objs[0], nil
}

// Dirty notes that something changed.
func (s *inside) Dirty() {
	if v := s.saver.Load(); v != nil {
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
}

// storeChange is one write to the store: old is nil for a creation, new for a deletion.
type storeChange struct {
	at       time.Time
	old, new *Object
}

// historyLimit bounds how many changes are kept for a leader that loses them, changeLimit how many are kept for people.
const (
	historyLimit = 2048 // each may hold a body that nobody else has any more
	changeLimit  = 500
)

// Change is something that happened to an object: it was created, changed, deleted, or its state became another one.
type Change struct {
	ID     int64     `json:"id"`
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Name   string    `json:"name"`
	Tenant string    `json:"tenant"`
	What   string    `json:"what"`
	State  string    `json:"state,omitempty"` // the new one
	// Fields are, of a change, what is different: "servers[0].enabled: true → false". At most ten, then "…".
	Fields []string `json:"fields,omitempty"`

	old, new *Object // of which Fields are made when somebody looks
}

// journal takes note of a change of the store.
func (s *Writer) journal(old, o *Object) {
	s.revision.Add(1)
	c := storeChange{s.now(), old, o}
	if len(s.history) >= historyLimit {
		s.history = slices.Clone(s.history[historyLimit/2:])
	}
	s.history = append(s.history, c)
	for _, r := range s.replicas {
		r.pending = append(r.pending, c)
	}
	what := "changed"
	switch {
	case old == nil:
		what = "created"
	case o == nil:
		what, o = "deleted", old
	}
	s.Note(Change{Time: c.at, Type: o.Type, Name: o.Name, Tenant: s.Tenant(o.Tenant), What: what, old: c.old, new: c.new})
}

// Note adds a change to those that people see, and numbers it.
func (s *Writer) Note(c Change) {
	s.changeID++
	c.ID = s.changeID
	if len(s.changes) >= changeLimit {
		s.changes = slices.Clone(s.changes[changeLimit/5:])
	}
	s.changes = append(s.changes, c)
}

// agenda is what is going to happen by itself: an address that a cloud hands out late, an address that moves. Nothing waits
// for the moment; the first call after it does what is due, so that a test with a clock of its own sees the same as a person.
// The world's lock guards it, but for due.
type agenda struct {
	next    atomic.Int64 // µs of the first item, 0 if there is none
	items   agendaHeap
	planned int
}

type agendaItem struct {
	at  int64 // µs
	seq int   // what was planned first is done first
	do  func()
}

type agendaHeap []agendaItem

func (h agendaHeap) Len() int { return len(h) }
func (h agendaHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h agendaHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *agendaHeap) Push(x any)   { *h = append(*h, x.(agendaItem)) }
func (h *agendaHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// add plans something for a time.
func (a *agenda) add(at time.Time, do func()) {
	a.planned++
	heap.Push(&a.items, agendaItem{at.UnixMicro(), a.planned, do})
	a.next.Store(a.items[0].at)
}

// due reports whether there is something to do by now. It needs no lock.
func (a *agenda) due(now time.Time) bool {
	next := a.next.Load()
	return next != 0 && next <= now.UnixMicro()
}

// catchUp does what is due. The world is locked for writing, as it is for each item.
func (a *agenda) catchUp(now time.Time) {
	if !a.due(now) {
		return
	}
	for len(a.items) > 0 && a.items[0].at <= now.UnixMicro() {
		heap.Pop(&a.items).(agendaItem).do()
	}
	a.next.Store(0)
	if len(a.items) > 0 {
		a.next.Store(a.items[0].at)
	}
}
