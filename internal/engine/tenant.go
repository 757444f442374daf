// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// tenantAgain is how soon a tenant is asked for again that the Controller doesn't have. A change of the Namespace is followed at once.
const tenantAgain = 5 * time.Minute

// tenantError says that a Namespace names a tenant that can't be used.
type tenantError struct {
	namespace, tenant string
	problem           string // of the name itself; empty: the Controller has no such tenant
}

func (e *tenantError) Error() string {
	const shown = 63
	name := []rune(e.tenant)
	if len(name) > shown {
		name = append(name[:shown], '…')
	}
	what := fmt.Sprintf("tenant %q %s; correct", string(name), e.problem)
	if e.problem == "" {
		what = fmt.Sprintf("the Controller has no tenant %q; create it or correct", string(name))
	}
	return fmt.Sprintf("%s annotation %s of Namespace %s", what, translate.AnnotationTenant, e.namespace)
}

// settleTenant decides in which tenant the owner is served: in its namespace's, if that can be. A Service that serves in another tenant
// goes on there, endpoints and all, unless it may be interrupted.
func (r *run) settleTenant(ctx context.Context) {
	wanted := r.record.Tenant
	r.nowhere = r.lacksTenant(ctx, wanted)
	vs := r.serving(r.in.Owner.Key(), &r.record.Serving)
	if vs == nil || vs.Key.Tenant == wanted || vs.Key.Name != r.record.Name {
		return
	}
	var bad *tenantError
	switch {
	case errors.As(r.nowhere, &bad):
		r.kept = []model.Finding{{Severity: model.Degraded, Reason: model.ReasonTenantMissing,
			Message: fmt.Sprintf("%v; until then it is served in tenant %s as before", bad, vs.Key.Tenant)}}
	case r.in.ReplacementAllowed():
		return
	default:
		r.kept = []model.Finding{model.NeedsConsent(fmt.Sprintf("tenant: %s -> %s", vs.Key.Tenant, wanted))}
	}
	r.nowhere = nil
	r.in.Tenant, r.record.Tenant = vs.Key.Tenant, vs.Key.Tenant
}

// lacksTenant is an error if nothing can be made in a tenant. That the Controller isn't read at all is reported elsewhere.
func (r *run) lacksTenant(ctx context.Context, tenant string) error {
	if known := r.Mirror.Err() == nil; !known {
		return nil
	}
	switch has, err := r.Mirror.HasTenant(ctx, tenant); {
	case err != nil:
		return err
	case has:
		return nil
	}
	return &tenantError{r.in.Namespace.Name, tenant, avi.TenantProblem(tenant)}
}

// vanished reports whether errors say that a tenant isn't there, and that is proven. What was known of the owner in it is gone, then,
// and so is what steps were about.
func (e *Engine) vanished(ctx context.Context, owner model.Owner, name string, err error, results []apply.StepResult) bool {
	tenant, missing := missingTenant(err)
	if !missing {
		return false
	}
	gone, err := e.Mirror.TenantGone(ctx, tenant)
	if err != nil || !gone {
		return false
	}
	logr.FromContextOrDiscard(ctx).Info("the tenant doesn't exist any more, and nothing in it", "tenant", tenant)
	for _, o := range e.Mirror.Of(owner, name) {
		if o.Key.Tenant == tenant {
			e.Mirror.Gone(o.Key)
		}
	}
	for _, s := range results {
		if s.Step.Key.Tenant == tenant {
			e.Mirror.Gone(s.Step.Key)
		}
	}
	return true
}

// missingTenant is the tenant that the Controller says doesn't exist.
func missingTenant(err error) (tenant string, missing bool) {
	var call *avi.Error
	if !errors.As(err, &call) || call.Reason != avi.ReasonTenantMissing {
		return "", false
	}
	return call.Tenant, true
}
