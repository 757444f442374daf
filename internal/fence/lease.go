// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
)

// Lease returns the lock of an election over a Lease, of which the fence learns what it has to. Requests for the Lease get half of
// renewDeadline, so that one which hangs doesn't lose the lease.
func (f *Fence) Lease(cfg *rest.Config, scheme *runtime.Scheme, namespace, name string,
	renewDeadline time.Duration) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming this replica: %w", err)
	}
	cfg = rest.AddUserAgent(cfg, "leader-election")
	cfg.Timeout = max(renewDeadline/2, time.Second)
	leases, err := coordinationclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client for the Lease: %w", err)
	}
	core, err := coreclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client for the Lease's Events: %w", err)
	}
	identity := host + "_" + string(uuid.NewUUID())
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&coreclient.EventSinkImpl{Interface: core.Events("")})
	next, err := resourcelock.New(resourcelock.LeasesResourceLock, namespace, name, core, leases,
		resourcelock.ResourceLockConfig{Identity: identity, EventRecorder: events.NewRecorder(scheme, corev1.EventSource{Component: identity})})
	if err != nil {
		return nil, fmt.Errorf("making the lock of Lease %s/%s: %w", namespace, name, err)
	}
	return f.Lock(next), nil
}
