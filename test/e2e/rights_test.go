// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	akov1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
)

// TestUsersRights has Kubernetes add the operator's kinds to its own roles, and asks what those who have one may do in their
// namespace.
func TestUsersRights(t *testing.T) {
	f := begin(t)
	const component = "config/components/gateway-users"
	_, err := st.Kubectl(f.ctx, "apply", "-k", component)
	f.must(err)
	asked, err := kubernetes.NewForConfig(st.Cluster.RESTConfig())
	f.must(err)
	roles := []string{"view", "edit", "admin"}
	for _, role := range roles {
		_, err := asked.RbacV1().RoleBindings(f.ns).Create(f.ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: role}},
		}, metav1.CreateOptions{})
		f.must(err)
	}
	readers, writers := roles, roles[1:]
	for _, test := range []struct {
		verb, group, resource string
		may                   []string
	}{
		{"get", "ako.vmware.com", "sctproutes", readers},
		{"watch", "ako.vmware.com", "l4rules", readers},
		{"create", "ako.vmware.com", "sctproutes", writers},
		{"patch", "ako.vmware.com", "l4rules", writers},
		{"delete", "ako.vmware.com", "sctproutes", writers},
		{"create", "ako.vmware.com", "aviinfrasettings", nil},
		{"list", "gateway.networking.k8s.io", "tcproutes", readers},
		{"create", "gateway.networking.k8s.io", "gateways", writers},
		{"create", "gateway.networking.k8s.io", "udproutes", writers},
		{"create", "gateway.networking.k8s.io", "gatewayclasses", nil},
		{"update", "networking.x-k8s.io", "gateways", writers},
	} {
		for _, role := range roles {
			want := slices.Contains(test.may, role)
			// Kubernetes adds rules to its roles a moment after they were applied.
			f.eventually(fmt.Sprintf("%s may %s %s: %t", role, test.verb, test.resource, want), func(ctx context.Context) error {
				answer, err := asked.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{User: role, ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: f.ns, Verb: test.verb, Group: test.group, Resource: test.resource,
					}},
				}, metav1.CreateOptions{})
				if err == nil && answer.Status.Allowed != want {
					err = fmt.Errorf("the API server says %+v", answer.Status)
				}
				return err
			})
		}
	}
	route := &akov1alpha1.SCTPRoute{ObjectMeta: metav1.ObjectMeta{Name: "n2", Namespace: f.ns}}
	route.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "none"}}
	backend := gatewayv1.BackendObjectReference{Name: "none", Port: new(gatewayv1.PortNumber(38412))}
	route.Spec.Rules = []akov1alpha1.SCTPRouteRule{{BackendRefs: []gatewayv1.BackendRef{{BackendObjectReference: backend}}}}
	f.must(as(f, "edit").Create(f.ctx, route))
	if err := as(f, "view").Delete(f.ctx, route); !apierrors.IsForbidden(err) {
		t.Errorf("whoever may only read deletes a route: %v", err)
	}
	f.must(as(f, "admin").Delete(f.ctx, route))
	_, err = st.Kubectl(f.ctx, "delete", "-k", component)
	f.must(err)
}

// as is a client with the rights of a user who is named after a role.
func as(f *fixture, role string) client.Client {
	f.Helper()
	config := st.Cluster.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: role}
	c, err := client.New(config, client.Options{Scheme: st.Client.Scheme()})
	f.must(err)
	return c
}
