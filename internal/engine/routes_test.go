// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// routesOn is a Routes with a simulated Controller and a mirror that has read it.
func routesOn(t *testing.T) (*Routes, *avisim.Server, *settings.Settings) {
	t.Helper()
	return routesBehind(t, nil)
}

// routesBehind is routesOn with a Controller that answers 400 to writes of VRF contexts for which refuse has a message.
func routesBehind(t *testing.T, refuse func(body string) string) (*Routes, *avisim.Server, *settings.Settings) {
	t.Helper()
	sim, err := avisim.New(avisim.Options{Username: "admin", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	host, ca := sim.Host(), sim.CAPEM()
	if refuse != nil {
		host, ca = choosy(t, sim, refuse)
	}
	client, err := avi.New(avi.Config{Host: host, Username: "admin", Password: "secret", CA: ca, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m := mirror.New(client, logr.Discard())
	m.SetScope(mirror.Scope{Controller: sim.Host(), ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &settings.Settings{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin", ServiceType: settings.ClusterIP, Placement: placement.Placement{SEGroup: "Default-Group"}}
	return &Routes{Client: client, Mirror: m, Limit: staticroutes.Limit{Share: 0.2, Least: 5}}, sim, s
}

// choosy stands before a simulator and refuses what it is told to.
func choosy(t *testing.T, sim *avisim.Server, refuse func(body string) string) (host string, ca []byte) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(sim.CAPEM())
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: sim.Host()}) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/api/vrfcontext/") {
			body, _ := io.ReadAll(r.Body)
			if message := refuse(string(body)); message != "" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func input(s *settings.Settings, nodes ...int) staticroutes.Input {
	in := staticroutes.Input{Settings: s}
	for _, i := range nodes {
		in.Nodes = append(in.Nodes, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), UID: types.UID(fmt.Sprintf("uid-%d", i))},
			Spec:       corev1.NodeSpec{PodCIDRs: []string{fmt.Sprintf("10.244.%d.0/24", i)}},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.0.0.%d", i)}}},
		})
	}
	return in
}

func stand(sim *avisim.Server) string {
	vrf, _ := sim.Object("vrfcontext", "admin", "global")
	raw, _ := json.Marshal(vrf["static_routes"])
	var list []struct {
		Prefix struct {
			Addr struct{ Addr string } `json:"ip_addr"`
		}
	}
	_ = json.Unmarshal(raw, &list)
	var out []string
	for _, r := range list {
		out = append(out, r.Prefix.Addr.Addr)
	}
	return strings.Join(out, " ")
}

// never is a confirm that must not be called.
func never(t *testing.T) func(context.Context) (staticroutes.Input, error) {
	return func(context.Context) (staticroutes.Input, error) {
		t.Error("Kubernetes was asked to confirm where nothing is removed")
		return staticroutes.Input{}, nil
	}
}

func TestRoutesSync(t *testing.T) {
	r, sim, s := routesOn(t)
	out := r.Sync(t.Context(), input(s, 1, 2), never(t))
	if out.Err != nil || stand(sim) != "10.244.1.0 10.244.2.0" || out.Ours != 2 || !out.Turned || out.VRF != "global" || fmt.Sprint(out.Groups) != "[Default-Group]" {
		t.Fatalf("%+v; routes %s", out, stand(sim))
	}
	sim.ResetRequests()
	if out = r.Sync(t.Context(), input(s, 1, 2), never(t)); out.Err != nil || out.Turned || len(sim.Writes()) > 0 || len(sim.Requests()) != 2 {
		t.Errorf("nothing changed: %+v, %d writes, %d requests", out, len(sim.Writes()), len(sim.Requests()))
	}
}

// A removal rests on what the API server says, not on the cache; if it doesn't say anything, the rest is done all the same.
func TestRoutesAreRemovedAfterConfirmation(t *testing.T) {
	r, sim, s := routesOn(t)
	r.Sync(t.Context(), input(s, 1, 2), never(t))
	for _, tt := range []struct {
		what    string
		cached  staticroutes.Input
		confirm staticroutes.Input
		err     error
		want    string
	}{
		{"the API server can't be asked", input(s, 1, 3), staticroutes.Input{}, errors.New("no answer"), "10.244.1.0 10.244.2.0 10.244.3.0"},
		{"the cache was behind", input(s, 1, 3), input(s, 1, 2, 3), nil, "10.244.1.0 10.244.2.0 10.244.3.0"},
		{"not all was read", input(s, 1, 3), staticroutes.Input{Settings: s, Nodes: input(s, 1, 3).Nodes, Unread: "half"}, nil, "10.244.1.0 10.244.2.0 10.244.3.0"},
		{"the node is gone", input(s, 1, 3), input(s, 1, 3), nil, "10.244.1.0 10.244.3.0"},
	} {
		asked := 0
		out := r.Sync(t.Context(), tt.cached, func(context.Context) (staticroutes.Input, error) { asked++; return tt.confirm, tt.err })
		if got := stand(sim); got != tt.want || asked != 1 || (out.Err != nil) != (tt.err != nil) {
			t.Errorf("%s: routes %s, want %s; asked %d times; %v", tt.what, got, tt.want, asked, out.Err)
		}
	}
}

func TestRoutesDryRun(t *testing.T) {
	r, sim, s := routesOn(t)
	r.DryRun = true
	out := r.Sync(t.Context(), input(s, 1), never(t))
	var dry *RestrainedError
	if !errors.As(out.Err, &dry) || !strings.Contains(dry.Plan, "add route c1-uid-1-0 10.244.1.0/24 via 10.0.0.1") || len(sim.Writes()) > 0 {
		t.Errorf("%v, %d writes", out.Err, len(sim.Writes()))
	}
}

// A Controller that drops what it is sent is reported once, and isn't written to in a loop.
func TestRoutesThatTheControllerDoesNotKeep(t *testing.T) {
	r, sim, s := routesOn(t)
	vrf, _ := sim.Object("vrfcontext", "admin", "global")
	body, err := json.Marshal(vrf)
	if err != nil {
		t.Fatal(err)
	}
	sim.Inject(avisim.Fault{Method: "PUT", Type: "vrfcontext", Status: 200, Body: string(body)})
	out := r.Sync(t.Context(), input(s, 1), never(t))
	if Classify(out.Err) != outcome.Terminal || !strings.Contains(fmt.Sprint(out.Err), "doesn't keep") {
		t.Errorf("%v", out.Err)
	}
	pods := []staticroutes.Pod{{Addr: netip.MustParseAddr("10.244.1.9")}}
	if f := r.Reach().Finding("", "", pods); f == nil {
		t.Error("a route that isn't kept counts as one")
	}
}

func TestRoutesOffAndUnread(t *testing.T) {
	r, sim, s := routesOn(t)
	r.Sync(t.Context(), input(s, 1), never(t))
	off := *s
	off.RoutesByOthers = true
	sim.ResetRequests()
	if out := r.Sync(t.Context(), input(&off), never(t)); out.Off == "" || out.Err != nil || r.Reach() != nil || len(sim.Requests()) > 0 {
		t.Errorf("switched off: %+v, %d requests", out, len(sim.Requests()))
	}
	r.Sync(t.Context(), input(s, 1), never(t))
	known := r.Reach()
	remove := sim.Inject(avisim.Fault{Method: "GET", Type: "vrfcontext", Status: 503})
	if out := r.Sync(t.Context(), input(s, 1, 2), never(t)); out.Err == nil || r.Reach() != known {
		t.Errorf("the VRF context can't be read: %v", out.Err)
	}
	remove()
	r.Mirror.Expire()
	if out := r.Sync(t.Context(), input(s, 1, 2), never(t)); !errors.Is(out.Err, mirror.ErrNotLoaded) {
		t.Errorf("the Controller isn't known: %v", out.Err)
	}
}

// Owners wait for the first look at the routes, and not for ever.
func TestSettle(t *testing.T) {
	r, _, s := routesOn(t)
	done := make(chan struct{})
	go func() { defer close(done); r.settle(t.Context()) }()
	r.Sync(t.Context(), input(s, 1), never(t))
	<-done
	r.settle(t.Context())

	r, _, _ = routesOn(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.settle(ctx)
	begin := time.Now()
	r.settle(t.Context())
	if waited := time.Since(begin); waited > 10*firstWait {
		t.Errorf("waited %s", waited)
	}
}

// The finding is made of the bodies that are sent, whatever their owner is.
func TestUnreached(t *testing.T) {
	r, sim, s := routesOn(t)
	r.Sync(t.Context(), input(s, 1), never(t))
	e := &Engine{Mirror: r.Mirror, Routes: r}
	group, _ := sim.Object("serviceenginegroup", "admin", "Default-Group")
	set := func(vrf, tier1 string, pods ...string) *model.Set {
		pool := &models.Pool{}
		if vrf != "" {
			pool.VrfRef = new(model.RefByName(model.VrfContext, vrf))
		}
		if tier1 != "" {
			pool.Tier1Lr = new(tier1)
		}
		for _, p := range pods {
			pool.Servers = append(pool.Servers, &models.Server{IP: &models.IPAddr{Addr: new(p)}, ServerNode: new("node-1")})
		}
		vs := &models.VirtualService{SeGroupRef: new(fmt.Sprint("https://avi/api/serviceenginegroup/", group["uuid"]))}
		return &model.Set{Objects: []model.Object{{Body: pool}, {Body: vs}}}
	}
	for _, tt := range []struct {
		set  *model.Set
		want string
	}{
		{set("global", "", "10.244.1.5", "10.0.0.1"), ""},
		{set("", "", "10.244.1.5"), ""},
		{set("blue", "", "10.244.1.5"), "VRF context global, and the VirtualService is in blue"},
		{set("", "/infra/tier-1s/other", "10.244.1.5"), "is in /infra/tier-1s/other"},
		{set("global", "", "192.0.2.7"), ""},
	} {
		var text string
		for _, f := range e.unreached(t.Context(), tt.set, s, r.Mirror.Facts()) {
			text += f.Reason + " " + f.Message
		}
		if (text == "") != (tt.want == "") || !strings.Contains(text, tt.want) {
			t.Errorf("got %q, want %q", text, tt.want)
		}
	}
	if f := (&Engine{}).unreached(t.Context(), set("blue", "", "10.244.1.5"), s, r.Mirror.Facts()); f != nil {
		t.Errorf("without routes: %v", f)
	}
}

// TestUnreachedOfASharedVIP: of Services that share a VirtualService only those are told whose pods no route reaches.
func TestUnreachedOfASharedVIP(t *testing.T) {
	r, _, s := routesOn(t)
	in := input(s, 1, 2)
	in.Nodes[1].Status.Addresses = nil
	r.Sync(t.Context(), in, never(t))
	e := &Engine{Mirror: r.Mirror, Routes: r}
	set := &model.Set{Owner: model.Owner{Kind: model.SharedVIPOwner, Namespace: "core", Name: "n2"}}
	for service, pods := range map[string][]string{
		"amf": {"10.244.1.5"}, "smf": {"10.244.2.5", "10.244.2.6"}, "upf": {"10.244.1.7", "10.244.2.7"},
	} {
		pool := &models.Pool{Markers: model.Markers("prod", model.MarkServiceName, service)}
		for _, p := range append(pods, pods...) { // a pod is behind each port
			pool.Servers = append(pool.Servers, &models.Server{IP: &models.IPAddr{Addr: new(p)}})
		}
		set.Objects = append(set.Objects, model.Object{Key: model.Key{Kind: model.Pool, Name: service}, Body: pool})
	}
	got := e.unreached(t.Context(), set, s, r.Mirror.Facts())
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []struct {
		about, message string
		severity       model.Severity
	}{{"smf", "to 2 of 2 pods", model.Degraded}, {"upf", "to 1 of 2 pods", model.Note}} {
		if f := got[i]; f.About != want.about || f.Severity != want.severity || !strings.Contains(f.Message, want.message) {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
}
