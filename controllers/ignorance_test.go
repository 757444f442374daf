// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// ignorance is something that the operator doesn't get to know, or learns wrongly.
type ignorance struct {
	about string
	begin func(context.Context, *stage) error
	end   func(context.Context, *stage) error
}

// kindOf is "Service" for Services and lists of Services.
func kindOf(s *stage, o runtime.Object) string {
	if u, ok := o.(*unstructured.UnstructuredList); ok {
		return strings.TrimSuffix(u.GetKind(), "List")
	}
	gvks, _, err := s.kube.Scheme().ObjectKinds(o)
	if err != nil || len(gvks) == 0 {
		return fmt.Sprintf("%T", o)
	}
	return strings.TrimSuffix(gvks[0].Kind, "List") + "." + gvks[0].Group
}

// rights takes the right to get, list and watch each type away that the operator reads.
func rights() (out []ignorance) {
	kinds := []string{"Service.", "EndpointSlice.discovery.k8s.io", "Namespace.", "Node.", "ConfigMap.", "Secret.",
		"CustomResourceDefinition.apiextensions.k8s.io"}
	for _, a := range optional {
		for _, k := range a.kinds {
			kinds = append(kinds, k+"."+a.version.Group)
		}
	}
	for _, kind := range kinds {
		for name, verbs := range map[string][]string{"list": {"list"}, "read": {"list", "get"}} {
			out = append(out, ignorance{about: "no right to " + name + " " + kind, begin: func(_ context.Context, s *stage) error {
				s.refuse = func(verb string, o runtime.Object) error {
					if !slices.Contains(verbs, verb) || kindOf(s, o) != kind {
						return nil
					}
					return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, "", fmt.Errorf("the role doesn't say so"))
				}
				s.unsynced = func(o client.Object) bool { return kindOf(s, o) == kind }
				return nil
			}, end: func(_ context.Context, s *stage) error {
				s.refuse, s.unsynced = nil, nil
				return nil
			}})
		}
	}
	return out
}

// missingTypes are CustomResourceDefinitions that are missing.
func missingTypes() (out []ignorance) {
	for _, a := range optional {
		turn := func(s *stage, missing bool) {
			s.missing[a.name] = missing
			apis := s.op.APIs
			apis.mu.Lock()
			defer apis.mu.Unlock()
			if since, ok := apis.came[a.name]; missing || !ok {
				delete(apis.since, a.name)
			} else {
				apis.since[a.name] = since
			}
		}
		out = append(out, ignorance{about: "no type " + strings.Join(a.crds, ", "), begin: func(_ context.Context, s *stage) error {
			turn(s, true)
			s.refuse = func(_ string, o runtime.Object) error {
				if !slices.ContainsFunc(a.kinds, func(k string) bool { return kindOf(s, o) == k+"."+a.version.Group }) {
					return nil
				}
				return &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Group: a.version.Group, Kind: a.kinds[0]}}
			}
			return nil
		}, end: func(_ context.Context, s *stage) error {
			s.refuse = nil
			turn(s, false)
			return nil
		}})
	}
	return out
}

// lists are those of the Controller that can't be had, or that lack everything.
func lists() (out []ignorance) {
	kinds := []string{"cluster", "systemconfiguration", "ipamdnsproviderprofiledomainlist", string(model.StringGroup), string(model.Tenant), string(model.Cloud),
		string(model.VrfContext), string(model.Network), string(model.ServiceEngineGroup), string(model.NetworkProfile),
		string(model.ApplicationProfile), string(model.HealthMonitor), "virtualservice-inventory", "pool-inventory"}
	for _, k := range model.Written {
		kinds = append(kinds, string(k))
	}
	for _, kind := range kinds {
		for name, effect := range map[string]avisim.Effect{
			"forbidden":      {Name: "answer", Args: map[string]string{"status": "403"}},
			"failing":        {Name: "answer", Args: map[string]string{"status": "500"}},
			"a page of HTML": {Name: "answer", Args: map[string]string{"status": "200", "format": "html"}},
			"not found":      {Name: "answer", Args: map[string]string{"status": "404"}}, "empty": {Name: "hide"},
			"null": {Name: "null-lists", Args: map[string]string{"results": "true"}},
		} {
			f := avisim.Fault{Method: "GET", Type: kind, Effects: []avisim.Effect{effect}}
			out = append(out, ignorance{about: fmt.Sprintf("%s is %s", kind, name),
				begin: func(_ context.Context, s *stage) error { _, err := s.sim.AddFault(f); return err },
				end:   func(_ context.Context, s *stage) error { s.sim.ClearFaults(); return nil }})
		}
	}
	return out
}

// slips are settings that are missing, misspelt or mistyped.
func slips() (out []ignorance) {
	set := func(name string, data func(*stage) map[string]string) ignorance {
		return ignorance{about: "setting " + name, begin: func(ctx context.Context, s *stage) error {
			return s.configure(ctx, data(s))
		}, end: func(ctx context.Context, s *stage) error { return s.configure(ctx, s.config()) }}
	}
	with := func(change func(map[string]string)) func(*stage) map[string]string {
		return func(s *stage) map[string]string {
			data := s.config()
			change(data)
			return data
		}
	}
	for _, key := range strings.Fields("clusterName controllerIP cloudName nsSyncLabelKey nsSyncLabelValue vipNetworkList autoFQDN") {
		out = append(out, set(key+" missing", with(func(m map[string]string) { delete(m, key) })),
			set(key+" misspelt", with(func(m map[string]string) { m[key+"s"] = m[key]; delete(m, key) })))
	}
	for _, key := range strings.Fields(`clusterName controllerIP controllerVersion cloudName tenantName serviceEngineGroupName vrfName nsxtT1LR
		defaultDomain takeOverClusterUID createdBy primaryInstance enableEVH vpcMode enableRHI defaultLBController deleteConfig layer7Only
		enableEvents dedicatedTenantMode nsSyncLabelKey nsSyncLabelValue blockedNamespaceList bgpPeerLabels vipNetworkList nodeNetworkList
		autoFQDN ipFamily logLevel serviceType nodeKey nodeValue cniPlugin disableStaticRouteSync fullSyncFrequency drainTimeout ipMode
		fqdnReusePolicy`) {
		for _, value := range []string{"x", ""} {
			out = append(out, set(fmt.Sprintf("%s: %q", key, value), with(func(m map[string]string) { m[key] = value })))
		}
	}
	for key, value := range map[string]string{"blockedNamespaceList": `["core"]`, "defaultLBController": "false", "deleteConfig": "ture",
		"nsSyncLabelKey": "Served", "autoFQDN": "flaat", "ipFamily": "V5", "primaryInstance": "false"} {
		out = append(out, set(fmt.Sprintf("%s: %q", key, value), with(func(m map[string]string) { m[key] = value })))
	}
	out = append(out, set("none", func(*stage) map[string]string { return nil }))
	for _, key := range []string{"username", "password", "certificateAuthorityData"} {
		for _, value := range [][]byte{nil, []byte("x")} {
			out = append(out, ignorance{about: fmt.Sprintf("secret %s: %q", key, value), begin: func(ctx context.Context, s *stage) error {
				return s.change(ctx, s.secret(), func(o client.Object) {
					secret, _ := o.(*corev1.Secret)
					secret.Data[key] = value
				})
			}, end: func(ctx context.Context, s *stage) error {
				return s.change(ctx, s.secret(), func(o client.Object) {
					secret, _ := o.(*corev1.Secret)
					secret.Data = s.secret().Data
				})
			}})
		}
	}
	return out
}

// configure replaces the ConfigMap's data.
func (s *stage) configure(ctx context.Context, data map[string]string) error {
	cm := new(corev1.ConfigMap)
	cm.Namespace, cm.Name = stageNamespace, settings.ConfigMapName
	return s.change(ctx, cm, func(o client.Object) {
		cm, _ := o.(*corev1.ConfigMap)
		cm.Data = data
	})
}

// servedStage is a stage with an owner of each kind, all served.
func servedStage(ctx context.Context) (*stage, *guarded, error) {
	s, err := newStage(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.options.DeletionShare = 0.2
	g := &guarded{s: s, had: make(map[string][]string), living: s.play("amf")}
	if err = s.start(); err != nil {
		return s, g, err
	}
	for _, a := range g.living {
		if err = s.create(ctx, a); err != nil {
			return s, g, err
		}
	}
	for range 3 {
		s.turn(ctx)
	}
	g.look(ctx, "before")
	s.after = func(_ string, o runtime.Object) error { return g.kept(ctx, o) }
	return s, g, nil
}

// play has a site lose a piece of knowledge, while the operator runs or before it starts again, and get it back.
func (i ignorance) play(ctx context.Context, s *stage, g *guarded, restart bool) (problems []string) {
	must := func(what string, err error) {
		if err != nil {
			s.problem("%s: %v", what, err)
		}
	}
	before := s.inventory()
	must("begin", i.begin(ctx, s))
	if restart {
		must("restart", s.start())
	}
	for range 2 {
		s.turn(ctx)
	}
	refuse := s.refuse
	s.refuse = nil // for the test's own eyes
	g.look(ctx, "meanwhile")
	for _, h := range harm(before, s.inventory()) {
		s.problem("meanwhile: %s", h)
	}
	s.refuse = refuse
	must("end", i.end(ctx, s))
	_, left := s.recover(ctx, func() []string {
		g.look(ctx, "afterwards")
		now := s.inventory()
		for key := range before {
			// Routes that were made under a wrong clusterName look like another cluster's.
			if strings.HasPrefix(i.about, "setting clusterName") && strings.HasPrefix(key, "static routes") && len(harm(map[string]string{key: before[key]}, now)) == 0 {
				now[key] = before[key]
			}
		}
		return append(differences(before, now), s.unlike(ctx, nil, g.living, g)...)
	})
	for _, l := range left {
		s.problem("in the end it %s", l)
	}
	return s.problems
}

// decisive are the fields that decide about traffic, by kind; those of a pool's servers are compared one by one.
var decisive = map[string][]string{
	"virtualservice": {"services", "enabled", "traffic_enabled", "vsvip_ref", "l4_policies", "network_security_policy_ref", "se_group_ref",
		"vrf_context_ref", "network_profile_ref", "application_profile_ref", "tenant_ref", "cloud_ref"},
	"vsvip": {"vip", "vrf_context_ref", "tenant_ref"}, "l4policyset": {"l4_connection_policy"}, "networksecuritypolicy": {"rules"},
	"pool":                          {"enabled", "health_monitor_refs", "vrf_ref", "application_persistence_profile_ref"},
	"applicationpersistenceprofile": {"persistence_type", "ip_persistence_profile"},
}

// harm is what may have cost traffic: something was taken away, or what decides about traffic is another.
func harm(before, now map[string]string) (out []string) {
	for key, was := range before {
		is, ok := now[key]
		if !ok {
			out = append(out, "lacks "+key)
			continue
		}
		kind, _, _ := strings.Cut(key, " ")
		var old, fresh map[string]any
		if json.Unmarshal([]byte(was), &old) != nil || json.Unmarshal([]byte(is), &fresh) != nil {
			out = append(out, key+" can't be read")
			continue
		}
		for _, field := range decisive[kind] {
			if !reflect.DeepEqual(old[field], fresh[field]) {
				out = append(out, fmt.Sprintf("%s: %s was %v, is %v", key, field, old[field], fresh[field]))
			}
		}
		for _, list := range []string{"servers", ""} {
			some, _ := old[list].([]any)
			all, _ := fresh[list].([]any)
			for _, e := range some {
				if !slices.ContainsFunc(all, func(o any) bool { return reflect.DeepEqual(e, o) }) {
					out = append(out, fmt.Sprintf("%s lacks %v", key, e))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestIgnoranceMatrix takes every piece of knowledge away: each right, each type, each list of the Controller, each setting, while the
// operator runs and at its start. Nothing is deleted, emptied or moved for it, no status loses its address, and everything is as before
// when it is back.
func TestIgnoranceMatrix(t *testing.T) {
	var cells atomic.Int64
	all := slices.Concat(rights(), missingTypes(), lists(), slips())
	if only := chosen(); only != "" {
		all = slices.DeleteFunc(all, func(i ignorance) bool { return !strings.HasPrefix(i.about, only) })
	}
	const together = 20 // at one site, one after the other
	concurrently(slices.Collect(slices.Chunk(some(all), together)), func(several []ignorance) {
		var s *stage
		var g *guarded
		end := func() {
			if s != nil {
				s.close()
			}
			s = nil
		}
		defer end()
		for _, i := range several {
			for _, restart := range []bool{false, true} {
				var err error
				if s == nil {
					if s, g, err = servedStage(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
				cells.Add(1)
				if problems := i.play(t.Context(), s, g, restart); len(problems) > 0 {
					t.Errorf("%s, restart %t:\n  %s", i.about, restart, strings.Join(problems, "\n  "))
					end()
				}
			}
		}
	})
	t.Logf("%d cells", cells.Load())
}
