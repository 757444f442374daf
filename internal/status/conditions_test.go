// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// served is the record of a run in which everything went well.
func served() outcome.Record {
	return outcome.Record{Serving: outcome.Serving{
		Name: "c--ns-amf", Tenant: "admin", VSUUID: "virtualservice-1", Addresses: []netip.Addr{netip.MustParseAddr("10.10.0.10")},
		FQDNs: []string{"amf.example.com"}, Ports: []model.Port{{Number: 38412, Protocol: "SCTP"}}, Health: &model.Health{State: "OPER_UP"},
	}}
}

// with is served with findings.
func with(findings ...model.Finding) outcome.Record {
	r := served()
	r.Findings = findings
	return r
}

// done is a run that reached what is wanted, with what change makes of its record.
func done(change func(*outcome.Record)) outcome.Outcome {
	r := served()
	change(&r)
	return outcome.NewDone(r)
}

func TestConditions(t *testing.T) {
	port := model.Port{Number: 38412, Protocol: "SCTP"}
	invalid := model.Finding{Severity: model.Blocked, Reason: "InvalidAddress", Message: "fix it"}
	license := model.Finding{Severity: model.Blocked, Port: port, Reason: "LicenseTier", Message: "buy more"}
	failed := func(reason, message string) outcome.Outcome {
		return outcome.NewFailed(served(), outcome.Failure{Reason: reason, Message: message})
	}
	for name, c := range map[string]struct {
		o       outcome.Outcome
		reasons string // Accepted, Programmed, Healthy as status/reason
		says    string
	}{
		"all well": {outcome.NewDone(served()), "True/Accepted True/Programmed True/Up", "serves SCTP 38412 on 10.10.0.10"},
		"blocked, nothing serves": {outcome.NewBlocked(outcome.Record{Findings: []model.Finding{invalid}}),
			"False/InvalidAddress False/InvalidAddress Unknown/NotProgrammed", "fix it"},
		"blocked, old state serves": {outcome.NewBlocked(with(model.Finding{Severity: model.Blocked, Reason: "NameTaken", Message: "rename it"})),
			"False/NameTaken False/NameTaken True/Up", "keeps serving as it was"},
		"no settings": {outcome.NewUnasked(model.Finding{Severity: model.Blocked, Reason: "ConfigurationInvalid", Message: "no cloudName"}),
			"False/ConfigurationInvalid False/ConfigurationInvalid Unknown/NotProgrammed", "no cloudName"},
		"one port refused": {outcome.NewDone(with(license)),
			"True/LicenseTier True/Programmed True/Up", "buy more"},
		"a note changes nothing": {outcome.NewDone(with(model.Finding{Severity: model.Note, Reason: "NoDomain", Message: "no domain"})),
			"True/Accepted True/Programmed True/Up", "all ports are accepted; no domain"},
		"Controller away": {outcome.NewUnread(outcome.Record{}, outcome.Failure{Reason: "ControllerUnavailable", Message: "no answer"}),
			"Unknown/ControllerUnavailable False/ControllerUnavailable Unknown/NotProgrammed", "no answer"},
		"refused": {failed("ControllerRefused", "bad body"),
			"True/Accepted False/ControllerRefused True/Up", "bad body; VirtualService c--ns-amf keeps serving as it was"},
		"no address yet": {done(func(r *outcome.Record) { r.Addresses = nil }),
			"True/Accepted False/AddressPending True/Up", "waiting for the Controller's IPAM"},
		"down": {done(func(r *outcome.Record) {
			r.Health = &model.Health{State: "OPER_DOWN", Reason: "pool is down"}
			r.Servers = []outcome.Servers{{Port: model.Port{Number: 38412, Protocol: "SCTP"}, Text: "0 of 2 enabled servers up"}}
		}), "True/Accepted True/Programmed False/Down", "0 of 2"},
		"odd state": {done(func(r *outcome.Record) { r.Health.State = "OPER_AWAIT_MANUAL_PLACEMENT" }),
			"True/Accepted True/Programmed False/AwaitManualPlacement", ""},
		"health unknown": {done(func(r *outcome.Record) { r.Health = nil }), "True/Accepted True/Programmed Unknown/Unknown", ""},
		"long error":     {failed("ControllerRefused", strings.Repeat("ä", messageMax)), "True/Accepted False/ControllerRefused True/Up", "…"},
	} {
		var reasons, messages []string
		for _, k := range conditions(c.o) {
			reasons = append(reasons, string(k.Status)+"/"+k.Reason)
			messages = append(messages, k.Message)
			if len(k.Message) > messageMax+len(" …") || strings.ContainsAny(k.Reason, " -_") || k.Reason == "" {
				t.Errorf("%s: condition %+v", name, k)
			}
		}
		if got := strings.Join(reasons, " "); got != c.reasons {
			t.Errorf("%s: %s, want %s", name, got, c.reasons)
		}
		if !strings.Contains(strings.Join(messages, "\n"), c.says) {
			t.Errorf("%s: messages %q lack %q", name, messages, c.says)
		}
	}
}

func TestIngress(t *testing.T) {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 38412, Protocol: "SCTP"}, {Port: 80}}}}
	o := outcome.NewDone(served())
	if got := ingress(o, svc, nil); len(got) != 1 || got[0].IP != "10.10.0.10" || got[0].Hostname != "amf.example.com" || got[0].Ports != nil || got[0].IPMode != nil {
		t.Errorf("ingress is %+v", got)
	}
	o.Findings = []model.Finding{{Severity: model.Blocked, Port: model.Port{Number: 38412, Protocol: "SCTP"}, Reason: "LicenseTier"}}
	ports := ingress(o, svc, nil)[0].Ports
	if len(ports) != 2 || ports[0].Error == nil || *ports[0].Error != "ako.vmware.com/LicenseTier" || ports[1].Error != nil || ports[1].Protocol != "TCP" {
		t.Errorf("ports are %+v", ports)
	}
	proxy := new(corev1.LoadBalancerIPModeProxy)
	if got := ingress(o, svc, proxy); got[0].IPMode == nil || *got[0].IPMode != *proxy {
		t.Errorf("the mode is %v", got[0].IPMode)
	}
	o.VSUUID = ""
	if got := ingress(o, svc, proxy); got != nil {
		t.Errorf("an address without a VirtualService: %+v", got)
	}
}

// What the API server fills in is no difference, and nothing else is taken for that.
func TestKept(t *testing.T) {
	entry := func(ip string, mode *corev1.LoadBalancerIPMode) []corev1.LoadBalancerIngress {
		return []corev1.LoadBalancerIngress{{IP: ip, Hostname: "amf.example.com", IPMode: mode}}
	}
	vip, proxy := new(corev1.LoadBalancerIPModeVIP), new(corev1.LoadBalancerIPModeProxy)
	for name, c := range map[string]struct {
		have, want []corev1.LoadBalancerIngress
		kept       bool
	}{
		"filled in":            {entry("10.10.0.10", vip), entry("10.10.0.10", nil), true},
		"an old API server":    {entry("10.10.0.10", nil), entry("10.10.0.10", nil), true},
		"nothing":              {nil, nil, true},
		"somebody's own mode":  {entry("10.10.0.10", proxy), entry("10.10.0.10", nil), false},
		"a mode is asked for":  {entry("10.10.0.10", vip), entry("10.10.0.10", proxy), false},
		"another address":      {entry("10.10.0.10", vip), entry("10.10.0.11", nil), false},
		"the address is gone":  {entry("10.10.0.10", vip), nil, false},
		"there was none":       {nil, entry("10.10.0.10", nil), false},
		"one address too many": {append(entry("10.10.0.10", vip), entry("10.10.0.11", vip)...), entry("10.10.0.10", nil), false},
	} {
		want := c.want
		if c.kept {
			want = c.have
		}
		before := fmt.Sprintf("%+v", c.want)
		if got := kept(c.have, c.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
		if after := fmt.Sprintf("%+v", c.want); before != after {
			t.Errorf("%s: what is wanted changed from %s to %s", name, before, after)
		}
	}
}

func TestMergeKeepsOthersConditionsAndTimes(t *testing.T) {
	then, now := metav1.Unix(1, 0), metav1.Unix(2, 0)
	list := []metav1.Condition{{Type: "example.com/Theirs", Status: "True", LastTransitionTime: then}, {Type: Accepted, Status: "True", Reason: "Accepted", LastTransitionTime: then}}
	got := merge(list, conditions(outcome.NewDone(served())), now)
	if len(got) != 4 || got[0].Type != "example.com/Theirs" || !got[1].LastTransitionTime.Equal(&then) || !got[2].LastTransitionTime.Equal(&now) {
		t.Errorf("merged: %+v", got)
	}
}

// TestWhatIsNotKnownStays: an outcome that says nothing about what serves empties no status.
func TestWhatIsNotKnownStays(t *testing.T) {
	invalid := model.Finding{Severity: model.Blocked, Reason: model.ReasonConfigurationInvalid, Message: "no cloudName"}
	failure := outcome.Failure{Reason: "ControllerUnavailable", Message: "no answer"}
	for name, c := range map[string]struct {
		o    outcome.Outcome
		want bool // the address stays
	}{
		"no settings":             {outcome.NewUnasked(invalid), true},
		"Controller away":         {outcome.NewUnread(outcome.Record{}, failure), true},
		"nothing is known at all": {outcome.Outcome{}, true},
		"blocked":                 {outcome.NewBlocked(outcome.Record{Findings: []model.Finding{invalid}}), false},
		"failed":                  {outcome.NewFailed(outcome.Record{}, failure), false},
		"done":                    {outcome.NewDone(outcome.Record{}), false},
	} {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: "core"}}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.10.0.10"}}
		client := fake.NewClientBuilder().WithObjects(svc).WithStatusSubresource(svc).Build()
		w := &Writer{Client: client, Recorder: events.NewFakeRecorder(10), Now: time.Now}
		if err := client.Get(t.Context(), types.NamespacedName{Namespace: "core", Name: "amf"}, svc); err != nil {
			t.Fatal(err)
		}
		if err := w.Service(t.Context(), svc, c.o, nil, ""); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := new(corev1.Service)
		if err := client.Get(t.Context(), types.NamespacedName{Namespace: "core", Name: "amf"}, got); err != nil {
			t.Fatal(err)
		}
		if kept := len(got.Status.LoadBalancer.Ingress) > 0; kept != c.want {
			t.Errorf("%s: the address is kept: %v, want %v", name, kept, c.want)
		}
	}
}
