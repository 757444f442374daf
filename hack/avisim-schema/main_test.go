// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"maps"
	"os"
	"strings"
	"testing"
)

// TestCurrent fails if the table that is checked in is not what the pinned module and the overlay give.
func TestCurrent(t *testing.T) {
	want, err := generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../pkg/avisim/schema/schema.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("pkg/avisim/schema/schema.txt is not current: run make schema")
	}
}

// TestReduce shows how a description becomes attributes.
func TestReduce(t *testing.T) {
	s := &spec{types: map[string]*objectType{"networkprofile": {}}}
	tests := []struct {
		p    property
		want string
	}{
		{property{Type: "integer", Format: "int32", Default: 10.0, Description: "How long. Allowed values are 1-7200. Special values are 0 - Immediate, -1 - Infinite. " +
			"Field introduced in 18.1.5, 18.2.1. Unit is MIN. Allowed in Enterprise edition with any value, Essentials edition(Allowed values- 1), " +
			"Basic edition(Allowed values- 1), Enterprise with Cloud Services edition."}, "int 1..7200 or=0,-1 =10 since=18.1.5,18.2.1 low=1"},
		{property{Type: "string", Default: "A B", Description: " Enum options - A_1, B_2. Field deprecated in 30.2.1. Allowed in Enterprise edition with any value, " +
			"Enterprise with Cloud Services edition."}, `str enum=A_1|B_2 ="A\u0020B" until=30.2.1 ent`},
		{property{Type: "array", Items: &property{Ref: "#/definitions/Server"}, Description: "Minimum of 1 items required. Maximum of 5 items allowed. " +
			"Allowed in Enterprise edition with any value, Basic, Enterprise with Cloud Services edition."}, "[]msg:Server min=1 max=5 ess=-"},
		{property{Type: "boolean", Default: true, Description: "Allowed in Enterprise edition with any value, Essentials edition with any value, Basic edition(Allowed " +
			"values- false), Enterprise with Cloud Services edition. Special default for Basic edition is false, Enterprise is True."}, "bool =true basic=false basic:=false"},
		{property{Type: "string", ReadOnly: true, Description: "It is a reference to an object of type NetworkProfile."}, "ref:networkprofile ro"},
		{property{Type: "integer", Format: "uint32", Description: "Allowed values are 0,1,2,4,8,16."}, "uint in=0,1,2,4,8,16"},
	}
	for _, tt := range tests {
		f, err := s.reduce(tt.p)
		if err != nil {
			t.Errorf("%s: %v", tt.p.Description, err)
		} else if got := f.line("M.f", map[string]string{}); got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.p.Description, got, tt.want)
		}
	}
	for _, p := range []property{{Type: "object"}, {Type: "string", Description: "It is a reference to an object of type Nothing."}} {
		if f, err := s.reduce(p); err == nil {
			t.Errorf("%+v gives %s", p, f.kind)
		}
	}
}

// TestZeroDefaults shows which fields of the vendor's classes begin as false or 0: those that say so, and no others.
func TestZeroDefaults(t *testing.T) {
	dir, _, err := moduleDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSpec(dir)
	if err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string]map[string]any{
		"SCTPProxyProfile":     {"idle_timeout": 0, "reset_timeout": 0},
		"Server":               {"resolve_server_by_dns": false, "rewrite_host_header": false, "static": false, "verify_network": false},
		"HealthMonitorSctp":    {},
		"NoMessageOfThatName!": nil,
	} {
		got, err := s.zeroDefaults(message)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", message, got, err, want)
		}
	}
	s.classes = t.TempDir()
	if err := os.Mkdir(s.classes+"/Server.java", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.zeroDefaults("Server"); err == nil {
		t.Error("a class that can't be read is no error")
	}
}

// TestOverlay shows that a change which changes nothing, or says no reason, is an error.
func TestOverlay(t *testing.T) {
	tests := []struct{ text, err string }{
		{"# why\n M.a =1 since=22.1.3", ""},
		{"# why\n M.a -req", ""},
		{"# why\n M.c + []str max=3", ""},
		{"# why\n *.a 1..5", ""},
		{"# why\n value X 22.1.3", ""},
		{"M.a =1", "says why"},
		{"# why\n\n M.a =1", "says why"},
		{"# why\n M.a req", "already"},
		{"# why\n M.a -max", "no max to drop"},
		{"# why\n M.z =1", "no field"},
		{"# why\n N.a =1", "no message"},
		{"# why\n M.a + str", "in the specification"},
		{"# why\n M.a color=red", "unknown attribute"},
		{"# why\n *.z =1", "no message has"},
		{"# why\n value Y 22.1.3", "no enumeration"},
	}
	for _, tt := range tests {
		table := &table{messages: map[string]map[string]*field{"M": {
			"a": {kind: "int", attrs: map[string]string{"req": ""}}, "b": {kind: "str", attrs: map[string]string{"enum": "W|X"}}}}}
		err := table.overlay(tt.text)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.err)
		}
	}
}
