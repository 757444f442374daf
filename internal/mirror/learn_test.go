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
