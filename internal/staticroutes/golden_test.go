// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

var update = flag.Bool("update", false, "rewrite the expectations")

// scene is what an input file holds besides Kubernetes objects: what the Controller has, and what could not be read.
type scene struct {
	CloudType string            `json:"cloudType"`
	VLAN      bool              `json:"vlan"`
	Unread    string            `json:"unread"`
	Cached    bool              `json:"cached"` // read from the cache only
	Routes    []json.RawMessage `json:"routes"` // of the VRF context
	Group     []Label           `json:"group"`  // labels of the Service Engine group
	Share     float64           `json:"share"`
	// NetworkVRF is the VRF context of the network "vip-network".
	NetworkVRF string `json:"networkVRF"`
	// Pods are looked up: "10.244.1.5" or "10.244.1.5@node-1".
	Pods []string `json:"pods"`
	// Failed: the plan could not be carried out.
	Failed string `json:"failed"`
	// PodsVRF is the VRF context of the VirtualService before the pods.
	PodsVRF string `json:"podsVRF"`
}

// outcome is an expectation.
type outcome struct {
	Off         string            `json:"off,omitempty"`
	VRF         string            `json:"vrf,omitempty"`
	Tier1       string            `json:"tier1,omitempty"`
	Routes      []json.RawMessage `json:"static_routes"`
	Plan        []string          `json:"plan,omitempty"`
	Unconfirmed []string          `json:"unconfirmed,omitempty"`
	Held        int               `json:"held,omitempty"`
	Kept        int               `json:"kept,omitempty"`
	Problems    []string          `json:"problems,omitempty"`
	Group       []Label           `json:"groupLabels,omitempty"`
	Foreign     string            `json:"groupIsForeign,omitempty"`
	Finding     string            `json:"finding,omitempty"`
}

func read(t *testing.T, file string) (Input, scene) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s scene
	config := map[string]string{"clusterName": "c1", "controllerIP": "avi.example.com"}
	in := Input{Live: true}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		decode := func(into any) {
			if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		switch o.GetKind() {
		case "Scene":
			delete(o.Object, "kind")
			rest, _ := json.Marshal(o.Object)
			if err := yaml.UnmarshalStrict(rest, &s); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		case "ConfigMap":
			var m corev1.ConfigMap
			decode(&m)
			for k, v := range m.Data {
				config[k] = v
			}
		case "Node":
			n := new(corev1.Node)
			decode(n)
			if n.UID == "" {
				n.UID = types.UID("uid-of-" + n.Name)
			}
			in.Nodes = append(in.Nodes, n)
		default:
			in.Objects = append(in.Objects, o.DeepCopy())
		}
	}
	in.Settings, _, err = settings.Parse(config, map[string][]byte{"username": []byte("u"), "password": []byte("p")}, "avi-system")
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	in.Facts = &model.Facts{
		Cloud:    model.CloudFacts{Name: "Default-Cloud", Type: "CLOUD_VCENTER", VLAN: s.VLAN},
		Networks: []model.NetworkFacts{{Name: "vip-network", UUID: "net-1", VRF: s.NetworkVRF}},
		Shared:   map[model.Kind]map[string]string{model.ServiceEngineGroup: {"Default-Group": "seg-1"}},
	}
	if s.CloudType != "" {
		in.Facts.Cloud.Type = s.CloudType
	}
	in.Unread, in.Live = s.Unread, !s.Cached
	if s.Share == 0 {
		s.Share = 0.2
	}
	return in, s
}

func (s scene) limit() Limit { return Limit{s.Share, 5} }

func run(in Input, s scene) outcome {
	var out outcome
	out.Off = Off(in.Settings, in.Facts.Cloud)
	if out.Off != "" {
		return out
	}
	out.VRF, out.Tier1 = VRF(in.Settings, in.Facts)
	w := Want(in)
	p := Diff(w, in.Settings.ClusterName, s.Routes, s.limit())
	out.Routes, out.Held, out.Kept = p.Routes, len(p.Held), p.Kept
	for _, step := range p.Steps {
		out.Plan = append(out.Plan, step.String())
	}
	for _, step := range p.Unconfirmed {
		out.Unconfirmed = append(out.Unconfirmed, step.String())
	}
	for _, x := range p.Problems {
		out.Problems = append(out.Problems, strings.TrimSpace(fmt.Sprintf("%s %s: %s", x.Node, x.Reason, x.Message)))
	}
	labels, _, foreign := LabelGroup("Default-Group", in.Settings.ClusterName, s.Group)
	out.Group, out.Foreign = labels, foreign
	var pods []Pod
	for _, text := range s.Pods {
		addr, node, _ := strings.Cut(text, "@")
		pods = append(pods, Pod{netip.MustParseAddr(addr), node})
	}
	var failed error
	if s.Failed != "" {
		failed = fmt.Errorf("%s", s.Failed)
	}
	groups := map[string]string{}
	if foreign != "" {
		groups["Default-Group"] = foreign
	}
	if f := ReachOf(w, p, out.VRF, groups, failed).Finding(s.PodsVRF, "Default-Group", pods); f != nil {
		out.Finding = fmt.Sprintf("%s %s: %s", map[model.Severity]string{model.Note: "Note", model.Degraded: "Degraded", model.Blocked: "Blocked"}[f.Severity], f.Reason, f.Message)
	}
	return out
}

func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	return files
}

// TestGolden compares what each input gives with its expectation. The names of the files are the list of features.
func TestGolden(t *testing.T) {
	for _, file := range cases(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			in, s := read(t, file)
			var buffer bytes.Buffer
			encoder := json.NewEncoder(&buffer)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			if err := encoder.Encode(run(in, s)); err != nil {
				t.Fatal(err)
			}
			got := buffer.Bytes()
			expectation := filepath.Join("testdata", name+".out.json")
			if *update {
				if err := os.WriteFile(expectation, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expectation)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGoldenInvariants holds for every case: what is written needs nothing more, whatever the order in which Kubernetes
// lists its objects; routes of others are written as they came; ids are distinct.
func TestGoldenInvariants(t *testing.T) {
	for _, file := range cases(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, s := read(t, file)
			if Off(in.Settings, in.Facts.Cloud) != "" {
				return
			}
			first := Diff(Want(in), "c1", s.Routes, s.limit())
			if again := Diff(Want(in), "c1", first.Routes, s.limit()); !again.Empty() {
				t.Errorf("a second run still wants: %s", again)
			}
			r := rand.New(rand.NewPCG(1, 2))
			for range 5 {
				r.Shuffle(len(in.Nodes), func(i, j int) { in.Nodes[i], in.Nodes[j] = in.Nodes[j], in.Nodes[i] })
				r.Shuffle(len(in.Objects), func(i, j int) { in.Objects[i], in.Objects[j] = in.Objects[j], in.Objects[i] })
				if other := Diff(Want(in), "c1", s.Routes, s.limit()); other.String() != first.String() || fmt.Sprintf("%s", other.Routes) != fmt.Sprintf("%s", first.Routes) {
					t.Fatalf("the order of the input matters:\n%s\n%s", first, other)
				}
			}
			ids := map[string]bool{}
			idOf := regexp.MustCompile(`"route_id":"([^"]*)"`)
			for _, route := range first.Routes {
				id := idOf.FindStringSubmatch(strings.ReplaceAll(string(route), `": "`, `":"`))
				if id == nil || ids[id[1]] {
					t.Errorf("id of %s is missing or taken", route)
					continue
				}
				ids[id[1]] = true
			}
			var foreign, kept []string
			for _, route := range s.Routes {
				if ours := strings.Contains(string(route), `"clustername","value":"c1"`) || strings.Contains(string(route), `"c1-uid-of-`); !ours {
					foreign = append(foreign, string(route))
				}
			}
			for _, route := range first.Routes {
				if slices.Contains(foreign, string(route)) {
					kept = append(kept, string(route))
				}
			}
			if diff := cmp.Diff(foreign, kept); diff != "" {
				t.Errorf("routes of others: %s", diff)
			}
		})
	}
}
