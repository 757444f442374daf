// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// users remembers which Gateways use which Services, as they were last read: EndpointSlices change often.
type users struct {
	mu       sync.Mutex
	services map[types.NamespacedName][]types.NamespacedName        // of a Gateway
	gateways map[types.NamespacedName]map[types.NamespacedName]bool // of a Service
	unnamed  map[types.NamespacedName]bool                          // Gateways that may take Services which don't name them
}

// open notes whether a Gateway may take Services that don't name it.
func (u *users) open(gateway types.NamespacedName, unnamed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !unnamed:
		delete(u.unnamed, gateway)
	case u.unnamed == nil:
		u.unnamed = map[types.NamespacedName]bool{gateway: true}
	default:
		u.unnamed[gateway] = true
	}
}

// opened are the Gateways that may.
func (u *users) opened() []types.NamespacedName {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.unnamed))
}

func (u *users) set(gateway types.NamespacedName, services []types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.services == nil {
		u.services = make(map[types.NamespacedName][]types.NamespacedName)
		u.gateways = make(map[types.NamespacedName]map[types.NamespacedName]bool)
	}
	for _, s := range u.services[gateway] {
		delete(u.gateways[s], gateway)
		if len(u.gateways[s]) == 0 {
			delete(u.gateways, s)
		}
	}
	delete(u.services, gateway)
	if len(services) > 0 {
		u.services[gateway] = services
	}
	for _, s := range services {
		if u.gateways[s] == nil {
			u.gateways[s] = make(map[types.NamespacedName]bool, 1)
		}
		u.gateways[s][gateway] = true
	}
}

// usersIn are the Gateways that use Services of a namespace.
func (u *users) usersIn(name string) []types.NamespacedName {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []types.NamespacedName
	for gw, services := range u.services {
		if slices.ContainsFunc(services, func(s types.NamespacedName) bool { return s.Namespace == name }) {
			out = append(out, gw)
		}
	}
	return out
}

// using are the Gateways that use a Service.
func (u *users) using(service types.NamespacedName) []types.NamespacedName {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.gateways[service]))
}
