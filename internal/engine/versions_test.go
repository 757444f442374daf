// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// TestDrainTimeByAPIVersion: the drain time is in the field of the negotiated version, edits of it stay until a timeout is asked for, and
// no pool is written again for a field that an answer leaves out.
func TestDrainTimeByAPIVersion(t *testing.T) {
	for _, tt := range []struct {
		release, tier, configured string
		field                     string // that the operator writes, "" for none
		value                     int
	}{
		{"30.2.1", "ENTERPRISE", "", "graceful_disable_timeout", 1},
		{"30.2.1", "ENTERPRISE", "31.2.1", "graceful_disable_timeout", 1},
		{"31.2.1", "ENTERPRISE", "", "graceful_disable_timeout", 1},
		{"31.2.1", "ENTERPRISE", "31.2.1", "graceful_disable_timeout_sec", 60},
		{"31.2.1", "ENTERPRISE", "31.3.1", "graceful_disable_timeout_sec", 60}, // capped
		{"31.2.1", "BASIC", "31.2.1", "", 0},
		{"31.2.1", "BASIC", "", "graceful_disable_timeout", 1},
	} {
		t.Run(strings.Join([]string{tt.release, tt.tier, tt.configured}, " "), func(t *testing.T) {
			w := worldOf(t, avisim.Options{Version: tt.release, LicenseTier: tt.tier}, tt.configured)
			w.load()
			w.svc.Spec.Ports = w.svc.Spec.Ports[1:] // TCP, which every tier has
			w.served()
			pool := func() map[string]any { o, _ := w.sim.Object("pool", "admin", tcpPool); return o }
			wants := func(when string, value int) {
				t.Helper()
				for _, f := range []string{"graceful_disable_timeout", "graceful_disable_timeout_sec"} {
					want := "<nil>"
					if f == tt.field {
						want = fmt.Sprint(value)
					}
					if got := fmt.Sprint(pool()[f]); got != want {
						t.Errorf("%s, %s is %s, want %s", when, f, got, want)
					}
				}
			}
			wants("after the create", tt.value)
			for range 2 { // refreshes
				w.wrote()
				w.load()
				w.served()
				w.wantUnchanged()
			}
			if tt.field == "" {
				return
			}
			w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o[tt.field] = 420 }))
			w.load()
			w.served()
			wants("after an edit by somebody", 420)
			w.svc.Annotations[translate.AnnotationDrainTimeout] = "3"
			w.served()
			wants("told", 3*tt.value)
		})
	}
}

// TestDrainTimeThatIsNotShown: a Controller that keeps the field from the older API version is not written to at each refresh.
func TestDrainTimeThatIsNotShown(t *testing.T) {
	w := worldOf(t, avisim.Options{Version: "31.2.1"}, "30.2.1")
	w.load()
	w.served()
	w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) {
		delete(o, "graceful_disable_timeout")
		o["graceful_disable_timeout_sec"] = 60
	}))
	w.wrote()
	w.load()
	w.served()
	w.wantUnchanged()
}
