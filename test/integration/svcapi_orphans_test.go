// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// vanish takes a Gateway away as if it had never been: with its finalizers, while the operator is down.
func vanish(e *suite.Env, gateways ...*gateway) {
	e.T.Helper()
	for _, gw := range gateways {
		e.Force(gw)
		gone(e, gw)
	}
}

// TestGatewayOrphans are swept once the API has been served for a while; everything else stays, AKO's shared VIP, which has
// the markers of a Gateway, included.
func TestGatewayOrphans(t *testing.T) {
	t.Parallel()
	const refresh = 700 * time.Millisecond
	e := suite.New(t, suite.ReleaseHeld(), suite.WithOptions(func(o *controllers.Options) { o.Refresh = refresh }))
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	lost, stays, again := gatewayOn(e, "lost", port), gatewayOn(e, "stays", port), gatewayOn(e, "again", port)
	trees := map[*gateway]suite.Tree{}
	for _, gw := range []*gateway{lost, stays, again} {
		e.SvcAPIAttach(gw, gw.Name+"-amf", "10.244.1.5", port)
		e.SvcAPIReady(gw)
		trees[gw] = e.SvcAPIServes(gw, "SCTP/6060 "+gw.Name+"-amf [10.244.1.5:9090]")
	}
	e.StopOperator()
	vanish(e, lost, again)
	e.Create(e.SvcAPIGateway("again", e.SvcAPIListener("again", "SCTP", 6060))) // restored in time
	akoServes(e, e.Namespace, "shared", "smf", "10.244.1.6", true)
	smf := e.SharedVIP("smf", "shared", port)
	e.Create(smf, e.Slice(smf, "10.244.1.6"))
	e.Sim.ResetRequests()
	start := time.Now()
	e.StartOperator()
	e.Eventually("the sweep", func() error {
		if owned := e.Owned(); fmt.Sprint(owned) != "map[l4policyset:3 pool:3 virtualservice:3 vsvip:3]" {
			return fmt.Errorf("the Controller holds %v", owned)
		}
		return nil
	})
	e.Sweeps(2)
	for _, w := range e.Writes() {
		if early := w.Time.Sub(start); w.Method == "DELETE" && early < 2*refresh {
			t.Errorf("%s %s after %s", w.Method, w.Path, early)
		}
	}
	wantCalls(t, e, "DELETE l4policyset", "DELETE pool", "DELETE virtualservice", "DELETE vsvip")
	if w := e.Written(trees[lost]); len(w) != 4 {
		t.Errorf("the writes are %v", e.Written())
	}
	for _, gw := range []*gateway{stays, again} {
		same(t, trees[gw], e.SvcAPIServes(gw, "SCTP/6060 "+gw.Name+"-amf [10.244.1.5:9090]"))
		if address := e.SvcAPIReady(gw); address != trees[gw].Address {
			t.Errorf("%s has %s, had %s", gw.Name, address, trees[gw].Address)
		}
	}
}

// TestGatewayOrphansAreHeldIfMany: that most of what we own has no owner any more is more likely a mistake.
func TestGatewayOrphansAreHeldIfMany(t *testing.T) {
	t.Parallel()
	const refresh = 300 * time.Millisecond
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = refresh }))
	e.Own(e.SvcAPIClass(nil))
	gateways := make([]*gateway, 8)
	for i := range gateways {
		gateways[i] = gatewayOn(e, fmt.Sprintf("g%d", i), suite.Port("SCTP", 6060))
	}
	for _, gw := range gateways {
		e.SvcAPIServes(gw, "SCTP/6060 open")
	}
	e.StopOperator()
	vanish(e, gateways[:6]...)
	e.Sim.ResetRequests()
	e.StartOperator()
	for _, gw := range gateways[6:] {
		e.SvcAPICondition(gw, "Scheduled", yes, "Scheduled")
	}
	e.Sweeps(6)
	if w := e.Written(); len(w) > 0 {
		t.Errorf("orphans were swept: %v", w)
	}
	// They come back, all but two. These stay held until somebody says that it is right.
	for i := range gateways[:4] {
		e.Create(e.SvcAPIGateway(gateways[i].Name, e.SvcAPIListener(gateways[i].Name, "SCTP", 6060)))
	}
	release(e, "lost", 2, "Gateway "+e.Namespace+"/g4")
	e.Eventually("the sweep", func() error {
		if owned := e.Owned(); owned["virtualservice"] != 6 || owned["vsvip"] != 6 {
			return fmt.Errorf("the Controller holds %v", owned)
		}
		return nil
	})
	for i, gw := range gateways {
		if left := e.Object("virtualservice", e.SvcAPIName(gw)) != nil; left != (i < 4 || i > 5) {
			t.Errorf("%s has a VirtualService: %t", gw.Name, left)
		}
	}
	for _, c := range e.Calls() {
		if c != "DELETE virtualservice" && c != "DELETE vsvip" {
			t.Errorf("unwanted: %s", c)
		}
	}
}

// TestGatewayRestartWritesNothing, neither to the Controller nor to Kubernetes, with Gateways of every state.
func TestGatewayRestartWritesNothing(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	c := e.SvcAPIClass(nil)
	e.Own(c)
	sctp, tcp := suite.Port("SCTP", 6060), suite.Port("TCP", 6060)
	var gateways []*gateway
	var trees []suite.Tree
	for i := range 6 {
		gw := gatewayOn(e, fmt.Sprintf("g%d", i), sctp, tcp)
		e.SvcAPIAttach(gw, fmt.Sprintf("amf%d", i), fmt.Sprintf("10.244.1.%d", i+1), sctp, tcp)
		e.SvcAPIReady(gw)
		e.SvcAPICondition(gw, "ako.vmware.com/Healthy", yes, "Up")
		at := fmt.Sprintf(" amf%d [10.244.1.%d:9090]", i, i+1)
		gateways, trees = append(gateways, gw), append(trees, e.SvcAPIServes(gw, "SCTP/6060"+at, "TCP/6060"+at))
	}
	empty, wrong, waits := gatewayOn(e, "empty", sctp), gatewayOn(e, "wrong", sctp, suite.Port("tcp", 80)), gatewayOn(e, "waits",
		suite.Port("QUIC", 1))
	e.SvcAPICondition(empty, "Ready", no, "ListenersNotReady")
	e.SvcAPICondition(wrong, "Ready", no, "ListenersNotValid")
	e.SvcAPICondition(waits, "Ready", no, "ListenersNotValid")
	for _, gw := range []*gateway{empty, wrong} {
		e.SvcAPICondition(gw, "ako.vmware.com/Healthy", no, "")
	}
	gateways = append(gateways, empty, wrong, waits)
	restart(t, e, looked{"svcapigateway", objects(gateways...)}, looked{"svcapigatewayclass", objects(c)})
	// It works, and what was there stays untouched.
	late := gatewayOn(e, "late", sctp)
	e.SvcAPIServes(late, "SCTP/6060 open")
	if w := e.Written(trees...); len(w) > 0 {
		t.Errorf("the writes are %v", w)
	}
	gets := 0
	for _, r := range e.Sim.Requests() {
		if r.Method == "GET" && slices.Contains([]string{"virtualservice", "vsvip", "pool", "l4policyset"}, r.Type) {
			gets++
		}
	}
	if gets > 40 {
		t.Errorf("%d reads for %d Gateways", gets, len(gateways))
	}
}
