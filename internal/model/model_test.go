// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"testing"

	"github.com/vmware/alb-sdk/go/models"
)

func TestParseRef(t *testing.T) {
	for text, want := range map[string]Ref{
		RefByName(Pool, "a b+c&d%"):     {Kind: Pool, Name: "a b+c&d%"},
		RefByUUID(VsVip, "vsvip-1"):     {Kind: VsVip, UUID: "vsvip-1"},
		"/api/tenant/?name=x":           {Kind: Tenant, Name: "x"},
		"/api/pool?cloud=c&name=p%2F1":  {Kind: Pool, Name: "p/1"},
		"/api/pool?name=100%":           {Kind: Pool, Name: "100%"},
		"https://c/api/pool/pool-1#p 1": {Kind: Pool, UUID: "pool-1", Name: "p 1"},
		"https://c:444/api/pool/pool-1": {Kind: Pool, UUID: "pool-1"},
		"":                              {},
		"pool-1":                        {},
	} {
		if got := ParseRef(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// TestMarkersTellTheOwner: OwnerOf reads back what Markers writes.
func TestMarkersTellTheOwner(t *testing.T) {
	for name, c := range map[string]struct {
		pairs []string
		want  Owner
	}{
		"a Service": {[]string{MarkNamespace, "core", MarkServiceName, "amf"}, Owner{ServiceOwner, "core", "amf"}},
		"a Gateway": {
			[]string{MarkGatewayNamespace, "edge", MarkGatewayName, "gw", MarkServiceName, "amf"}, Owner{GatewayOwner, "edge", "gw"},
		},
		"a Gateway of x-k8s.io":       {[]string{MarkNamespace, "edge", MarkGatewayName, "gw"}, Owner{UntoldOwner, "edge", "gw"}},
		"a VsVip, with nothing of it": {nil, Owner{}},
	} {
		cluster, got := OwnerOf(Markers("c1", c.pairs...))
		if cluster != "c1" || got != c.want {
			t.Errorf("%s: %s, %+v", name, cluster, got)
		}
	}
	odd := []*models.RoleFilterMatchLabel{nil, {}, {Key: new(MarkCluster)}, {Key: new(MarkServiceName), Values: []string{"amf", "smf"}}}
	if cluster, owner := OwnerOf(odd); cluster != "" || owner != (Owner{ServiceOwner, "", "amf"}) {
		t.Errorf("odd markers: %q, %+v", cluster, owner)
	}
}

// TestVirtualServiceNamesTheOwner: AKO's markers don't distinguish a Gateway from a shared VIP.
func TestVirtualServiceNamesTheOwner(t *testing.T) {
	untold := Owner{UntoldOwner, "edge", "gw"}
	for metadata, want := range map[string]OwnerKind{
		`{"gateway":"edge/gw"}`: SvcAPIGatewayOwner, `{"gateway":""}`: SharedVIPOwner,
		`{"gateway":"edge/other"}`: UntoldOwner, `{}`: UntoldOwner, `{"gateway":`: UntoldOwner, "": UntoldOwner,
	} {
		owner := VirtualServiceOwner(untold, &metadata)
		if owner.Kind != want || owner.Namespace != "edge" || owner.Name != "gw" {
			t.Errorf("%s: %+v", metadata, owner)
		}
		if owner.Untold() != untold || !untold.MayBe(owner) || owner.MayBe(untold) != (owner == untold) {
			t.Errorf("%s: %+v is not what the markers tell", metadata, owner)
		}
	}
	if o := VirtualServiceOwner(untold, nil); o != untold {
		t.Errorf("without metadata: %+v", o)
	}
	service := Owner{ServiceOwner, "edge", "gw"}
	if o := VirtualServiceOwner(service, new(`{"gateway":""}`)); o != service || service.Untold() != service || untold.MayBe(service) {
		t.Errorf("a Service: %+v", o)
	}
}

func TestOurs(t *testing.T) {
	for _, c := range []struct {
		name, marked string
		want         bool
	}{
		{"c1--core-amf", "c1", true},
		{"c1--core-amf", "c2", false},
		{"c1--core-amf", "", false},
		{"c1-core-amf", "c1", false},
		{"eu-c1--core-amf", "c1", false},
	} {
		if got := Ours("c1", c.name, c.marked); got != c.want {
			t.Errorf("%s marked %q: %v", c.name, c.marked, got)
		}
	}
}

func TestFindingsAreSorted(t *testing.T) {
	want := []Finding{
		{Severity: Blocked, Reason: "B"},
		{Severity: Blocked, Port: Port{80, "TCP"}, Reason: "A"},
		{Severity: Blocked, Port: Port{80, "UDP"}, Reason: "A"},
		{Severity: Blocked, Port: Port{443, "TCP"}, Reason: "A", Message: "1"},
		{Severity: Blocked, Port: Port{443, "TCP"}, Reason: "A", Message: "2"},
		{Severity: Blocked, Port: Port{443, "TCP"}, Reason: "B"},
		{Severity: Degraded, Reason: "A"},
		{Severity: Note, Reason: "A"},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	SortFindings(got)
	if !slices.Equal(got, want) {
		t.Errorf("sorted: %+v", got)
	}
}

func TestFacts(t *testing.T) {
	f := &Facts{Version: "22.1.10", LicenseTier: "ENTERPRISE", Shared: map[Kind]map[string]string{Pool: {"p": "pool-1"}},
		Networks: []NetworkFacts{{Name: "n", UUID: "1"}, {Name: "n", UUID: "2"}, {UUID: "3"}}}
	for release, want := range map[string]bool{"22.1.3": true, "22.1.10": true, "22.1": true, "22.2": false, "30.1.1": false} {
		if got := f.AtLeast(release); got != want {
			t.Errorf("22.1.10 is at least %s: %v", release, got)
		}
	}
	if !(&Facts{}).AtLeast("99") {
		t.Error("a release that isn't known is refused")
	}
	tiers := map[string]bool{"ENTERPRISE": true, "ENTERPRISE_16": true, "ENTERPRISE_18": true, "ENTERPRISE_WITH_CLOUD_SERVICES": true,
		"BASIC": false, "ESSENTIALS": false, "": false}
	for tier, want := range tiers {
		if got := (&Facts{LicenseTier: tier}).Enterprise(); got != want {
			t.Errorf("%q is Enterprise: %v", tier, got)
		}
	}
	if !f.Has(Pool, "p") || f.Has(Pool, "q") || f.Has(VsVip, "p") {
		t.Error("Has is wrong")
	}
	for _, c := range []struct{ name, uuid, want string }{{"n", "", "1"}, {"", "2", "2"}, {"", "3", "3"}, {"", "", ""}, {"m", "", ""}} {
		if got, ok := f.Network(c.name, c.uuid); got.UUID != c.want || ok != (c.want != "") {
			t.Errorf("network %q %q: %+v", c.name, c.uuid, got)
		}
	}
}

func TestCanonical(t *testing.T) {
	got, err := Canonical(&models.Pool{Name: new("p"), Servers: []*models.Server{{Port: new(int32(80))}}})
	if want := "{\n  \"name\": \"p\",\n  \"servers\": [\n    {\n      \"port\": 80\n    }\n  ]\n}"; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Canonical(make(chan int)); err == nil {
		t.Error("a channel has JSON")
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Port{80, "TCP"}.String():                                            "TCP 80",
		Port{Number: 80}.String():                                           `"" 80`,
		Owner{ServiceOwner, "core", "amf"}.String():                         "Service core/amf",
		Owner{GatewayOwner, "edge", "gw"}.String():                          "Gateway.gateway.networking.k8s.io edge/gw",
		GatewayOwner.Noun() + ServiceOwner.Noun():                           "GatewayService",
		(&Set{Objects: []Object{{Key: Key{VsVip, "t", "x"}}}}).first(VsVip): "VsVip t/x",
		(&Set{}).first(VsVip):                                               "",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func (s *Set) first(kind Kind) string {
	if o, ok := s.Find(kind); ok {
		return o.Key.String()
	}
	return ""
}

// TestFormed: what AKO's L7 half makes carries the same created_by, cluster and ServiceName as what its L4 half makes.
func TestFormed(t *testing.T) {
	service := []string{MarkNamespace, "core", MarkServiceName, "amf"}
	gateway := []string{MarkNamespace, "edge", MarkServiceName, "amf", MarkPort, "80", MarkProtocol, "SCTP", MarkGatewayName, "gw"}
	with := func(pairs []string, more ...string) []string { return append(slices.Clone(pairs), more...) }
	for name, c := range map[string]struct {
		kind   Kind
		object string
		pairs  []string
		want   bool
	}{
		"VirtualService of a Service":           {VirtualService, "c1--core-amf", service, true},
		"VirtualService with another name":      {VirtualService, "c1--core-smf", service, false},
		"VirtualService, hashed":                {VirtualService, HashedName("c1--", "c1--core-amf"), service, true},
		"VirtualService, another hash":          {VirtualService, HashedName("c1--", "c1--core-smf"), service, false},
		"L4PolicySet of a Service":              {L4PolicySet, "c1--core-amf", with(service, MarkProtocol, "SCTP,TCP"), true},
		"shared VirtualService of L7":           {VirtualService, "c1--Shared-L7-0", []string{"Host", "a.example.com"}, false},
		"shared VirtualService of L7, no marks": {VirtualService, "c1--Shared-L7-0", nil, false},
		"VirtualService of a Gateway":           {VirtualService, "c1--edge-gw", gateway, true},
		"VirtualService of a Gateway of routes": {
			VirtualService, "c1--edge-gw", []string{MarkGatewayNamespace, "edge", MarkGatewayName, "gw"}, true,
		},
		"pool of a Service":                   {Pool, "c1--core-amf-SCTP-80", with(service, MarkPort, "80"), true},
		"pool of a Service, hashed":           {Pool, HashedName("c1--", "c1--core-amf-UDP-80"), with(service, MarkPort, "80"), true},
		"pool of a Service, another port":     {Pool, "c1--core-amf-SCTP-80", with(service, MarkPort, "81"), false},
		"pool of a Service, without a port":   {Pool, "c1--core-amf-SCTP-80", service, false},
		"pool of a Service and of an Ingress": {Pool, "c1--core-amf-SCTP-80", with(service, MarkPort, "80", "IngressName", "ing"), false},
		"pool of an Ingress": {
			Pool, "c1--core-amf.example.com_-ing-amf", with(service, "Host", "amf.example.com", "Path", "/"), false,
		},
		"pool of an Ingress without L7's marks": {Pool, "c1--core-amf.example.com_-ing-amf", service, false},
		"pool of an HTTPRoute":                  {Pool, "c1--edge-gw-SCTP-80-x", with(gateway, "HTTPRouteName", "r"), false},
		"pool of a passthrough Route": {
			Pool, "c1--amf.example.com-amf", []string{"Host", "amf.example.com", MarkServiceName, "amf"}, false,
		},
		"pool of a Gateway":        {Pool, "c1--edge-amf-gw-SCTP-80", gateway, true},
		"pool of a Gateway of WCP": {Pool, "c1--edge-amf-gw-SCTP--80", gateway, false},
		"pool of a Gateway of routes": {
			Pool, "c1--edge-gw-SCTP-80-core.amf-80", []string{MarkGatewayNamespace, "edge", MarkGatewayName, "gw"}, true,
		},
		"pool group of a Gateway of routes": {
			PoolGroup, "c1--edge-gw-SCTP-80", []string{MarkGatewayNamespace, "edge", MarkGatewayName, "gw"}, true,
		},
		"pool group of L7":                       {PoolGroup, "c1--core-amf-SCTP-80", with(service, MarkPort, "80"), false},
		"VsVip, which has the cluster's mark":    {VsVip, "c1--core-amf", nil, true},
		"VsVip with a mark of L7":                {VsVip, "c1--core-amf", []string{"Host", "a"}, false},
		"pool with marks that people have added": {Pool, "c1--core-amf-SCTP-80", with(service, MarkPort, "80", "team", "core"), true},
	} {
		if got := Formed("c1", c.kind, c.object, Markers("c1", c.pairs...)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDomains(t *testing.T) {
	got := Domains([]string{".avi.example.com", "Lab.Example.com.", "", " . ", "avi.example.com", "..b.example.com"})
	if want := []string{"avi.example.com", "b.example.com", "lab.example.com"}; !slices.Equal(got, want) {
		t.Errorf("domains %q, want %q", got, want)
	}
}
