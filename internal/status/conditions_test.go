package status

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// served is an outcome of which everything went well.
func served() engine.Outcome {
	return engine.Outcome{
		Name: "c--ns-amf", Tenant: "admin", VSUUID: "virtualservice-1", Addresses: []netip.Addr{netip.MustParseAddr("10.10.0.10")},
		FQDNs: []string{"amf.example.com"}, Ports: []model.Port{{Number: 38412, Protocol: "SCTP"}}, HealthKnown: true, Health: mirror.Health{State: "OPER_UP"},
	}
}

func TestConditions(t *testing.T) {
	port := model.Port{Number: 38412, Protocol: "SCTP"}
	for name, c := range map[string]struct {
		change  func(*engine.Outcome)
		reasons string // Accepted, Programmed, Healthy as status/reason
		says    string
	}{
		"all well": {func(*engine.Outcome) {}, "True/Accepted True/Programmed True/Up", "serves SCTP 38412 on 10.10.0.10"},
		"blocked, nothing serves": {func(o *engine.Outcome) {
			*o = engine.Outcome{Blocked: true, Findings: []model.Finding{{Severity: model.Blocked, Reason: "InvalidAddress", Message: "mend it"}}}
		}, "False/InvalidAddress False/InvalidAddress Unknown/NotProgrammed", "mend it"},
		"blocked, old state serves": {func(o *engine.Outcome) {
			o.Blocked, o.Findings = true, []model.Finding{{Severity: model.Blocked, Reason: "NameTaken", Message: "rename it"}}
		}, "False/NameTaken False/NameTaken True/Up", "keeps serving as it was"},
		"one port refused": {func(o *engine.Outcome) {
			o.Findings = []model.Finding{{Severity: model.Blocked, Port: port, Reason: "LicenseTier", Message: "buy more"}}
		}, "True/LicenseTier True/Programmed True/Up", "buy more"},
		"a note changes nothing": {func(o *engine.Outcome) {
			o.Findings = []model.Finding{{Severity: model.Note, Reason: "NoDomain", Message: "no domain"}}
		}, "True/Accepted True/Programmed True/Up", "all ports are accepted; no domain"},
		"Controller away": {func(o *engine.Outcome) { o.Err = &avi.Error{Reason: avi.ReasonUnavailable, Message: "no answer"} }, "True/Accepted False/ControllerUnavailable True/Up", "no answer"},
		"refused":         {func(o *engine.Outcome) { o.Err = &avi.Error{Reason: avi.ReasonInvalid, Message: "bad body"} }, "True/Accepted False/ControllerRefused True/Up", "bad body"},
		"foreign name":    {func(o *engine.Outcome) { o.Err = &mirror.NotOursError{CreatedBy: "bob"} }, "True/Accepted False/NameTaken True/Up", "created by bob"},
		"no address yet":  {func(o *engine.Outcome) { o.Addresses = nil }, "True/Accepted False/AddressPending True/Up", "waiting for the Controller's IPAM"},
		"down": {func(o *engine.Outcome) {
			o.Health = mirror.Health{State: "OPER_DOWN", Reason: "pool is down"}
			o.Servers = "SCTP 38412: 0 of 2 enabled servers up"
		}, "True/Accepted True/Programmed False/Down", "0 of 2"},
		"odd state":      {func(o *engine.Outcome) { o.Health.State = "OPER_AWAIT_MANUAL_PLACEMENT" }, "True/Accepted True/Programmed False/AwaitManualPlacement", ""},
		"health unknown": {func(o *engine.Outcome) { o.HealthKnown = false }, "True/Accepted True/Programmed Unknown/Unknown", ""},
		"long error":     {func(o *engine.Outcome) { o.Err = errors.New(strings.Repeat("ä", messageMax)) }, "True/Accepted False/ControllerRefused True/Up", "…"},
	} {
		o := served()
		c.change(&o)
		var reasons, messages []string
		for _, k := range conditions(o) {
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
	o := served()
	if got := ingress(o, svc); len(got) != 1 || got[0].IP != "10.10.0.10" || got[0].Hostname != "amf.example.com" || got[0].Ports != nil || got[0].IPMode != nil {
		t.Errorf("ingress is %+v", got)
	}
	o.Findings = []model.Finding{{Severity: model.Blocked, Port: model.Port{Number: 38412, Protocol: "SCTP"}, Reason: "LicenseTier"}}
	ports := ingress(o, svc)[0].Ports
	if len(ports) != 2 || ports[0].Error == nil || *ports[0].Error != "ako.vmware.com/LicenseTier" || ports[1].Error != nil || ports[1].Protocol != "TCP" {
		t.Errorf("ports are %+v", ports)
	}
	o.VSUUID = ""
	if got := ingress(o, svc); got != nil {
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
	got := merge(list, conditions(served()), now)
	if len(got) != 4 || got[0].Type != "example.com/Theirs" || !got[1].LastTransitionTime.Equal(&then) || !got[2].LastTransitionTime.Equal(&now) {
		t.Errorf("merged: %+v", got)
	}
}
