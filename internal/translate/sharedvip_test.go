// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

func sharing(name, group, consent string, created time.Time) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "core", CreationTimestamp: metav1.NewTime(created),
		Annotations: map[string]string{AnnotationSharedVIP: group, AnnotationAllowReplacement: consent}}}
}

func TestPlaceOf(t *testing.T) {
	for name, c := range map[string]struct {
		asks, consent string
		alone         bool
		groups        []string
		want          Place
	}{
		"new, alone":                       {want: Place{}},
		"new, in a group":                  {asks: "n2", want: Place{Group: "n2"}},
		"served alone":                     {alone: true, want: Place{}},
		"served in its group":              {asks: "n2", groups: []string{"n2"}, want: Place{Group: "n2"}},
		"joins, not yet allowed":           {asks: "n2", alone: true, want: Place{}},
		"joins":                            {asks: "n2", alone: true, consent: "true", want: Place{Leaving: true}},
		"leaves, not yet allowed":          {groups: []string{"n2"}, want: Place{Group: "n2"}},
		"leaves":                           {groups: []string{"n2"}, consent: "true", want: Place{Group: "n2", Leaving: true}},
		"moves, not yet allowed":           {asks: "n4", groups: []string{"n2"}, want: Place{Group: "n2"}},
		"moves":                            {asks: "n4", groups: []string{"n2"}, consent: "true", want: Place{Group: "n2", Leaving: true}},
		"has moved, the rest is to follow": {asks: "n4", groups: []string{"n2", "n4"}, consent: "true", want: Place{Group: "n4"}},
		"has left, the rest is to follow":  {alone: true, groups: []string{"n2"}, want: Place{}},
		"twice, by somebody else":          {asks: "n2", alone: true, groups: []string{"n2"}, want: Place{Group: "n2"}},
	} {
		if got := PlaceOf(sharing("amf", c.asks, c.consent, time.Time{}), c.alone, c.groups); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestSeniority(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	first, late := sharing("b", "n2", "", day(1)), sharing("d", "n2", "", day(1))
	second, twin := sharing("c", "n2", "", day(2)), sharing("a", "n2", "", day(2))
	late.Annotations[AnnotationJoined] = Joined("n2", day(3))
	all := []*corev1.Service{late, second, twin, first}
	slices.SortFunc(all, CompareSeniority("n2"))
	if want := []*corev1.Service{first, twin, second, late}; !slices.Equal(all, want) {
		t.Errorf("the order is %s %s %s %s", all[0].Name, all[1].Name, all[2].Name, all[3].Name)
	}
	if !Since("n4", late).Equal(day(1)) {
		t.Error("joining one group makes a Service junior in another")
	}
	late.Annotations[AnnotationJoined] = "n2 yesterday"
	if !Since("n2", late).Equal(day(1)) {
		t.Error("a time that can't be read counts")
	}
}

// TestConsentOfAll: one Service doesn't allow what interrupts the others.
func TestConsentOfAll(t *testing.T) {
	a, b := sharing("a", "n2", "true", time.Time{}), sharing("b", "n2", "", time.Time{})
	g := SharedVIP{Namespace: "core", Group: "n2", Members: []*corev1.Service{a, b}}
	in := Input{Owner: g}
	if in.ReplacementAllowed() || a.Annotations[AnnotationAllowReplacement] != "true" {
		t.Error("one Service's consent counts for all, or was taken from it")
	}
	b.Annotations[AnnotationAllowReplacement] = "true"
	if !in.ReplacementAllowed() {
		t.Error("the consent of all doesn't count")
	}
}

func TestHostNamesKeepTheirOrder(t *testing.T) {
	b := &builder{in: Input{Live: Live{hostNames: []string{"b", "a"}}}}
	if got := b.inLiveOrder([]string{"a", "b"}); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("the same names: %v", got)
	}
	if got := b.inLiveOrder([]string{"a", "c"}); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("other names: %v", got)
	}
}

func TestShut(t *testing.T) {
	service := func(name string, ranges []string, ports ...int32) *corev1.Service {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "core"}, Spec: corev1.ServiceSpec{LoadBalancerSourceRanges: ranges}}
		for _, p := range ports {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Port: p, Protocol: corev1.ProtocolSCTP})
		}
		return svc
	}
	senior, tcp := service("senior", nil, 1), model.Port{Number: 2, Protocol: "TCP"}
	for _, tt := range []struct {
		what  string
		group string
		svc   *corev1.Service
		taken map[model.Port]string
		want  string
	}{
		{"another port", "n2", service("svc", nil, 2), map[model.Port]string{tcp: "x"}, ""},
		{"a port of a member", "n2", service("svc", nil, 2, 1), nil, "port SCTP 1 is Service senior's"},
		{"a port that is served for one that is none any more", "n2", service("svc", nil, 2), map[model.Port]string{{Number: 2, Protocol: "SCTP"}: "x"}, "port SCTP 2 is Service x's"},
		{"its own port", "n2", service("svc", nil, 2), map[model.Port]string{{Number: 2, Protocol: "SCTP"}: "svc"}, ""},
		{"other clients", "n2", service("svc", []string{"10.0.0.0/8"}, 2), nil, "spec.loadBalancerSourceRanges can't be enforced"},
		{"prefixes that are none", "n2", service("svc", []string{"10.0.0.0/33"}, 2), nil, `"10.0.0.0/33" can't be read as a prefix`},
		{"some prefixes that are none", "n2", service("svc", []string{"10.0.0.0/33", "10.0.0.0/8"}, 2), nil, "spec.loadBalancerSourceRanges can't be enforced"},
		{"no name", "n2 n3", service("svc", nil, 2), nil, "can't be part of a name"},
	} {
		got := SharedVIP{Namespace: "core", Group: tt.group, Members: []*corev1.Service{senior}}.Shut(tt.svc, tt.taken)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	vague := SharedVIP{Namespace: "core", Group: "n2", Members: []*corev1.Service{service("senior", []string{"10.0.0.0/8", "nonsense"}, 1)}}
	if got := vague.Shut(service("svc", []string{"10.0.0.0/8"}, 2), nil); !strings.Contains(got, "can't be enforced") {
		t.Errorf("a group of which nobody can tell whom it lets in: %q", got)
	}
	if got := (SharedVIP{Group: "n2"}).Shut(service("svc", []string{"10.0.0.0/8"}, 2), nil); got != "" {
		t.Errorf("an empty group: %q", got)
	}
}

// TestSharedVIPIsNoWiderThanAsked goes through what three Services of a new shared VIP may ask for: nobody is let in to one of them whom
// it doesn't let in, who can't be served is told, and the others are served.
func TestSharedVIPIsNoWiderThanAsked(t *testing.T) {
	const bad = "10.0.0.0/33"
	asked := [][]string{nil, {"10.0.0.0/8"}, {"fd00::/8", "192.0.2.0/24"}, {bad}, {"10.0.0.0/8", bad}, {""}}
	addresses := []string{"", "nowhere"}
	facts := &model.Facts{LicenseTier: "ENTERPRISE", Version: "30.2.1", Shared: map[model.Kind]map[string]string{
		model.NetworkProfile: {"System-SCTP-Proxy": "1"}, model.HealthMonitor: {"System-SCTP": "2"},
		model.ServiceEngineGroup: {"Default-Group": "3"},
	}}
	cases := len(asked) * len(addresses)
	for n := range cases * cases * cases {
		in := Input{Namespace: new(corev1.Namespace), Facts: facts, Settings: &settings.Settings{ClusterName: "c", Tenant: "admin",
			Placement: placement.Placement{SEGroup: "Default-Group"}}}
		group := SharedVIP{Namespace: "core", Group: "n2"}
		for i, rest := 0, n; i < 3; i, rest = i+1, rest/cases {
			svc := sharing(string(rune('a'+i)), "n2", "", time.Unix(int64(i), 0))
			svc.Spec.LoadBalancerSourceRanges, svc.Spec.LoadBalancerIP = asked[rest%len(asked)], addresses[rest/len(asked)%len(addresses)]
			svc.Spec.Ports = []corev1.ServicePort{{Protocol: "SCTP", Port: int32(i + 1)}}
			group.Members = append(group.Members, svc)
			in.Backends = append(in.Backends, Backend{Service: svc, SlicesRead: true})
		}
		in.Owner = group
		out := Objects(in)
		served, policy := make(map[string]bool), []string(nil)
		for _, o := range out.Set.Objects {
			switch body := o.Body.(type) {
			case *models.Pool:
				served[model.Mark(body.Markers, model.MarkServiceName)] = true
			case *models.NetworkSecurityPolicy:
				for _, p := range body.Rules[0].Match.ClientIP.Prefixes {
					policy = append(policy, prefixText(p))
				}
			}
		}
		fit, first := 0, true // of those that can be served the first decides
		for _, m := range group.Members {
			prefixes, invalid := parseRanges(m.Spec.LoadBalancerSourceRanges)
			told := slices.ContainsFunc(out.Findings, func(f model.Finding) bool { return f.About == m.Name && f.Severity == model.Blocked })
			var want []string
			for _, p := range prefixes {
				want = append(want, p.String())
			}
			unfit := m.Spec.LoadBalancerIP != "" || len(prefixes) == 0 && len(invalid) > 0
			if !unfit {
				fit++
			}
			switch {
			case served[m.Name] && len(want) > 0 && !slices.Equal(policy, want), served[m.Name] && unfit:
				t.Fatalf("%d: %s asks for %q and lets in %q", n, m.Name, m.Spec.LoadBalancerSourceRanges, policy)
			case served[m.Name] == told:
				t.Fatalf("%d: %s is served: %t, and told: %t", n, m.Name, served[m.Name], told)
			case !unfit && first && !served[m.Name]:
				t.Fatalf("%d: %s is the first that can be served, and isn't: %+v", n, m.Name, out.Findings)
			case !unfit:
				first = false
			}
		}
		if out.Blocked != (fit == 0) {
			t.Fatalf("%d: blocked: %t, of %d that can be served", n, out.Blocked, fit)
		}
	}
}
