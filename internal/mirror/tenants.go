// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// tenantFresh is how long the Controller's word that it lacks a tenant is good enough for the other owners that are to be there.
const tenantFresh = 5 * time.Second

// absence is when the Controller said that it lacks a tenant, and whether its complete list of tenants agreed; zero: it wasn't asked.
type absence struct {
	said, proven time.Time
}

// HasTenant reports whether the Controller has a tenant of that name. One that the last list of tenants lacks, because it is new or the
// account sees it only from within, is asked for by a read in it. Names with which avi.TenantProblem finds something wrong are not asked
// for.
func (m *Mirror) HasTenant(ctx context.Context, name string) (bool, error) {
	m.mu.RLock()
	scope, facts := m.scope, m.facts
	m.mu.RUnlock()
	switch {
	case facts == nil:
		return false, ErrNotLoaded
	case name == scope.Tenant || facts.Shared[model.Tenant][name] != "":
		return true, nil
	case avi.TenantProblem(name) != "":
		return false, nil
	}
	m.tenants.Lock()
	defer m.tenants.Unlock()
	if time.Since(m.absent[name].said) < tenantFresh {
		return false, nil
	}
	absent, err := m.deniesTenant(ctx, name)
	return err == nil && !absent, err
}

// TenantGone reports whether it is proven that the Controller has no tenant of that name, and therefore nothing in it: a call in it is
// refused in the API's own words, and a complete list of tenants, which has the configured one, lacks it.
func (m *Mirror) TenantGone(ctx context.Context, name string) (bool, error) {
	scope := m.scopeNow()
	switch {
	case avi.TenantProblem(name) != "":
		return true, nil // nothing can ever have been made there
	case name == scope.Tenant || scope.OwnTenant:
		return false, nil // the settings' own: a Controller without it has lost everything at once, which proves nothing
	}
	m.tenants.Lock()
	defer m.tenants.Unlock()
	if time.Since(m.absent[name].proven) < tenantFresh {
		return true, nil
	}
	if absent, err := m.deniesTenant(ctx, name); err != nil || !absent {
		return false, err
	}
	listed := make(map[string]bool)
	err := m.client.List(ctx, string(model.Tenant), scope.Tenant, url.Values{"fields": {"name"}}, func(raw json.RawMessage) error {
		var o sharedObject
		err := json.Unmarshal(raw, &o)
		listed[o.Name] = true
		return err
	})
	if err != nil {
		return false, fmt.Errorf("listing the Controller's tenants: %w", err)
	}
	if listed[name] || !listed[scope.Tenant] {
		return false, nil
	}
	m.absent[name] = absence{m.absent[name].said, time.Now()}
	return true, nil
}

// deniesTenant asks whether the Controller lacks a tenant, by a look for some object of a kind that the account must be able to read in
// any tenant that it serves; m.tenants is held.
func (m *Mirror) deniesTenant(ctx context.Context, name string) (bool, error) {
	_, err := m.client.GetByName(ctx, model.VsVip, name, name, nil)
	now := time.Now()
	maps.DeleteFunc(m.absent, func(_ string, a absence) bool { return now.Sub(a.said) > tenantFresh })
	switch avi.ReasonOf(err) {
	case avi.ReasonTenantMissing:
		m.absent[name] = absence{said: now}
		return true, nil
	case "", avi.ReasonNotFound, avi.ReasonNotUnique: // it answers, whatever it shows there
		return false, nil
	}
	return false, fmt.Errorf("asking whether the Controller has tenant %s: %w", name, err)
}
