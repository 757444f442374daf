// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// tenants is the tenant to list: all of them, since a namespace may choose its own, unless the account is bound to one.
func (s Scope) tenants() string {
	if s.OwnTenant {
		return s.Tenant
	}
	return "*"
}

// Intervals of the mirror's reads. Zero values are replaced by the defaults.
type Intervals struct {
	Refresh time.Duration // a full read; default 5 min, jittered by a tenth
	Health  time.Duration // the inventories; default 15 s
	Retry   time.Duration // first wait after a failed load, doubled up to 30 s; default 1 s
	// Standby: nobody acts on what is known. It is read once, so that it is known to be readable, and again when it has expired; in between
	// one call at each Refresh shows that it still is, and the inventories are not read.
	Standby bool
}

func (i Intervals) withDefaults() Intervals {
	if i.Refresh <= 0 {
		i.Refresh = 5 * time.Minute
	}
	if i.Health <= 0 {
		i.Health = 15 * time.Second
	}
	if i.Retry <= 0 {
		i.Retry = time.Second
	}
	return i
}

const retryMax = 30 * time.Second

const (
	// healthAgain is how soon an inventory that changed while it was read is read again.
	healthAgain = time.Second
	// healthSoon is how soon after a full read own writes have begun, if there are any.
	healthSoon = 300 * time.Millisecond
)

// healthTurn says when the inventories are read.
type healthTurn struct {
	next   time.Time
	latest time.Time // until then it waits for the end of own writes, which would change the lists while they are read
	seq    uint64
}

// due reports whether the inventories are to be read now; seq counts own writes.
func (h *healthTurn) due(now time.Time, seq uint64) bool {
	if now.Before(h.next) {
		return false
	}
	if seq == h.seq || !now.Before(h.latest) {
		return true
	}
	h.next, h.seq = now.Add(healthAgain), seq
	return false
}

// again has them read once more soon, since they changed while they were read.
func (h *healthTurn) again(now time.Time, every time.Duration, seq uint64) {
	h.next, h.latest, h.seq = now.Add(min(every, healthAgain)), now.Add(every), seq
}

// loaded has them read soon after the first full read, which own writes may follow. Later ones leave them to their interval.
func (h *healthTurn) loaded(known bool, now time.Time, every time.Duration, seq uint64) {
	if !known {
		h.next, h.latest, h.seq = now.Add(min(every, healthSoon)), now.Add(every), seq
	}
}

// usual has them read at their interval.
func (h *healthTurn) usual(now time.Time, every time.Duration) {
	*h = healthTurn{next: now.Add(jittered(every))}
}

// Run loads the mirror and keeps it fresh until the context ends. intervals is asked before each wait, so that changed
// settings take effect.
func (m *Mirror) Run(ctx context.Context, intervals func() Intervals) error {
	var next time.Time
	var health healthTurn
	var refused string
	retry := intervals().withDefaults().Retry
	for {
		every := intervals().withDefaults()
		now := time.Now()
		m.mu.Lock()
		m.beat = now
		m.mu.Unlock()
		if !now.Before(next) && m.scoped() {
			known := m.Err() == nil
			if err := m.read(ctx, every); err != nil {
				if !isOthers(err) || err.Error() != refused { // that lasts, and is logged once
					m.log.Error(err, "reading the Controller's objects", "again in", retry)
				}
				refused = err.Error()
				next, retry = now.Add(retry), min(2*retry, retryMax)
			} else {
				next, retry = now.Add(jittered(every.Refresh)), every.Retry
				health.loaded(known, time.Now(), every.Health, m.writes())
			}
		}
		if m.Err() == nil && !every.Standby && health.due(now, m.writes()) {
			health.usual(now, every.Health)
			switch err := m.LoadHealth(ctx); {
			case avi.ReasonOf(err) == avi.ReasonIncomplete: // objects came or went between two pages
				m.log.Info("the Controller's inventory changed while it was read, and is read again", "what", err.Error())
				health.again(now, every.Health, m.writes())
			case err != nil:
				m.log.Error(err, "reading the Controller's inventory")
			}
		}
		pause := time.Until(next)
		if m.Err() == nil && !every.Standby {
			pause = min(pause, time.Until(health.next))
		}
		if !m.scoped() {
			pause = retryMax
		}
		timer := time.NewTimer(max(pause, 10*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-m.reload:
			timer.Stop()
			next = time.Time{}
		case <-timer.C:
		}
	}
}

func jittered(d time.Duration) time.Duration { return wait.Jitter(d, 0.1) }

// writes counts own writes.
func (m *Mirror) writes() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.seq
}

func (m *Mirror) scoped() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.scope.ClusterName != ""
}

// read is what a replica reads at an interval.
func (m *Mirror) read(ctx context.Context, every Intervals) error {
	if !every.Standby || m.Err() != nil {
		return m.Load(ctx)
	}
	m.mu.RLock()
	scope, epoch := m.scope, m.epoch
	m.mu.RUnlock()
	if _, err := m.identify(ctx, scope); err != nil {
		return m.failed(epoch, err)
	}
	return nil
}

// Load reads everything once. It replaces what was known only if every list was complete; a load that fails leaves the
// mirror as it was. Objects that the operator wrote since the load began keep what the write's answer said.
func (m *Mirror) Load(ctx context.Context) error {
	m.mu.RLock()
	scope, start, epoch, c := m.scope, m.seq, m.epoch, m.codec
	m.mu.RUnlock()

	id, err := m.identify(ctx, scope)
	if err != nil {
		return m.failed(epoch, err)
	}
	facts, err := m.loadFacts(ctx, scope)
	if err != nil {
		return m.failed(epoch, err)
	}
	lists := make([]written, len(model.Written))
	r := reader{scope, facts}
	g, gctx := errgroup.WithContext(ctx)
	for i, kind := range model.Written {
		g.Go(func() error {
			err := m.client.List(gctx, string(kind), scope.tenants(), m.query(kind, true), func(raw json.RawMessage) error {
				return lists[i].take(r, c, kind, raw, start)
			})
			if kind.Type().Optional && avi.ReasonOf(err) == avi.ReasonForbidden {
				lists[i] = written{unread: true}
				return nil
			}
			if err != nil {
				return fmt.Errorf("listing %s: %w", kind, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return m.failed(epoch, err)
	}
	missing := m.replace(epoch, start, id, facts, lists)
	m.look(ctx, epoch, start, missing)
	m.Loaded()
	return nil
}

// written is what the Controller lists of a kind that the operator writes, of which only ours is kept; unread: the account may not know,
// and what was known stands.
type written struct {
	objects []*entry
	unread  bool
}

// take keeps an object of a list if it is ours.
func (w *written) take(r reader, c *codec, kind model.Kind, raw json.RawMessage, start uint64) error {
	o, mark, err := r.decode(kind, raw)
	if err != nil || !r.ours(o, mark) {
		return err
	}
	e, err := c.entry(o, start)
	if err != nil {
		return err
	}
	w.objects = append(w.objects, e)
	return nil
}

// failed remembers why nothing is known yet. That the cluster's name is another cluster's makes what was known worthless.
func (m *Mirror) failed(epoch uint64, err error) error {
	m.mu.Lock()
	news := isOthers(err) && m.epoch == epoch && (m.err == nil || m.err.Error() != err.Error())
	if m.epoch == epoch && (m.err != nil || news) {
		m.err = err
	}
	m.mu.Unlock()
	if news {
		m.Refused(err)
		m.Changed(nil)
	}
	return err
}

// query is the filter for our objects of a kind. Names and clouds narrow the list; what is ours is decided on each.
func (m *Mirror) query(kind model.Kind, bulk bool) url.Values {
	m.mu.RLock()
	defer m.mu.RUnlock()
	q := url.Values{"include_name": {"true"}}
	if kind.Type().OfCloud {
		q.Set("cloud_ref.name", m.scope.Cloud)
	}
	switch {
	case !bulk:
	case kind.Type().CreatedBy:
		q.Set("created_by", m.scope.CreatedBy)
	default:
		q.Set("name.contains", m.scope.ClusterName+"--")
	}
	return q
}

func (m *Mirror) replace(epoch, start uint64, id identity, facts *model.Facts, lists []written) (missing []*entry) {
	m.mu.Lock()
	if m.epoch != epoch {
		m.mu.Unlock()
		return nil // for other settings, or from before a leader before us stopped; a new load follows
	}
	first := m.err != nil
	old := m.facts
	m.carry(old, facts)
	m.facts = facts
	m.drift = make(map[model.Key]bool) // what nobody has asked for since the last load, nobody will
	fresh, unread := freshOf(lists)
	changed := make(map[model.Owner]bool)
	for key, e := range fresh {
		have := m.objects[key]
		switch {
		case m.gone[key] > start: // deleted by us while the list was being read
		case have != nil && have.seq > start: // written by us meanwhile
		case have != nil && have.same(e):
		default:
			m.drift[key] = !first && have != nil
			for _, owner := range m.affected(m.put(e)) {
				changed[owner] = true
			}
		}
	}
	for key, have := range m.objects {
		if fresh[key] == nil && have.seq <= start && !unread[key.Kind] {
			missing = append(missing, have)
		}
	}
	maps.DeleteFunc(m.gone, func(_ model.Key, seq uint64) bool { return seq <= start })
	if m.identity.seq <= start {
		m.identity = id
	}
	m.err, m.at = nil, time.Now()
	everybody := first || factsDiffer(old, facts)
	m.mu.Unlock()

	if everybody {
		m.Changed(nil)
	} else if len(changed) > 0 {
		m.Changed(keysOf(changed))
	}
	return missing
}

// look asks for each object that a complete list lacks and that was known, whether it is really gone: knowledge that shrinks is
// doubted. Only what the API itself says doesn't exist is dropped, or what is there and says that it is another's.
func (m *Mirror) look(ctx context.Context, epoch, start uint64, missing []*entry) {
	var mu sync.Mutex
	var there []string
	changed := make(map[model.Owner]bool)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(looks)
	for _, known := range missing {
		o := &known.head
		g.Go(func() error {
			raw, err := m.client.Get(gctx, o.Key.Tenant, "/api/"+string(o.Key.Kind)+"/"+o.UUID, url.Values{"include_name": {"true"}})
			if err != nil && avi.ReasonOf(err) != avi.ReasonNotFound && !m.goneWithTenant(gctx, err) {
				m.log.Info("the Controller's list lacks an object, which can't be read either; it is taken for there", "object", o.Key.String(),
					"error", err.Error())
				return nil
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if have := m.objects[o.Key]; m.epoch != epoch || have == nil || have.head.UUID != o.UUID || have.seq > start {
				return nil // known better meanwhile
			}
			if err == nil {
				r := m.reader()
				now, mark, err := r.decode(o.Key.Kind, raw)
				if err != nil || now.Key == o.Key && (r.ours(now, mark) || r.mute(now, mark)) {
					mu.Lock()
					there = append(there, o.Key.String())
					mu.Unlock()
					return nil
				}
			}
			m.drift[o.Key] = true
			owners := m.affected(known)
			m.drop(o.Key)
			mu.Lock()
			defer mu.Unlock()
			for _, owner := range owners {
				changed[owner] = true
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	if len(there) > 0 {
		slices.Sort(there)
		m.log.Error(nil, "the Controller contradicts itself: its lists lack objects of ours that it shows when they are read, or it leaves out whose they are; what was known of them stands",
			"objects", len(there), "first", there[0])
	}
	if len(changed) > 0 {
		m.Changed(keysOf(changed))
	}
}

// goneWithTenant reports whether an object can't be read because its tenant, and so the object, is proven to be gone.
func (m *Mirror) goneWithTenant(ctx context.Context, err error) bool {
	var call *avi.Error
	if !errors.As(err, &call) || call.Reason != avi.ReasonTenantMissing {
		return false
	}
	gone, err := m.TenantGone(ctx, call.Tenant)
	return err == nil && gone
}

// looks bounds the reads of single objects at a time.
const looks = 8

// freshOf are the listed objects, and the kinds that could not be listed.
func freshOf(lists []written) (fresh map[model.Key]*entry, unread map[model.Kind]bool) {
	fresh, unread = make(map[model.Key]*entry), make(map[model.Kind]bool)
	for i, list := range lists {
		unread[model.Written[i]] = list.unread
		for _, e := range list.objects {
			fresh[e.head.Key] = e
		}
	}
	return fresh, unread
}

// carry gives fresh facts what was learned while they were being read.
func (m *Mirror) carry(old, fresh *model.Facts) {
	for a := range m.asked {
		switch {
		case old == nil:
		case a.tenant != "":
			if have := old.Tenants[a.tenant]; fresh.Tenants[a.tenant].Shared[a.kind] == nil && have.Shared[a.kind] != nil {
				(&listed{kind: a.kind, names: have.Shared[a.kind], types: have.Types[a.kind]}).intoTenant(fresh, a.tenant)
			}
		case fresh.Shared[a.kind] == nil && old.Shared[a.kind] != nil:
			fresh.Shared[a.kind] = old.Shared[a.kind]
		}
	}
}

func keysOf(set map[model.Owner]bool) []model.Owner {
	out := make([]model.Owner, 0, len(set))
	for o := range set {
		out = append(out, o)
	}
	return out
}

func factsDiffer(a, b *model.Facts) bool {
	if a == nil || b == nil {
		return true
	}
	return !sameBody(a, b)
}

// loadFacts reads what the build has to know of the Controller. All of it is needed: a list that failed must not look
// like a missing profile.
func (m *Mirror) loadFacts(ctx context.Context, scope Scope) (*model.Facts, error) {
	f := &model.Facts{Shared: map[model.Kind]map[string]string{}, Types: map[model.Kind]map[string]string{}}
	version, err := m.client.Version(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking for the Controller's version: %w", err)
	}
	f.Version, f.APIVersion = version, m.client.APIVersion()
	if err := m.loadCloud(ctx, scope, f); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var answer struct {
			Tier string `json:"default_license_tier"`
		}
		err := m.get(gctx, "/api/systemconfiguration", nil, &answer)
		f.LicenseTier = answer.Tier
		return err
	})
	g.Go(func() error {
		var answer struct {
			UUID string `json:"uuid"`
		}
		err := m.get(gctx, "/api/cluster", nil, &answer)
		if avi.ReasonOf(err) == avi.ReasonForbidden {
			err = nil // it only fills an annotation
		}
		f.ClusterUUID = answer.UUID
		return err
	})
	g.Go(func() error {
		var answer struct {
			Domains []string `json:"domains"`
		}
		err := m.get(gctx, "/api/ipamdnsproviderprofiledomainlist", url.Values{"cloud_uuid": {f.Cloud.UUID}}, &answer)
		if avi.ReasonOf(err) == avi.ReasonNotFound || avi.ReasonOf(err) == avi.ReasonInvalid {
			err = nil // a cloud without a DNS profile has no domains; a page of a proxy says nothing
		}
		f.DNSDomains = model.Domains(answer.Domains)
		return err
	})
	asks := m.asks()
	for _, kind := range model.Shared {
		asks = append(asks, ask{kind: kind})
	}
	for _, a := range asks {
		g.Go(func() error {
			l, err := m.list(gctx, scope, a)
			if err != nil || l == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			l.into(f, a.tenant)
			return nil
		})
	}
	return f, g.Wait()
}

// asks are the kinds that are listed because somebody has referred to one of their objects.
func (m *Mirror) asks() []ask {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Collect(maps.Keys(m.asked))
}

// Learn makes sure that the objects of kinds that are listed on demand are known; later loads list them too. A kind that the
// account may not list stays unknown, which is no error.
func (m *Mirror) Learn(ctx context.Context, kinds ...model.Kind) error {
	kinds = slices.DeleteFunc(slices.Clone(kinds), func(k model.Kind) bool { return !k.Type().OnDemand })
	return m.LearnIn(ctx, "", kinds...)
}

// LearnIn is Learn for objects of any kind in a tenant that is not the configured one.
func (m *Mirror) LearnIn(ctx context.Context, tenant string, kinds ...model.Kind) error {
	m.learning.Lock()
	defer m.learning.Unlock()
	for _, kind := range kinds {
		m.mu.RLock()
		scope, epoch, facts, asked := m.scope, m.epoch, m.facts, m.asked[ask{tenant, kind}]
		m.mu.RUnlock()
		if facts == nil {
			return ErrNotLoaded
		}
		if asked {
			continue
		}
		l, err := m.list(ctx, scope, ask{tenant, kind})
		if err != nil {
			return err
		}
		m.mu.Lock()
		if m.epoch == epoch && m.facts != nil {
			m.asked[ask{tenant, kind}] = true
			if l != nil {
				next := *m.facts
				next.Shared, next.Types, next.Tenants = maps.Clone(next.Shared), maps.Clone(next.Types), maps.Clone(next.Tenants)
				l.into(&next, tenant)
				m.facts = &next
			}
		}
		m.mu.Unlock()
	}
	return nil
}

// listed is what was read of the objects of a kind that bodies refer to.
type listed struct {
	kind     model.Kind
	names    map[string]string // name → UUID
	types    map[string]string // name → type, where the kind has one
	networks []model.NetworkFacts
	vrf      string // the tenant's own default VRF context
}

// into adds what was read in a tenant to facts that nobody else has yet.
func (l *listed) into(f *model.Facts, tenant string) {
	if tenant != "" {
		l.intoTenant(f, tenant)
		return
	}
	f.Shared[l.kind] = l.names
	if len(l.types) > 0 {
		f.Types[l.kind] = l.types
	}
	if l.kind == model.Network {
		f.Networks = l.networks
	}
	f.TenantVRF = cmp.Or(f.TenantVRF, l.vrf)
}

func (l *listed) intoTenant(f *model.Facts, tenant string) {
	if f.Tenants == nil {
		f.Tenants = make(map[string]model.TenantFacts)
	}
	have := f.Tenants[tenant]
	next := model.TenantFacts{Shared: maps.Clone(have.Shared), Types: maps.Clone(have.Types)}
	if next.Shared == nil {
		next.Shared, next.Types = make(map[model.Kind]map[string]string), make(map[model.Kind]map[string]string)
	}
	next.Shared[l.kind], next.Types[l.kind] = l.names, l.types
	f.Tenants[tenant] = next
}

// list reads the objects of a kind that bodies refer to; nil for what the account may not list, where only owners that refer to it need it.
// Of two objects with one name the tenant's own counts, and not the one of the tenant admin: so the Controller resolves names.
func (m *Mirror) list(ctx context.Context, scope Scope, what ask) (*listed, error) {
	kind := what.kind
	scope.Tenant = cmp.Or(what.tenant, scope.Tenant)
	out := &listed{kind: kind, names: make(map[string]string), types: make(map[string]string)}
	q := url.Values{"fields": {"name,tenant_ref,system_default,type,profile,vrf_context_ref,configured_subnets"}, "include_name": {"true"}}
	if kind.Type().OfCloud {
		q.Set("cloud_ref.name", scope.Cloud)
	}
	if kind.Type().OnDemand {
		q.Set("fields", "name,tenant_ref")
	}
	err := m.client.List(ctx, string(kind), scope.Tenant, q, func(raw json.RawMessage) error {
		var o sharedObject
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if _, twice := out.names[o.Name]; twice && o.of() == model.AdminTenant && scope.Tenant != model.AdminTenant {
			return nil
		}
		out.names[o.Name] = o.UUID
		if t := cmp.Or(o.Type, o.Profile.Type); t != "" {
			out.types[o.Name] = t
		}
		switch {
		case kind == model.Network:
			out.networks = append(out.networks, o.network())
		case kind == model.VrfContext && o.defaultOf(scope.Tenant):
			out.vrf = o.Name
		}
		return nil
	})
	switch {
	case (kind.Type().OnDemand || what.tenant != "") && slices.Contains(unlistable, avi.ReasonOf(err)):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("listing %s: %w", kind, err)
	}
	slices.SortFunc(out.networks, func(a, b model.NetworkFacts) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID))
	})
	return out, nil
}

// sharedObject is what is read of an object that bodies refer to.
type sharedObject struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"`
	Tenant  string `json:"tenant_ref"`
	Default bool   `json:"system_default"` // of a VRF context
	Type    string `json:"type"`           // of an application profile or a health monitor
	Profile struct {
		Type string `json:"type"`
	} `json:"profile"` // of a network profile
	VRF     string `json:"vrf_context_ref"`
	Subnets []struct {
		Prefix struct {
			Addr struct {
				Addr string `json:"addr"`
			} `json:"ip_addr"`
			Mask int `json:"mask"`
		} `json:"prefix"`
	} `json:"configured_subnets"`
}

// defaultOf reports whether a VRF context is the one that the Controller made for a tenant's data traffic. Those of the tenant
// admin are everybody's.
func (o sharedObject) defaultOf(tenant string) bool {
	return o.Default && o.Name != "management" && tenant != model.AdminTenant && o.of() == tenant
}

// of is the tenant that an object is in.
func (o sharedObject) of() string {
	owner := model.ParseRef(o.Tenant)
	return cmp.Or(owner.Name, owner.UUID)
}

// unlistable are the answers by which nothing is known of objects that only some refer to.
var unlistable = []avi.Reason{avi.ReasonForbidden, avi.ReasonNotFound, avi.ReasonTenantMissing}

func (o sharedObject) network() model.NetworkFacts {
	n := model.NetworkFacts{Name: o.Name, UUID: o.UUID, VRF: model.ParseRef(o.VRF).Name}
	for _, s := range o.Subnets {
		if a, err := netip.ParseAddr(s.Prefix.Addr.Addr); err == nil {
			n.Subnets = append(n.Subnets, netip.PrefixFrom(a, s.Prefix.Mask).Masked())
		}
	}
	return n
}

func (m *Mirror) loadCloud(ctx context.Context, scope Scope, f *model.Facts) error {
	raw, err := m.client.GetByName(ctx, model.Cloud, scope.Tenant, scope.Cloud, nil)
	if avi.ReasonOf(err) == avi.ReasonNotFound {
		return fmt.Errorf("the Controller has no cloud %q; %w", scope.Cloud, ErrNoCloud)
	}
	if err != nil {
		return fmt.Errorf("reading the cloud %s: %w", scope.Cloud, err)
	}
	var cloud struct {
		UUID  string `json:"uuid"`
		VType string `json:"vtype"`
		NSXT  struct {
			Data struct {
				Type    string `json:"tz_type"`
				Segment struct {
					Manual struct {
						Routers []struct {
							ID string `json:"tier1_lr_id"`
						} `json:"tier1_lrs"`
					} `json:"manual"`
				} `json:"tier1_segment_config"`
			} `json:"data_network_config"`
		} `json:"nsxt_configuration"`
	}
	if err := json.Unmarshal(raw, &cloud); err != nil {
		return fmt.Errorf("reading the cloud %s: %w", scope.Cloud, err)
	}
	f.Cloud = model.CloudFacts{Name: scope.Cloud, UUID: cloud.UUID, Type: cloud.VType, VLAN: cloud.NSXT.Data.Type == "VLAN"}
	for _, r := range cloud.NSXT.Data.Segment.Manual.Routers {
		f.Cloud.Tier1LRs = append(f.Cloud.Tier1LRs, r.ID)
	}
	slices.Sort(f.Cloud.Tier1LRs)
	f.Shared[model.Cloud] = map[string]string{scope.Cloud: cloud.UUID}
	return nil
}

func (m *Mirror) get(ctx context.Context, path string, q url.Values, into any) error {
	raw, err := m.client.Get(ctx, "", path, q)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// inventory is what the inventories of VirtualServices and pools have in common.
type inventory struct {
	UUID    string `json:"uuid"`
	Runtime struct {
		Status struct {
			State  string   `json:"state"`
			Reason []string `json:"reason"`
		} `json:"oper_status"`
		Servers int `json:"num_servers_enabled"`
		Up      int `json:"num_servers_up"`
	} `json:"runtime"`
}

// LoadHealth reads the inventories in bulk and calls Changed with the owners whose health changed. A pool that no VirtualService uses yet,
// because the rest of its owner's objects is refused, serves nobody: to run the owner for it would ask for the same once more.
func (m *Mirror) LoadHealth(ctx context.Context) error {
	m.mu.RLock()
	scope := m.scope
	m.mu.RUnlock()
	health := make(map[string]model.Health)
	pools := make(map[string]PoolHealth)
	g, gctx := errgroup.WithContext(ctx)
	read := func(kind model.Kind, each func(inventory)) {
		g.Go(func() error {
			q := m.query(kind, true)
			q.Del("include_name")
			q.Set("include", "runtime") // without health scores, metrics and alerts, which the Controller would have to gather
			return m.client.List(gctx, string(kind)+"-inventory", scope.tenants(), q, func(raw json.RawMessage) error {
				var i inventory
				if err := json.Unmarshal(raw, &i); err != nil {
					return err
				}
				each(i)
				return nil
			})
		})
	}
	read(model.VirtualService, func(i inventory) {
		h := model.Health{State: i.Runtime.Status.State}
		if len(i.Runtime.Status.Reason) > 0 {
			h.Reason = i.Runtime.Status.Reason[0]
		}
		health[i.UUID] = h
	})
	read(model.Pool, func(i inventory) {
		pools[i.UUID] = PoolHealth{State: i.Runtime.Status.State, Servers: i.Runtime.Servers, Up: i.Runtime.Up}
	})
	if err := g.Wait(); err != nil {
		return err
	}
	m.mu.Lock()
	changed := make(map[model.Owner]bool)
	serve, moved := make(map[string]bool), make(map[model.Owner]bool) // moved are the owners of pools
	name := func(o model.Owner) string { return o.Namespace + "/" + o.Name }
	for _, e := range m.objects {
		switch uuid := e.head.UUID; e.head.Key.Kind {
		case model.VirtualService:
			serve[name(e.head.Owner)] = true
			if health[uuid] != m.health[uuid] {
				changed[e.head.Owner] = true
			}
		case model.Pool:
			if pools[uuid] != m.pools[uuid] {
				moved[e.head.Owner] = true
			}
		}
	}
	for o := range moved {
		if serve[name(o)] {
			changed[o] = true
		}
	}
	m.health, m.pools = health, pools
	m.mu.Unlock()
	if len(changed) > 0 {
		m.HealthChanged(keysOf(changed))
	}
	return nil
}
