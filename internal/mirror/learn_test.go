// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"errors"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// lists counts the lists of a kind since the log was last asked.
func (w *world) lists(kind model.Kind) (n int) {
	for _, r := range w.sim.Requests() {
		if r.Method == "GET" && r.Type == string(kind) {
			n++
		}
	}
	w.sim.ResetRequests()
	return n
}

// TestLearn: a kind on demand is listed once somebody asks, and from then on with each load.
func TestLearn(t *testing.T) {
	w := newWorld(t)
	if err := w.mirror.Learn(t.Context(), model.PKIProfile); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("before the first load: %v", err)
	}
	w.load()
	if f := w.mirror.Facts(); f.Shared[model.SSLProfile] != nil || w.lists(model.SSLProfile) > 0 {
		t.Error("it is listed although nobody has asked")
	}
	learn := func() {
		t.Helper()
		if err := w.mirror.Learn(t.Context(), model.SSLProfile, model.HealthMonitor); err != nil {
			t.Fatal(err)
		}
	}
	learn()
	learn()
	f := w.mirror.Facts()
	if !f.Has(model.SSLProfile, "System-Standard") || w.lists(model.SSLProfile) != 1 {
		t.Errorf("learned: %v", f.Shared[model.SSLProfile])
	}
	if uuid, ok := w.mirror.UUID(model.SSLProfile, "admin", "System-Standard"); !ok || uuid == "" {
		t.Error("its UUID isn't known")
	}
	w.load()
	if !w.mirror.Facts().Has(model.SSLProfile, "System-Standard") || w.lists(model.SSLProfile) != 1 {
		t.Error("a load doesn't list it")
	}
	if got := f.Types[model.NetworkProfile]["System-SCTP-Proxy"]; got != "PROTOCOL_TYPE_SCTP_PROXY" {
		t.Errorf("type of System-SCTP-Proxy: %q", got)
	}
	if got := f.Types[model.ApplicationProfile]["System-SSL-Application"]; got != "APPLICATION_PROFILE_TYPE_SSL" {
		t.Errorf("type of System-SSL-Application: %q", got)
	}
}

// TestLearnWhatIsDenied: a kind that the account may not list is no reason to know nothing; one that fails is asked for again.
func TestLearnWhatIsDenied(t *testing.T) {
	w := newWorld(t)
	w.load()
	heal := w.sim.Inject(avisim.Fault{Method: "GET", Type: "sslprofile", Status: 403, Body: `{"error":"not allowed"}`})
	if err := w.mirror.Learn(t.Context(), model.SSLProfile); err != nil {
		t.Fatal(err)
	}
	w.load()
	f := w.mirror.Facts()
	if f.Shared[model.SSLProfile] != nil || f.Lacks(model.SSLProfile, "nowhere") {
		t.Errorf("known: %v", f.Shared[model.SSLProfile])
	}
	heal()
	w.load()
	if !w.mirror.Facts().Lacks(model.SSLProfile, "nowhere") {
		t.Error("it is not asked for again")
	}
	heal = w.sim.Inject(avisim.Fault{Method: "GET", Type: "pkiprofile", Status: 500})
	if err := w.mirror.Learn(t.Context(), model.PKIProfile); err == nil {
		t.Error("no error although the Controller failed")
	}
	heal()
	if err := w.mirror.Learn(t.Context(), model.PKIProfile); err != nil || w.mirror.Facts().Shared[model.PKIProfile] == nil {
		t.Errorf("after it came back: %v", err)
	}
}

// TestLearnIn: what another tenant has, with what it sees of the tenant admin, is known apart from the configured tenant's.
func TestLearnIn(t *testing.T) {
	w := newWorld(t)
	if _, err := w.sim.Create("tenant", "admin", map[string]any{"name": "telco"}); err != nil {
		t.Fatal(err)
	}
	uuids := make(map[string]string)
	for _, o := range []struct{ kind, tenant, name string }{
		{"healthmonitor", "telco", "theirs"}, {"healthmonitor", "telco", "both"}, {"healthmonitor", "admin", "both"},
		{"networksecuritypolicy", "telco", "policy"},
	} {
		body := map[string]any{"name": o.name}
		if o.kind == "healthmonitor" {
			body["type"] = "HEALTH_MONITOR_TCP"
		}
		uuid, err := w.sim.Create(o.kind, o.tenant, body)
		if err != nil {
			t.Fatal(err)
		}
		uuids[o.tenant+"/"+o.name] = uuid
	}
	w.load()
	w.lists(model.HealthMonitor)
	if f := w.mirror.Facts().In("telco"); f.Lacks(model.HealthMonitor, "nothing") {
		t.Error("a tenant that nobody looked at lacks something")
	}
	for range 2 {
		if err := w.mirror.LearnIn(t.Context(), "telco", model.HealthMonitor, model.NetworkSecurityPolicy); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.lists(model.HealthMonitor); n != 1 {
		t.Errorf("%d lists, want 1", n)
	}
	known := func() {
		t.Helper()
		all := w.mirror.Facts()
		f := all.In("telco")
		if !f.Has(model.HealthMonitor, "theirs") || !f.Has(model.HealthMonitor, "System-SCTP") || !f.Lacks(model.HealthMonitor, "nothing") ||
			!f.Has(model.NetworkSecurityPolicy, "policy") || f.Lacks(model.SSLProfile, "nothing") {
			t.Errorf("in the tenant: %v", f.Shared)
		}
		if all.Has(model.HealthMonitor, "theirs") || all.Shared[model.NetworkSecurityPolicy] != nil {
			t.Error("the configured tenant has what is the other's")
		}
		for _, tenant := range []string{"telco", "admin"} {
			if got, _ := w.mirror.UUID(model.HealthMonitor, tenant, "both"); got != uuids[tenant+"/both"] {
				t.Errorf("%s: UUID %s, want %s", tenant, got, uuids[tenant+"/both"])
			}
		}
	}
	known()
	w.load()
	known()
	if n := w.lists(model.HealthMonitor); n != 2 {
		t.Errorf("a load lists them %d times, want 2", n)
	}
	// A tenant that is gone, or that may not be looked at, keeps nobody else from being served.
	if err := w.mirror.LearnIn(t.Context(), "nowhere", model.HealthMonitor); err != nil {
		t.Errorf("a tenant that doesn't exist: %v", err)
	}
	w.load()
	if f := w.mirror.Facts().In("nowhere"); f.Lacks(model.HealthMonitor, "nothing") {
		t.Error("a tenant that doesn't exist lacks something")
	}
}
