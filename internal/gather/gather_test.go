// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// indexed registers indexes with a fake client.
type indexed struct{ *fake.ClientBuilder }

func (b indexed) IndexField(_ context.Context, o client.Object, field string, of client.IndexerFunc) error {
	b.WithIndex(o, field, of)
	return nil
}

// readerOf reads from a cache with these objects, in which the lists of the types of broken fail.
func readerOf(t *testing.T, broken client.ObjectList, objects ...client.Object) *Reader {
	t.Helper()
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1beta1.AddToScheme, v1alpha2.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	b := indexed{fake.NewClientBuilder().WithScheme(types).WithObjects(objects...)}
	if err := SetupIndexes(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	b.WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if broken != nil && typeOf(t, types, list) == typeOf(t, types, broken) {
				return errors.New("the cache is not synced")
			}
			return c.List(ctx, list, options...)
		},
	})
	yes := func(API) bool { return true }
	r := &Reader{Client: b.Build(), Serves: yes, Synced: yes}
	Add(r, Services{Reader: r})
	return r
}

func typeOf(t *testing.T, s *runtime.Scheme, o runtime.Object) string {
	t.Helper()
	kinds, _, err := s.ObjectKinds(o)
	if err != nil {
		t.Fatal(err)
	}
	return kinds[0].Kind
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// service is a load balancer that was created that many seconds after the first.
func service(namespace, name string, age int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1e9+age), 0))},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
}

func slice(namespace, name, service string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
		Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
}

func pod(namespace, name string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: annotations}}
}

// inputOf reads all that decides about Service core/amf.
func inputOf(t *testing.T, r *Reader, s *settings.Settings) (translate.Input, error) {
	t.Helper()
	kind := Services{Reader: r}
	c, err := Read(t.Context(), kind, types.NamespacedName{Namespace: "core", Name: "amf"})
	if err != nil || c == nil {
		return translate.Input{}, err
	}
	return Input(t.Context(), r, kind, s, c)
}

// What is read of a Service is its own: neither its neighbours' endpoints, nor Pods and Nodes that its mode has no use for.
func TestInput(t *testing.T) {
	npl := map[string]string{translate.AnnotationNodePortLocalPorts: "[]"}
	objects := []client.Object{
		namespace("core"), namespace("edge"), service("core", "amf", 1),
		slice("core", "amf-1", "amf"), slice("core", "amf-2", "amf"), slice("core", "smf-1", "smf"), slice("edge", "amf-1", "amf"),
		pod("core", "with", npl), pod("core", "without", nil), pod("edge", "elsewhere", npl),
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}},
	}
	for mode, want := range map[settings.ServiceType]struct {
		pods  []string
		nodes int
	}{
		settings.ClusterIP:     {nil, 0},
		settings.NodePort:      {nil, 1},
		settings.NodePortLocal: {[]string{"with"}, 0},
	} {
		t.Run(string(mode), func(t *testing.T) {
			in, err := inputOf(t, readerOf(t, nil, objects...), &settings.Settings{DefaultLB: true, ServiceType: mode})
			if err != nil {
				t.Fatal(err)
			}
			var got, pods []string
			for _, s := range in.Backends[0].Slices {
				got = append(got, s.Namespace+"/"+s.Name)
			}
			for _, p := range in.Backends[0].Pods {
				pods = append(pods, p.Name)
			}
			if want := []string{"core/amf-1", "core/amf-2"}; !slices.Equal(got, want) || !in.Backends[0].SlicesRead {
				t.Errorf("slices %q, want %q", got, want)
			}
			if !slices.Equal(pods, want.pods) {
				t.Errorf("pods %q, want %q", pods, want.pods)
			}
			if len(in.Nodes) != want.nodes || in.NodesRead != (mode == settings.NodePort) {
				t.Errorf("%d nodes, read %v; want %d", len(in.Nodes), in.NodesRead, want.nodes)
			}
		})
	}
}

// What can't be read is an error, never an empty answer: servers would go, or objects be let go.
func TestUnreadIsAnError(t *testing.T) {
	svc := service("core", "amf", 1)
	mode := &settings.Settings{DefaultLB: true, ServiceType: settings.ClusterIP}
	for name, c := range map[string]struct {
		broken  client.ObjectList
		objects []client.Object
		mode    settings.ServiceType
		want    string
	}{
		"slices":    {&discoveryv1.EndpointSliceList{}, []client.Object{namespace("core"), svc}, settings.ClusterIP, "listing EndpointSlices of Service core/amf"},
		"nodes":     {&corev1.NodeList{}, []client.Object{namespace("core"), svc}, settings.NodePort, "listing Nodes"},
		"pods":      {&corev1.PodList{}, []client.Object{namespace("core"), svc}, settings.NodePortLocal, "listing Pods of namespace core"},
		"namespace": {nil, []client.Object{svc}, settings.ClusterIP, "reading Namespace core"},
	} {
		t.Run(name, func(t *testing.T) {
			s := *mode
			s.ServiceType = c.mode
			_, err := inputOf(t, readerOf(t, c.broken, c.objects...), &s)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("the error is %v, want %s…", err, c.want)
			}
		})
	}
}

// A Service that is being deleted may outlive its namespace in the cache, and has to be let go all the same.
func TestDeletedOutlivesItsNamespace(t *testing.T) {
	svc := service("core", "amf", 1)
	now := metav1.Now()
	svc.DeletionTimestamp, svc.Finalizers = &now, []string{Finalizer}
	c, err := Read(t.Context(), Services{Reader: readerOf(t, nil, svc)}, client.ObjectKeyFromObject(svc))
	if err != nil || c == nil || !c.Ending || c.Namespace.Name != "core" {
		t.Errorf("the candidate is %+v, %v", c, err)
	}
	c, err = Read(t.Context(), Services{Reader: readerOf(t, nil)}, client.ObjectKeyFromObject(svc))
	if err != nil || c != nil {
		t.Errorf("what isn't there is %+v, %v", c, err)
	}
}

// Of two owners whose objects would have one name the older has it, whoever is asked first.
func TestRival(t *testing.T) {
	older, younger := service("a-b", "c", 1), service("a", "b-c", 2)
	other := service("a", "other", 0)
	foreign := service("a-b", "c", 1)
	class := "example.com/other"
	foreign.Spec.LoadBalancerClass = &class
	going := service("a-b", "c", 1)
	now := metav1.Now()
	going.DeletionTimestamp, going.Finalizers = &now, []string{"example.com/somebody"}
	served := going.DeepCopy()
	served.Finalizers = append(served.Finalizers, Finalizer)
	for name, c := range map[string]struct {
		self    *corev1.Service
		objects []client.Object
		want    string
	}{
		"the younger has a rival":                {younger, []client.Object{older, younger, other}, "a-b/c"},
		"the older has none":                     {older, []client.Object{older, younger, other}, ""},
		"one that isn't ours is none":            {younger, []client.Object{foreign, younger}, ""},
		"one that goes and isn't served is none": {younger, []client.Object{going, younger}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := readerOf(t, nil, append(c.objects, namespace("a"), namespace("a-b"))...)
			owner, err := r.rival(t.Context(), &settings.Settings{DefaultLB: true}, c.self)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if owner != nil {
				got = owner.Namespace + "/" + owner.Name
				if owner.Kind != model.ServiceOwner {
					t.Errorf("the rival is a %s", owner.Kind)
				}
			}
			if got != c.want {
				t.Errorf("the rival is %q, want %q", got, c.want)
			}
		})
	}
	if !competes(served, younger) {
		t.Error("one that goes and still has our objects doesn't compete")
	}
}

// A setting that doesn't exist is an answer; one whose type the API server lacks is reported with what to do.
func TestSetting(t *testing.T) {
	there := &v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}
	for name, c := range map[string]struct {
		ref     SettingRef
		serves  bool
		found   bool
		problem string
	}{
		"none":            {SettingRef{}, true, false, ""},
		"there":           {SettingRef{Name: "edge"}, true, true, ""},
		"missing":         {SettingRef{Name: "core"}, true, false, ""},
		"no such type":    {SettingRef{Name: "edge"}, false, false, "install its CRD"},
		"not known which": {SettingRef{Reason: model.ReasonInfraSettingMissing, Problem: "two of them"}, true, false, "two of them"},
	} {
		t.Run(name, func(t *testing.T) {
			r := readerOf(t, nil, there)
			r.Serves = func(API) bool { return c.serves }
			got, err := r.setting(t.Context(), c.ref)
			if err != nil {
				t.Fatal(err)
			}
			if (got.Object != nil) != c.found || !strings.Contains(got.Problem, c.problem) || (got.Problem == "") != (c.problem == "") {
				t.Errorf("the setting is %+v", got)
			}
			if (got.Problem == "") != (got.Reason == "") {
				t.Errorf("problem %q with reason %q", got.Problem, got.Reason)
			}
		})
	}
}
