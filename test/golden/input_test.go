// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// scene is what an input file may hold besides Kubernetes objects: kind Scene.
type scene struct {
	// Controller overrides what the Controller offers.
	Controller struct {
		Version     string            `json:"version"`
		APIVersion  string            `json:"apiVersion"`
		LicenseTier string            `json:"licenseTier"`
		CloudType   string            `json:"cloudType"`
		VLAN        bool              `json:"vlan"`
		Missing     []string          `json:"missing"` // names of shared objects that it lacks
		DNSDomains  *[]string         `json:"dnsDomains"`
		NetworkVRF  map[string]string `json:"networkVRF"`
		// Subnets are the networks' configured ones, by name; a name that isn't among the usual ones is a further network.
		Subnets  map[string][]string `json:"subnets"`
		Tier1LRs []string            `json:"tier1LRs"`
		// TenantVRF is the default VRF context of the configured tenant's own.
		TenantVRF string       `json:"tenantVRF"`
		Unlisted  []model.Kind `json:"unlisted"` // kinds that the account may not list
		// Tenants are the names that were looked up in other tenants than the configured one; profiles of them are of type L4, or SCTP.
		Tenants map[string]map[model.Kind][]string `json:"tenants"`
	} `json:"controller"`
	SlicesUnread          bool     `json:"slicesUnread"`
	NodesUnread           bool     `json:"nodesUnread"`
	Young                 []string `json:"young"`  // kinds whose type has only just come back
	Unread                []string `json:"unread"` // kinds of routes, or "<group> <kind>", that the API server doesn't have
	IgnoreRouteNamespaces bool     `json:"ignoreRouteNamespaces"`
	TakeUnnamed           bool     `json:"takeUnnamed"`
	Rival                 string   `json:"rival"`       // "namespace/name"
	Refused               []string `json:"refused"`     // "SCTP/80": the Controller would not create the pool
	Edits                 []edit   `json:"edits"`       // of what the Controller holds, made there by people
	ShowObjects           bool     `json:"showObjects"` // beside the plan, where it matters what is created
}

// edit sets fields of all objects of a kind that the owner has on the Controller.
type edit struct {
	Kind   string          `json:"kind"`
	Fields json.RawMessage `json:"fields"`
}

// facts of a Controller that offers all that is needed.
func facts(s scene) *model.Facts {
	f := &model.Facts{
		TenantVRF: s.Controller.TenantVRF,
		Version:   "30.2.1", APIVersion: "30.2.1", LicenseTier: "ENTERPRISE", ClusterUUID: "cluster-1",
		Cloud:      model.CloudFacts{Name: "Default-Cloud", UUID: "cloud-1", Type: "CLOUD_NONE", VLAN: s.Controller.VLAN, Tier1LRs: s.Controller.Tier1LRs},
		DNSDomains: []string{"avi.example.com"},
		Shared: map[model.Kind]map[string]string{
			model.Tenant: {"admin": "admin", "telco": "tenant-telco"}, model.Cloud: {"Default-Cloud": "cloud-1"},
			model.NetworkProfile:     named("np", "System-TCP-Proxy", "System-TCP-Fast-Path", "System-UDP-Fast-Path", "System-SCTP-Proxy"),
			model.HealthMonitor:      named("hm", "System-TCP", "System-UDP", "System-SCTP"),
			model.ApplicationProfile: named("ap", "System-L4-Application", "Preserve-Client-IP"),
			model.VrfContext:         named("vrf", "global", "blue"),
			model.ServiceEngineGroup: named("seg", "Default-Group", "telco-group"),
			model.Network:            named("net", "vip-network", "node-network", "vip6"),
		},
	}
	forRules(f)
	if v := s.Controller.Version; v != "" {
		f.Version = v
	}
	if v := s.Controller.APIVersion; v != "" {
		f.APIVersion = v
	}
	if v := s.Controller.LicenseTier; v != "" {
		f.LicenseTier = v
	}
	if v := s.Controller.CloudType; v != "" {
		f.Cloud.Type = v
	}
	if s.Controller.DNSDomains != nil {
		f.DNSDomains = model.Domains(*s.Controller.DNSDomains)
	}
	for _, name := range s.Controller.Missing {
		for _, kind := range f.Shared {
			delete(kind, name)
		}
	}
	for _, kind := range s.Controller.Unlisted {
		delete(f.Shared, kind)
	}
	f.Networks = networks(s, f.Shared[model.Network])
	for tenant, kinds := range s.Controller.Tenants {
		t := model.TenantFacts{Shared: map[model.Kind]map[string]string{}, Types: map[model.Kind]map[string]string{}}
		for kind, names := range kinds {
			t.Shared[kind], t.Types[kind] = named(tenant+"-"+string(kind), names...), map[string]string{}
			for _, n := range names {
				t.Types[kind][n] = map[model.Kind]string{
					model.ApplicationProfile: "APPLICATION_PROFILE_TYPE_L4", model.NetworkProfile: "PROTOCOL_TYPE_SCTP_PROXY",
				}[kind]
			}
		}
		if f.Tenants == nil {
			f.Tenants = make(map[string]model.TenantFacts)
		}
		f.Tenants[tenant] = t
	}
	return f
}

// forRules adds what L4Rules refer to.
func forRules(f *model.Facts) {
	f.Shared[model.NetworkProfile]["Custom-TCP"] = "np-Custom-TCP"
	f.Shared[model.NetworkProfile]["Custom-Fast"] = "np-Custom-Fast"
	f.Shared[model.NetworkProfile]["Custom-UDP"] = "np-Custom-UDP"
	f.Shared[model.NetworkProfile]["Custom-SCTP"] = "np-Custom-SCTP"
	f.Shared[model.ApplicationProfile]["System-SSL-Application"] = "ap-System-SSL-Application"
	f.Shared[model.ApplicationProfile]["Custom-SSL"] = "ap-Custom-SSL"
	f.Shared[model.ApplicationProfile]["System-HTTP"] = "ap-System-HTTP"
	f.Shared[model.HealthMonitor]["Custom-HM-01"] = "hm-Custom-HM-01"
	f.Shared[model.HealthMonitor]["Custom-HM-02"] = "hm-Custom-HM-02"
	f.Shared[model.AnalyticsProfile] = named("an", "System-Analytics-Profile", "Custom-Analytics")
	f.Shared[model.PersistenceProfile] = named("pp", "System-Persistence-Client-IP")
	f.Shared[model.NetworkSecurityPolicy] = named("nsp", "Allow-Core")
	f.Shared[model.SecurityPolicy] = named("sp", "Anti-DoS")
	f.Shared[model.DataScriptSet] = named("ds", "Script-1", "Script-2")
	f.Shared[model.SSLProfile] = named("ssl", "System-Standard")
	f.Shared[model.Certificate] = named("cert", "Cert-EC", "Cert-RSA")
	f.Shared[model.PKIProfile] = named("pki", "Core-CA")
	f.Types = map[model.Kind]map[string]string{
		model.NetworkProfile: {
			"System-TCP-Proxy": "PROTOCOL_TYPE_TCP_PROXY", "System-TCP-Fast-Path": "PROTOCOL_TYPE_TCP_FAST_PATH",
			"System-UDP-Fast-Path": "PROTOCOL_TYPE_UDP_FAST_PATH",
			"System-SCTP-Proxy":    "PROTOCOL_TYPE_SCTP_PROXY", "Custom-TCP": "PROTOCOL_TYPE_TCP_PROXY",
			"Custom-Fast": "PROTOCOL_TYPE_TCP_FAST_PATH",
			"Custom-UDP":  "PROTOCOL_TYPE_UDP_PROXY", "Custom-SCTP": "PROTOCOL_TYPE_SCTP_PROXY",
		},
		model.ApplicationProfile: {
			"System-L4-Application": "APPLICATION_PROFILE_TYPE_L4", "Preserve-Client-IP": "APPLICATION_PROFILE_TYPE_L4",
			"System-HTTP":            "APPLICATION_PROFILE_TYPE_HTTP",
			"System-SSL-Application": "APPLICATION_PROFILE_TYPE_SSL", "Custom-SSL": "APPLICATION_PROFILE_TYPE_SSL",
		},
	}
}

func networks(s scene, shared map[string]string) (out []model.NetworkFacts) {
	for name := range s.Controller.Subnets {
		if shared[name] == "" {
			shared[name] = "net-" + name
		}
	}
	for name, uuid := range shared {
		n := model.NetworkFacts{Name: name, UUID: uuid, VRF: s.Controller.NetworkVRF[name]}
		for _, text := range s.Controller.Subnets[name] {
			n.Subnets = append(n.Subnets, netip.MustParsePrefix(text))
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b model.NetworkFacts) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func named(prefix string, names ...string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		out[n] = prefix + "-" + n
	}
	return out
}

// baseSettings are in force unless an input brings a ConfigMap, whose keys then come on top.
func baseSettings() map[string]string {
	return map[string]string{
		"clusterName": "demo", "controllerIP": "avi.example.com",
		"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
	}
}

// kinds are the Kubernetes objects that an input may hold.
var kinds = map[string]func() client.Object{
	"Service":         func() client.Object { return new(corev1.Service) },
	"Namespace":       func() client.Object { return new(corev1.Namespace) },
	"Node":            func() client.Object { return new(corev1.Node) },
	"Pod":             func() client.Object { return new(corev1.Pod) },
	"ConfigMap":       func() client.Object { return new(corev1.ConfigMap) },
	"EndpointSlice":   func() client.Object { return new(discoveryv1.EndpointSlice) },
	"Gateway":         func() client.Object { return new(svcapi.Gateway) },
	"GatewayClass":    func() client.Object { return new(svcapi.GatewayClass) },
	"AviInfraSetting": func() client.Object { return new(v1beta1.AviInfraSetting) },
	"L4Rule":          func() client.Object { return new(v1alpha2.L4Rule) },
	"HealthMonitor":   func() client.Object { return new(crdoperator.HealthMonitor) },
	"SCTPRoute":       func() client.Object { return new(v1alpha1.SCTPRoute) },
	"TCPRoute":        func() client.Object { return new(gatewayv1.TCPRoute) },
	"UDPRoute":        func() client.Object { return new(gatewayv1.UDPRoute) },
	"ListenerSet":     func() client.Object { return new(gatewayv1.ListenerSet) },
	"ReferenceGrant":  func() client.Object { return new(gatewayv1beta1.ReferenceGrant) },
	// The names that two APIs have.
	"gateway.networking.k8s.io/v1 Gateway":      func() client.Object { return new(gatewayv1.Gateway) },
	"gateway.networking.k8s.io/v1 GatewayClass": func() client.Object { return new(gatewayv1.GatewayClass) },
}

// empty is an object of a document's type, nil for one that is of no interest.
func empty(meta metav1.TypeMeta) client.Object {
	for _, name := range []string{meta.APIVersion + " " + meta.Kind, meta.Kind} {
		if fresh, ok := kinds[name]; ok {
			return fresh()
		}
	}
	return nil
}

// world is what an input file holds.
type world struct {
	scene
	config  map[string]string
	objects []client.Object
}

func read(t *testing.T, path string) *world {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{config: baseSettings()}
	for doc := range strings.SplitSeq("\n"+string(raw), "\n---") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if meta.Kind == "Scene" {
			if err := yaml.UnmarshalStrict([]byte(strings.Replace(doc, "kind: Scene", "", 1)), &w.scene); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			continue
		}
		o := empty(meta)
		if o == nil {
			continue // Deployments and the like of a user's file
		}
		if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		w.add(o)
	}
	w.complete()
	return w
}

// clusterScoped are the kinds without a namespace.
var clusterScoped = []string{"Namespace", "Node", "GatewayClass", "AviInfraSetting"}

func (w *world) add(o client.Object) {
	if c, ok := o.(*corev1.ConfigMap); ok {
		maps.Copy(w.config, c.Data)
		return
	}
	if o.GetNamespace() == "" && !slices.Contains(clusterScoped, o.GetObjectKind().GroupVersionKind().Kind) {
		o.SetNamespace("default")
	}
	w.objects = append(w.objects, o)
}

// complete adds what inputs leave out for brevity: the Namespaces, and in EndpointSlices the first Service.
func (w *world) complete() {
	services := of[*corev1.Service](w)
	for _, s := range of[*discoveryv1.EndpointSlice](w) {
		if s.Labels[discoveryv1.LabelServiceName] == "" {
			metav1.SetMetaDataLabel(&s.ObjectMeta, discoveryv1.LabelServiceName, services[0].Name)
		}
		if len(services) == 1 {
			s.Namespace = services[0].Namespace
		}
	}
	known := map[string]bool{"": true}
	for _, ns := range of[*corev1.Namespace](w) {
		known[ns.Name] = true
	}
	names := map[types.NamespacedName]int{}
	for _, o := range w.objects {
		if ns := o.GetNamespace(); !known[ns] {
			known[ns] = true
			w.objects = append(w.objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		}
		if s, ok := o.(*discoveryv1.EndpointSlice); ok { // they need names that differ, and inputs don't care
			key := client.ObjectKeyFromObject(s)
			if names[key]++; names[key] > 1 || s.Name == "" {
				s.Name = fmt.Sprintf("%s-%d", cmp.Or(s.Name, "slice"), names[key])
			}
		}
	}
}

// of are the objects of a type.
func of[T client.Object](w *world) (out []T) {
	for _, o := range w.objects {
		if o, ok := o.(T); ok {
			out = append(out, o)
		}
	}
	return out
}

var (
	scheme = runtime.NewScheme()
	mapper meta.RESTMapper
)

func TestMain(m *testing.M) {
	if err := controllers.AddToScheme(scheme); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	mapper = testrestmapper.TestOnlyStaticRESTMapper(scheme)
	os.Exit(m.Run())
}

// cached is a client that holds an input's objects as the operator's cache would: without what the cache drops.
func cached(t *testing.T, w *world) client.Client {
	t.Helper()
	options := controllers.CacheOptions("avi-l4-system")
	b := &indexed{fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper)}
	if err := gather.SetupIndexes(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, o := range w.objects {
		transform := options.DefaultTransform
		for as, by := range options.ByObject {
			if reflect.TypeOf(as) == reflect.TypeOf(o) && by.Transform != nil {
				transform = by.Transform
			}
		}
		slim, err := transform(o)
		if err != nil {
			t.Fatal(err)
		}
		b.WithObjects(slim.(client.Object))
	}
	return b.Build()
}

// indexed registers indexes with a fake client.
type indexed struct{ *fake.ClientBuilder }

func (b *indexed) IndexField(_ context.Context, o client.Object, field string, of client.IndexerFunc) error {
	b.WithIndex(o, field, of)
	return nil
}

// reader reads an input as the operator would read the cluster's cache.
func reader(t *testing.T, w *world) *gather.Reader {
	t.Helper()
	lacks := func(api gather.API) bool {
		return slices.ContainsFunc(w.Unread, func(kind string) bool { return gather.KindAPIs[kind] == api || string(api) == kind })
	}
	r := &gather.Reader{
		Client: cached(t, w), IgnoreRouteNamespaces: w.IgnoreRouteNamespaces, TakeUnnamed: w.TakeUnnamed,
		ControllerNames: []string{gatewayapi.Controller},
		Serves:          func(api gather.API) bool { return !lacks(api) }, Synced: func(api gather.API) bool { return !lacks(api) },
	}
	return r
}

func using(types.NamespacedName, []types.NamespacedName) {}

// doubt judges absences as the input says.
func (w *world) doubt(_ context.Context, _ types.NamespacedName, kind string, _ int) (gather.Doubt, error) {
	return gather.Doubt{Young: slices.Contains(w.Young, kind)}, nil
}

// gathered is the input of an object of a kind.
func gathered[T client.Object](t *testing.T, r *gather.Reader, k gather.Kind[T], cfg *settings.Settings, o T) translate.Input {
	t.Helper()
	gather.Add(r, k)
	c, err := gather.Read(t.Context(), k, client.ObjectKeyFromObject(o))
	if err != nil || c == nil {
		t.Fatalf("reading %s: %v", client.ObjectKeyFromObject(o), err)
	}
	in, err := gather.Input(t.Context(), r, k, cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// load gathers the input of a file's owner: a Gateway, or else the first Service or the shared VIP that it is in.
func load(t *testing.T, path string) translate.Input {
	t.Helper()
	return loadAfter(t, path, nil)
}

// loadAfter is load where the Controller holds what was made for an input of an earlier time.
func loadAfter(t *testing.T, path string, observed []*model.Observed) (in translate.Input) {
	t.Helper()
	w := read(t, path)
	cfg, _, err := settings.Parse(w.config, map[string][]byte{"username": []byte("u"), "password": []byte("p")}, "avi-l4-system")
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	r := reader(t, w)
	if gw := of[*gatewayv1.Gateway](w); len(gw) > 0 {
		in = gathered(t, r, gather.Gateways{Reader: r, Using: using, Doubt: w.doubt}, cfg, gw[0])
	} else if gw := of[*svcapi.Gateway](w); len(gw) > 0 {
		in = gathered(t, r, gather.SvcAPIGateways{Reader: r, Open: func(types.NamespacedName, bool) {}, Using: using}, cfg, gw[0])
	} else {
		first := of[*corev1.Service](w)[0]
		k := gather.Services{Reader: r, Place: placed(observed)}
		if group := k.Place(first).Group; group != "" {
			key := types.NamespacedName{Namespace: first.Namespace, Name: group}
			in = gathered(t, r, gather.SharedVIPs{Services: k, Using: using, Serving: serving(observed)}, cfg, gather.NewGroup(key))
		} else {
			in = gathered(t, r, k, cfg, first)
		}
	}
	in.Facts, in.Refused = facts(w.scene), map[string]model.Finding{}
	w.disturb(&in)
	return in
}

// placed places Services by what the Controller holds.
func placed(observed []*model.Observed) func(*corev1.Service) translate.Place {
	return func(svc *corev1.Service) translate.Place {
		alone, groups := false, []string(nil)
		for _, o := range observed {
			pool, ok := o.Body.(*models.Pool)
			if !ok || o.Owner.Namespace != svc.Namespace || model.Mark(pool.Markers, model.MarkServiceName) != svc.Name {
				continue
			}
			alone = alone || o.Owner.Kind == model.ServiceOwner
			if o.Owner.Kind == model.SharedVIPOwner {
				groups = []string{o.Owner.Name}
			}
		}
		return translate.PlaceOf(svc, alone, groups)
	}
}

// serving are the Services that the Controller serves in a shared VIP.
func serving(observed []*model.Observed) func(types.NamespacedName) []string {
	return func(group types.NamespacedName) (out []string) {
		for _, o := range observed {
			if pool, ok := o.Body.(*models.Pool); ok &&
				o.Owner == (model.Owner{Kind: model.SharedVIPOwner, Namespace: group.Namespace, Name: group.Name}) {
				out = append(out, model.Mark(pool.Markers, model.MarkServiceName))
			}
		}
		return out
	}
}

// disturb is what an input says that can't be told by objects.
func (w *world) disturb(in *translate.Input) {
	if w.SlicesUnread {
		for i := range in.Backends {
			in.Backends[i].SlicesRead = false
		}
	}
	if w.NodesUnread {
		in.NodesRead = false
	}
	if ns, name, ok := strings.Cut(w.Rival, "/"); ok {
		in.Rival = &model.Owner{Kind: model.ServiceOwner, Namespace: ns, Name: name}
	}
	for _, r := range w.Refused {
		protocol, number, _ := strings.Cut(r, "/")
		port := model.Port{Protocol: protocol}
		fmt.Sscan(number, &port.Number)
		for name, p := range translate.PoolPorts(in) {
			if p != port {
				continue
			}
			in.Refused[name] = model.Finding{Severity: model.Blocked, Port: port, Reason: model.ReasonPortRefused, Message: "port " + port.String() + ": the Controller refused its pool: too bad"}
		}
	}
}
