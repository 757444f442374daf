// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// alike has the markers that a Gateway of the Services API and a shared VIP both have.
func alike(name string, more map[string]any) map[string]any {
	body := map[string]any{"name": name, "created_by": "ako-c1"}
	var marks []any
	for _, pair := range [][2]string{{"clustername", "c1"}, {"Namespace", "core"}, {"ServiceName", "amf"}, {"GatewayName", "n2"}} {
		marks = append(marks, map[string]any{"key": pair[0], "values": []any{pair[1]}})
	}
	if parts := strings.Split(name, "-"); len(parts) > 5 { // a pool
		for key, value := range map[string]string{"Protocol": parts[len(parts)-2], "Port": parts[len(parts)-1]} {
			marks = append(marks, map[string]any{"key": key, "values": []any{value}})
		}
	}
	body["markers"] = marks
	for key, value := range more {
		body[key] = value
	}
	return body
}

func virtualService(gateway string) map[string]any {
	return alike("c1--core-n2", map[string]any{
		"service_metadata": fmt.Sprintf(`{"gateway":%q}`, gateway), "vsvip_ref": "/api/vsvip/?name=c1--core-n2", "services": []any{map[string]any{"port": 80}},
	})
}

var (
	sharedN2  = model.Owner{Kind: model.SharedVIPOwner, Namespace: "core", Name: "n2"}
	gatewayN2 = model.Owner{Kind: model.SvcAPIGatewayOwner, Namespace: "core", Name: "n2"}
)

// of counts what the mirror has of the Gateway and of the shared VIP, pools and all.
func (w *world) of() (gateway, shared int) {
	return len(w.mirror.Of(gatewayN2, "c1--core-n2")), len(w.mirror.Of(sharedN2, "c1--core-n2"))
}

// TestVirtualServiceTellsWhoseThePoolsAre, read before it or after.
func TestVirtualServiceTellsWhoseThePoolsAre(t *testing.T) {
	for name, c := range map[string]struct {
		gateway string
		want    model.Owner
	}{"a Gateway": {"core/n2", gatewayN2}, "a shared VIP": {"", sharedN2}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("pool", alike("c1--core-amf-n2-SCTP-80", nil))
			w.load()
			if g, s := w.of(); g != 1 || s != 1 || len(w.mirror.SharedVIPs("core", "amf")) > 0 {
				t.Errorf("while nobody can tell, the Gateway has %d, the shared VIP %d", g, s)
			}
			w.create("vsvip", map[string]any{"name": "c1--core-n2", "vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}},
				"markers": []any{map[string]any{"key": "clustername", "values": []any{"c1"}}}})
			w.create("virtualservice", virtualService(c.gateway))
			w.create("pool", alike("c1--core-amf-n2-TCP-80", nil))
			w.load()
			for _, o := range w.mirror.All() {
				if o.Key.Kind != model.VsVip && o.Owner != c.want {
					t.Errorf("%s is of %s", o.Key, o.Owner)
				}
			}
			other := gatewayN2
			if c.want == gatewayN2 {
				other = sharedN2
			}
			if n := len(w.mirror.Of(other, "c1--core-n2")); n != 0 || len(w.mirror.Of(c.want, "c1--core-n2")) != 4 {
				t.Errorf("%s has %d, %s has %d", other, n, c.want, len(w.mirror.Of(c.want, "c1--core-n2")))
			}
			if got := w.mirror.SharedVIPs("core", "amf"); slices.Equal(got, []string{"n2"}) != (c.want == sharedN2) {
				t.Errorf("amf is in %v", got)
			}
			// The pools go on being its when the VirtualService goes, and when they are written.
			vs := w.mirror.Get(key(model.VirtualService, "c1--core-n2"))
			w.mirror.Gone(vs.Key)
			pool := w.mirror.Get(key(model.Pool, "c1--core-amf-n2-TCP-80"))
			body, err := json.Marshal(alike(pool.Key.Name, map[string]any{"uuid": pool.UUID, "tenant_ref": "/api/tenant/admin#admin"}))
			if err != nil {
				t.Fatal(err)
			}
			if o, err := w.mirror.Wrote(model.Pool, body); err != nil || !o.Owner.MayBe(c.want) {
				t.Errorf("%+v, %v", o, err)
			}
			if o := w.mirror.Get(pool.Key); o.Owner != c.want {
				t.Errorf("%s is of %s", o.Key, o.Owner)
			}
			for _, told := range w.told() {
				if !told.MayBe(c.want) && !strings.HasPrefix(string(told.Kind), "Service") {
					t.Errorf("%s was told", told)
				}
			}
			w.mirror.Gone(pool.Key)
			w.mirror.Gone(key(model.Pool, "c1--core-amf-n2-SCTP-80"))
			if got := w.mirror.SharedVIPs("core", "amf"); len(got) > 0 {
				t.Errorf("amf is in %v still", got)
			}
		})
	}
}
