// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// ofAKO reads the bodies of a file and returns those that the mirror would take for the input's owner's, as it would hold them.
func ofAKO(t *testing.T, path string, in *translate.Input) (out []*model.Observed) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := in.Owner.Key()
	name := translate.VirtualServiceName(in.Settings, owner)
	for i, doc := range strings.Split("\n"+string(raw), "\n---") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var meta struct {
			Kind, Tenant string
		}
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		at := slices.IndexFunc(model.Written, func(k model.Kind) bool { return k.Title() == meta.Kind })
		if at < 0 {
			t.Fatalf("%s: kind %q is none of those that the operator writes", path, meta.Kind)
		}
		kind := model.Written[at]
		body := model.NewBody(kind)
		doc = strings.Replace(strings.Replace(doc, "\nkind: "+meta.Kind, "", 1), "\ntenant: "+meta.Tenant, "", 1)
		if err := yaml.UnmarshalStrict([]byte(doc), body); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defaults(body)
		head := kind.Type().Head(body)
		o := &model.Observed{
			Key:  model.Key{Kind: kind, Tenant: cmp.Or(meta.Tenant, "admin"), Name: *head.Name},
			UUID: fmt.Sprintf("%s-ako-%d", kind, i), Body: body,
		}
		var cluster string
		cluster, o.Owner = model.OwnerOf(head.Markers)
		ours := model.Ours(in.Settings.ClusterName, o.Key.Name, cluster) && model.Formed(cluster, kind, o.Key.Name, head.Markers) &&
			(head.CreatedBy == nil || *head.CreatedBy == in.Settings.CreatedBy)
		plan.Prune(body)
		if ours && (o.Owner.MayBe(owner) || kind == model.VsVip && o.Key.Name == name) {
			out = append(out, o)
		}
	}
	return out
}

// defaults fills in what the Controller does and AKO leaves out.
func defaults(body any) {
	set := func(field **bool) {
		if *field == nil {
			*field = new(true)
		}
	}
	switch o := body.(type) {
	case *models.VirtualService:
		set(&o.TrafficEnabled)
	case *models.Pool:
		for _, s := range o.Servers {
			set(&s.Enabled)
		}
	}
}
