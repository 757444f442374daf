// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestGatewayFromCreationToDeletion is the sample's story: class, empty setting, Gateway and Service in the order of the
// file, and away again.
func TestGatewayFromCreationToDeletion(t *testing.T) {
	e := suite.New(t)
	setting := e.Setting("infra", v1beta1.AviInfraSettingSpec{})
	class := e.SvcAPIClass(setting)
	port := suite.Port(corev1.ProtocolSCTP, 6060)
	gw := e.SvcAPIGateway("my-gateway", e.SvcAPIListener("my-gateway", "SCTP", 6060))
	svc := e.Backend("avisvc", "my-gateway", port)
	e.Create(class, setting, gw, svc, e.Slice(svc, "10.244.1.5"))
	address := e.SvcAPIReady(gw)
	t.Log("address", address, gw.Status)
	e.SvcAPIClassCondition(class, "Admitted", metav1.ConditionTrue, "Admitted")
	e.SettingCondition(setting, "Accepted", metav1.ConditionTrue, "Accepted")
	e.SettingCondition(setting, "InUse", metav1.ConditionTrue, "Used")
	e.SvcAPIListenerCondition(gw, 6060, "Ready", metav1.ConditionTrue, "Ready")
	if servers := e.Servers(e.SvcAPIPool(gw, "avisvc", port)); len(servers) != 1 || servers[0] != "10.244.1.5:9090" {
		t.Errorf("the pool has %v", servers)
	}
	if !controllerutil.ContainsFinalizer(gw, suite.Finalizer) {
		t.Error("the Gateway has no finalizer")
	}
	e.Delete(gw)
	e.SvcAPIGone(gw)
	if owned := e.Owned(); len(owned) > 0 {
		t.Errorf("left: %v", owned)
	}
	e.SettingCondition(setting, "InUse", metav1.ConditionFalse, "NotUsed")
	e.Delete(class)
}
