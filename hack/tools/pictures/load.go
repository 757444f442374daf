// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"
)

// happening is something that happens to the operator after a part of the time.
type happening struct {
	after float64
	what  string
	do    func(context.Context, *scene) error
}

// Parts of the time after which all Services are created, and after which endpoints begin to change, one Service a second.
const (
	createAfter = 0.06
	changeAfter = 0.25
)

// happenings are the load besides.
var happenings = []happening{
	{0.45, "the Controller goes away", func(_ context.Context, s *scene) error { s.Controller.SetDown(true); return nil }},
	{0.60, "the Controller is back", func(_ context.Context, s *scene) error { s.Controller.SetDown(false); return nil }},
	{0.75, "somebody else edits a pool", func(_ context.Context, s *scene) error {
		return s.Controller.Edit("pool", "admin", s.poolName(0), func(o map[string]any) { o["health_monitor_refs"] = nil })
	}},
	{0.80, "servers of one Service go down", func(ctx context.Context, s *scene) error { return s.serversOf(ctx, "stp-1", false) }},
	{0.93, "and come back", func(ctx context.Context, s *scene) error { return s.serversOf(ctx, "stp-1", true) }},
}

// poolName is that of a Service's only port.
func (s *scene) poolName(i int) string {
	in := instances()[i]
	return fmt.Sprintf("%s-%s-%d", s.ObjectName(namespace, in.Name), in.Protocol, in.Port)
}

// play is the load, for so long.
func (s *scene) play(ctx context.Context, total time.Duration) error {
	begin := time.Now()
	if err := until(ctx, begin.Add(time.Duration(createAfter*float64(total)))); err != nil {
		return err
	}
	fmt.Printf("%4.0f s: all Services are created\n", time.Since(begin).Seconds())
	if err := s.create(ctx); err != nil {
		return err
	}
	group, playing := errgroup.WithContext(ctx)
	group.Go(func() error {
		for _, h := range happenings {
			if err := until(playing, begin.Add(time.Duration(h.after*float64(total)))); err != nil {
				return err
			}
			fmt.Printf("%4.0f s: %s\n", time.Since(begin).Seconds(), h.what)
			if err := h.do(playing, s); err != nil {
				return fmt.Errorf("%s: %w", h.what, err)
			}
		}
		return nil
	})
	group.Go(func() error {
		first := begin.Add(time.Duration(changeAfter * float64(total)))
		for at := first; at.Before(begin.Add(total)); at = at.Add(time.Second) {
			if err := until(playing, at); err != nil {
				return err
			}
			if err := s.scaled(playing, int(at.Sub(first)/time.Second)); err != nil {
				return fmt.Errorf("changing endpoints: %w", err)
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return until(ctx, begin.Add(total))
}

func until(ctx context.Context, at time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(at)):
		return nil
	}
}

// scaled gives one Deployment after the other a third pod, and takes it away in the next round.
func (s *scene) scaled(ctx context.Context, second int) error {
	all := instances()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: all[second%len(all)].Name}}
	replicas := fmt.Sprintf(`{"spec":{"replicas":%d}}`, 3-second/len(all)%2)
	return s.Client.Patch(ctx, d, client.RawPatch("application/merge-patch+json", []byte(replicas)))
}

// serversOf has the Controller find the servers of a Service down, or up again.
func (s *scene) serversOf(ctx context.Context, name string, up bool) error {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": name}); err != nil {
		return err
	}
	for i := range pods.Items {
		s.Controller.SetServerHealth(pods.Items[i].Status.PodIP, 9090, up, "no SCTP INIT ACK within 4 s")
	}
	return nil
}
