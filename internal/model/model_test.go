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

// TestVirtualServiceTellsTheOwner: AKO's markers don't tell a Gateway from a shared VIP.
func TestVirtualServiceTellsTheOwner(t *testing.T) {
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
	tiers := map[string]bool{"ENTERPRISE": true, "ENTERPRISE_WITH_CLOUD_SERVICES": true, "BASIC": false, "ESSENTIALS": false, "": false}
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
