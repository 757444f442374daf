// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"regexp"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// world is what an input meets that isn't in its file.
type world struct {
	options []suite.Option
	// alone: the operators of other tests have something to say about the objects, or this one about theirs.
	alone   bool
	prepare func(*suite.Env) // before the objects are created
	then    func(*suite.Env) // after they were
}

// worlds has those inputs that need another world than a healthy one.
var worlds = map[string]world{
	"service-address-taken":          {prepare: elsewhere},
	"service-no-address-left":        {options: []suite.Option{suite.WithConfig("vipNetworkList", `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`)}, prepare: noAddressLeft},
	"service-license-tier":           {options: []suite.Option{suite.WithSim(avisim.Options{LicenseTier: "BASIC"})}},
	"service-controller-unreachable": {prepare: func(e *suite.Env) { e.Sim.Inject(avisim.Fault{ResetBefore: true}) }},
	"service-controller-hangs-up":    {options: nil, prepare: func(e *suite.Env) { e.Sim.Inject(avisim.Fault{Method: "POST", Type: "vsvip", ResetBefore: true}) }},
	"service-controller-upgrading": {prepare: func(e *suite.Env) {
		e.Sim.Inject(avisim.Fault{Method: "POST", Type: "vsvip", Status: 503, Body: `{"error": "Controller upgrade in progress"}`})
	}},
	"service-wrong-password": {prepare: func(e *suite.Env) {
		e.Credentials(func(s map[string][]byte) { s["password"] = []byte("wrong") })
	}},
	"service-untrusted-controller": {prepare: func(e *suite.Env) {
		e.StopOperator()
		e.Credentials(func(s map[string][]byte) { delete(s, "certificateAuthorityData") })
		e.StartOperator()
	}},
	"gateway-class-parameters-missing": {alone: true}, // every operator of the cluster judges classes
	"service-first-installation":       {alone: true, options: []suite.Option{suite.WithoutSettings()}},
	"service-invalid-configuration":    {alone: true, options: []suite.Option{suite.WithConfig("vipNetworkList", `[{"networkName":"vip-network","cidr":"10.10.0.0/99"}]`)}},
	"service-network-missing":          {options: []suite.Option{suite.WithConfig("vipNetworkList", `[{"networkName":"nosuch-network","cidr":"10.77.0.0/16"}]`)}},
	"service-pool-refused": {prepare: func(e *suite.Env) {
		e.Sim.Inject(avisim.Fault{Method: "POST", Type: "pool", Status: 400, Body: `{"error": "Pool: server count over the limit of the license"}`})
	}},
	"service-permission-missing": {prepare: func(e *suite.Env) {
		e.Sim.Inject(avisim.Fault{Method: "POST", Type: "virtualservice", Status: 403, Body: `{"error": "You do not have permission to perform this action."}`})
	}},
	"service-tenant-missing": {prepare: func(e *suite.Env) {
		ns := new(corev1.Namespace)
		ns.Name = e.Namespace
		suite.Update(e, ns, func(ns *corev1.Namespace) {
			ns.Annotations = map[string]string{"ako.vmware.com/tenant-name": "nosuch-tenant"}
		})
	}},
	"service-needs-replacement": {then: func(e *suite.Env) {
		svc := e.Service("amf")
		e.Programmed(svc)
		suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "10.10.3.3" })
	}},
	"service-nodeport-without-node-port": {options: []suite.Option{suite.WithConfig("serviceType", "NodePort")}},
	"service-nodeportlocal-sctp":         {options: []suite.Option{suite.WithConfig("serviceType", "NodePortLocal"), suite.WithConfig("cniPlugin", "antrea")}},
}

// elsewhere has somebody else's VirtualService hold an address.
func elsewhere(e *suite.Env) {
	_, err := e.Sim.Create("vsvip", "admin", map[string]any{"name": "billing-frontend", "vip": []any{map[string]any{"vip_id": "1",
		"ip_address": map[string]any{"addr": "10.10.0.77", "type": "V4"}}}, "cloud_ref": "/api/cloud?name=Default-Cloud", "tenant_ref": "/api/tenant?name=admin"})
	if err != nil {
		e.T.Fatal(err)
	}
}

func noAddressLeft(e *suite.Env) {
	e.Sim.Inject(avisim.Fault{Method: "POST", Type: "vsvip", Status: 400, ObjectName: regexp.MustCompile("."),
		Body: `{"error": "No available free IPs"}`})
}
