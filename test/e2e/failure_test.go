// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// TestKilledDuringRollout ends the operator without warning while pods come and go; the next one finishes the work.
func TestKilledDuringRollout(t *testing.T) {
	f := begin(t)
	const pods = 20
	f.deploy("amf", pods)
	f.served("amf", pods)
	f.edit("amf", func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 3 }) // the rollout has to last, on a busy machine too
	f.rolledOut("amf")
	f.deploy("gone", 1)
	f.served("gone", 1)
	st.Controller.ResetRequests()
	// The first change gets through and the next ones hang, so that the operator is surely in the middle when it is killed.
	answer := st.Controller.Inject(avisim.Fault{Method: http.MethodPatch, Type: "pool", After: 1, Hang: true})
	f.rollOut("amf", "2")
	f.eventually("a first change of the pool", func(context.Context) error {
		if len(writes(http.MethodPatch)) == 0 {
			return errors.New("there is no PATCH yet")
		}
		return nil
	})
	operator.Kill()
	answer()
	t.Cleanup(f.restore)
	// What happens while nobody watches: the rollout ends, a Service comes, another is to go.
	f.rolledOut("amf")
	f.deploy("new", 2)
	_, err := st.Kubectl(f.ctx, "delete", "service", "gone", "-n", f.ns, "--wait=false")
	f.must(err)
	ready, err := f.pods(f.ctx, f.ns, "amf")
	f.must(err)
	stale, err := f.tree(f.ctx, "amf")
	f.must(err)
	if hasServers(stale.Pool("SCTP 80"), servers(ready, 9090)) == nil {
		t.Error("the pool was complete when the operator was killed, so this proves nothing")
	}
	f.restore()
	f.served("amf", pods)
	f.served("new", 2)
	f.eventually("the deletion that nobody watched", func(ctx context.Context) error {
		left, err := st.Trees.Names(ctx, st.ObjectName(f.ns, "gone"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there are still %v", left)
		}
		return err
	})
	f.exactly("amf", "new")
}

// restore has the package's operator running again.
func (f *fixture) restore() {
	f.Helper()
	select {
	case <-operator.Done():
	default:
		return
	}
	o, err := st.StartOperator(f.ctx, "operator", flags...)
	if err != nil {
		f.Fatal(err)
	}
	operator = o
}

// TestLeaderElection runs replicas as the installation does. A crash of the leader costs the lease's time, its orderly
// end next to none.
func TestLeaderElection(t *testing.T) {
	f := begin(t)
	operator.Stop()
	t.Cleanup(f.restore)
	f.deploy("first", 1)
	elect := append(slices.Clone(flags), "--leader-elect")
	start := func(name string) *stage.Operator {
		o, err := st.StartOperator(f.ctx, name, elect...)
		f.must(err)
		t.Cleanup(o.Stop)
		return o
	}
	one, two := start("replica-1"), start("replica-2")
	leads := func(o *stage.Operator) bool {
		return strings.Contains(strings.ToLower(o.Log()), "successfully acquired lease")
	}
	f.served("first", 1)
	if leads(one) == leads(two) {
		t.Fatalf("replica-1 leads: %t, replica-2 leads: %t", leads(one), leads(two))
	}
	leader, standby := one, two
	if leads(two) {
		leader, standby = two, one
	}

	begin := time.Now()
	leader.Kill()
	f.eventually("another leader", func(context.Context) error {
		if !leads(standby) {
			return errors.New("the standby waits still")
		}
		return nil
	})
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("after a crash of the leader, the standby took over in %s, want 20 s at most", took)
	}
	f.deploy("second", 2)
	f.served("second", 2)
	t.Logf("after a crash of the leader, a new Service was served in %.1f s", time.Since(begin).Seconds())

	third := start("replica-3")
	holder := func() string {
		lease := new(coordinationv1.Lease)
		f.must(st.Client.Get(f.ctx, client.ObjectKey{Namespace: stage.Namespace, Name: "avi-l4-operator.ako.vmware.com"}, lease))
		if lease.Spec.HolderIdentity == nil {
			return ""
		}
		return *lease.Spec.HolderIdentity
	}
	logouts := func() (n int) {
		for _, r := range st.Controller.Requests() {
			if r.Path == "/logout" && r.Status == http.StatusOK {
				n++
			}
		}
		return n
	}
	old, before := holder(), logouts()
	standby.Stop()
	begin = time.Now()
	if holder() == old {
		t.Error("the leader ended in order and kept the lease")
	}
	if n := logouts(); n != before+1 {
		t.Errorf("the Controller saw %d logouts before the leader ended in order, and %d after", before, n)
	}
	f.eventually("a leader after the orderly end", func(context.Context) error {
		if !leads(third) {
			return errors.New("the standby waits still")
		}
		return nil
	})
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("after an orderly end of the leader, the standby took over in %s, want 5 s at most", took)
	}
	f.deploy("third", 2)
	f.served("third", 2)
	t.Logf("after an orderly end of the leader, a new Service was served in %.1f s", time.Since(begin).Seconds())
	f.served("first", 1)
	f.exactly("first", "second", "third")
}

// TestAPIServerOutage takes the API server away for longer than several refreshes: what can't be read is not gone. It
// comes last, and makes no pods once the API server is back: kwok may need a minute until it starts some.
func TestAPIServerOutage(t *testing.T) {
	f := begin(t)
	const pods = 3
	f.deploy("amf", pods)
	f.served("amf", pods)
	before, err := f.tree(f.ctx, "amf")
	f.must(err)
	st.Controller.ResetRequests()
	f.must(st.Cluster.KillProcess("kube-apiserver"))
	lists := func() (n int) { // of the operator's VirtualServices: one for each time that everything is read
		for _, r := range st.Controller.Requests() {
			if r.Method == http.MethodGet && r.Type == "virtualservice" {
				n++
			}
		}
		return n
	}
	earlier := lists()
	f.eventually("several reads of the Controller during the outage", func(context.Context) error {
		if n := lists() - earlier; n < 3 {
			return fmt.Errorf("there were %d", n)
		}
		return nil
	})
	if w := writes(""); len(w) > 0 {
		t.Errorf("%d writes while the API server was away, the first is %s %s %s", len(w), w[0].Method, w[0].Path, w[0].Body)
	}
	f.must(st.Cluster.RestartProcess(f.ctx, "kube-apiserver"))
	// An API server that starts refuses some requests until it has read the roles; that is no lack of rights.
	complaints(operator)
	// Whether the endpoint controller's back-off is over is not the question; whether the operator's is.
	f.must(st.Cluster.RestartProcess(f.ctx, "kube-controller-manager"))
	start := time.Now()
	f.offer("new", "amf")
	f.servedBy("new", "amf", pods)
	t.Logf("after the outage a new Service was served in %.1f s", time.Since(start).Seconds())
	after, err := f.tree(f.ctx, "amf")
	f.must(err)
	if a, b := after.Pool("SCTP 80").Enabled(), before.Pool("SCTP 80").Enabled(); !slices.Equal(a, b) {
		t.Errorf("the servers are %v, they were %v", a, b)
	}
	for _, w := range writes("") {
		if w.Method == http.MethodDelete || w.Method == http.MethodPatch && w.Type == "pool" && enabledIn(t, w.Body) < pods {
			t.Errorf("a write took servers out of use: %s %s %s", w.Method, w.Path, w.Body)
		}
	}
	list, err := f.pods(f.ctx, f.ns, "amf")
	f.must(err)
	f.must(st.Cluster.SetPodReady(f.ctx, f.ns, list[0].Name, false))
	f.eventually("a server that is disabled", func(ctx context.Context) error {
		tr, err := f.tree(ctx, "amf")
		if err != nil {
			return err
		}
		if got := tr.Pool("SCTP 80").Disabled(); !slices.Equal(got, []string{list[0].Status.PodIP + ":9090"}) {
			return fmt.Errorf("%v are disabled", got)
		}
		return nil
	})
	f.exactly("amf", "new")
}
