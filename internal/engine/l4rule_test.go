// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// furnish makes what the rules of these tests refer to.
func (w *world) furnish() {
	w.Helper()
	for kind, name := range map[string]string{"networksecuritypolicy": "allow", "vsdatascriptset": "script", "analyticsprofile": "metrics",
		"securitypolicy": "dos"} {
		_, err := w.sim.Create(kind, "admin", map[string]any{"name": name})
		w.must(err)
	}
}

// everything is a rule that sets each field which a Service of SCTP and TCP can have set.
func everything() *v1alpha2.L4Rule {
	return &v1alpha2.L4Rule{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Name: "rule"}, Spec: v1alpha2.L4RuleSpec{
		AnalyticsPolicy:     &v1alpha2.AnalyticsPolicy{FullClientLogs: &v1alpha2.FullClientLogs{Enabled: true, Throttle: new(int32(5))}},
		AnalyticsProfileRef: "metrics", NetworkSecurityPolicyRef: "allow", SecurityPolicyRef: "dos", VsDatascriptRefs: []string{"script"},
		PerformanceLimits: &v1alpha2.PerformanceLimits{MaxConcurrentConnections: new(int32(7)), MaxThroughput: new(int32(9))},
		BackendProperties: []v1alpha2.BackendProperties{{
			Port: 38412, Protocol: "SCTP", Enabled: new(false), ApplicationPersistenceProfileRef: "System-Persistence-Client-IP",
			HealthMonitorRefs: []string{"System-Ping"}, LbAlgorithm: "LB_ALGORITHM_CONSISTENT_HASH",
			LbAlgorithmHash: "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT", MinServersUp: new(int32(1)),
			AnalyticsPolicy: &v1alpha2.PoolAnalyticsPolicy{EnableRealtimeMetrics: new(true)},
		}, {
			Port: 80, Protocol: "TCP", SslProfileRef: "System-Standard", SslKeyAndCertificateRef: "System-Default-Cert",
		}},
	}}
}

// ruled is the input of the Service with a rule, nil for one that doesn't exist.
func (w *world) ruled(rule *v1alpha2.L4Rule) translate.Input {
	in := w.input()
	in.Rule = translate.Rule{Name: "core/rule", Object: rule}
	in.Backends[0].Rule = in.Rule
	return in
}

func (w *world) done(in translate.Input) outcome.Outcome {
	w.Helper()
	o := w.engine.Serve(w.Context(), in)
	if o.State() != outcome.Done {
		w.Fatalf("state %d: %+v; findings %+v", o.State(), o.Failure(), o.Findings)
	}
	return o
}

func (w *world) object(kind, name string) map[string]any {
	w.Helper()
	o, ok := w.sim.Object(kind, "admin", name)
	if !ok {
		w.Fatalf("there is no %s %s", kind, name)
	}
	return o
}

// clientLogs are the part of a VirtualService's analytics policy that a rule sets.
func clientLogs(vs map[string]any) any {
	policy, _ := vs["analytics_policy"].(map[string]any)
	return policy["full_client_logs"]
}

// state is what the Controller has of the Service, without what each write changes.
func (w *world) state() string {
	w.Helper()
	var b strings.Builder
	for _, o := range []map[string]any{w.object("virtualservice", amfName), w.object("pool", sctpPool), w.object("pool", tcpPool)} {
		delete(o, "_last_modified")
		delete(o, "configpb_attributes")
		if clientLogs(o) == nil && o["name"] == amfName {
			delete(o, "analytics_policy") // the rest of it is what the Controller fills in
		}
		fmt.Fprintf(&b, "%v\n", o)
	}
	return b.String()
}

// TestRule: what a rule sets goes to the Controller, stays there without another write, and goes back to what was there before
// when the rule sets it no more; what people set by hand stays throughout.
func TestRule(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	w.served()
	w.must(w.sim.Edit("virtualservice", "admin", amfName, func(o map[string]any) { o["weight"] = 3 }))
	w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o["lb_algorithm"] = "LB_ALGORITHM_ROUND_ROBIN" }))
	w.load()
	before := w.state()

	w.done(w.ruled(everything()))
	vs, sctp, tcp := w.object("virtualservice", amfName), w.object("pool", sctpPool), w.object("pool", tcpPool)
	for _, have := range []struct {
		field string
		got   any
		want  string
	}{
		{"full_client_logs", clientLogs(vs), "map[duration:30 enabled:true throttle:5]"},
		{"performance_limits", vs["performance_limits"], "map[max_concurrent_connections:7 max_throughput:9]"},
		{"lb_algorithm", sctp["lb_algorithm"], "LB_ALGORITHM_CONSISTENT_HASH"}, {"enabled", sctp["enabled"], "false"},
		{"min_servers_up", sctp["min_servers_up"], "1"}, {"by hand", tcp["lb_algorithm"], "LB_ALGORITHM_ROUND_ROBIN"},
		{"by hand", vs["weight"], "3"},
	} {
		if fmt.Sprint(have.got) != have.want {
			t.Errorf("%s is %v, want %s", have.field, have.got, have.want)
		}
	}
	for field, of := range map[string]map[string]any{
		"analytics_profile_ref": vs, "network_security_policy_ref": vs, "security_policy_ref": vs, "vs_datascripts": vs,
		"application_persistence_profile_ref": sctp, "analytics_policy": sctp, "ssl_profile_ref": tcp, "ssl_key_and_certificate_ref": tcp,
	} {
		if of[field] == nil {
			t.Errorf("%s is not set", field)
		}
	}
	w.wrote()
	w.load()
	w.done(w.ruled(everything()))
	if got := w.wrote(); len(got) > 0 {
		t.Errorf("nothing changed, and there are writes: %q", got)
	}

	o := w.done(w.ruled(nil)) // deleted
	if finding(o, model.ReasonRuleMissing) == "" {
		t.Errorf("findings %+v", o.Findings)
	}
	if got := w.wrote(); len(got) > 0 {
		t.Errorf("the rule was deleted, and there are writes: %q", got)
	}

	w.served() // named no more
	if got := w.wrote(); len(got) != 3 {
		t.Errorf("writes %q, want one for each object", got)
	}
	if after := w.state(); after != before {
		t.Errorf("before the rule\n%s\nand after it\n%s", before, after)
	}
	w.load()
	w.served()
	if got := w.wrote(); len(got) > 0 {
		t.Errorf("writes again: %q", got)
	}
}

// TestRuleTakenOver: objects that AKO made with a rule don't say so. They are taken over without a write, and what the rule set
// goes back to its default nevertheless once nobody asks for it.
func TestRuleTakenOver(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	w.done(w.ruled(everything()))
	for kind, name := range map[string]string{"virtualservice": amfName, "pool": sctpPool} {
		w.must(w.sim.Edit(kind, "admin", name, func(o map[string]any) {
			marks, _ := o["markers"].([]any)
			o["markers"] = slices.DeleteFunc(marks, func(m any) bool { return strings.Contains(fmt.Sprint(m), model.MarkRule) })
		}))
	}
	w.engine.ruled.Clear()
	w.load()
	w.wrote()
	w.done(w.ruled(everything()))
	if got := w.wrote(); len(got) > 0 {
		t.Errorf("the take-over writes %q", got)
	}
	less := everything()
	less.Spec.NetworkSecurityPolicyRef, less.Spec.BackendProperties[0].MinServersUp = "", nil
	w.done(w.ruled(less))
	vs, pool := w.object("virtualservice", amfName), w.object("pool", sctpPool)
	if vs["network_security_policy_ref"] != nil || pool["min_servers_up"] != nil {
		t.Errorf("what the rule dropped is still there: %v, %v", vs["network_security_policy_ref"], pool["min_servers_up"])
	}
	if vs["security_policy_ref"] == nil || pool["enabled"] != false {
		t.Errorf("what the rule has still is gone: %v, %v", vs["security_policy_ref"], pool["enabled"])
	}
	if text := fmt.Sprint(vs["markers"]); !strings.Contains(text, "security_policy_ref") {
		t.Errorf("the first change doesn't note what is the rule's: %s", text)
	}
}

// TestRuleOfWhatCanNotBeListed: an account that may not list a kind is not kept from using it.
func TestRuleOfWhatCanNotBeListed(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	heal := w.sim.Inject(fault{Method: "GET", Type: "securitypolicy", Status: 403, Body: `{"error":"not allowed"}`})
	w.done(w.ruled(everything()))
	if w.object("virtualservice", amfName)["security_policy_ref"] == nil {
		t.Error("security_policy_ref is not set")
	}
	w.load() // in spite of it
	heal()
	w.load()
	rule := everything()
	rule.Spec.SecurityPolicyRef = "nowhere"
	if o := w.done(w.ruled(rule)); !slices.ContainsFunc(o.Findings, func(f model.Finding) bool {
		return f.Reason == model.ReasonRuleRejected && strings.Contains(f.Message, "nowhere")
	}) {
		t.Errorf("findings %+v", o.Findings)
	}
}

// TestRuleThatEndsTLS: switched on and off under a live Service, and served by the only port's pool meanwhile.
func TestRuleThatEndsTLS(t *testing.T) {
	w := newWorld(t)
	w.svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
	w.served()
	plain := w.object("virtualservice", amfName)
	rule := &v1alpha2.L4Rule{Spec: v1alpha2.L4RuleSpec{
		ApplicationProfileRef: "System-L4-Application", NetworkProfileRef: "System-TCP-Proxy", // as AKO's CRD fills them in
		ListenerProperties:       []v1alpha2.ListenerProperties{{Port: 80, Protocol: "TCP", EnableSsl: new(true)}},
		SslKeyAndCertificateRefs: []string{"System-Default-Cert"},
	}}
	w.done(w.ruled(rule))
	vs := w.object("virtualservice", amfName)
	if !strings.HasSuffix(fmt.Sprint(vs["application_profile_ref"]), "#System-SSL-Application") || vs["pool_ref"] == nil ||
		vs["l4_policies"] != nil {
		t.Errorf("with TLS: %v, pool_ref %v, l4_policies %v", vs["application_profile_ref"], vs["pool_ref"], vs["l4_policies"])
	}
	w.load()
	w.wrote()
	w.done(w.ruled(rule))
	if got := w.wrote(); len(got) > 0 {
		t.Errorf("writes again: %q", got)
	}
	w.done(w.ruled(&v1alpha2.L4Rule{}))
	vs = w.object("virtualservice", amfName)
	for _, field := range []string{"application_profile_ref", "pool_ref", "services", "ssl_key_and_certificate_refs"} {
		if fmt.Sprint(vs[field]) != fmt.Sprint(plain[field]) {
			t.Errorf("%s is %v, and was %v before", field, vs[field], plain[field])
		}
	}
}
