// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	akov1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	akov1alpha2 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	akov1beta1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	networkingv1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
)

// TestCRDs has a real API server read our CRDs and those that operators meet in clusters which come from AKO or upstream,
// and puts what users write, and what the operator writes, through each.
func TestCRDs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	a := startAPIServer(ctx, t)
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{akov1alpha1.AddToScheme, akov1alpha2.AddToScheme, akov1beta1.AddToScheme,
		networkingv1alpha1.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(a.config, client.Options{Scheme: types})
	if err != nil {
		t.Fatal(err)
	}
	c = client.WithFieldValidation(c, metav1.FieldValidationStrict)
	if _, err := a.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "svcapi"}},
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	a.define(ctx, t, crd(t, aviInfraSettings))
	t.Run("AviInfraSetting rules", func(t *testing.T) { testRules(ctx, t, a) })
	t.Run("AviInfraSetting versions", func(t *testing.T) { testVersions(ctx, t, c) })
	a.define(ctx, t, crd(t, l4Rules))
	t.Run("L4Rule", func(t *testing.T) { testL4Rule(ctx, t, a, c) })
	for _, variant := range servicesAPIs {
		t.Run("Services API of "+variant.name, func(t *testing.T) {
			class, gateway := crd(t, gatewayClasses), crd(t, gateways)
			variant.change(t, class, gateway)
			a.define(ctx, t, class)
			a.define(ctx, t, gateway)
			testServicesAPI(ctx, t, a, c, variant)
		})
	}
	// Last, because it ends with another CRD of that name.
	t.Run("AviInfraSetting of AKO", func(t *testing.T) { testAKOSetting(ctx, t, a, c) })
}

// The generated files.
const (
	aviInfraSettings = "config/crd/bases/ako.vmware.com_aviinfrasettings.yaml"
	l4Rules          = "config/crd/bases/ako.vmware.com_l4rules.yaml"
	gatewayClasses   = "config/components/services-api/networking.x-k8s.io_gatewayclasses.yaml"
	gateways         = "config/components/services-api/networking.x-k8s.io_gateways.yaml"
)

// testL4Rule has the API server look at L4Rules, good and bad, and keep what they say.
func testL4Rule(ctx context.Context, t *testing.T, a *applier, c client.Client) {
	for _, test := range []struct{ spec, refused string }{
		{"{}", ""},
		{"{backendProperties: [{port: 38412, protocol: SCTP, healthMonitorRefs: [a]}, {port: 53, protocol: UDP}]}", ""},
		{"{backendProperties: [{port: 38412}]}", "protocol: Required"},
		{"{backendProperties: [{port: 0, protocol: TCP}]}", "greater than or equal to 1"},
		{"{backendProperties: [{port: 80, protocol: TCP, sslProfileRef: a, pkiProfileRef: b}]}", ""},
		{"{backendProperties: [{port: 80, protocol: SCTP, sslProfileRef: a}]}", "TLS to the servers needs protocol TCP"},
		{"{backendProperties: [{port: 80, protocol: TCP, lbAlgorithm: FAST}]}", "supported values"},
		{"{listenerProperties: [{port: 80, protocol: TCP, enableSsl: true}]}", ""},
		{"{listenerProperties: [{port: 80, protocol: SCTP}]}", `supported values: "TCP"`},
		{"{analyticsPolicy: {fullClientLogs: {duration: 3}}}", "enabled: Required"},
		{"{performanceLimits: {maxThroughput: 65536}}", "less than or equal to 65535"},
		{"{tenant: a}", "field not declared in schema"},
	} {
		object := decode(t, fmt.Appendf(nil, "{apiVersion: ako.vmware.com/v1alpha2, kind: L4Rule, metadata: {name: rules, namespace: default}, spec: %s}", test.spec))[0]
		_, err := a.try(ctx, object, metav1.DryRunAll)
		switch {
		case test.refused == "" && err != nil:
			t.Errorf("%s: %v", test.spec, err)
		case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%s: got %v, want a refusal that says %q", test.spec, err, test.refused)
		}
	}
	rule := &akov1alpha2.L4Rule{ObjectMeta: metav1.ObjectMeta{Name: "kept", Namespace: "default"}, Spec: akov1alpha2.L4RuleSpec{
		AnalyticsPolicy:  &akov1alpha2.AnalyticsPolicy{FullClientLogs: &akov1alpha2.FullClientLogs{Enabled: true, Duration: new(int32(0))}},
		VsDatascriptRefs: []string{"b", "a"}, RevokeVipRoute: new(false),
		BackendProperties: []akov1alpha2.BackendProperties{{Port: 38412, Protocol: "SCTP", Enabled: new(false), HealthMonitorRefs: []string{"m"}, MinServersUp: new(int32(0))}},
	}}
	want := rule.Spec.DeepCopy()
	create(ctx, t, c, rule)
	patchStatus(ctx, t, c, rule, func() {
		rule.Status = akov1alpha2.L4RuleStatus{Status: akov1alpha2.StatusRejected, Error: "in words",
			Conditions: []metav1.Condition{condition(akov1alpha2.ConditionAccepted, metav1.ConditionFalse, "Rejected")}}
	})
	var read akov1alpha2.L4Rule
	get(ctx, t, c, rule, &read)
	diff(t, "spec", read.Spec, *want) // nothing is filled in
	diff(t, "status", read.Status, rule.Status)
}

// testRules has the API server look at specs, good and bad, in both versions.
func testRules(ctx context.Context, t *testing.T, a *applier) {
	const (
		vip       = "a VIP network is given by exactly one of networkName and networkUUID: set one and remove the other"
		node      = "a node network is given by exactly one of networkName and networkUUID: set one and remove the other"
		labels    = "bgpPeerLabels choose the peers of route health injection, which is off: set enableRhi to true or remove bgpPeerLabels"
		listeners = "none of the listeners has TLS: set enableSSL to true on at least one of them or remove listeners"
	)
	tests := []struct{ spec, refused string }{
		{"{}", ""},
		{"{network: {}}", ""},
		{"{network: {vipNetworks: [{networkName: a}, {networkUUID: network-1}]}}", ""},
		{"{network: {vipNetworks: [{networkName: a, networkUUID: network-1}]}}", vip},
		{"{network: {vipNetworks: [{networkName: a}, {cidr: 10.0.0.0/8}]}}", vip},
		{"{network: {nodeNetworks: [{networkName: a}, {networkUUID: network-1}]}}", ""},
		{"{network: {nodeNetworks: [{networkName: a, networkUUID: network-1}]}}", node},
		{"{network: {nodeNetworks: [{cidrs: [10.0.0.0/8]}]}}", node},
		{"{network: {enableRhi: true, bgpPeerLabels: [a]}}", ""},
		{"{network: {enableRhi: false, bgpPeerLabels: [a]}}", labels},
		{"{network: {bgpPeerLabels: [a]}}", labels},
		{"{network: {bgpPeerLabels: []}}", ""},
		{"{network: {enableRhi: false}}", ""},
		{"{network: {listeners: []}}", ""},
		{"{network: {listeners: [{port: 80}, {port: 443, enableSSL: true, enableHTTP2: true}]}}", ""},
		{"{network: {listeners: [{port: 80}, {port: 443, enableSSL: false}]}}", listeners},
		{"{network: {listeners: [{port: 0, enableSSL: true}]}}", "greater than or equal to 1"},
		{"{network: {listeners: [{port: 65536, enableSSL: true}]}}", "less than or equal to 65535"},
		{"{network: {listeners: [{enableSSL: true}]}}", "port: Required"},
		{"{network: {vipNetworks: [{networkName: a, cidr: 10.1.0.0/16, v6cidr: '2001:db8::/64'}]}}", ""},
		{"{network: {vipNetworks: [{networkName: a, cidr: '', v6cidr: '::ffff:10.1.0.0/112'}]}}", ""},
		{"{network: {vipNetworks: [{networkName: a, cidr: 10.1.0.0}]}}", "cidr in body should match"},
		{"{network: {vipNetworks: [{networkName: a, cidr: '2001:db8::/64'}]}}", "cidr in body should match"},
		{"{network: {vipNetworks: [{networkName: a, v6cidr: 10.1.0.0/16}]}}", "v6cidr in body should match"},
		{"{network: {nodeNetworks: [{networkName: a, cidrs: [10.1.0.0/16, '2001:db8::/64']}]}}", ""},
		{"{network: {nodeNetworks: [{networkName: a, cidrs: [10.1.0.0/16, 10.2.0.0]}]}}", "cidrs[1] in body should match"},
		{"{seGroup: {name: a}, l7Settings: {shardSize: DEDICATED}, nsxSettings: {t1lr: /infra/tier-1s/a}}", ""},
		{"{seGroup: {}}", "seGroup.name: Required"},
		{"{l7Settings: {}}", "l7Settings.shardSize: Required"},
		{"{l7Settings: {shardSize: TINY}}", `supported values: "SMALL", "MEDIUM", "LARGE", "DEDICATED"`},
		{"{nsxSettings: {}}", "nsxSettings.t1lr: Required"},
		{"{tenant: a}", "field not declared in schema"},
	}
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		for _, test := range tests {
			t.Run(version+" "+test.spec, func(t *testing.T) {
				object := decode(t, fmt.Appendf(nil, "{apiVersion: ako.vmware.com/%s, kind: AviInfraSetting, metadata: {name: rules}, spec: %s}",
					version, test.spec))[0]
				_, err := a.try(ctx, object, metav1.DryRunAll)
				switch {
				case test.refused == "" && err != nil:
					t.Error(err)
				case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
					t.Errorf("got %v, want a refusal that says %q", err, test.refused)
				}
			})
		}
	}
	t.Run("no spec", func(t *testing.T) {
		for _, object := range decode(t, []byte("{apiVersion: ako.vmware.com/v1beta1, kind: AviInfraSetting, metadata: {name: rules}}")) {
			if _, err := a.try(ctx, object, metav1.DryRunAll); err != nil {
				t.Error(err)
			}
		}
	})
}

// everything is a spec with each field set.
func everything() akov1beta1.AviInfraSettingSpec {
	yes, no := true, false
	return akov1beta1.AviInfraSettingSpec{
		Network: &akov1beta1.AviInfraSettingNetwork{
			VipNetworks: []akov1beta1.VipNetwork{
				{NetworkName: "vip", CIDR: "10.1.0.0/16", V6CIDR: "2001:db8::/64"},
				{NetworkUUID: "network-1"},
			},
			NodeNetworks: []akov1beta1.NodeNetwork{
				{NetworkName: "node", CIDRs: []string{"10.2.0.0/16", "2001:db8:1::/64"}},
				{NetworkUUID: "network-2"},
			},
			EnableRHI:      &yes,
			EnablePublicIP: &no,
			BGPPeerLabels:  []string{"core"},
			Listeners:      []akov1beta1.Listener{{Port: 443, EnableSSL: &yes, EnableHTTP2: &no}},
		},
		SEGroup:     &akov1beta1.AviInfraSettingSEGroup{Name: "group"},
		L7Settings:  &akov1beta1.AviInfraSettingL7Settings{ShardSize: akov1beta1.ShardSizeSmall},
		NSXSettings: &akov1beta1.AviInfraSettingNSXSettings{T1LR: "/infra/tier-1s/gateway"},
	}
}

// accepted is a status as the operator writes it. Its time has whole seconds, as JSON has.
func accepted() akov1beta1.AviInfraSettingStatus {
	return akov1beta1.AviInfraSettingStatus{
		Status:     akov1beta1.StatusAccepted,
		Conditions: []metav1.Condition{condition(akov1beta1.ConditionAccepted, metav1.ConditionTrue, "Accepted")},
	}
}

func condition(name string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{
		Type: name, Status: status, Reason: reason, Message: "in words", ObservedGeneration: 1,
		LastTransitionTime: metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local()),
	}
}

// testVersions writes in one version and reads in the other.
func testVersions(ctx context.Context, t *testing.T, c client.Client) {
	older := &akov1alpha1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "older"}, Spec: everything(), Status: accepted()}
	create(ctx, t, c, older)
	var newer akov1beta1.AviInfraSetting
	get(ctx, t, c, older, &newer)
	diff(t, "spec, written in v1alpha1", newer.Spec, everything())
	diff(t, "status, which v1alpha1 has no subresource for", newer.Status, accepted())
	base := older.DeepCopy()
	older.Status.Status = akov1beta1.StatusRejected
	if err := c.Status().Patch(ctx, older, client.MergeFrom(base)); !apierrors.IsNotFound(err) {
		t.Errorf("v1alpha1 has a status subresource: %v", err)
	}

	created := &akov1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "newer"}, Spec: everything(), Status: accepted()}
	create(ctx, t, c, created)
	diff(t, "status, which v1beta1 writes through its subresource only", created.Status, akov1beta1.AviInfraSettingStatus{})
	patchStatus(ctx, t, c, created, func() { created.Status = accepted() })
	var read akov1alpha1.AviInfraSetting
	get(ctx, t, c, created, &read)
	diff(t, "spec, written in v1beta1", read.Spec, everything())
	diff(t, "status, written in v1beta1", read.Status, accepted())
	var list akov1alpha1.AviInfraSettingList
	if err := c.List(ctx, &list); err != nil || len(list.Items) != 2 {
		t.Errorf("list in v1alpha1: %d objects, %v", len(list.Items), err)
	}
}

// testAKOSetting writes a status where AKO installed the CRD, and goes on when ours replaces it.
func testAKOSetting(ctx context.Context, t *testing.T, a *applier, c client.Client) {
	theirs := crd(t, aviInfraSettings)
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		remove(t, property(t, theirs, version, "status"), "properties", "conditions")
		for _, path := range []string{"spec.network", "spec.network.vipNetworks", "spec.network.nodeNetworks"} {
			remove(t, property(t, theirs, version, path), "x-kubernetes-validations")
		}
		for _, path := range []string{"spec.network.vipNetworks.cidr", "spec.network.vipNetworks.v6cidr", "spec.network.nodeNetworks.cidrs"} {
			remove(t, property(t, theirs, version, path), "pattern")
		}
	}
	a.define(ctx, t, theirs)

	// The last of these is one that AKO's CRD takes and AKO's code rejects.
	object := &akov1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Spec: everything()}
	object.Spec.Network.EnableRHI = nil
	object.Spec.Network.VipNetworks[0].CIDR = "10.1.0.0"
	create(ctx, t, c, object)

	// As the operator does it: the server only warns about what its CRD does not have.
	plain := client.WithFieldValidation(c, metav1.FieldValidationWarn)
	patchStatus(ctx, t, plain, object, func() { object.Status = accepted() })
	a.warnings.take()
	var read akov1beta1.AviInfraSetting
	get(ctx, t, c, object, &read)
	diff(t, "status", read.Status, akov1beta1.AviInfraSettingStatus{Status: akov1beta1.StatusAccepted})

	// Ours replaces it. What is stored and against its rules stays, and its status can be written.
	a.apply(ctx, t, crd(t, aviInfraSettings))
	rejected := akov1beta1.AviInfraSettingStatus{
		Status: akov1beta1.StatusRejected, Error: "in words",
		Conditions: []metav1.Condition{condition(akov1beta1.ConditionAccepted, metav1.ConditionFalse, "Invalid")},
	}
	eventually(ctx, t, "the CRD's rules", func() error {
		patchStatus(ctx, t, plain, object, func() { object.Status = rejected })
		get(ctx, t, c, object, &read)
		if text := cmp.Diff(rejected, read.Status); text != "" {
			return fmt.Errorf("status: -want +got\n%s", text)
		}
		return nil
	})
	a.warnings.take()
	diff(t, "spec", read.Spec, object.Spec)
	other := object.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Name: "other"}
	if err := c.Create(ctx, other); !apierrors.IsInvalid(err) {
		t.Errorf("a new object against the rules: %v", err)
	}
}

// servicesAPI is a CRD pair of the old Services API that clusters have, as changes to ours.
type servicesAPI struct {
	name   string
	change func(t *testing.T, class, gateway *unstructured.Unstructured)
	// scoped says that parametersRef has scope and namespace.
	scoped bool
	// sameByDefault says that a namespaces without from is given one.
	sameByDefault bool
	// fresh is the condition that a new class has.
	fresh metav1.Condition
}

var servicesAPIs = []servicesAPI{
	{
		name:   "this repository",
		change: func(*testing.T, *unstructured.Unstructured, *unstructured.Unstructured) {},
		scoped: true, sameByDefault: true,
		fresh: metav1.Condition{Type: "Admitted", Status: "False", Reason: "Waiting"},
	},
	{
		// v0.2.0 to v0.4.3.
		name:   "v0.3.0",
		change: asV030,
		scoped: true, sameByDefault: true,
		fresh: metav1.Condition{Type: "Admitted", Status: "False", Reason: "Waiting"},
	},
	{
		name:   "AKO",
		change: asAKO,
		fresh:  metav1.Condition{Type: "Admitted", Status: "False", Reason: "Waiting"},
	},
	{
		name:   "v0.1.0",
		change: asV010,
		fresh:  metav1.Condition{Type: "InvalidParameters", Status: "Unknown", Reason: "Waiting"},
	},
}

func asV030(t *testing.T, class, gateway *unstructured.Unstructured) {
	for _, definition := range []*unstructured.Unstructured{class, gateway} {
		remove(t, version(t, definition, "v1alpha1"), "additionalPrinterColumns")
	}
}

func asAKO(t *testing.T, class, gateway *unstructured.Unstructured) {
	asV030(t, class, gateway)
	remove(t, property(t, class, "v1alpha1", "spec.parametersRef"), "properties", "scope")
	remove(t, property(t, class, "v1alpha1", "spec.parametersRef"), "properties", "namespace")
	remove(t, property(t, gateway, "v1alpha1", "spec.listeners.routes.namespaces.from"), "default")
	property(t, gateway, "v1alpha1", "spec.listeners.tls.routeOverride")["required"] = []any{"certificate"}
	// Before gateway-api v0.2 no list but those of the conditions and of the listeners' status had a type.
	for _, path := range []string{"spec", "status"} {
		remove(t, property(t, gateway, "v1alpha1", path), "properties", "addresses", "x-kubernetes-list-type")
	}
	remove(t, property(t, gateway, "v1alpha1", "spec"), "properties", "listeners", "x-kubernetes-list-type")
}

func asV010(t *testing.T, class, gateway *unstructured.Unstructured) {
	asAKO(t, class, gateway)
	remove(t, property(t, gateway, "v1alpha1", "spec.listeners.tls.mode"), "default")
	property(t, class, "v1alpha1", "status")["default"] = map[string]any{"conditions": []any{map[string]any{
		"type": "InvalidParameters", "status": "Unknown", "reason": "Waiting", "message": "Waiting for controller",
		"lastTransitionTime": "1970-01-01T00:00:00Z",
	}}}
}

// testServicesAPI reads what the user wrote and writes the statuses that the operator writes.
func testServicesAPI(ctx context.Context, t *testing.T, a *applier, c client.Client, variant servicesAPI) {
	for _, object := range decode(t, read(t, "test", "manifests", "testdata", "gateway-sctp.yaml")) {
		a.apply(ctx, t, object)
	}

	class := &networkingv1alpha1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "avi-lb"}}
	get(ctx, t, c, class, class)
	parameters := &networkingv1alpha1.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: "my-infrasetting"}
	if variant.scoped {
		parameters.Scope = new(networkingv1alpha1.ParametersScopeCluster)
	}
	diff(t, "class", class.Spec, networkingv1alpha1.GatewayClassSpec{Controller: "ako.vmware.com/avi-lb", ParametersRef: parameters})
	if got := class.Status.Conditions; len(got) != 1 || got[0].Type != variant.fresh.Type || got[0].Status != variant.fresh.Status ||
		got[0].Reason != variant.fresh.Reason {
		t.Errorf("a new class has the conditions %+v, want %+v", got, variant.fresh)
	}
	admitted := []metav1.Condition{
		condition(networkingv1alpha1.GatewayClassConditionAdmitted, metav1.ConditionTrue, networkingv1alpha1.GatewayClassReasonAdmitted)}
	patchStatus(ctx, t, c, class, func() { class.Status.Conditions = admitted })
	get(ctx, t, c, class, class)
	diff(t, "class status", class.Status.Conditions, admitted)

	gateway := &networkingv1alpha1.Gateway{ObjectMeta: metav1.ObjectMeta{Name: "my-gateway", Namespace: "svcapi"}}
	get(ctx, t, c, gateway, gateway)
	same := networkingv1alpha1.RouteSelectSame
	diff(t, "gateway", gateway.Spec, networkingv1alpha1.GatewaySpec{
		GatewayClassName: "avi-lb",
		Listeners: []networkingv1alpha1.Listener{{
			Port: 6060, Protocol: networkingv1alpha1.ProtocolSCTP,
			Routes: networkingv1alpha1.RouteBindingSelector{
				Namespaces: &networkingv1alpha1.RouteNamespaces{From: &same},
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{
					"ako.vmware.com/gateway-name": "my-gateway", "ako.vmware.com/gateway-namespace": "svcapi",
				}},
				Group: "v1", Kind: "services",
			},
		}},
	})
	if got := gateway.Status.Conditions; len(got) != 1 || got[0].Type != networkingv1alpha1.GatewayConditionScheduled ||
		got[0].Status != metav1.ConditionFalse || got[0].Reason != networkingv1alpha1.GatewayReasonNotReconciled {
		t.Errorf("a new Gateway has the conditions %+v", got)
	}
	testGatewayStatus(ctx, t, c, gateway)
	testGatewaySpec(ctx, t, c, variant)

	scoped := &networkingv1alpha1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "scoped"}, Spec: class.Spec}
	scoped.Spec.ParametersRef = &networkingv1alpha1.ParametersReference{
		Group: "example.org", Kind: "Parameters", Name: "a",
		Scope: new(networkingv1alpha1.ParametersScopeNamespace), Namespace: new("b"),
	}
	if err := c.Create(ctx, scoped.DeepCopy()); (err == nil) != variant.scoped {
		t.Errorf("class with scope and namespace: %v", err)
	}
	if variant.scoped {
		var read networkingv1alpha1.GatewayClass
		get(ctx, t, c, scoped, &read)
		diff(t, "class with scope and namespace", read.Spec, scoped.Spec)
	}
}

func testGatewayStatus(ctx context.Context, t *testing.T, c client.Client, gateway *networkingv1alpha1.Gateway) {
	ip := networkingv1alpha1.AddressIP
	ready := networkingv1alpha1.GatewayStatus{
		Addresses: []networkingv1alpha1.GatewayAddress{{Type: &ip, Value: "10.1.0.1"}, {Type: &ip, Value: "2001:db8::1"}},
		Conditions: []metav1.Condition{
			condition(networkingv1alpha1.GatewayConditionScheduled, metav1.ConditionTrue, networkingv1alpha1.GatewayReasonScheduled),
			condition(networkingv1alpha1.GatewayConditionReady, metav1.ConditionTrue, networkingv1alpha1.GatewayReasonReady),
		},
		Listeners: []networkingv1alpha1.ListenerStatus{
			{
				Port: 6060, Protocol: networkingv1alpha1.ProtocolSCTP,
				Conditions: []metav1.Condition{
					condition(networkingv1alpha1.ListenerConditionConflicted, metav1.ConditionFalse, networkingv1alpha1.ListenerReasonNoConflicts),
					condition(networkingv1alpha1.ListenerConditionDetached, metav1.ConditionFalse, networkingv1alpha1.ListenerReasonAttached),
					condition(networkingv1alpha1.ListenerConditionResolvedRefs, metav1.ConditionTrue, networkingv1alpha1.ListenerReasonResolvedRefs),
					condition(networkingv1alpha1.ListenerConditionReady, metav1.ConditionTrue, networkingv1alpha1.ListenerReasonReady),
				},
			},
			{
				Port: 6061, Protocol: networkingv1alpha1.ProtocolTCP, Hostname: new("a.example.org"),
				Conditions: []metav1.Condition{
					condition(networkingv1alpha1.ListenerConditionReady, metav1.ConditionFalse, networkingv1alpha1.ListenerReasonPending),
				},
			},
		},
	}
	patchStatus(ctx, t, c, gateway, func() { gateway.Status = *ready.DeepCopy() })
	get(ctx, t, c, gateway, gateway)
	diff(t, "gateway status", gateway.Status, ready)

	// What the schema refuses, so that the operator must not write it.
	refused := []struct {
		name, says string
		change     func(*networkingv1alpha1.GatewayStatus)
	}{
		{"two entries for a port", "Duplicate value", func(s *networkingv1alpha1.GatewayStatus) {
			s.Listeners[1].Port = s.Listeners[0].Port
		}},
		{"two conditions of a type", "Duplicate value", func(s *networkingv1alpha1.GatewayStatus) {
			s.Conditions[1].Type = s.Conditions[0].Type
		}},
		{"a reason in words", "reason", func(s *networkingv1alpha1.GatewayStatus) {
			s.Conditions[0].Reason = "virtualservice deleted/notfound"
		}},
		{"no reason", "reason", func(s *networkingv1alpha1.GatewayStatus) {
			s.Listeners[0].Conditions[0].Reason = ""
		}},
		{"an empty address", "value", func(s *networkingv1alpha1.GatewayStatus) {
			s.Addresses[0].Value = ""
		}},
		{"nine conditions", "8", func(s *networkingv1alpha1.GatewayStatus) {
			for i := range 7 {
				s.Conditions = append(s.Conditions, condition("Other"+strconv.Itoa(i), metav1.ConditionTrue, "Other"))
			}
		}},
	}
	for _, test := range refused {
		changed := gateway.DeepCopy()
		test.change(&changed.Status)
		err := c.Status().Patch(ctx, changed, client.MergeFrom(gateway))
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("status with %s: %v", test.name, err)
		}
	}

	// Nothing served: the addresses and the entries go, the conditions stay.
	unready := networkingv1alpha1.GatewayStatus{Conditions: []metav1.Condition{
		condition(networkingv1alpha1.GatewayConditionReady, metav1.ConditionFalse, networkingv1alpha1.GatewayReasonListenersNotValid),
	}}
	patchStatus(ctx, t, c, gateway, func() { gateway.Status = *unready.DeepCopy() })
	get(ctx, t, c, gateway, gateway)
	diff(t, "gateway status of nothing", gateway.Status, unready)
}

// testGatewaySpec writes each field of a Gateway and reads it.
func testGatewaySpec(ctx context.Context, t *testing.T, c client.Client, variant servicesAPI) {
	var (
		named       = networkingv1alpha1.AddressNamed
		passthrough = networkingv1alpha1.TLSModePassthrough
		allow       = networkingv1alpha1.TLSRouteOverrideAllow
		from        = networkingv1alpha1.RouteSelectSelector
		selector    = metav1.LabelSelector{
			MatchLabels:      map[string]string{"a": "b"},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "c", Operator: metav1.LabelSelectorOpIn, Values: []string{"d"}}},
		}
	)
	gateway := &networkingv1alpha1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: "everything", Namespace: "svcapi"},
		Spec: networkingv1alpha1.GatewaySpec{
			GatewayClassName: "avi-lb",
			Addresses:        []networkingv1alpha1.GatewayAddress{{Type: &named, Value: "a"}, {Value: "10.1.0.1"}},
			Listeners: []networkingv1alpha1.Listener{
				{
					Hostname: new("a.example.org"), Port: 443, Protocol: networkingv1alpha1.ProtocolTLS,
					TLS: &networkingv1alpha1.GatewayTLSConfig{
						Mode:           &passthrough,
						CertificateRef: &networkingv1alpha1.LocalObjectReference{Group: "core", Kind: "Secret", Name: "a"},
						RouteOverride:  &networkingv1alpha1.TLSOverridePolicy{Certificate: &allow},
						Options:        map[string]string{"a": "b"},
					},
					Routes: networkingv1alpha1.RouteBindingSelector{
						Namespaces: &networkingv1alpha1.RouteNamespaces{From: &from, Selector: &selector},
						Selector:   &selector,
						Group:      "core",
						Kind:       "Service",
					},
				},
				{
					Port: 443, Protocol: networkingv1alpha1.ProtocolSCTP,
					Routes: networkingv1alpha1.RouteBindingSelector{Namespaces: &networkingv1alpha1.RouteNamespaces{}, Kind: "Service"},
				},
			},
		},
	}
	want := gateway.Spec.DeepCopy()
	ip, same := networkingv1alpha1.AddressIP, networkingv1alpha1.RouteSelectSame
	want.Addresses[1].Type = &ip
	want.Listeners[1].Routes.Group = networkingv1alpha1.DefaultRouteGroup
	if variant.sameByDefault {
		want.Listeners[1].Routes.Namespaces.From = &same
	}
	create(ctx, t, c, gateway)
	var read networkingv1alpha1.Gateway
	get(ctx, t, c, gateway, &read)
	diff(t, "gateway with all fields", read.Spec, *want)
}

func create(ctx context.Context, t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Create(ctx, object); err != nil {
		t.Fatal(err)
	}
}

// get reads the object of that name into another, or into itself.
func get(ctx context.Context, t *testing.T, c client.Client, of, into client.Object) {
	t.Helper()
	if err := c.Get(ctx, client.ObjectKeyFromObject(of), into); err != nil {
		t.Fatal(err)
	}
}

func patchStatus(ctx context.Context, t *testing.T, c client.Client, object client.Object, change func()) {
	t.Helper()
	base, _ := object.DeepCopyObject().(client.Object)
	change()
	if err := c.Status().Patch(ctx, object, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
}

func diff[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if text := cmp.Diff(want, got); text != "" {
		t.Errorf("%s: -want +got\n%s", what, text)
	}
}

func eventually(ctx context.Context, t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// define puts a CRD in the place of the one of its name, whose objects go with it.
func (a *applier) define(ctx context.Context, t *testing.T, definition *unstructured.Unstructured) {
	t.Helper()
	resource := a.dynamic.Resource(definitions)
	if err := resource.Delete(ctx, definition.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	eventually(ctx, t, definition.GetName()+" going", func() error {
		_, err := resource.Get(ctx, definition.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
	a.apply(ctx, t, definition)
}

// waitServed waits until the API server serves each version that a CRD defines.
func (a *applier) waitServed(ctx context.Context, t *testing.T, definition *unstructured.Unstructured) {
	t.Helper()
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, one := range versions {
		fields, _ := one.(map[string]any)
		name, _ := fields["name"].(string)
		if fields["served"] == false {
			continue
		}
		eventually(ctx, t, definition.GetName()+" "+name, func() error {
			resources, err := a.client.Discovery().ServerResourcesForGroupVersion(group + "/" + name)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Name == plural }) {
				return fmt.Errorf("%s is not in the discovery document", plural)
			}
			_, err = a.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: name, Resource: plural}).List(ctx, metav1.ListOptions{})
			return err
		})
	}
}

// crd reads a generated CRD, of which a test may change its copy.
func crd(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	objects := decode(t, read(t, filepath.FromSlash(file)))
	if len(objects) != 1 {
		t.Fatalf("%s holds %d objects", file, len(objects))
	}
	return objects[0]
}

// version is a version of a CRD.
func version(t *testing.T, definition *unstructured.Unstructured, name string) map[string]any {
	t.Helper()
	spec, _ := definition.Object["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	for _, one := range versions {
		if fields, _ := one.(map[string]any); fields["name"] == name {
			return fields
		}
	}
	t.Fatalf("%s has no version %s", definition.GetName(), name)
	return nil
}

// property is the schema of a field, or of its items if it is a list.
func property(t *testing.T, definition *unstructured.Unstructured, name, path string) map[string]any {
	t.Helper()
	outer, _ := version(t, definition, name)["schema"].(map[string]any)
	field, _ := outer["openAPIV3Schema"].(map[string]any)
	for part := range strings.SplitSeq(path, ".") {
		properties, _ := field["properties"].(map[string]any)
		field, _ = properties[part].(map[string]any)
		if items, ok := field["items"].(map[string]any); ok {
			field = items
		}
	}
	if field == nil {
		t.Fatalf("%s %s has no field %s", definition.GetName(), name, path)
	}
	return field
}

// remove takes away what must be there, or the test would test less than it says.
func remove(t *testing.T, from map[string]any, path ...string) {
	t.Helper()
	if _, found, err := unstructured.NestedFieldNoCopy(from, path...); !found || err != nil {
		t.Fatalf("there is no %s to remove: %v", strings.Join(path, "."), err)
	}
	unstructured.RemoveNestedField(from, path...)
}
