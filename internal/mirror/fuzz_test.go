// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// FuzzAnswers takes whatever a Controller may answer for an object of each kind: the mirror never panics, takes for ours only what says
// so, gives back what it took, and what is planned from that deletes nothing else.
func FuzzAnswers(f *testing.F) {
	for kind := range model.Written {
		for _, body := range []string{
			`{"name":"c1--core-amf","uuid":"u1","tenant_ref":"/api/tenant/admin#admin","created_by":"ako-c1","markers":[{"key":"clustername","values":["c1"]},{"key":"Namespace","values":["core"]},{"key":"ServiceName","values":["amf"]}]}`,
			`{"name":"c1--core-amf-SCTP-38412","uuid":"u2","markers":[{"key":"clustername","values":["c1"]},{"key":"Namespace","values":["core"]},{"key":"GatewayName","values":["edge"]},{"key":"Port","values":[]}],"servers":[null,{}]}`,
			`{"name":"c1--","uuid":"u3","markers":[null,{"key":null,"values":[null]}],"vip":[null,{"ip_address":{"addr":"x"}}],"dns_info":[{}]}`,
			`{"results":[{}]}`, `null`, `[]`, `"text"`, `{"name":1}`,
		} {
			f.Add(uint8(kind), body)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		kind := model.Written[int(which)%len(model.Written)]
		m := New(nil, logr.Discard())
		m.SetScope(Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
		o, err := m.Wrote(kind, json.RawMessage(body))
		all := m.All()
		if err != nil {
			if foreign := new(NotOursError); errors.As(err, &foreign) && foreign.Error() == "" || len(all) > 0 {
				t.Errorf("%v, and there are %v", err, all)
			}
			return
		}
		if len(all) != 1 || all[0].UUID != o.UUID || !strings.HasPrefix(o.Key.Name, "c1--") || o.Key.Kind != kind {
			t.Fatalf("%+v is kept as %+v", o, all)
		}
		kept := m.objects[o.Key]
		kept.whole.Store(nil) // so that it is decoded again
		answered, errA := json.Marshal(o)
		again, errB := json.Marshal(kept.observed())
		if errA != nil || errB != nil || string(answered) != string(again) {
			t.Errorf("the answer is %s, and what is kept of it %s: %v, %v", answered, again, errA, errB)
		}
		for _, claim := range model.Claims(o.Body) {
			if len(m.Claiming(claim)) != 1 {
				t.Errorf("nobody claims %s", claim)
			}
		}
		p := plan.Teardown(o.Owner, m.Of(o.Owner, o.Key.Name), "the test says so")
		for _, step := range p.Steps {
			if step.Key != o.Key || step.Op != plan.Delete {
				t.Errorf("%s", p.String())
			}
		}
		m.Gone(o.Key)
		if len(m.All()) > 0 || len(m.Of(o.Owner, o.Key.Name)) > 0 {
			t.Errorf("it is there still: %v", m.All())
		}
	})
}
