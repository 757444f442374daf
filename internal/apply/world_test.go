// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// fault is what can be made to go wrong on the simulated Controller.
type fault = avisim.Fault

// world is a simulated Controller and an applier whose mirror has read it.
type world struct {
	*testing.T
	sim     *avisim.Server
	applier *Applier
}

// amf is a Gateway, whose pools may have any name.
var amf = model.Owner{Kind: model.GatewayOwner, Namespace: "core", Name: "amf"}

// newWorld makes a world; what wraps the Controller's handler sees each request first.
func newWorld(t *testing.T, wraps ...func(http.Handler) http.Handler) *world {
	t.Helper()
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	cfg := avi.Config{Host: sim.Host(), Username: "admin", Password: "avi123$%", CA: sim.CAPEM(), Timeout: 5 * time.Second}
	if len(wraps) > 0 {
		var handler http.Handler = sim
		for _, wrap := range wraps {
			handler = wrap(handler)
		}
		front := httptest.NewTLSServer(handler)
		t.Cleanup(front.Close)
		cfg.Host = strings.TrimPrefix(front.URL, "https://")
		cfg.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	}
	client, err := avi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(context.Background()) })
	m := mirror.New(client, logr.Discard())
	m.SetScope(mirror.Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &world{T: t, sim: sim, applier: &Applier{Client: client, Mirror: m}}
}

// run carries out a plan of these steps.
func (w *world) run(steps ...plan.Step) []StepResult {
	w.Helper()
	return w.applier.Run(w.Context(), &plan.Plan{Owner: amf, Steps: steps})
}

// one carries out a single step.
func (w *world) one(s plan.Step) StepResult {
	w.Helper()
	return w.run(s)[0]
}

// created creates a pool of amf and returns it as the mirror has it.
func (w *world) created(name string) *model.Observed {
	w.Helper()
	if r := w.one(create(name)); r.Err != nil {
		w.Fatal(r.Err)
	}
	return w.applier.Mirror.Get(key(name))
}

// requests lists the methods, of those given, of the requests about pools since the log was last asked.
func (w *world) requests(methods ...string) (out []string) {
	for _, r := range w.sim.Requests() {
		if r.Type == "pool" && slices.Contains(methods, r.Method) {
			out = append(out, r.Method)
		}
	}
	w.sim.ResetRequests()
	return out
}

func key(name string) model.Key { return model.Key{Kind: model.Pool, Tenant: "admin", Name: name} }

func pool(name, gateway string) *models.Pool {
	return &models.Pool{
		Name: new(name), TenantRef: new(model.RefByName(model.Tenant, "admin")), CloudRef: new(model.RefByName(model.Cloud, "Default-Cloud")),
		CreatedBy: new("ako-c1"), Markers: model.Markers("c1", model.MarkGatewayNamespace, "core", model.MarkGatewayName, gateway),
		Servers: []*models.Server{{IP: &models.IPAddr{Addr: new("10.1.0.1"), Type: new("V4")}, Port: new(int32(80))}},
	}
}

// update changes fields of a pool; without any, the time that a disabled server has.
func update(o *model.Observed, fields ...plan.FieldChange) plan.Step {
	if len(fields) == 0 {
		fields = []plan.FieldChange{{Field: "graceful_disable_timeout", To: new(int32(5))}}
	}
	return plan.Step{Op: plan.Update, Key: o.Key, UUID: o.UUID, Fields: fields}
}

func create(name string, needs ...int) plan.Step {
	return plan.Step{Op: plan.Create, Key: key(name), Body: pool(name, "amf"), Needs: needs}
}
