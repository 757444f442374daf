// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
)

// The lease of these tests is short, so that a round is.
const (
	leaseTime  = 4 * time.Second
	renewTime  = 3 * time.Second
	retryTime  = 500 * time.Millisecond
	roundTime  = time.Minute // of a busy machine; a round takes some 8 s
	churners   = 4
	fencedText = "another replica may hold the lease"
)

// TestFencing takes the lease away from leaders that are busy: by stopping the process until another one leads and letting it go on,
// and by writing another holder into the Lease. No write of the old leader begins after its lease can have lapsed, and
// nothing is left over. AVI_CHAOS_ROUNDS is the number of rounds (make chaos).
func TestFencing(t *testing.T) {
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("AVI_CHAOS_ROUNDS")); err == nil {
		rounds = n
	}
	f := beginFor(t, 2*time.Minute+time.Duration(rounds)*roundTime)
	operator.Stop()
	t.Cleanup(f.restore)
	stop := f.churn()
	replicas := []*stage.Operator{f.replica("fenced-0")}
	var tally struct{ before, after, refused int }
	for i := range rounds {
		replicas = append(replicas, f.replica(fmt.Sprintf("fenced-%d", i+1)))
		old, next := replicas[i], replicas[i+1]
		f.until("the first writes of "+old.Name, func() bool { return len(begun(old)) > 0 })
		depose := f.suspend
		if i%2 == 1 {
			depose = f.steal
		}
		deadline := depose(old, next)
		select {
		case <-old.Done():
		case <-f.ctx.Done():
			t.Fatalf("%s goes on without the lease", old.Name)
		}
		for _, at := range begun(old) {
			if at.After(deadline) {
				tally.after++
			} else {
				tally.before++
			}
		}
		tally.refused += strings.Count(old.Log(), fencedText)
	}
	stop()
	f.must(st.Client.DeleteAllOf(f.ctx, new(corev1.Service), client.InNamespace(f.ns)))
	f.nothingLeft(f.ns)
	t.Logf("%d rounds: deposed leaders began %d writes in time and %d after the deadline; the log of what the fence refused has %d lines",
		rounds, tally.before, tally.after, tally.refused)
	if tally.after > 0 {
		t.Errorf("%d writes began after the deadline", tally.after)
	}
	replicas[rounds].Stop()
}

func (f *fixture) replica(name string) *stage.Operator {
	f.Helper()
	o, err := st.StartOperator(f.ctx, name, append(slices.Clone(flags), "--leader-elect",
		"--leader-elect-lease-duration="+leaseTime.String(), "--leader-elect-renew-deadline="+renewTime.String(),
		"--leader-elect-retry-period="+retryTime.String())...)
	f.must(err)
	f.Cleanup(o.Kill)
	return o
}

func (f *fixture) until(what string, done func() bool) {
	f.Helper()
	f.eventually(what, func(context.Context) error {
		if !done() {
			return errors.New("not yet")
		}
		return nil
	})
}

// suspend stops the leader until the other one leads and has written something, lets it go on, and returns when its lease lapsed.
func (f *fixture) suspend(leader, next *stage.Operator) time.Time {
	f.Helper()
	f.must(leader.Signal(syscall.SIGSTOP))
	lapsed := time.Now().Add(leaseTime)
	defer func() { f.must(leader.Signal(syscall.SIGCONT)) }()
	f.until("writes of "+next.Name, func() bool { return len(begun(next)) > 0 })
	return lapsed
}

// steal gives the lease to nobody that exists, and returns when the leader must have seen it.
func (f *fixture) steal(_, next *stage.Operator) time.Time {
	f.Helper()
	f.eventually("the theft of the lease", func(ctx context.Context) error {
		lease := new(coordinationv1.Lease)
		if err := st.Client.Get(ctx, client.ObjectKey{Namespace: stage.Namespace, Name: "avi-l4-operator.ako.vmware.com"}, lease); err != nil {
			return err
		}
		lease.Spec.HolderIdentity, lease.Spec.RenewTime = new("thief"), &metav1.MicroTime{Time: time.Now()}
		return st.Client.Update(ctx, lease)
	})
	stolen := time.Now()
	f.until("writes of "+next.Name, func() bool { return len(begun(next)) > 0 })
	return stolen.Add(leaseTime)
}

// churn creates, changes and deletes Services until it is told to stop.
func (f *fixture) churn() (stop func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	var all sync.WaitGroup
	for i := range churners {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				svc := &corev1.Service{
					ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: fmt.Sprintf("churn-%d-%d", i, n%5)},
					Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: new(false),
						Ports: []corev1.ServicePort{{Port: int32(80 + n%7), Protocol: corev1.ProtocolSCTP}}},
				}
				// That one is there still, or is gone already, is what churn is like.
				if err := st.Client.Create(ctx, svc); err != nil {
					_ = st.Client.Delete(ctx, svc)
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// begun are the times at which an operator began its writes of configuration, by its own log.
func begun(o *stage.Operator) (out []time.Time) {
	for line := range strings.Lines(o.Log()) {
		var entry struct {
			Time               time.Time `json:"ts"`
			Msg                string    `json:"msg"`
			Method, Kind, Took string
		}
		if !strings.Contains(line, "Request to the Controller") || json.Unmarshal([]byte(line), &entry) != nil || entry.Method == http.MethodGet {
			continue
		}
		switch entry.Kind {
		case "login", "logout", "user-token":
			continue
		}
		if took, err := time.ParseDuration(entry.Took); err == nil {
			out = append(out, entry.Time.Add(-took))
		}
	}
	return out
}
