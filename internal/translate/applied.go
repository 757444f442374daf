// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// AnnotationApplied is where client-side kubectl apply keeps what it was last given. The cache keeps of it what AppliedPorts makes.
const AnnotationApplied = "kubectl.kubernetes.io/last-applied-configuration"

// AppliedPorts lists the ports of a Service as kubectl apply was given them, "SCTP 38412, TCP 38412", if some of them share a
// number; else it is empty, as it is for what can't be read.
func AppliedPorts(lastApplied string) string {
	var given struct {
		Spec struct {
			Ports []struct {
				Port     int32
				Protocol corev1.Protocol
			}
		}
	}
	if json.Unmarshal([]byte(lastApplied), &given) != nil {
		return ""
	}
	numbers := make(map[int32]bool)
	shared := false
	var out []string
	for _, p := range given.Spec.Ports {
		shared = shared || numbers[p.Port]
		numbers[p.Port] = true
		out = append(out, model.Port{Number: p.Port, Protocol: string(cmp.Or(p.Protocol, corev1.ProtocolTCP))}.String())
	}
	if !shared {
		return ""
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// droppedPorts reports ports that kubectl apply was given and that the Service doesn't have: the API server merges ports by their
// number alone (kubernetes#105610), so that of two protocols on one number only one arrives.
func (b serviceBuilder) droppedPorts() {
	have := make(map[string]bool)
	numbers := make(map[string]bool)
	for _, p := range b.svc.Spec.Ports {
		have[portOfService(p).String()] = true
		numbers[number(p.Port)] = true
	}
	var dropped []string
	for given := range strings.SplitSeq(b.svc.Annotations[AnnotationApplied], ", ") {
		if _, n, ok := strings.Cut(given, " "); ok && !have[given] && numbers[n] {
			dropped = append(dropped, given)
		}
	}
	if len(dropped) > 0 {
		b.report(model.Degraded, model.Port{}, model.ReasonPortDropped, fmt.Sprintf("port %s was given to kubectl apply and did not arrive: client-side apply merges ports by their number alone; use kubectl apply --server-side, or kubectl replace", strings.Join(dropped, ", ")))
	}
}
