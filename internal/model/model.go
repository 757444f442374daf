// Package model is the vocabulary that every other package shares: which Avi objects the operator wants (Set), what
// the Controller holds of them (Observed), and what there is to say about it (Finding). It does no IO and imports
// no other package of this repository.
package model

import "fmt"

// Kind is an Avi object type as the REST API spells it in a path: /api/<kind>.
type Kind string

// The kinds that the operator writes. The table of all kinds is in kinds.go.
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

// Key names an Avi object. Names are unique per kind and tenant within the operator's one cloud.
type Key struct {
	Kind   Kind
	Tenant string
	Name   string
}

func (k Key) String() string { return fmt.Sprintf("%s %s/%s", k.Kind.Title(), k.Tenant, k.Name) }
