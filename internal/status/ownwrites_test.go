// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// TestOwnWritesAreForgotten: what is deleted doesn't stay in memory.
func TestOwnWritesAreForgotten(t *testing.T) {
	var o ownWrites
	now := time.Now()
	for i := range 3 * ownWriteMany {
		object := func(version string) client.Object {
			return &corev1.Service{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i)), ResourceVersion: version}}
		}
		o.note(object("1"), object("2"), Run{}, now.Add(time.Duration(i)*time.Second))
	}
	if n := len(o.objects); n > ownWriteMany+int(ownWriteSweep/time.Second) {
		t.Errorf("%d are remembered", n)
	}
	uid := &corev1.Service{ObjectMeta: metav1.ObjectMeta{UID: "often"}}
	for i := range 100 {
		before, after := uid.DeepCopy(), uid.DeepCopy()
		before.ResourceVersion, after.ResourceVersion = fmt.Sprint(i), fmt.Sprint(i+1)
		o.begin(before)
		o.note(before, after, Run{}, now)
		o.end(before)
	}
	if have := o.objects["often"]; len(have.writes) != ownWriteKept || len(have.under) != 0 || len(have.parked) != 0 {
		t.Errorf("of one that is often written, this is remembered: %+v", have)
	}
}

// story is an API server with one Service, a writer, and the versions that the Service has had.
type story struct {
	t        *testing.T
	client   client.Client
	writer   *Writer
	admit    func(*corev1.Service) // changes what is written
	during   func()                // happens while a write is under way, before the API server has it
	answered func()                // happens when the API server has it, before the writer knows
	versions []*corev1.Service
	told     []string
}

var amf = Run{Controller: "service", Owner: types.NamespacedName{Namespace: "core", Name: "amf"}}

func newStory(t *testing.T) *story {
	s := &story{t: t}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: "core", UID: "1", Annotations: map[string]string{
		corev1.LastAppliedConfigAnnotation: "{}"}}}
	s.client = fake.NewClientBuilder().WithObjects(svc).WithStatusSubresource(svc).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if s.during != nil {
				s.during()
			}
			if err := c.Patch(ctx, o, p, opts...); err != nil {
				return err
			}
			if s.admit != nil {
				s.admit(o.(*corev1.Service))
			}
			s.saw()
			if s.answered != nil {
				s.answered()
			}
			return nil
		},
	}).Build()
	s.writer = &Writer{Client: s.client, Now: time.Now}
	s.saw()
	return s
}

// saw has the version of now be one that a cache gets to see.
func (s *story) saw() {
	s.t.Helper()
	now := new(corev1.Service)
	if err := s.client.Get(s.t.Context(), amf.Owner, now); err != nil {
		s.t.Fatal(err)
	}
	delete(now.Annotations, corev1.LastAppliedConfigAnnotation) // as the cache does
	s.versions = append(s.versions, now)
}

func (s *story) latest() *corev1.Service { return s.versions[len(s.versions)-1] }

// claim is a run's write over a version.
func (s *story) claim(over *corev1.Service, by Run) error {
	o := over.DeepCopy()
	o.Finalizers = append(o.Finalizers, "l4.ako.vmware.com/cleanup")
	return s.writer.Write(WithRun(s.t.Context(), by), over, o, func() error {
		return s.client.Patch(s.t.Context(), o, client.MergeFromWithOptions(over, client.MergeFromWithOptimisticLock{}))
	})
}

// edit is somebody else's change.
func (s *story) edit() {
	s.t.Helper()
	now := new(corev1.Service)
	if err := s.client.Get(s.t.Context(), amf.Owner, now); err != nil {
		s.t.Fatal(err)
	}
	now.Spec.LoadBalancerIP += "1"
	if err := s.client.Update(s.t.Context(), now); err != nil {
		s.t.Fatal(err)
	}
	s.saw()
}

// event is the update from one version to another.
func (s *story) event(from, to int) {
	s.writer.Event(s.versions[from], s.versions[to], func(by Run) {
		s.told = append(s.told, strings.TrimRight(fmt.Sprintf("%d-%d %s %s", from, to, by.Controller, by.Owner), " /"))
	})
}

func (s *story) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestWhoseAnEventIs: an event is the operator's own only if the operator's write, and nothing else, is in it.
func TestWhoseAnEventIs(t *testing.T) {
	const own = "service core/amf"
	for name, c := range map[string]struct {
		tell func(*story)
		want []string
	}{
		"own": {func(s *story) {
			s.must(s.claim(s.latest(), amf))
			s.event(0, 1)
		}, []string{"0-1 " + own}},
		"own, twice in a run": {func(s *story) {
			s.must(s.claim(s.latest(), amf))
			o := s.latest().DeepCopy()
			o.Status.Conditions = []metav1.Condition{{Type: "a", Status: metav1.ConditionTrue}}
			ctx := WithRun(s.t.Context(), amf)
			s.must(s.writer.Patch(ctx, s.latest(), o, false))
			s.saw()
			s.event(0, 1)
			s.event(1, 2)
			s.event(0, 2) // one event of two versions: whether there was another in between isn't known
		}, []string{"0-1 " + own, "1-2 " + own, "0-2"}},
		"no run's": {func(s *story) {
			s.must(s.claim(s.latest(), Run{}))
			s.event(0, 1)
		}, []string{"0-1"}},
		"before it": {func(s *story) {
			s.edit()
			s.must(s.claim(s.latest(), amf))
			s.event(0, 1)
			s.event(1, 2)
		}, []string{"0-1", "1-2 " + own}},
		"before it, in the same event": {func(s *story) {
			s.edit()
			s.must(s.claim(s.latest(), amf))
			s.event(0, 2)
		}, []string{"0-2"}},
		"after it, in the same event": {func(s *story) {
			s.must(s.claim(s.latest(), amf))
			s.edit()
			s.event(0, 2)
		}, []string{"0-2"}},
		"between the read and the write": {func(s *story) {
			read := s.latest()
			s.edit()
			if err := s.claim(read, amf); !apierrors.IsConflict(err) {
				s.t.Errorf("a write over a version that is no more: %v", err)
			}
			s.event(0, 1)
		}, []string{"0-1"}},
		"while the write is under way": {func(s *story) {
			s.during = func() {
				s.during = nil
				s.edit()
				s.event(0, 1)
				if len(s.told) > 0 {
					s.t.Errorf("it is told %q before anything is known", s.told)
				}
			}
			if err := s.claim(s.latest(), amf); !apierrors.IsConflict(err) {
				s.t.Errorf("a write over a version that is no more: %v", err)
			}
		}, []string{"0-1"}},
		"its event before its answer": {func(s *story) {
			s.answered = func() { s.event(0, 1) }
			s.must(s.claim(s.latest(), amf))
		}, []string{"0-1 " + own}},
		"its event before its answer, with another change": {func(s *story) {
			s.answered = func() {
				s.answered = nil
				s.edit()
				s.event(0, 2)
			}
			s.must(s.claim(s.latest(), amf))
		}, []string{"0-2"}},
		"its answer is lost": {func(s *story) {
			lost := errors.New("lost")
			err := s.writer.Write(WithRun(s.t.Context(), amf), s.latest(), s.latest().DeepCopy(), func() error {
				s.edit()
				s.event(0, 1)
				return lost
			})
			if !errors.Is(err, lost) {
				s.t.Error(err)
			}
		}, []string{"0-1"}},
		"changed by admission": {func(s *story) {
			s.admit = func(o *corev1.Service) { o.Spec.LoadBalancerIP = "10.0.0.9" }
			s.must(s.claim(s.latest(), amf))
			s.event(0, 1)
		}, []string{"0-1"}},
		"labelled by admission": {func(s *story) {
			s.admit = func(o *corev1.Service) { o.Labels = map[string]string{"team": "core"} }
			s.must(s.claim(s.latest(), amf))
			s.event(0, 1)
		}, []string{"0-1"}},
		"of a namesake": {func(s *story) {
			s.must(s.claim(s.latest(), amf))
			s.versions[0].UID = "2"
			s.event(0, 1)
		}, []string{"0-1"}},
		"a relist": {func(s *story) {
			s.must(s.claim(s.latest(), amf))
			s.event(1, 1)
		}, []string{"1-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			c.tell(s)
			if diff := cmp.Diff(c.want, s.told); diff != "" {
				t.Error(diff)
			}
			if have := s.writer.own.objects["1"]; have != nil && (len(have.under) > 0 || len(have.parked) > 0) {
				t.Errorf("something is still waited for: %+v", have)
			}
		})
	}
}

// TestTwoWritesOverOneVersion: one of two is refused, and what waits is told once both are answered.
func TestTwoWritesOverOneVersion(t *testing.T) {
	s := newStory(t)
	first := s.latest()
	s.during = func() {
		s.during = nil
		s.must(s.claim(first, Run{Controller: "sharedvip", Owner: amf.Owner}))
		s.event(0, 1)
		if len(s.told) > 0 {
			t.Errorf("it is told %q while a write is under way", s.told)
		}
	}
	if err := s.claim(first, amf); !apierrors.IsConflict(err) {
		t.Errorf("the second write: %v", err)
	}
	if !slices.Equal(s.told, []string{"0-1 sharedvip core/amf"}) {
		t.Errorf("told %q", s.told)
	}
}
