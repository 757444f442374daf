// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// nodes: static routes are switched on in a cluster of so many nodes, and one more comes. Until then they are off, so that
// the other rows count Services only.
func (x *bench) nodes(n int) []row {
	g := new(errgroup.Group)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return x.node(i) })
	}
	x.must(g.Wait())
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	x.sim.ResetRequests()
	var config corev1.ConfigMap
	x.must(x.client.Get(x.Context(), client.ObjectKey{Namespace: system, Name: "avi-k8s-config"}, &config))
	config.Data["disableStaticRouteSync"] = "false"
	x.must(x.client.Update(x.Context(), &config))
	x.wait("the routes", func() bool { return x.staticRoutes() >= n && x.quiet(2*time.Second) })
	all := verbs(x.sim.Writes())
	x.sim.ResetRequests()
	before := x.staticRoutes()
	begin := time.Now()
	x.must(x.node(n))
	x.wait("one route more", func() bool { return x.staticRoutes() > before })
	_, last := span(x.sim.Writes())
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	reads := 0
	for _, r := range x.sim.Requests() {
		if r.Method == http.MethodGet {
			reads++
		}
	}
	return []row{
		{fmt.Sprintf("static routes to %d nodes at once", n), all, "goal: 1 PUT of the VrfContext"},
		{fmt.Sprintf("a node added to %d", n), fmt.Sprintf("%s, %d reads, done %.0f ms after its creation began", verbs(x.sim.Writes()), reads, float64(last.Sub(begin).Milliseconds())), "goal: 1 PUT"},
	}
}

// node creates a Node that the cluster's own controllers give no pod CIDR, since they have too few.
func (x *bench) node(i int) error {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%04d", i), Annotations: map[string]string{
		staticroutes.AnnotationPodCIDRs: fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250),
	}}}
	if err := x.client.Create(x.Context(), n); err != nil {
		return err
	}
	patch := client.MergeFrom(n.DeepCopy())
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.77.%d.%d", i/250, 1+i%250)}}
	return client.IgnoreNotFound(x.client.Status().Patch(x.Context(), n, patch))
}

// staticRoutes counts the static routes of the VRF context.
func (x *bench) staticRoutes() int {
	vrf, _ := x.sim.Object("vrfcontext", "admin", "global")
	routes, _ := vrf["static_routes"].([]any)
	return len(routes)
}
