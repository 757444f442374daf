// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"regexp"
	"slices"

	"github.com/vmware/alb-sdk/go/models"
)

// Kind is an Avi object type as the REST API spells it in a path: /api/<kind>.
type Kind string

// The kinds that the operator writes.
const (
	VsVip                 Kind = "vsvip"
	PersistenceProfile    Kind = "applicationpersistenceprofile"
	Pool                  Kind = "pool"
	PoolGroup             Kind = "poolgroup"
	L4PolicySet           Kind = "l4policyset"
	NetworkSecurityPolicy Kind = "networksecuritypolicy"
	VirtualService        Kind = "virtualservice"
)

// The kinds that the operator only reads and refers to.
const (
	Tenant             Kind = "tenant"
	Cloud              Kind = "cloud"
	VrfContext         Kind = "vrfcontext"
	Network            Kind = "network"
	ServiceEngineGroup Kind = "serviceenginegroup"
	NetworkProfile     Kind = "networkprofile"
	ApplicationProfile Kind = "applicationprofile"
	HealthMonitor      Kind = "healthmonitor"
)

// StringGroup is the kind of the one object that says which Kubernetes cluster a clusterName belongs to (internal/mirror).
const StringGroup Kind = "stringgroup"

// The kinds that only L4Rules refer to; they refer to some of those that the operator writes, too.
const (
	AnalyticsProfile Kind = "analyticsprofile"
	SecurityPolicy   Kind = "securitypolicy"
	DataScriptSet    Kind = "vsdatascriptset"
	SSLProfile       Kind = "sslprofile"
	Certificate      Kind = "sslkeyandcertificate"
	PKIProfile       Kind = "pkiprofile"
)

// AdminTenant is the tenant whose objects every other one may refer to.
const AdminTenant = "admin"

// Type is what the operator knows about a kind of Avi object. A kind that is to be written needs a row in the table below,
// a row in the table of owned fields (internal/plan), and a function that makes its body (internal/translate).
type Type struct {
	Kind  Kind
	Title string // as the Controller's own messages spell it
	// OfCloud reports whether an object belongs to a cloud, by which lists are narrowed.
	OfCloud bool
	// Shared reports whether objects are listed by name because bodies refer to those that other people made, and OnDemand
	// that this is done only once somebody refers to one.
	Shared, OnDemand bool

	// New returns an empty alb-sdk body, and Head what the bodies of all kinds have. Both are nil for a kind that the
	// operator does not write; the rest is about those that it does.
	New  func() any
	Head func(body any) Head
	// CreatedBy reports whether the body has created_by, by which lists are narrowed and our objects are distinguished from others'.
	CreatedBy bool
	// Optional reports whether an account may lack the right to read the kind: only what asks for such objects is affected then.
	Optional bool
	// Common reports whether an object is for any number of owners and is none's: it goes with the last that uses it.
	Common bool
	// Names, where set, is what the names of ours are like behind the cluster's prefix: AKO has objects of the kind too, with the
	// same prefix and markers.
	Names *regexp.Regexp
	// Uses, where set, is a body's reference to a Common object.
	Uses func(body any) *string
	// OwnerByName reports whether the markers don't name the owner: it is that of the VirtualService of the same name.
	OwnerByName bool
	// Replaced reports whether objects are deleted and created again where the VirtualService's address has to change.
	Replaced bool
	// Refers lists the kinds that a body refers to: their objects are created before and deleted after.
	Refers []Kind
	// Follows lists those of Refers whose updates are sent before this kind's, too.
	Follows []Kind
}

// Head is what the bodies of all written kinds have.
type Head struct {
	Name, TenantRef, UUID *string
	CreatedBy             *string // nil where the kind has none
	Markers               []*models.RoleFilterMatchLabel
}

// types is the table of kinds: first those that the operator writes, in creation order, then those that it only refers to.
var types = []Type{
	{Kind: VsVip, Title: "VsVip", OfCloud: true, OwnerByName: true, Replaced: true,
		New: newBody[models.VsVip], Head: head(func(o *models.VsVip) Head {
			return Head{o.Name, o.TenantRef, o.UUID, nil, o.Markers}
		})},
	{Kind: PersistenceProfile, Title: "ApplicationPersistenceProfile", Common: true, Optional: true, OnDemand: true,
		Names: regexp.MustCompile(`^client-ip-[0-9]+$`),
		New:   newBody[models.ApplicationPersistenceProfile], Head: head(func(o *models.ApplicationPersistenceProfile) Head {
			return Head{o.Name, o.TenantRef, o.UUID, nil, o.Markers}
		})},
	{Kind: Pool, Title: "Pool", OfCloud: true, CreatedBy: true, Refers: []Kind{PersistenceProfile},
		Uses: func(body any) *string { return body.(*models.Pool).ApplicationPersistenceProfileRef },
		New:  newBody[models.Pool], Head: head(func(o *models.Pool) Head {
			return Head{o.Name, o.TenantRef, o.UUID, o.CreatedBy, o.Markers}
		})},
	{Kind: PoolGroup, Title: "PoolGroup", OfCloud: true, CreatedBy: true, Refers: []Kind{Pool},
		New: newBody[models.PoolGroup], Head: head(func(o *models.PoolGroup) Head {
			return Head{o.Name, o.TenantRef, o.UUID, o.CreatedBy, o.Markers}
		})},
	{Kind: L4PolicySet, Title: "L4PolicySet", CreatedBy: true, Refers: []Kind{Pool, PoolGroup},
		New: newBody[models.L4PolicySet], Head: head(func(o *models.L4PolicySet) Head {
			return Head{o.Name, o.TenantRef, o.UUID, o.CreatedBy, o.Markers}
		})},
	{Kind: NetworkSecurityPolicy, Title: "NetworkSecurityPolicy", CreatedBy: true, Optional: true, OnDemand: true,
		New: newBody[models.NetworkSecurityPolicy], Head: head(func(o *models.NetworkSecurityPolicy) Head {
			return Head{o.Name, o.TenantRef, o.UUID, o.CreatedBy, o.Markers}
		})},
	{Kind: VirtualService, Title: "VirtualService", OfCloud: true, CreatedBy: true, Replaced: true,
		Refers: []Kind{VsVip, L4PolicySet, NetworkSecurityPolicy},
		// A port listens only when a rule sends it somewhere, and when who may use it is settled.
		Follows: []Kind{L4PolicySet, NetworkSecurityPolicy},
		New:     newBody[models.VirtualService], Head: head(func(o *models.VirtualService) Head {
			return Head{o.Name, o.TenantRef, o.UUID, o.CreatedBy, o.Markers}
		})},

	{Kind: Tenant, Title: "tenant", Shared: true},
	{Kind: Cloud, Title: "cloud"},
	{Kind: VrfContext, Title: "vrfcontext", OfCloud: true, Shared: true},
	{Kind: Network, Title: "network", OfCloud: true, Shared: true},
	{Kind: ServiceEngineGroup, Title: "serviceenginegroup", OfCloud: true, Shared: true},
	{Kind: NetworkProfile, Title: "networkprofile", Shared: true},
	{Kind: ApplicationProfile, Title: "applicationprofile", Shared: true},
	{Kind: HealthMonitor, Title: "healthmonitor", Shared: true},

	{Kind: AnalyticsProfile, Title: "analyticsprofile", OnDemand: true},
	{Kind: SecurityPolicy, Title: "securitypolicy", OnDemand: true},
	{Kind: DataScriptSet, Title: "vsdatascriptset", OnDemand: true},
	{Kind: SSLProfile, Title: "sslprofile", OnDemand: true},
	{Kind: Certificate, Title: "sslkeyandcertificate", OnDemand: true},
	{Kind: PKIProfile, Title: "pkiprofile", OnDemand: true},
}

func newBody[T any]() any { return new(T) }

func head[T any](of func(*T) Head) func(any) Head {
	return func(body any) Head { return of(body.(*T)) }
}

// Written lists the kinds that the operator writes, in creation order; deletion follows DeletionRank.
var Written = kindsWhere(func(t *Type) bool { return t.New != nil })

// Shared lists the kinds whose objects are always listed by name because bodies refer to them.
var Shared = kindsWhere(func(t *Type) bool { return t.Shared })

// OnDemand lists the kinds whose objects are listed by name once somebody refers to one.
var OnDemand = kindsWhere(func(t *Type) bool { return t.OnDemand })

func kindsWhere(is func(*Type) bool) (out []Kind) {
	for i := range types {
		if is(&types[i]) {
			out = append(out, types[i].Kind)
		}
	}
	return out
}

// Type is the kind's row of the table; that of a kind which isn't there has the kind as its title and nothing else.
func (k Kind) Type() *Type {
	for i := range types {
		if types[i].Kind == k {
			return &types[i]
		}
	}
	return &Type{Kind: k, Title: string(k)}
}

// Title is the type's name as the Controller's own messages spell it.
func (k Kind) Title() string { return k.Type().Title }

// Refers reports whether bodies of the kind refer to objects of the other.
func (k Kind) Refers(to Kind) bool { return slices.Contains(k.Type().Refers, to) }

// CompareCreation orders kinds so that what is referred to comes before what refers to it.
func CompareCreation(a, b Kind) int { return cmp.Compare(CreationRank(a), CreationRank(b)) }

// CreationRank is the kind's place in Written.
func CreationRank(k Kind) int { return slices.Index(Written, k) }

// DeletionRank is 0 for a kind that no other refers to, and for the others one more than that of the last kind that does.
func DeletionRank(k Kind) int { return deletionRanks[k] }

var deletionRanks = rankDeletions()

func rankDeletions() map[Kind]int {
	out := make(map[Kind]int, len(Written))
	for _, k := range slices.Backward(Written) { // whatever refers to a kind comes after it
		for _, to := range k.Type().Refers {
			out[to] = max(out[to], out[k]+1)
		}
	}
	return out
}

// NewBody returns an empty alb-sdk body for the kind, or nil for a kind that the operator does not write.
func NewBody(k Kind) any {
	if t := k.Type(); t.New != nil {
		return t.New()
	}
	return nil
}
