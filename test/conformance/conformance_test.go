// SPDX-License-Identifier: Apache-2.0

// Package conformance runs those tests of the Gateway API's own suite that an implementation of layer 4 alone can pass, with
// base manifests of its own, against the local cluster and the simulated Controller. It is a proof for ourselves, not a
// conformance claim: upstream's base manifests need HTTP.
package conformance

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
	"testing"

	clientset "k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	upstream "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	confsuite "sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

//go:embed l4
var manifests embed.FS

// claimed are the tests that need neither HTTP nor traffic.
var claimed = []string{
	"GatewayClassObservedGenerationBump", "GatewayInvalidParametersRef", "TCPRouteInvalidBackendRefNonexistent",
	"TCPRouteInvalidCrossNamespaceBackendRef",
	"UDPRouteInvalidBackendRefNonexistent", "UDPRouteInvalidCrossNamespaceBackendRef", "UDPRouteNotAllowedByListeners",
}

func TestMain(m *testing.M) {
	suite.WholeCluster = true
	suite.Main(m)
}

// TestConformance prints the whole list: what passes or fails, and why the rest is left out.
func TestConformance(t *testing.T) {
	e := suite.New(t)
	class := e.Class()
	e.Create(class)
	cfg := suite.RESTConfig()
	c, err := client.New(cfg, client.Options{Scheme: e.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	set, err := clientset.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	own, err := fs.Sub(manifests, "l4")
	if err != nil {
		t.Fatal(err)
	}
	s, err := confsuite.NewConformanceTestSuite(confsuite.ConformanceOptions{
		Client: c, ClientOptions: client.Options{Scheme: e.Client.Scheme()}, Clientset: set, RestConfig: cfg,
		ManifestFS: []fs.FS{own, &upstream.Manifests}, BaseManifests: "base/l4.yaml",
		ConfigurableOptions: confsuite.ConfigurableOptions{
			GatewayClassName: class.Name, CleanupTestResources: true, TimeoutConfig: config.DefaultTimeoutConfig(),
			NamespaceLabels: map[string]string{"served-by": e.Cluster},
			SupportedFeatures: []features.FeatureName{features.SupportGateway, features.SupportGatewayInfrastructure,
				features.SupportReferenceGrant, features.SupportTCPRoute, features.SupportUDPRoute},
			AllowCRDsMismatch: true, // the local cluster has the CRDs of layer 4 only
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var run []confsuite.ConformanceTest
	left := 0
	for _, test := range tests.ConformanceTests {
		if slices.Contains(claimed, test.ShortName) {
			run = append(run, test)
			continue
		}
		left++
		t.Logf("left out: %-60s %s", test.ShortName, reason(test))
	}
	if len(run) != len(claimed) {
		t.Errorf("%d tests are claimed and %d of them exist", len(claimed), len(run))
	}
	s.Setup(t, run)
	if err := s.Run(t, run); err != nil {
		t.Error(err)
	}
	t.Logf("%d run, %d left out", len(run), left)
}

// reason is why a test is left out.
func reason(test confsuite.ConformanceTest) string {
	has := func(words ...string) bool {
		return slices.ContainsFunc(test.Features, func(f features.FeatureName) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(f), w) })
		})
	}
	switch {
	case has("Mesh"):
		return "a service mesh"
	case has("HTTPRoute", "GRPCRoute", "BackendTLSPolicy"):
		return "layer 7"
	case has("TLSRoute"):
		return "TLSRoute is not served"
	case (has("TCPRoute") || has("UDPRoute")) && !strings.Contains(test.ShortName, "Invalid"):
		return "sends traffic, which the simulated Controller doesn't carry yet"
	}
	return "needs listeners of HTTP or HTTPS"
}
