// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// rightsRow is a row of the table of rights in docs/security.md: path, read or read and write, and when.
var rightsRow = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| (read|read, write) \\| ([^|]+) \\|$")

// TestRightsOnTheController holds docs/security.md to the requests that owners of every kind lead to: nothing is asked for that the table
// doesn't list, and what it says is always needed is asked for.
func TestRightsOnTheController(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	rights, always := make(map[string]bool), make(map[string]bool)
	for _, row := range rightsRow.FindAllStringSubmatch(string(doc), -1) {
		for right := range strings.SplitSeq(row[2], ", ") {
			rights[right+" "+row[1]] = true
			always[right+" "+row[1]] = row[3] == "always"
		}
	}
	if len(rights) < 20 {
		t.Fatalf("docs/security.md lists %d rights", len(rights))
	}

	e := suite.New(t)
	everyKind(t, e)
	limited := e.Service("limited", suite.Port("TCP", 443))
	limited.Spec.LoadBalancerSourceRanges, limited.Spec.SessionAffinity = []string{"10.0.0.0/8"}, corev1.ServiceAffinityClientIP
	e.Create(limited, e.Slice(limited, "10.244.1.9"))
	e.Programmed(limited)
	e.Delete(limited)
	e.Eventually("the deletion", func() error {
		if e.Object("virtualservice", e.Name(limited)) != nil || e.Object("networksecuritypolicy", e.Name(limited)) != nil {
			return fmt.Errorf("the Controller holds %v", e.Owned())
		}
		return nil
	})

	used := make(map[string]bool)
	for _, r := range e.Sim.Requests() {
		right := "write "
		if r.Method == "GET" {
			right = "read "
		}
		used[right+r.Type] = true
	}
	for right := range used {
		if !rights[right] && !slices.Contains([]string{"write login", "write logout"}, right) {
			t.Errorf("docs/security.md doesn't list: %s", right)
		}
	}
	for right, needed := range always {
		if needed && !used[right] {
			t.Errorf("docs/security.md says that it is always needed, and it isn't: %s", right)
		}
	}
}

// TestCollidingPools: the pool of Service b-c behind Gateway g of namespace n has the name of that of Service c behind Gateway g of
// namespace n-b. The owner that has it keeps it, address and servers, also when the other one is refused, changes and goes.
func TestCollidingPools(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	inner := e.Apart(t)
	outer := e.In(t)
	outer.Namespace = inner.Namespace + "-b"
	e.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: outer.Namespace, Labels: map[string]string{"served-by": e.Cluster}}})
	port := suite.Port("SCTP", 38412)

	first := gatewayOn(inner, "g", port)
	svc, _ := inner.SvcAPIAttach(first, "b-c", "10.244.1.5", port)
	address := inner.SvcAPIReady(first)
	pool := inner.SvcAPIPool(first, svc.Name, port)
	had := e.Object("pool", pool)

	second := gatewayOn(outer, "g", port)
	taker, slice := outer.SvcAPIAttach(second, "c", "10.244.6.6", port)
	if name := outer.SvcAPIPool(second, taker.Name, port); name != pool {
		t.Fatalf("%s and %s don't collide", name, pool)
	}
	outer.Eventually("the second one is told", func() error {
		if err := outer.Read(second); err != nil {
			return err
		}
		for _, l := range second.Status.Listeners {
			for _, c := range l.Conditions {
				if strings.Contains(c.Message, pool) {
					return nil
				}
			}
		}
		return fmt.Errorf("its listeners are %+v", second.Status.Listeners)
	})
	suite.Update(outer, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.6.7", true, false)} })
	outer.Delete(second)
	outer.SvcAPIGone(second)
	if now := e.Object("pool", pool); now == nil || now["uuid"] != had["uuid"] || fmt.Sprint(e.Servers(pool)) != "[10.244.1.5:9090]" {
		t.Errorf("the pool was %v and is %v", had, now)
	}
	if now := inner.SvcAPIReady(first); now != address {
		t.Errorf("the address was %s and is %s", address, now)
	}
}
