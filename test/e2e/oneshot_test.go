// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// once runs the program and looks at its exit code and at a line that it has to print.
func (f *fixture) once(code int, line string, flags ...string) {
	f.Helper()
	stdout, stderr, got, err := st.Once(f.ctx, flags...)
	f.must(err)
	text := stdout
	if code == 1 {
		text = stderr
	}
	if got != code || !strings.Contains(text, line) {
		f.Fatalf("%v: exit code %d, want %d with %q; it says\n%s\nand logs\n%s", flags, got, code, line, stdout, stderr)
	}
}

// TestExitCodes: scripts learn from them what a preview found, and whether everything was handed back.
func TestExitCodes(t *testing.T) {
	f := begin(t)
	f.deploy("amf", 2)
	f.served("amf", 2)
	operator.Stop()
	t.Cleanup(f.restore)
	st.Controller.ResetRequests()
	f.once(0, "Writes to the Controller: none.", "--preview")
	f.deploy("new", 1)
	f.once(2, "create VirtualService: 1", "--preview")
	f.once(1, "avi-k8s-config", "--preview", "--namespace=default")
	f.once(1, "flag provided but not defined", "--preview", "--no-such-flag")
	if w := writes(""); len(w) > 0 {
		t.Errorf("a preview writes: %s %s", w[0].Method, w[0].Path)
	}

	service := func() *corev1.Service {
		svc := new(corev1.Service)
		f.must(st.Client.Get(f.ctx, client.ObjectKey{Namespace: f.ns, Name: "amf"}, svc))
		return svc
	}
	f.once(1, "avi-k8s-config", "--hand-back", "--namespace=default")
	if s := service(); len(s.Finalizers) == 0 || len(s.Status.Conditions) == 0 {
		t.Error("a failed hand-back took something away")
	}
	requests := len(st.Controller.Requests())
	f.once(0, "Service: 1 handed back", "--hand-back")
	if n := len(st.Controller.Requests()); n != requests {
		t.Errorf("handing back asks the Controller %d times", n-requests)
	}
	if s := service(); len(s.Finalizers)+len(s.Status.Conditions) > 0 || len(s.Status.LoadBalancer.Ingress) == 0 {
		t.Errorf("finalizers %v, status %+v", s.Finalizers, s.Status)
	}
	f.once(0, "Service: 0 handed back", "--hand-back")
	f.restore()
	f.served("amf", 2)
	f.served("new", 1)
}
