// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// write is one write of the operator's, to the Controller or to the API server: the nth of its kind.
type write struct {
	kube   bool
	method string
	kind   string
	nth    int
}

func (c write) String() string { return fmt.Sprintf("%s %s #%d", c.method, c.kind, c.nth) }

// calls notes the writes to the API server as they are made.
type calls struct {
	mu   sync.Mutex
	made map[string]int
	list []write
}

func (c *calls) add(verb string, o runtime.Object) write {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := write{kube: true, method: verb, kind: strings.TrimPrefix(fmt.Sprintf("%T", o), "*")}
	key := verb + made.kind
	c.made[key]++
	made.nth = c.made[key]
	c.list = append(c.list, made)
	return made
}

func isWrite(verb string) bool { return verb == "create" || verb == "update" || verb == "patch" }

// lives are what an operator is in the middle of when it ends.
var lives = []struct {
	name   string
	before func(context.Context, *stage, *actor) error // with an operator that goes on
	do     func(context.Context, *stage, *actor) error
}{
	{"create", nil, func(ctx context.Context, s *stage, a *actor) error { return s.create(ctx, a) }},
	{"update", func(ctx context.Context, s *stage, a *actor) error { return s.create(ctx, a) },
		func(ctx context.Context, s *stage, a *actor) error { return s.widen(ctx, a) }},
	{"delete", func(ctx context.Context, s *stage, a *actor) error { return s.create(ctx, a) },
		func(ctx context.Context, s *stage, a *actor) error { return s.remove(ctx, a) }},
}

// afterlives are what happens while no operator runs.
var afterlives = []struct {
	name string
	do   func(context.Context, *stage, *actor) error
}{
	{"nothing", func(context.Context, *stage, *actor) error { return nil }},
	{"change", func(ctx context.Context, s *stage, a *actor) error {
		if a.wide {
			return s.terminate(ctx, a)
		}
		return s.widen(ctx, a)
	}},
	{"delete", func(ctx context.Context, s *stage, a *actor) error { return s.remove(ctx, a) }},
	{"recreate", func(ctx context.Context, s *stage, a *actor) error {
		if err := s.force(ctx, a); err != nil {
			return err
		}
		a.owner.SetUID(a.owner.GetUID() + "-2")
		return s.create(ctx, a)
	}},
	{"tenant move", func(ctx context.Context, s *stage, _ *actor) error {
		ns := new(corev1.Namespace)
		ns.Name = "core"
		return s.change(ctx, ns, func(o client.Object) { o.SetAnnotations(map[string]string{translate.AnnotationTenant: "other"}) })
	}},
	{"forced finalizer", func(ctx context.Context, s *stage, a *actor) error { return s.force(ctx, a) }},
}

// crash is one cell of the matrix.
type crash struct {
	kind, life, afterlife int // indexes of kinds, lives and afterlives
	at                    write
	took                  bool // the call took effect; its answer was not heard
}

var kinds = slices.Sorted(maps.Keys(cast))

func (c crash) String() string {
	when := "before"
	if c.took {
		when = "after"
	}
	return fmt.Sprintf("%s of a %s, ended %s %v, then %s", lives[c.life].name, kinds[c.kind], when, c.at, afterlives[c.afterlife].name)
}

// scene is a stage with a neighbour and an actor, as far as the beginning of a life.
func scene(ctx context.Context, c crash) (s *stage, neighbour, a *actor, err error) {
	if s, err = newStage(ctx); err != nil {
		return nil, nil, nil, err
	}
	data := s.config()
	data["disableStaticRouteSync"] = "true"
	if err = s.configure(ctx, data); err != nil {
		return s, nil, nil, err
	}
	if err = s.start(); err != nil {
		return s, nil, nil, err
	}
	neighbour, a = s.play("stays", "Service")[0], s.play("amf", kinds[c.kind])[0]
	if err = s.create(ctx, neighbour); err != nil {
		return s, nil, nil, err
	}
	if before := lives[c.life].before; before != nil {
		if err = before(ctx, s, a); err != nil {
			return s, nil, nil, err
		}
	}
	for range 2 {
		s.turn(ctx)
	}
	s.sim.ResetRequests()
	return s, neighbour, a, nil
}

// points are the writes of a life that is not cut short.
func points(ctx context.Context, kind, life int) (out []write, err error) {
	s, _, a, err := scene(ctx, crash{kind: kind, life: life})
	if err != nil {
		return nil, err
	}
	defer s.close()
	kube := &calls{made: make(map[string]int)}
	if err := lives[life].do(ctx, s, a); err != nil {
		return nil, err
	}
	s.after = func(verb string, o runtime.Object) error {
		if isWrite(verb) {
			kube.add(verb, o)
		}
		return nil
	}
	s.turn(ctx)
	made := make(map[string]int)
	for _, r := range s.sim.Writes() {
		if r.Type != "login" && r.Type != "logout" && r.Status < 300 {
			made[r.Method+r.Type]++
			out = append(out, write{method: r.Method, kind: r.Type, nth: made[r.Method+r.Type]})
		}
	}
	return append(out, kube.list...), nil
}

// play ends an operator at a call, lets something happen, and starts another one.
func (c crash) play(ctx context.Context, known *trees) (problems []string) {
	s, neighbour, a, err := scene(ctx, c)
	if err != nil {
		return []string{err.Error()}
	}
	defer s.close()
	must := func(what string, err error) {
		if err != nil {
			s.problem("%s: %v", what, err)
		}
	}
	must(lives[c.life].name, lives[c.life].do(ctx, s, a))
	g := &guarded{s: s, had: make(map[string][]string), living: []*actor{neighbour}, deleted: true}
	g.look(ctx, "before")
	s.cut(c)
	s.turn(ctx)
	if !s.dead() {
		s.problem("the call was never made")
	}
	s.sim.ClearFaults()
	s.dead, s.refuse, s.after = nil, nil, nil
	must(afterlives[c.afterlife].name, client.IgnoreNotFound(afterlives[c.afterlife].do(ctx, s, a)))
	must("start", s.start())
	_, left := s.recover(ctx, func() []string {
		g.look(ctx, "afterwards")
		return s.leftovers(ctx, c, a, known)
	})
	for _, l := range left {
		s.problem("in the end the Controller %s", l)
	}
	return s.problems
}

// cut has the process end at a call.
func (s *stage) cut(c crash) {
	if !c.at.kube {
		f := avisim.Fault{Method: c.at.method, Type: c.at.kind, After: c.at.nth - 1, Count: 1, ResetBefore: !c.took, ResetAfter: c.took}
		before := s.sim.FaultHits()
		s.sim.Inject(f)
		s.dead = func() bool { return s.sim.FaultHits() > before }
		return
	}
	kube, ended := &calls{made: make(map[string]int)}, false
	s.dead = func() bool { return ended }
	end := func(verb string, o runtime.Object) error {
		if ended || !isWrite(verb) || kube.add(verb, o) != c.at {
			return nil
		}
		ended = true
		return errDead
	}
	if c.took {
		s.after = end
	} else {
		s.refuse = end
	}
}

// ports of what an actor is to have in the end, 0 if it is to be gone.
func (c crash) ports() int {
	after := afterlives[c.afterlife].name
	switch {
	case after == "recreate":
		return 1
	case after == "delete" || after == "forced finalizer" || lives[c.life].name == "delete":
		return 0
	case after == "change" || lives[c.life].name == "update":
		return 2
	}
	return 1
}

// leftovers are what the Controller holds of an actor that it should not, and lacks that it should.
func (s *stage) leftovers(ctx context.Context, c crash, a *actor, trees *trees) (out []string) {
	if _, there := s.status(ctx, a); there != (c.ports() > 0) {
		out = append(out, fmt.Sprintf("has an owner: %t", there))
	}
	tenants, have := s.namesOf("amf-")
	if len(tenants) > 1 {
		out = append(out, fmt.Sprintf("has it in several tenants: %v", slices.Sorted(maps.Keys(tenants))))
	}
	want := trees.of[kinds[c.kind]][c.ports()]
	for name := range want {
		if !have[name] {
			out = append(out, "lacks "+name)
		}
	}
	for name := range have {
		if !want[name] {
			out = append(out, "has "+name)
		}
	}
	slices.Sort(out)
	return out
}

// namesOf are kind and name of what the Controller holds of actors of a part, and its tenants.
func (s *stage) namesOf(part string) (tenants, names map[string]bool) {
	tenants, names = make(map[string]bool), make(map[string]bool)
	for key := range s.uuids() {
		kind, name, _ := strings.Cut(key, " ")
		tenant, name, _ := strings.Cut(name, "/")
		if strings.Contains(name, part) {
			tenants[tenant], names[kind+" "+name] = true, true
		}
	}
	return tenants, names
}

// trees are the names of what actors have that nobody disturbs, by kind and number of ports.
type trees struct {
	of map[string]map[int]map[string]bool
}

func (t *trees) learn(ctx context.Context) error {
	t.of = make(map[string]map[int]map[string]bool)
	for kind := range kinds {
		s, _, a, err := scene(ctx, crash{kind: kind, life: 1})
		if err != nil {
			return err
		}
		defer s.close()
		_, narrow := s.namesOf("amf-")
		if err := s.widen(ctx, a); err != nil {
			return err
		}
		s.turn(ctx)
		_, wide := s.namesOf("amf-")
		if len(narrow) < 4 || len(wide) <= len(narrow) {
			return fmt.Errorf("a %s has %v, and with two ports %v", kinds[kind], narrow, wide)
		}
		t.of[kinds[kind]] = map[int]map[string]bool{1: narrow, 2: wide}
	}
	return nil
}

// TestCrashMatrix ends the operator at each write of its own while an owner of each kind is made, changed and deleted: before the call
// and after it took effect without an answer. Something happens then, and another operator starts: nothing is left over, and nothing is
// missing.
func TestCrashMatrix(t *testing.T) {
	known := new(trees)
	if err := known.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	var cells []crash
	next := 0
	for kind := range kinds {
		for life := range lives {
			at, err := points(t.Context(), kind, life)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range at {
				for _, took := range []bool{false, true} {
					for after := range afterlives {
						if long() || after == next%len(afterlives) {
							cells = append(cells, crash{kind, life, after, call, took})
						}
					}
					next++
				}
			}
		}
	}
	concurrently(some(cells), func(c crash) {
		if problems := c.play(t.Context(), known); len(problems) > 0 {
			t.Errorf("%v:\n  %s", c, strings.Join(problems, "\n  "))
		}
	})
	t.Logf("%d cells", len(cells))
}
