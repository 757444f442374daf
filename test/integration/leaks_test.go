// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/record"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// made are the owners of every kind, by the name of the owner, with all that the Controller needs to hold four objects for each.
var made = []struct {
	kind string
	with func(e *suite.Env, name string) (owner client.Object, rest []client.Object)
}{
	{"service", func(e *suite.Env, name string) (client.Object, []client.Object) {
		svc := e.Service(name, suite.Port("SCTP", 38412))
		return svc, []client.Object{e.Slice(svc, "10.244.1.5")}
	}},
	{"sharedvip", func(e *suite.Env, name string) (client.Object, []client.Object) {
		svc := e.SharedVIP(name+"-amf", name, suite.Port("SCTP", 38412))
		return svc, []client.Object{e.Slice(svc, "10.244.1.6")}
	}},
	{"svcapi", func(e *suite.Env, name string) (client.Object, []client.Object) {
		svc := e.Backend(name+"-amf", name, suite.Port("SCTP", 38412))
		return e.SvcAPIGateway(name, e.SvcAPIListener(name, "SCTP", 38412)), []client.Object{svc, e.Slice(svc, "10.244.1.7")}
	}},
	{"gateway", func(e *suite.Env, name string) (client.Object, []client.Object) {
		svc := e.Service(name+"-amf", suite.Port("SCTP", 38412))
		svc.Spec.Type, svc.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
		return e.Gateway(name, suite.Listener("n2", "SCTP", 38412)),
			[]client.Object{svc, e.Slice(svc, "10.244.1.8"), e.SCTPRoute(name, name, "n2", suite.To(svc.Name, 38412, 1))}
	}},
}

// leak is an owner that is taken away by force in the middle of its creation.
type leak struct {
	name  string
	owner client.Object
}

// TestLeaks takes owners of every kind away, finalizers and all, with the operator stopped at each write of their creation: before the
// write, after it without having had the answer, and after the Controller refused it. What was made by then has an owner that is gone
// and mostly no VirtualService. Sweeping leaves nothing of it, and all of the neighbours.
func TestLeaks(t *testing.T) {
	for _, ends := range []struct {
		name  string
		fault avisim.Fault
	}{
		{"before", avisim.Fault{Hang: true}},
		{"unanswered", avisim.Fault{ResetAfter: true}},
		{"refused", avisim.Fault{Status: 400, Body: `{"error":"something is wrong"}`}},
	} {
		t.Run(ends.name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithOptions(often),
				suite.WithOptions(func(o *controllers.Options) { o.DeletionShare, o.Timeout = 0.9, time.Second }))
			e.Own(e.SvcAPIClass(nil), e.Class())
			for _, m := range made {
				owner, rest := m.with(e, "stays-"+m.kind)
				e.Create(append(rest, owner)...)
			}
			e.Eventually("the neighbours", func() error { return trees(e, len(made)) })
			before := fmt.Sprint(identities(e))

			leaks := begin(e, ends.fault)
			e.StopOperator()
			found := leftovers(e, leaks)
			if len(found) == 0 {
				t.Fatal("nothing was made, so nothing can be left over")
			}
			for _, l := range leaks {
				e.Force(l.owner)
			}
			e.Sim.ClearFaults()
			e.StartOperator()
			e.Eventually("the sweep", func() error {
				if left := leftovers(e, leaks); len(left) > 0 {
					return fmt.Errorf("left over: %v", left)
				}
				return nil
			})
			e.Sweeps(2)
			if err := trees(e, len(made)); err != nil || fmt.Sprint(identities(e)) != before {
				t.Errorf("the neighbours are other ones: %v\n%v\n%v", err, before, identities(e))
			}
			t.Logf("%d creations cut short, %d objects left over, all swept", len(leaks), len(found))
		})
	}
}

// begin has owners of each kind made as far as each write. From then on the Controller answers no write about them.
func begin(e *suite.Env, f avisim.Fault) (leaks []leak) {
	e.T.Helper()
	var objects []client.Object
	for i, c := range creates {
		for _, m := range made {
			l := leak{name: fmt.Sprintf("cut-%s-%s", c.kind, m.kind)}
			owner, rest := m.with(e, l.name)
			l.owner = owner
			about := regexp.MustCompile("-" + l.name + "(-|$)")
			f.Name, f.Method, f.Type, f.ObjectName, f.Count = l.name, c.method, c.kind, about, 1
			e.Sim.Inject(f)
			for _, next := range creates[i:] {
				e.Sim.Inject(avisim.Fault{ObjectName: about, Hang: true, Type: next.kind, Method: next.method, Name: "later"})
			}
			leaks, objects = append(leaks, l), append(append(objects, rest...), owner)
		}
	}
	e.Create(objects...)
	e.Eventually("each creation is cut short", func() error {
		met := make(map[string]bool)
		for _, r := range e.Sim.Requests() {
			for _, name := range strings.FieldsFunc(r.Fault, func(c rune) bool { return c == ',' || c == ' ' }) {
				met[name] = true
			}
		}
		for _, l := range leaks {
			if !met[l.name] {
				return fmt.Errorf("%s is not", l.name)
			}
		}
		return nil
	})
	return leaks
}

// leftovers lists what the Controller holds of owners.
func leftovers(e *suite.Env, leaks []leak) (out []string) {
	for _, text := range identities(e) {
		if slices.ContainsFunc(leaks, func(l leak) bool { return strings.Contains(text, "-"+l.name) }) {
			out = append(out, text)
		}
	}
	return out
}

// identities lists kind, name and UUID of all that the Controller holds under the cluster's name.
func identities(e *suite.Env) (out []string) {
	for kind := range map[string]bool{"vsvip": true, "pool": true, "poolgroup": true, "l4policyset": true, "virtualservice": true} {
		for _, o := range e.Sim.Objects(kind) {
			if name, _ := o["name"].(string); strings.HasPrefix(name, e.Cluster+"--") {
				out = append(out, fmt.Sprint(kind, " ", name, " ", o["uuid"]))
			}
		}
	}
	slices.Sort(out)
	return out
}

// trees is nil if there are so many whole trees and nothing else.
func trees(e *suite.Env, n int) error {
	want := fmt.Sprintf("map[l4policyset:%d pool:%d virtualservice:%d vsvip:%d]", n, n, n, n)
	if have := fmt.Sprint(e.Owned()); have != want {
		return fmt.Errorf("the Controller holds %s, want %s", have, want)
	}
	return nil
}

// TestDeletedWhileClaimed deletes owners of every kind at the moment at which they get their finalizer. A deletion that the API server has
// begun by then goes by without it: the object is gone, and the operator, which was told that the finalizer is on it, makes its objects.
// They are removed at once, without a sweep, and no guard holds them, however few others there are.
func TestDeletedWhileClaimed(t *testing.T) {
	for _, m := range made {
		t.Run(m.kind, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t)
			e.Own(e.SvcAPIClass(nil), e.Class())
			stays, rest := m.with(e, "stays")
			e.Create(append(rest, stays)...)
			e.Eventually("the neighbour", func() error { return trees(e, 1) })
			before := fmt.Sprint(identities(e))

			overlooked := 0
			for try := 0; overlooked < 2; try++ {
				if try == 200 {
					t.Fatalf("after %d deletions the API server has overlooked %d finalizers", try, overlooked)
				}
				name := fmt.Sprint("brief", try)
				owner, rest := m.with(e, name)
				e.Create(rest...)
				if deletedWhileClaimed(e, owner, time.Duration(try%20)*200*time.Microsecond) {
					overlooked++
					e.Eventually("something is made", func() error {
						if !slices.ContainsFunc(e.Sim.Writes(), func(w record.Request) bool { return strings.Contains(string(w.Body), "-"+name) }) {
							return errors.New("nothing is")
						}
						return nil
					})
				}
				e.Eventually("what was made is removed", func() error {
					if left := identities(e); fmt.Sprint(left) != before {
						return fmt.Errorf("there is %v, want %s", left, before)
					}
					return nil
				})
				for _, o := range rest {
					e.Force(o)
				}
			}
		})
	}
}

// deletedWhileClaimed creates an owner and deletes it while its finalizer is being put on. It reports whether the object is gone although
// that has succeeded.
func deletedWhileClaimed(e *suite.Env, owner client.Object, after time.Duration) bool {
	e.T.Helper()
	overlooked, deleted := make(chan bool, 1), make(chan error, 1)
	name := "/" + owner.GetName()
	known := owner.DeepCopyObject().(client.Object) // the operator may be at work before owner has the answer to its creation
	var begun, ended atomic.Bool
	e.AroundKubeWrites(func(w suite.KubeWrite, answer int) {
		switch {
		case !strings.HasSuffix(w.Path, name) || !strings.Contains(w.Body, gather.Finalizer):
		case answer == 0 && !begun.Swap(true):
			go func() {
				time.Sleep(after)
				deleted <- e.Client.Delete(e.T.Context(), known)
			}()
		case answer != 0 && !ended.Swap(true):
			if err := client.IgnoreNotFound(<-deleted); err != nil {
				e.T.Errorf("deleting %s: %v", known.GetName(), err)
			}
			overlooked <- answer == http.StatusOK && apierrors.IsNotFound(e.Read(known))
		}
	})
	defer e.AroundKubeWrites(nil)
	e.Create(owner)
	return <-overlooked
}

// TestLatePosts are those of a Service, of Gateways of both APIs and of a shared VIP that the Controller carries out only after the owner
// was deleted in the usual way: each leaves one object, alone, with the markers of an owner that doesn't exist. They are swept, and what
// somebody else made alike but without markers stays.
func TestLatePosts(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(often))
	e.Own(e.SvcAPIClass(nil), e.Class())
	var owners []client.Object
	for _, m := range made {
		owner, rest := m.with(e, "late-"+m.kind)
		e.Create(append(rest, owner)...)
		owners = append(owners, owner)
	}
	e.Eventually("everything is made", func() error { return trees(e, len(made)) })
	var late []map[string]any
	for _, o := range e.Sim.Objects("vsvip") {
		if name, _ := o["name"].(string); strings.HasPrefix(name, e.Cluster+"--") {
			late = append(late, o)
		}
	}
	for _, o := range owners {
		e.Delete(o)
	}
	e.Eventually("everything is deleted", func() error {
		if have := e.Owned(); len(have) > 0 {
			return fmt.Errorf("the Controller holds %v", have)
		}
		return nil
	})
	marks := []any{map[string]any{"key": "clustername", "values": []any{e.Cluster}}}
	late = append(late, map[string]any{"name": e.Cluster + "--" + e.Namespace + "-foreign", "markers": marks,
		"vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}}})
	for _, body := range late {
		for _, field := range []string{"uuid", "url", "_last_modified", "configpb_attributes"} {
			delete(body, field)
		}
		if _, err := e.Sim.Create("vsvip", "admin", byName(body)); err != nil {
			t.Fatal(err)
		}
	}
	e.Eventually("the sweep", func() error {
		if left := identities(e); len(left) != 1 || !strings.Contains(left[0], "-foreign ") {
			return fmt.Errorf("left over: %v", left)
		}
		return nil
	})
	e.Sweeps(2)
	if left := identities(e); len(left) != 1 {
		t.Errorf("somebody else's VsVip was swept: %v", left)
	}
}
