// Package model is the vocabulary that every other package shares: which Avi objects the operator wants (Set), what
// the Controller holds of them (Observed), and what there is to say about it (Finding). It does no IO and imports
// no other package of this repository.
package model

import (
	"fmt"

	"github.com/vmware/alb-sdk/go/models"
)

// Kind is an Avi object type as the REST API spells it in a path: /api/<kind>.
type Kind string

// The kinds that the operator writes, in the order in which references allow them to be created.
const (
	VsVip          Kind = "vsvip"
	Pool           Kind = "pool"
	PoolGroup      Kind = "poolgroup"
	L4PolicySet    Kind = "l4policyset"
	VirtualService Kind = "virtualservice"
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

// Written lists the kinds that the operator writes, in creation order; deletion follows DeletionOrder.
var Written = []Kind{VsVip, Pool, PoolGroup, L4PolicySet, VirtualService}

// Title is the type's name as the Controller's own messages spell it.
func (k Kind) Title() string {
	switch k {
	case VsVip:
		return "VsVip"
	case Pool:
		return "Pool"
	case PoolGroup:
		return "PoolGroup"
	case L4PolicySet:
		return "L4PolicySet"
	case VirtualService:
		return "VirtualService"
	}
	return string(k)
}

// Key names an Avi object. Names are unique per kind and tenant within the operator's one cloud.
type Key struct {
	Kind   Kind
	Tenant string
	Name   string
}

func (k Key) String() string { return fmt.Sprintf("%s %s/%s", k.Kind.Title(), k.Tenant, k.Name) }

// NewBody returns an empty alb-sdk body for the kind, or nil for a kind that the operator does not write.
func NewBody(k Kind) any {
	switch k {
	case VsVip:
		return new(models.VsVip)
	case Pool:
		return new(models.Pool)
	case PoolGroup:
		return new(models.PoolGroup)
	case L4PolicySet:
		return new(models.L4PolicySet)
	case VirtualService:
		return new(models.VirtualService)
	}
	return nil
}
