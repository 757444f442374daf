// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

var fixtureFolder = filepath.Join("..", "..", "config", "components", "simulator", "fixture")

// TestFixtures allocates an address in the cloud of each example, as its clients do.
func TestFixtures(t *testing.T) {
	const lr = "/infra/tier-1s/"
	for _, tt := range []struct {
		file, cloud, vtype string
		vips               []obj
		more               obj
		want               string
		check              func(t *testing.T, w *stage)
	}{
		{file: "none", cloud: "Default-Cloud", vtype: "CLOUD_NONE", vips: vips(obj{"auto_allocate_ip": true, "auto_allocate_ip_type": "V4_V6"}),
			want: "192.168.10.100+fd00:168:10::100", check: func(t *testing.T, w *stage) {
				if n := len(w.s.Objects("serviceengine")); n != 2 {
					t.Errorf("%d service engines", n)
				}
				newClient(t, w.s).want(200, "POST", "/login", obj{"username": "automation", "password": "automation123$%"})
				if _, ok := w.s.Object("healthmonitor", "red", "slow-sctp"); !ok {
					t.Error("no monitor in tenant red")
				}
				if r := w.want(200, "GET", "/api/ipamdnsproviderprofiledomainlist", nil); !strings.Contains(r.raw, "lab.example.org") {
					t.Error(r.raw)
				}
			}},
		{file: "vcenter", cloud: "vcenter", vtype: "CLOUD_VCENTER", vips: vips(obj{"auto_allocate_ip": true}),
			more: obj{"vrf_context_ref": "/api/vrfcontext?name=dmz&cloud=vcenter"}, want: "10.50.0.2", check: func(t *testing.T, w *stage) {
				n, _ := w.s.Object("network", "admin", "frontend")
				c, _ := w.s.Object("cloud", "admin", "vcenter")
				if doc.Str(n, "uuid") != "dvportgroup-100-"+doc.Str(c, "uuid") {
					t.Error(doc.Str(n, "uuid"))
				}
				if at := doc.Str(c, "vcenter_configuration", "management_network"); !strings.HasSuffix(at, "/vimgrnwruntime/"+doc.Str(n, "uuid")) {
					t.Errorf("management network %q", at)
				}
			}},
		{file: "nsxt-overlay", cloud: "nsx-overlay", vtype: "CLOUD_NSXT", vips: vips(obj{"auto_allocate_ip": true}),
			more: obj{"tier1_lr": lr + "core"},
			want: "100.64.10.2", check: func(t *testing.T, w *stage) {
				r := w.want(201, "POST", "/api/vsvip", obj{"name": "same", "cloud_ref": "/api/cloud?name=nsx-overlay", "tier1_lr": lr + "apps",
					"vip": vips(obj{"auto_allocate_ip": true})})
				if addresses(r.body) != "100.64.10.2" || !strings.HasSuffix(doc.Str(r.body, "vrf_context_ref"), "#t1-apps") {
					t.Error(r.raw)
				}
				if p := w.want(201, "POST", "/api/pool", obj{"name": "p", "cloud_ref": "/api/cloud?name=nsx-overlay",
					"tier1_lr": lr + "apps"}); !strings.HasSuffix(doc.Str(p.body, "vrf_ref"), "#t1-apps") {
					t.Error(p.raw)
				}
			}},
		{file: "nsxt-vlan", cloud: "nsx-vlan", vtype: "CLOUD_NSXT", want: "10.100.0.50 10.200.0.2",
			vips: vips(obj{"auto_allocate_ip": true}, obj{"auto_allocate_ip": true,
				"placement_networks": []any{obj{"network_ref": "/api/network?name=vlan-200&cloud=nsx-vlan"}}})},
		{file: "aws", cloud: "aws", vtype: "CLOUD_AWS", want: "172.31.16.2 172.31.32.2",
			vips: vips(obj{"vip_id": "1", "auto_allocate_ip": true, "subnet_uuid": "subnet-0a1b2c3d"},
				obj{"vip_id": "2", "auto_allocate_ip": true, "subnet_uuid": "subnet-4e5f6a7b", "auto_allocate_floating_ip": true}),
			check: func(t *testing.T, w *stage) {
				v := w.mustObject("vsvip", "v")
				if doc.Str(doc.Messages(v["vip"])[1], "floating_ip", "addr") != "203.0.113.2" {
					t.Errorf("%v", v)
				}
			}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			now := newClock()
			o := Options{FixtureFile: filepath.Join(fixtureFolder, tt.file+".yaml"), Now: now.now, StateFile: filepath.Join(t.TempDir(), "state")}
			s, c := signedIn(t, o)
			w := &stage{t, c, s, now}
			cloud := w.want(200, "GET", "/api/cloud?name="+tt.cloud, nil)
			m := doc.Messages(cloud.body["results"])[0]
			if doc.Str(m, "vtype") != tt.vtype {
				t.Error(cloud.raw)
			}
			if tt.vtype == "CLOUD_NSXT" && !strings.EqualFold(doc.Str(m, "nsxt_configuration", "data_network_config", "tz_type"),
				strings.TrimPrefix(tt.file, "nsxt-")) {
				t.Error(cloud.raw)
			}
			body := obj{"name": "v", "cloud_ref": "/api/cloud?name=" + tt.cloud, "vip": tt.vips}
			for k, v := range tt.more {
				body[k] = v
			}
			if got := addresses(w.want(201, "POST", "/api/vsvip", body).body); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if tt.check != nil {
				tt.check(t, w)
			}
			consistent(t, s)
			// The same uuids in every run.
			other := start(t, Options{FixtureFile: o.FixtureFile})
			ids := func(s *Server) (out string) {
				for _, typ := range []string{"cloud", "network", "vrfcontext", "serviceenginegroup", "serviceengine", "ipamdnsproviderprofile",
					"tenant", "healthmonitor"} {
					for _, o := range s.Objects(typ) {
						out += doc.Str(o, "uuid") + "\n"
					}
				}
				return out
			}
			if a, b := ids(s), ids(other); a != b {
				t.Errorf("uuids differ:\n%s\n%s", a, b)
			}
			// What the file says about objects is for a new Controller only.
			n := len(s.Objects("network"))
			if err := s.Remove("vsvip", "admin", "v"); err != nil {
				t.Fatal(err)
			}
			if s = restart(t, s, o); len(s.Objects("network")) != n {
				t.Errorf("%d networks after a restart, %d before", len(s.Objects("network")), n)
			}
		})
	}
	files, err := os.ReadDir(fixtureFolder)
	if err != nil || len(files) != 6 { // and its kustomization
		t.Errorf("%d files, and 5 examples are tested (%v)", len(files), err)
	}
}

func TestFixtureErrors(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"clouds:\n- name: a\n  typ: none\n", `f.yaml:3: there is no field "typ" here: use dns, ipam, name, networks, seGroups, set, type, vrfs`},
		{"clouds:\n- name: a\n  type: vcentre\n", `f.yaml:3: clouds[0].type: "vcentre" is not a cloud type: use one of aws, azure`},
		{"clouds:\n- type: none\n", `f.yaml:2: clouds[0]: name is missing`},
		{"clouds: 7\n", `f.yaml:1: cannot unmarshal`},
		{"clouds: [\n", `f.yaml: line 1: did not find expected node content`},
		{"a: 1\na: 2\n", `f.yaml:2: mapping key "a" already defined`},
		{"tenants: []\n---\ntenants: []\n", "second document"},
		{"licenseTier: GOLD\n", `f.yaml:1: licenseTier: "GOLD" is not a tier: use ENTERPRISE`},
		{"ipam:\n  async: soon\n", "f.yaml:2: cannot unmarshal"},
		{"users:\n- name: a\n", "f.yaml:2: users[0]: name or password is missing"},
		{"tenants:\n- name: a\n- name: a\n", `f.yaml:3: tenants[1]: there is another tenant named "a"`},
		{"clouds:\n- name: a\n  type: none\n  networks:\n  - name: n\n    subnets:\n    - prefix: 10.0.0.1/24\n",
			`f.yaml:7: clouds[0].networks[0].subnets[0].prefix: "10.0.0.1/24" is not a network prefix`},
		{"clouds:\n- name: a\n  type: none\n  networks:\n  - name: n\n    subnets:\n    - prefix: 10.0.0.0/24\n      ranges:\n      - {from: 10.0.0.9, to: 10.0.1.9}\n", "f.yaml:9: clouds[0].networks[0].subnets[0].ranges[0]: \"10.0.0.9\" to \"10.0.1.9\" is not a range"},
		{"clouds:\n- name: a\n  type: none\n  networks:\n  - name: n\n    subnets:\n    - prefix: 10.0.0.0/24\n      ranges:\n      - {from: 10.0.0.9, to: 10.0.0.9, for: vips}\n", `ranges[0].for: "vips" is not a use: use se, vip, vip-and-se`},
		{"clouds:\n- name: a\n  type: none\n  networks:\n  - name: n\n    vrf: v\n",
			`f.yaml:6: clouds[0].networks[0].vrf: cloud "a" has no VRF "v"`},
		{"clouds:\n- name: a\n  type: none\n  vrfs:\n  - name: v\n    routes:\n    - {prefix: x, nextHop: 10.0.0.1}\n",
			`f.yaml:7: clouds[0].vrfs[0].routes[0].prefix: "x" is not a prefix`},
		{"clouds:\n- name: a\n  type: none\n  ipam:\n    networks: [n]\n", `f.yaml:5: clouds[0].ipam.networks[0]: cloud "a" has no network "n"`},
		{"clouds:\n- name: a\n  type: none\n  ipam: {type: dhcp}\n", `"dhcp" is not an IPAM: use internal or none`},
		{"clouds:\n- name: a\n  type: none\n  seGroups:\n  - name: g\n    ha: many\n",
			`f.yaml:6: clouds[0].seGroups[0].ha: "many" is not a mode: use active-active`},
		{"objects:\n- type: pol\n  body: {name: x}\n", `f.yaml:2: objects[0].type: "pol" is not a type`},
		{"objects:\n- type: pool\n  tenant: t\n  body: {name: x}\n", `f.yaml:3: objects[0].tenant: there is no tenant "t"`},
		{"objects:\n- type: pool\n  body:\n    name: x\n    vrf_ref: /api/vrfcontext?name=v\n",
			"f.yaml:3: objects[0].body: pool \"x\": 400 VrfContext object not found"},
	} {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(tt.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{FixtureFile: path})
		if err == nil {
			s.Close()
			t.Errorf("accepted: %s", tt.yaml)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), path, "f.yaml"); !strings.Contains(got, tt.want) {
			t.Errorf("%s\ngot  %s\nwant %s", tt.yaml, got, tt.want)
		}
	}
	if _, err := New(Options{FixtureFile: "nowhere.yaml"}); err == nil {
		t.Error("no error without the file")
	}
}
