// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// gatewayReady waits until a Gateway is ready and returns it.
func (f *fixture) gatewayReady(name string) *svcapi.Gateway {
	f.Helper()
	gw := new(svcapi.Gateway)
	f.eventually("Gateway "+name+" to be ready", func(ctx context.Context) error {
		if err := st.Client.Get(ctx, client.ObjectKey{Namespace: f.ns, Name: name}, gw); err != nil {
			return err
		}
		if c := gw.Status.Conditions; !apimeta.IsStatusConditionTrue(c, "Ready") || !apimeta.IsStatusConditionTrue(c,
			"ako.vmware.com/Healthy") || len(gw.Status.Addresses) != 1 {
			return fmt.Errorf("its status is %+v", gw.Status)
		}
		return nil
	})
	return gw
}

// gone waits until an object is.
func (f *fixture) gone(objects ...client.Object) {
	f.Helper()
	for _, o := range objects {
		f.eventually(fmt.Sprintf("the end of %T %s", o, o.GetName()), func(ctx context.Context) error {
			switch err := st.Client.Get(ctx, client.ObjectKeyFromObject(o), o); {
			case apierrors.IsNotFound(err):
				return nil
			case err != nil:
				return err
			}
			return fmt.Errorf("it is there, with finalizers %v", o.GetFinalizers())
		})
	}
}

// TestGatewaySample applies the Gateway sample as it is, looks at each object that must come of it, and lives through a
// rollout, a crash of the operator and the deletion of the whole file.
func TestGatewaySample(t *testing.T) {
	f := begin(t)
	f.ns = "svcapi"
	const file, name, pool = "config/samples/gateway-sctp.yaml", "e2e--svcapi-my-gateway", "e2e--svcapi-avisvc-svcapi-my-gateway-SCTP-6060"
	_, err := st.Kubectl(f.ctx, "apply", "-f", file)
	f.must(err)
	gw := f.gatewayReady("my-gateway")
	var tr *tree.Tree
	// served waits until the Deployment's one pod is the one server, and returns its address.
	served := func() (address string) {
		t.Helper()
		f.eventually("one server", func(ctx context.Context) error {
			pods, err := f.pods(ctx, f.ns, "avi-server")
			if err != nil {
				return err
			}
			want := servers(pods, 9090)
			if len(want) != 1 {
				return fmt.Errorf("%d pods are ready", len(want))
			}
			if tr, err = f.tree(ctx, "my-gateway"); err != nil {
				return err
			}
			address = want[0]
			return up(tr, hasServers(tr.Pool("SCTP 6060"), want))
		})
		return address
	}
	first := served()
	f.noWarnings(f.ns, "default")
	vs, policy := tr.VirtualService, tr.L4PolicySet
	rule, p := tr.Rules[0], tr.Rules[0].Pool
	names, err := st.Trees.Names(f.ctx, st.ObjectName(f.ns, ""))
	f.must(err)
	var metadata map[string]any
	f.must(json.Unmarshal([]byte(*vs.ServiceMetadata), &metadata))
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"objects", names, []string{"l4policyset " + name, "pool " + pool, "virtualservice " + name, "vsvip " + name}},
		{"rules", len(tr.Rules), 1},
		{"address", *tr.VsVip.Vip[0].IPAddress.Addr, gw.Status.Addresses[0].Value},
		{"created_by", []string{*vs.CreatedBy, *policy.CreatedBy, *p.CreatedBy}, []string{"ako-e2e", "ako-e2e", "ako-e2e"}},
		{"markers of the VirtualService", markers(vs.Markers), "clustername=e2e Namespace=svcapi GatewayName=my-gateway"},
		{"markers of the pool", markers(p.Markers), "clustername=e2e Namespace=svcapi ServiceName=avisvc-svcapi Port=6060 Protocol=SCTP GatewayName=my-gateway"},
		{"network profile", tree.NameOf(vs.NetworkProfileRef), "System-SCTP-Proxy"},
		{"listening ports", fmt.Sprint(len(vs.Services), *vs.Services[0].Port, *vs.Services[0].PortRangeEnd), "1 6060 6060"},
		{"service_metadata.gateway", metadata["gateway"], "svcapi/my-gateway"},
		{"rule's name", *rule.Name, "/api/pool?name=" + pool},
		{"rule's match", *rule.Match.Protocol.Protocol + fmt.Sprint(rule.Match.Port.Ports), "PROTOCOL_SCTP[6060]"},
		{"monitors", p.Monitors(), []string{"System-SCTP"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
	_, err = st.Kubectl(f.ctx, "wait", "gatewayclasses.networking.x-k8s.io/avi-lb", "--for=condition=Admitted", "--timeout=20s")
	f.must(err)
	_, err = st.Kubectl(f.ctx, "wait", "aviinfrasettings.ako.vmware.com/my-infrasetting", "--for=jsonpath={.status.status}=Accepted", "--timeout=20s")
	f.must(err)

	f.rollOut("avi-server", "2")
	f.rolledOut("avi-server")
	if second := served(); second == first {
		t.Errorf("%s is still the server, so nothing was rolled out", first)
	}

	gw = f.gatewayReady("my-gateway")
	operator.Kill()
	t.Cleanup(f.restore)
	st.Controller.ResetRequests()
	f.restore()
	// A change that the new one follows, which shows that it has looked at the Gateway, is the only write.
	pods, err := f.pods(f.ctx, f.ns, "avi-server")
	f.must(err)
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	f.must(st.Cluster.SetPodReady(f.ctx, f.ns, pods[0].Name, false))
	f.eventually("a write", func(context.Context) error {
		if len(writes("")) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	if w := writes(""); len(w) != 1 || w[0].Method != http.MethodPatch || w[0].Type != "pool" {
		t.Errorf("after a restart and one change the writes are %d, the first of them %s %s", len(w), w[0].Method, w[0].Path)
	}
	after := new(svcapi.Gateway)
	f.must(st.Client.Get(f.ctx, client.ObjectKeyFromObject(gw), after))
	if diff := cmp.Diff([]any{gw.Spec, gw.Annotations, gw.Finalizers, gw.Status.Addresses},
		[]any{after.Spec, after.Annotations, after.Finalizers, after.Status.Addresses}); diff != "" {
		t.Errorf("the restart changed the Gateway (-before +after):\n%s", diff)
	}

	_, err = st.Kubectl(f.ctx, "delete", "-f", file, "--timeout=60s")
	f.must(err)
	f.nothingLeft(f.ns)
	f.gone(gw, &svcapi.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "avi-lb"}},
		&v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "my-infrasetting"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.ns}})
}

// TestNodePortMode has the Controller reach a Gateway's Service through the nodes, which come and go.
func TestNodePortMode(t *testing.T) {
	f := begin(t)
	f.configure("serviceType", "NodePort")
	t.Cleanup(func() { f.configure("serviceType", "") })
	class := &svcapi.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: f.ns},
		Spec: svcapi.GatewayClassSpec{Controller: "ako.vmware.com/avi-lb"}}
	labels := map[string]string{"ako.vmware.com/gateway-name": "edge", "ako.vmware.com/gateway-namespace": f.ns}
	gw := &svcapi.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "edge"}, Spec: svcapi.GatewaySpec{GatewayClassName: class.Name}}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "amf", Labels: labels}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "amf"},
	}}
	for _, p := range []corev1.ServicePort{{Name: "n2", Protocol: corev1.ProtocolSCTP, Port: 38412}, {Name: "sbi", Protocol: corev1.ProtocolTCP, Port: 80}} {
		p.TargetPort = intstr.FromInt32(9090)
		svc.Spec.Ports = append(svc.Spec.Ports, p)
		gw.Spec.Listeners = append(gw.Spec.Listeners,
			svcapi.Listener{Port: p.Port, Protocol: svcapi.ProtocolType(p.Protocol), Routes: svcapi.RouteBindingSelector{
				Group: "v1", Kind: "services", Selector: &metav1.LabelSelector{MatchLabels: labels},
			}})
	}
	for _, o := range []client.Object{class, svc, gw} {
		f.must(st.Client.Create(f.ctx, o))
	}
	address := f.gatewayReady("edge").Status.Addresses[0].Value
	// served waits until both pools have exactly these nodes as servers, at the Service's node ports.
	served := func(enabled, disabled []string) {
		t.Helper()
		f.eventually(fmt.Sprintf("nodes %v enabled and %v disabled", enabled, disabled), func(ctx context.Context) error {
			tr, err := f.tree(ctx, "edge")
			if err != nil {
				return err
			}
			for _, p := range svc.Spec.Ports {
				pool := tr.Pool(fmt.Sprint(p.Protocol, " ", p.Port))
				if pool == nil {
					return fmt.Errorf("no rule matches %s %d", p.Protocol, p.Port)
				}
				at := func(nodes []string) (out []string) {
					for _, n := range nodes {
						out = append(out, fmt.Sprintf("172.30.0.%s:%d", strings.TrimPrefix(n, "node-"), p.NodePort))
					}
					return out
				}
				if e, d := pool.Enabled(), pool.Disabled(); !slices.Equal(e, at(enabled)) || !slices.Equal(d, at(disabled)) {
					return fmt.Errorf("the servers of %s %d are %v, disabled %v", p.Protocol, p.Port, e, d)
				}
			}
			return nil
		})
	}
	served([]string{"node-1", "node-2", "node-3"}, nil)
	kubectl := func(args ...string) {
		_, err := st.Kubectl(f.ctx, args...)
		f.must(err)
	}
	// A cordoned node stays: its pods may serve. One that the autoscaler is about to remove is drained.
	t.Cleanup(func() { kubectl("uncordon", "node-2") })
	kubectl("cordon", "node-2")
	kubectl("taint", "node", "node-1", "ToBeDeletedByClusterAutoscaler=1:NoSchedule")
	served([]string{"node-2", "node-3"}, []string{"node-1"})
	kubectl("taint", "node", "node-1", "ToBeDeletedByClusterAutoscaler-")
	kubectl("uncordon", "node-2")
	served([]string{"node-1", "node-2", "node-3"}, nil)
	// One more comes and goes, so that the others are there for the next test.
	added, err := st.Cluster.AddNodes(f.ctx, 1)
	f.must(err)
	served([]string{"node-1", "node-2", "node-3", added[0]}, nil)
	_, err = st.Kubectl(f.ctx, "delete", "node", added[0])
	f.must(err)
	served([]string{"node-1", "node-2", "node-3"}, nil)
	if now := f.gatewayReady("edge").Status.Addresses[0].Value; now != address {
		t.Errorf("the address is %s, it was %s", now, address)
	}
	f.must(st.Client.Delete(f.ctx, gw))
	f.gone(gw)
	f.nothingLeft(f.ns)
	f.must(st.Client.Delete(f.ctx, class))
	f.gone(class)
}

// configure sets a key of the operator's ConfigMap, or takes it away if the value is empty.
func (f *fixture) configure(key, value string) {
	f.Helper()
	cm := new(corev1.ConfigMap)
	f.must(st.Client.Get(f.ctx, client.ObjectKey{Namespace: stage.Namespace, Name: settings.ConfigMapName}, cm))
	before := cm.DeepCopy()
	if cm.Data[key] = value; value == "" {
		delete(cm.Data, key)
	}
	f.must(st.Client.Patch(f.ctx, cm, client.MergeFrom(before)))
}

// markers writes an object's markers as "key=value key=value".
func markers(list []*models.RoleFilterMatchLabel) string {
	var out []string
	for _, m := range list {
		out = append(out, *m.Key+"="+strings.Join(m.Values, ","))
	}
	return strings.Join(out, " ")
}
