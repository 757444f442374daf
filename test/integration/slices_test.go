// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

type (
	discovery         = discoveryv1.EndpointSlice
	discoveryEndpoint = discoveryv1.Endpoint
)

func endpoint(ip string, serving, terminating bool) discoveryEndpoint {
	return discoveryEndpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{
		Ready: new(serving && !terminating), Serving: &serving, Terminating: &terminating,
	}}
}

func methods(e *suite.Env) (out []string) {
	for _, r := range e.Writes() {
		out = append(out, fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Status))
	}
	return out
}
