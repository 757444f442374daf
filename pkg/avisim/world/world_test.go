// SPDX-License-Identifier: Apache-2.0

package world

import "testing"

type obj = map[string]any

// open makes a world that saves its state if it has a file, until the test is over.
func open(t testing.TB, o Settings) *World {
	t.Helper()
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.StartSaving()
	t.Cleanup(w.StopSaving)
	return w
}

func vsvip(name string) obj {
	return obj{"name": name, "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}}
}

func pool(name string, ips ...string) obj {
	servers := []obj{}
	for _, ip := range ips {
		servers = append(servers, obj{"ip": obj{"addr": ip, "type": "V4"}, "port": 30100})
	}
	return obj{"name": name, "servers": servers}
}

// TestAudit shows that a world without a mistake passes, and that an index that is wrong is found.
func TestAudit(t *testing.T) {
	w := open(t, Settings{})
	if _, err := w.Admin().Create("vsvip", AdminTenant, vsvip("v")); err != nil {
		t.Fatal(err)
	}
	if err := w.Audit(); err != nil {
		t.Error(err)
	}
	for name, damage := range map[string]func(*Writer){
		"names":     func(s *Writer) { clear(s.Store.names) },
		"referrers": func(s *Writer) { clear(s.Store.in) },
		"addresses": func(s *Writer) { clear(s.ipam.inVRF) },
	} {
		w := open(t, Settings{})
		if _, err := w.Admin().Create("vsvip", AdminTenant, vsvip("v")); err != nil {
			t.Fatal(err)
		}
		w.Write(damage)
		if w.Audit() == nil {
			t.Errorf("%s: the damage is not found", name)
		}
	}
}
