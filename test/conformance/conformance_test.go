// SPDX-License-Identifier: Apache-2.0

// Package conformance runs those tests of the Gateway API's own suite that an implementation of layer 4 alone can pass, with
// base manifests of its own, against the local cluster and the simulated Controller, which carries their traffic to pods that are
// played. It is a proof for ourselves, not a conformance claim: upstream's base manifests need HTTP.
package conformance

import (
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	clientset "k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	upstream "sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	confsuite "sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/hack/pods"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

//go:embed l4
var manifests embed.FS

// claimed are the tests that need no layer 7.
var claimed = []string{
	"GatewayClassObservedGenerationBump", "GatewayInvalidParametersRef",
	"TCPRouteInvalidBackendRefNonexistent", "TCPRouteInvalidCrossNamespaceBackendRef",
	"TCPRouteMultipleRoutesAttachment", "TCPRouteParentRefAttachAll", "TCPRouteParentRefPortAndSectionName",
	"TCPRouteReferenceGrant", "TCPRouteWeightedRouting",
	"UDPRoute", "UDPRouteInvalidBackendRefNonexistent", "UDPRouteInvalidCrossNamespaceBackendRef", "UDPRouteNotAllowedByListeners",
	"UDPRouteMultipleRoutesAttachment", "UDPRouteParentRefAttachAllListeners", "UDPRouteParentRefPortAndSectionName",
	"UDPRouteReferenceGrant", "UDPRouteWeightedRouting",
}

// reportEnv names a file for the report in upstream's format.
const reportEnv = "AVI_CONFORMANCE_REPORT"

func TestMain(m *testing.M) {
	suite.WholeCluster = true
	suite.Main(m)
}

// TestConformance prints the whole list: what passes or fails, and why the rest is left out.
func TestConformance(t *testing.T) {
	e := suite.New(t, carried(t)...)
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
			ConformanceProfiles: []confsuite.ConformanceProfileName{confsuite.GatewayTCPConformanceProfileName,
				confsuite.GatewayUDPConformanceProfileName},
			Mode: "layer-4", // which says that the base manifests are not upstream's
			Implementation: confv1.Implementation{Organization: "avi-l4-operator", Project: "avi-l4-operator",
				URL: "https://github.com/avi-l4-operator/avi-l4-operator", Version: "development", Contact: []string{"SECURITY.md"}},
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
	t.Cleanup(func() { report(t, s) }) // the suite counts as running until then
	if err := s.Run(t, run); err != nil {
		t.Error(err)
	}
	t.Logf("%d run, %d left out", len(run), left)
}

// carried has the Controller carry traffic, at VIPs that are on loopback, since upstream's tests send to a Gateway's address as it is, and
// has pods answer.
func carried(t *testing.T) []suite.Option {
	t.Helper()
	room, err := pods.NewRoom()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(room.Close)
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const network = "loopback"
	if err := sim.AddVIPNetwork(network, room.VIPs, netip.Addr{}, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Forward(avisim.ForwardOptions{Map: room.Map, Logf: t.Logf}); err != nil {
		t.Fatal(err)
	}
	runner, err := pods.Start(suite.RESTConfig(), pods.Options{Map: room.Map, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	return []suite.Option{
		func(e *suite.Env) { e.Sim = sim },
		suite.WithConfig("vipNetworkList", fmt.Sprintf(`[{"networkName":%q,"cidr":%q}]`, network, room.VIPs)),
	}
}

// report logs what upstream's report counts, and writes it where that is asked for.
func report(t *testing.T, s *confsuite.ConformanceTestSuite) {
	t.Helper()
	r, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.ProfileReports {
		t.Logf("report: %s, core %s: %d passed, %d failed, %d skipped", p.Name, p.Core.Result, p.Core.Statistics.Passed,
			p.Core.Statistics.Failed, p.Core.Statistics.Skipped)
	}
	if file := os.Getenv(reportEnv); file != "" {
		text, err := yaml.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
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
	}
	return "needs listeners of HTTP or HTTPS"
}
