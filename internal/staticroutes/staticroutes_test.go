// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

func TestLabelGroup(t *testing.T) {
	ours := Label{"clustername", "c1"}
	for _, tt := range []struct {
		have    []Label
		want    []Label
		foreign bool
	}{
		{nil, []Label{ours}, false},
		{[]Label{ours}, nil, false},
		{[]Label{{"clustername", "c2"}}, nil, true},
		{[]Label{{"clustername", "c10"}}, nil, true},
		{[]Label{{"site", "c1"}}, nil, true},
	} {
		want, ok, foreign := LabelGroup("g", "c1", tt.have)
		if !slices.Equal(want, tt.want) || ok != (tt.want != nil) || (foreign != "") != tt.foreign {
			t.Errorf("LabelGroup(%v) = %v, %v, %q", tt.have, want, ok, foreign)
		}
	}
}

func TestUnlabelGroupTakesOnlyOurs(t *testing.T) {
	for _, tt := range []struct {
		have, want []Label
		ok         bool
	}{
		{nil, nil, false},
		{[]Label{{"clustername", "c1"}}, nil, true},
		{[]Label{{"clustername", "c10"}}, []Label{{"clustername", "c10"}}, false},
		{[]Label{{"site", "east"}}, []Label{{"site", "east"}}, false},
	} {
		if want, ok := UnlabelGroup("c1", tt.have); !slices.Equal(want, tt.want) || ok != tt.ok {
			t.Errorf("UnlabelGroup(%v) = %v, %v", tt.have, want, ok)
		}
	}
}

func TestGroupsAreThoseThatExist(t *testing.T) {
	in := Input{Settings: &settings.Settings{},
		Facts: &model.Facts{Shared: map[model.Kind]map[string]string{model.ServiceEngineGroup: {"a": "1", "b": "2", "c": "3"}}}}
	in.Settings.Placement.SEGroup, in.Groups = "a", []string{"c", "a", "gone", "c", "b"}
	if names, missing := Groups(in); fmt.Sprint(names) != "[a c b]" || missing != nil {
		t.Errorf("%v, %v", names, missing)
	}
	in.Settings.Placement.SEGroup = "gone"
	if names, missing := Groups(in); fmt.Sprint(names) != "[c a b]" || missing == nil || missing.Reason != ReasonReferenceMissing {
		t.Errorf("%v, %v", names, missing)
	}
}

// What is kept in memory of a plugin's object must be enough to read it.
func TestSlimKeepsWhatIsRead(t *testing.T) {
	for _, tt := range []struct{ cni, object string }{
		{"calico", `{"apiVersion":"crd.projectcalico.org/v1","kind":"BlockAffinity","metadata":{"name":"a","labels":{"x":"y"}},"spec":{"node":"n","cidr":"10.0.0.0/26","state":"pending","deleted":"false","type":"host"}}`},
		{"openshift", `{"apiVersion":"network.openshift.io/v1","kind":"HostSubnet","metadata":{"name":"n"},"host":"n","hostIP":"10.1.1.1","subnet":"10.128.0.0/23","egressIPs":["1.1.1.1"]}`},
		{"cilium", `{"apiVersion":"cilium.io/v2","kind":"CiliumNode","metadata":{"name":"n"},"spec":{"ipam":{"podCIDRs":["10.1.0.0/24"],"pool":{"10.1.0.7":{}},"pools":{"allocated":[{"pool":"p","cidrs":["10.2.0.0/27"]}]}},"health":{"ipv4":"10.1.0.9"}},"status":{"ipam":{"used":{"10.1.0.7":{}}}}}`},
	} {
		var o unstructured.Unstructured
		if err := json.Unmarshal([]byte(tt.object), &o.Object); err != nil {
			t.Fatal(err)
		}
		source := SourceOf(tt.cni)
		before, err := source.object(&o)
		if err != nil {
			t.Fatal(err)
		}
		if !Slim(&o) {
			t.Errorf("%s: not recognised", tt.cni)
		}
		after, err := source.object(&o)
		if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s: %v became %v: %v", tt.cni, before, after, err)
		}
		if raw, _ := json.Marshal(o.Object); len(raw) >= len(tt.object) {
			t.Errorf("%s: nothing was left out: %s", tt.cni, raw)
		}
	}
	if Slim(&unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Other", "spec": "x"}}) {
		t.Error("another kind was taken for a source")
	}
}

// A large cluster costs one step for the node that came, and none for the 500 that were there.
func TestOneNodeMoreIsOneStep(t *testing.T) {
	in := Input{Settings: &settings.Settings{ClusterName: "c1"}, Facts: &model.Facts{}, Live: true}
	for i := range 501 {
		in.Nodes = append(in.Nodes, node(i))
	}
	all := Diff(Want(in), "c1", nil, Limit{0.2, 5})
	if len(all.Steps) != 501 {
		t.Fatalf("%d steps for 501 nodes", len(all.Steps))
	}
	one := Diff(Want(in), "c1", all.Routes[:500], Limit{0.2, 5})
	if len(one.Steps) != 1 || one.Steps[0].Op != Add {
		t.Errorf("%s", one)
	}
}

func node(i int) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%03d", i), UID: types.UID(fmt.Sprintf("uid-%03d", i))},
		Spec:       corev1.NodeSpec{PodCIDRs: []string{fmt.Sprintf("10.%d.%d.0/24", 100+i/256, i%256)}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)}}},
	}
}

func TestReachWithoutKnowledgeFindsNothing(t *testing.T) {
	pods := []Pod{{netip.MustParseAddr("10.244.1.1"), "n"}}
	var none *Reach
	if f := none.Finding("", "", pods); f != nil || none.Routed() != 0 {
		t.Errorf("%v", f)
	}
	if f := new(Reach).Finding("", "", pods); f != nil {
		t.Errorf("%v", f)
	}
	if !none.Same(nil) {
		t.Error("nothing differs from nothing")
	}
}

func FuzzDiff(f *testing.F) {
	f.Add(`{"route_id":"c1-uid-001-0","prefix":{"ip_addr":{"addr":"10.100.1.0"},"mask":24},"next_hop":{"addr":"10.0.0.2"},"labels":[{"key":"clustername","value":"c1"}]}`, "10.100.1.0/24")
	f.Add(`{"route_id":1,"prefix":null}`, "fd00::/64")
	f.Add(`null`, "::ffff:10.0.0.0/120")
	f.Fuzz(func(t *testing.T, route, cidr string) {
		if !json.Valid([]byte(route)) {
			return
		}
		in := Input{Settings: &settings.Settings{ClusterName: "c1"}, Facts: &model.Facts{}, Live: true, Nodes: []*corev1.Node{node(1), node(2)}}
		in.Nodes[1].Spec.PodCIDRs = []string{cidr}
		p := Diff(Want(in), "c1", []json.RawMessage{json.RawMessage(route)}, Limit{0.2, 5})
		if again := Diff(Want(in), "c1", p.Routes, Limit{0.2, 5}); !again.Empty() {
			t.Errorf("after %s there is still %s", p, again)
		}
		ReachOf(Want(in), p, "global", nil, nil).Finding("", "", []Pod{{netip.MustParseAddr("10.100.1.1"), "node-001"}})
	})
}

func TestClearTakesOnlyLabelledRoutes(t *testing.T) {
	route := func(id, labels string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"route_id":%q,"prefix":{"ip_addr":{"addr":"10.1.0.0"},"mask":24},"next_hop":{"addr":"10.0.0.1"},"labels":[%s]}`, id, labels))
	}
	list := []json.RawMessage{
		route("default", ""), route("c1-uid-0", `{"key":"clustername","value":"c1"}`), route("c1-uid-1", ""),
		route("c10-uid-0", `{"key":"clustername","value":"c10"}`), route("x", `{"key":"clustername","value":"c1"}`),
	}
	rest, steps := Clear("c1", list)
	if want := []json.RawMessage{list[0], list[2], list[3]}; fmt.Sprintf("%s", rest) != fmt.Sprintf("%s", want) || len(steps) != 2 {
		t.Errorf("%s, %v", rest, steps)
	}
}
