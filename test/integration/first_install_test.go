// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestFirstInstallation finds neither ConfigMap nor Secret. Log, readiness probe, Events and the status of all that waits say what is
// missing, where, and what to do; each step of the administrator changes what they say, and the last one serves what waits.
func TestFirstInstallation(t *testing.T) {
	// Alone: without settings it can't know that others serve the other tests' namespaces.
	e := suite.New(t, suite.WithoutSettings())
	sctp := suite.Port("SCTP", 38412)
	svc := e.Service("amf", sctp)
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Own(e.SvcAPIClass(nil))
	old := gatewayOn(e, "old", sctp)
	e.SvcAPIAttach(old, "old-amf", "10.244.1.6", sctp)
	routedClass(e)
	gw := e.Gateway("new", suite.Listener("sctp", "SCTP", 38412))
	e.Create(gw)

	says := func(about client.Object, parts ...string) {
		t.Helper()
		for _, p := range parts {
			e.Told(about, "ConfigurationInvalid", p)
		}
		unserved := map[string]func() string{
			"readiness": func() string { return fmt.Sprint(e.Operator.Ready(nil)) },
			"Service":   func() string { return e.Condition(svc, "Accepted", no, "ConfigurationInvalid") },
			"problem": func() string {
				if err := e.Read(svc); err != nil {
					return err.Error()
				}
				return svc.Annotations["l4.ako.vmware.com/problem"]
			},
			"old API": func() string { return e.SvcAPICondition(old, "ako.vmware.com/Accepted", no, "ConfigurationInvalid") },
			"Gateway": func() string { return e.GatewayCondition(gw, "Accepted", no, "Pending") },
			"log": func() string {
				errors := slices.DeleteFunc(e.Logged(), func(l string) bool { return !strings.Contains(l, "the settings can't be used") })
				return errors[len(errors)-1]
			},
		}
		for who, text := range unserved {
			e.Eventually("what is said by "+who, func() error {
				said := text()
				at := 0
				for _, p := range parts {
					i := strings.Index(said[at:], p)
					if i < 0 {
						return fmt.Errorf("it is %q, and lacks %q, or has it before the others", said, p)
					}
					at += i
				}
				if strings.Count(said, "doesn't exist")+strings.Count(said, ", key ") != len(parts)/2 {
					return fmt.Errorf("it says more than %q: %q", parts, said)
				}
				return nil
			})
		}
	}
	configMap, secret := e.ConfigMap(), e.Secret()
	in := " --namespace " + e.System
	noConfigMap := []string{"ConfigMap " + e.System + "/avi-k8s-config doesn't exist", "kubectl create configmap avi-k8s-config" + in}
	noSecret := []string{"Secret " + e.System + "/avi-secret doesn't exist", "kubectl create secret generic avi-secret" + in}
	says(configMap, slices.Concat(noConfigMap, noSecret)...)
	if err := e.Operator.Alive(nil); err != nil {
		t.Errorf("an operator that waits for its settings isn't alive: %v", err)
	}
	e.Create(configMap)
	says(secret, noSecret...)
	password := secret.Data["password"]
	delete(secret.Data, "password")
	e.Create(secret)
	says(secret, "Secret "+e.System+"/avi-secret, key password: is missing", "give password or authtoken")
	if r := e.Sim.Requests(); len(r) > 0 {
		t.Errorf("the Controller was asked before there were valid settings: %s %s", r[0].Method, r[0].Path)
	}
	e.Credentials(func(data map[string][]byte) { data["password"] = password })

	e.Programmed(svc)
	e.SvcAPIReady(old)
	e.GatewayReady(gw)
	e.Eventually("readiness", func() error { return e.Operator.Ready(nil) })
	e.NoProblem(svc)
}
