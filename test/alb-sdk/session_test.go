// SPDX-License-Identifier: Apache-2.0

package albsdk

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/clients"
	"github.com/vmware/alb-sdk/go/models"
	sdk "github.com/vmware/alb-sdk/go/session"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

type obj = map[string]any

// start runs a simulator until the test ends.
func start(t *testing.T) *avisim.Server {
	t.Helper()
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// sdkClient logs in with the vendor's SDK, verified TLS and its retry mode off.
func sdkClient(t *testing.T, s *avisim.Server) *clients.AviClient {
	t.Helper()
	if !flag.Parsed() { // the SDK would do it, with the test binary's arguments
		flag.Parse()
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(tr.CloseIdleConnections)
	c, err := clients.NewAviClient(s.Host(), "admin", sdk.SetPassword("avi123$%"), sdk.SetTenant("admin"), sdk.SetVersion("30.2.1"),
		sdk.SetTransport(tr), sdk.DisableControllerStatusCheckOnFailure(true))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSDK(t *testing.T) {
	s := start(t)
	c := sdkClient(t, s)
	ptr := func(v string) *string { return &v }
	num := func(v uint32) *uint32 { return &v }
	yes := true

	vip, err := c.VsVip.Create(&models.VsVip{Name: ptr("v"), Vip: []*models.Vip{{VipID: ptr("0"), AutoAllocateIP: &yes}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := *vip.Vip[0].IPAddress.Addr; got != "10.10.0.10" {
		t.Errorf("address %s", got)
	}
	port := int32(30100)
	pool, err := c.Pool.Create(&models.Pool{Name: ptr("p"),
		Servers: []*models.Server{{IP: &models.IPAddr{Addr: ptr("10.20.0.1"), Type: ptr("V4")}, Port: &port}}})
	if err != nil {
		t.Fatal(err)
	}
	vs, err := c.VirtualService.Create(&models.VirtualService{Name: ptr("s"), VsvipRef: ptr("/api/vsvip?name=v"), PoolRef: pool.URL,
		ApplicationProfileRef: ptr("/api/applicationprofile?name=System-L4-Application"),
		NetworkProfileRef:     ptr("/api/networkprofile?name=System-SCTP-Proxy"), Services: []*models.Service{{Port: num(38412)}}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(*vs.URL, "#s") || *vs.Services[0].PortRangeEnd != 38412 {
		t.Errorf("answer %s %d", *vs.URL, *vs.Services[0].PortRangeEnd)
	}
	got, err := c.VirtualService.GetByName("s")
	if err != nil || strings.Contains(*got.URL, "#") {
		t.Errorf("read %v, %v", got, err)
	}
	patched, err := c.Pool.Patch(*pool.UUID, map[string]any{"servers": []any{map[string]any{"ip": map[string]any{"addr": "10.20.0.2",
		"type": "V4"}, "port": 30100}}}, "add")
	if err != nil || len(patched.Servers) != 2 {
		t.Errorf("patch %v, %v", patched, err)
	}
	err = c.Pool.Delete(*pool.UUID)
	var refused sdk.AviError
	if !errors.As(err, &refused) || refused.HttpStatusCode != 403 || !strings.Contains(err.Error(),
		"Cannot delete, object is referred by: ['VirtualService s']") {
		t.Errorf("delete in use: %v", err)
	}
	if err := c.VirtualService.Delete(*vs.UUID); err != nil {
		t.Error(err)
	}
	if v, err := c.AviSession.GetControllerVersion(); err != nil || v != "30.2.1" {
		t.Errorf("version %q, %v", v, err)
	}
}

// TestSDKPaging reads a list through the SDK, page by page as its raw collection calls allow.
func TestSDKPaging(t *testing.T) {
	s := start(t)
	for i := range 61 {
		if _, err := s.Create("pool", "admin", obj{"name": fmt.Sprintf("p%02d", i), "created_by": "me"}); err != nil {
			t.Fatal(err)
		}
	}
	c := sdkClient(t, s)
	uri := "api/pool?created_by=me&page_size=25"
	var names []string
	for uri != "" {
		page, err := c.AviSession.GetCollectionRaw(uri)
		if err != nil {
			t.Fatal(err)
		}
		if page.Count != 61 {
			t.Fatalf("count %d", page.Count)
		}
		var pools []models.Pool
		if err := json.Unmarshal(page.Results, &pools); err != nil {
			t.Fatal(err)
		}
		for _, p := range pools {
			names = append(names, *p.Name)
		}
		_, rest, more := strings.Cut(page.Next, "/api/")
		uri = ""
		if more {
			uri = "api/" + rest
		}
	}
	if len(names) != 61 || names[0] != "p00" || names[60] != "p60" {
		t.Errorf("%d names: %v", len(names), names)
	}
}

// TestSDKSessionLoss shows that the SDK logs in again after its session is gone, as it does with a real Controller.
func TestSDKSessionLoss(t *testing.T) {
	s := start(t)
	c := sdkClient(t, s)
	s.ExpireSessions()
	if _, err := c.Pool.GetAll(); err == nil {
		t.Fatal("the SDK, in this mode, reports the loss once")
	}
	if _, err := c.Pool.GetAll(); err != nil {
		t.Fatal(err)
	}
}
