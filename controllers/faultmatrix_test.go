// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// trouble is a way in which the Controller misbehaves while something is to be done.
type trouble struct {
	effect string
	note   string // what distinguishes it from others of the effect
	faults []avisim.Fault
	// lift does what a person does when it is over, besides ending the faults.
	lift func(context.Context, *stage) error
	// moves allows objects to be made anew, and addresses to change: somebody else did that on the Controller.
	moves bool
}

func (t trouble) String() string { return strings.TrimSpace(t.effect + " " + t.note) }

// of is a fault of one effect with arguments: name, value, name, value.
func of(f avisim.Fault, effect string, keyValues ...string) avisim.Fault {
	args := make(map[string]string)
	for i := 0; i < len(keyValues); i += 2 {
		args[keyValues[i]] = keyValues[i+1]
	}
	f.Effects = append(slices.Clone(f.Effects), avisim.Effect{Name: effect, Args: args})
	return f
}

// always is an effect on each request, or at once.
func always(effect string, keyValues ...string) []avisim.Fault {
	return []avisim.Fault{of(avisim.Fault{}, effect, keyValues...)}
}

// at is an effect on requests of a method and type.
func at(method, kind string, count int, effect string, keyValues ...string) []avisim.Fault {
	return []avisim.Fault{of(avisim.Fault{Method: method, Type: kind, Count: count}, effect, keyValues...)}
}

// troubles has a row, or several, for each effect of the simulator's table.
func troubles() []trouble {
	out := []trouble{
		{effect: "latency", faults: always("latency", "delay", "5ms", "jitter", "5ms")},
		{effect: "hang", faults: at("POST", "", 4, "hang")},
		{effect: "hang", note: "on reads", faults: at("GET", "", 3, "hang")},
		{effect: "drip", faults: always("drip", "bytes", "4096", "every", "1ms")},
		{effect: "stall", faults: always("stall", "for", "10ms")},
		{effect: "refuse", faults: always("refuse")},
		{effect: "down", faults: always("down")},
		{effect: "reset-before", faults: always("reset-before")},
		{effect: "reset-after", faults: always("reset-after")},
		{effect: "reset-after", note: "on writes", faults: slices.Concat(at("POST", "", 0, "reset-after"), at("PATCH", "", 0, "reset-after"),
			at("DELETE", "", 0, "reset-after"))},
		{effect: "half-response", faults: always("half-response")},
		{effect: "tls-failure", faults: always("tls-failure")},
		{effect: "new-certificate", faults: always("new-certificate"), lift: newSecret},
		{effect: "rate-limit", faults: always("rate-limit", "rate", "1", "burst", "30", "retry_after", "1"), lift: pauseEnds},
		{effect: "expire-sessions", faults: at("POST", "", 0, "expire-sessions")},
		{effect: "expire-sessions", note: "on everything", faults: []avisim.Fault{of(avisim.Fault{Probability: 0.3, Seed: 7}, "expire-sessions")}},
		{effect: "switch-session", faults: at("POST", "", 0, "switch-session")},
		{effect: "change-password", faults: always("change-password"), lift: func(_ context.Context, s *stage) error {
			s.sim.SetPassword("admin", "avi123$%")
			return nil
		}},
		{effect: "expire-tokens", faults: always("expire-tokens")},
		{effect: "lock-account", faults: append(always("expire-sessions"), always("lock-account")...)},
		{effect: "rotate-csrf", faults: at("POST", "", 0, "rotate-csrf")},
		{effect: "login-unavailable", faults: append(always("expire-sessions"), always("login-unavailable")...)},
		{effect: "status-unavailable", faults: always("status-unavailable")},
		{effect: "booting", faults: always("booting")},
		{effect: "upgrade", faults: always("upgrade")},
		{effect: "set-version", faults: always("set-version")},
		{effect: "read-only", faults: always("read-only")},
		{effect: "leader-change", faults: at("POST", "pool", 1, "leader-change", "refuse", "20ms")},
		{effect: "leader-change", note: "with lost writes", moves: true,
			faults: at("", "virtualservice", 1, "leader-change", "refuse", "5ms", "lose", "20ms")},
		{effect: "need-reload", faults: always("need-reload")},
		{effect: "foreign-edit", faults: at("", "virtualservice", 0, "foreign-edit")},
		{effect: "foreign-edit", note: "of servers", faults: at("PATCH", "pool", 2, "foreign-edit", "field", "servers", "value", "[]")},
		{effect: "foreign-delete", faults: at("PATCH", "pool", 1, "foreign-delete"), moves: true},
		{effect: "foreign-delete", note: "before a deletion", moves: true,
			faults: append(at("DELETE", "pool", 2, "foreign-delete"), at("DELETE", "vsvip", 2, "foreign-delete")...)},
		{effect: "foreign-create", faults: at("POST", "pool", 1, "foreign-create"), lift: foreignLeave},
		{effect: "foreign-create", note: "of a VsVip", faults: at("POST", "vsvip", 1, "foreign-create"), lift: foreignLeave},
		{effect: "conflict", faults: always("conflict")},
		{effect: "record-not-found", faults: always("record-not-found")},
		{effect: "hide", faults: always("hide")},
		{effect: "hide", note: "some", faults: always("hide", "name", "pool|amf|System")},
		{effect: "stale-reads", faults: always("stale-reads", "lag", "100ms")},
		{effect: "duplicate", faults: always("duplicate")},
		{effect: "duplicate", note: "first answer", faults: always("duplicate", "answer", "first")},
		{effect: "hidden-referrer", faults: always("hidden-referrer")},
		{effect: "ipam-exhausted", faults: always("ipam-exhausted")},
		{effect: "ipam-slow", faults: always("ipam-slow", "delay", "10ms")},
		{effect: "ipam-async", faults: always("ipam-async", "delay", "50ms")},
		{effect: "ipam-other-address", faults: always("ipam-other-address"), moves: true},
		{effect: "ipam-address-changes", faults: at("PATCH", "vsvip", 1, "ipam-address-changes"), moves: true},
		{effect: "page-truncated", faults: always("page-truncated")},
		{effect: "page-truncated", note: "to nothing", faults: always("page-truncated", "keep", "0")},
		{effect: "page-loop", faults: always("page-loop")},
		{effect: "wrong-count", faults: always("wrong-count")},
		{effect: "wrong-count", note: "too low", faults: always("wrong-count", "add", "-1")},
		{effect: "page-size-ignored", faults: always("page-size-ignored", "size", "1")},
		{effect: "unknown-fields", faults: always("unknown-fields")},
		{effect: "null-lists", faults: always("null-lists")},
		{effect: "null-lists", note: "of results", faults: always("null-lists", "results", "true")},
		{effect: "unknown-enum", faults: always("unknown-enum")},
		{effect: "unknown-enum", note: "in configuration", faults: always("unknown-enum", "field", "type", "value", "OF_THE_FUTURE")},
		{effect: "vs-stuck", faults: always("vs-stuck")},
		{effect: "server-down", faults: always("server-down", "server", "10.244.1.5:9090")},
		{effect: "server-flap", faults: always("server-flap", "server", "10.244.1.5:9090", "every", "5ms")},
		{effect: "clear-faults", faults: always("clear-faults")},
	}
	for _, fields := range strings.Fields("_last_modified uuid url name markers created_by vip tenant_ref servers vsvip_ref results count") {
		out = append(out, trouble{effect: "drop-fields", note: fields, faults: always("drop-fields", "fields", fields)})
	}
	html := trouble{effect: "answer", note: "200 with HTML", faults: always("answer", "status", "200", "format", "html")}
	return append(append(out, html), answers()...)
}

// answers are those instead of the right one, to each request, and with the long form to each of a method.
func answers() (out []trouble) {
	for _, status := range strings.Fields("200 204 400 401 403 404 409 412 419 429 500 502 503 504") {
		out = append(out, trouble{effect: "answer", note: status, faults: always("answer", "status", status)})
		if long() && status != "401" && status != "419" { // which concern the session and no method
			for _, method := range []string{"GET", "POST", "DELETE"} {
				out = append(out, trouble{effect: "answer", note: status + " to " + method, faults: at(method, "", 0, "answer", "status", status)})
			}
		}
	}
	return out
}

// long reports whether the matrices are to be played in full (make chaos), and not in the part that make test has time for.
func long() bool { return os.Getenv("AVI_MATRIX") == "all" }

// some are all, but for tests with the race detector, which are many times as slow: for them a few are enough.
func some[T any](all []T) (out []T) {
	if !raceDetector {
		return all
	}
	const each = 16
	for i := 0; i < len(all); i += each {
		out = append(out, all[i])
	}
	return out
}

// chosen is what the names of the rows begin with that are played; empty: all.
func chosen() string { return os.Getenv("AVI_MATRIX_ONLY") }

// pauseEnds waits until the operator makes calls again: no longer than a call's time-out, whatever the Controller asked for.
func pauseEnds(_ context.Context, s *stage) error {
	time.Sleep(s.options.Timeout)
	return nil
}

// newSecret is the CA of the Controller's new certificate.
func newSecret(ctx context.Context, s *stage) error {
	return s.change(ctx, s.secret(), func(o client.Object) {
		secret, _ := o.(*corev1.Secret)
		secret.Data["certificateAuthorityData"] = s.sim.CAPEM()
	})
}

// foreignLeave has whoever took a name of ours give it back.
func foreignLeave(_ context.Context, s *stage) error {
	for _, kind := range []string{"pool", "vsvip"} {
		for _, o := range s.sim.Objects(kind) {
			if name, _ := o["name"].(string); strings.HasPrefix(name, stageCluster+"--") && o["markers"] == nil {
				if err := s.sim.Remove(kind, "admin", name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// acts are what is done to each owner, one after the other. before is done with the Controller in order.
var acts = []struct {
	name   string
	before func(context.Context, *stage, []*actor) error
	do     func(context.Context, *stage, *actor) error
}{
	{"create", nil, func(ctx context.Context, s *stage, a *actor) error { return s.create(ctx, a) }},
	{"update", aNode(func(ctx context.Context, s *stage, n client.Object) error { return s.kube.Create(ctx, n) }), func(ctx context.Context, s *stage, a *actor) error { return s.widen(ctx, a) }},
	{"drain", nil, func(ctx context.Context, s *stage, a *actor) error { return s.terminate(ctx, a) }},
	{"adopt", func(_ context.Context, s *stage, _ []*actor) error { return s.start() },
		func(ctx context.Context, s *stage, a *actor) error { return s.strip(ctx, a) }},
	{"delete", aNode(func(ctx context.Context, s *stage, n client.Object) error { return s.kube.Delete(ctx, n) }), func(ctx context.Context, s *stage, a *actor) error { return s.remove(ctx, a) }},
}

// aNode does something with one node more than there are in the beginning.
func aNode(do func(context.Context, *stage, client.Object) error) func(context.Context, *stage, []*actor) error {
	return func(ctx context.Context, s *stage, _ []*actor) error { return do(ctx, s, node(2)) }
}

// wanted is what the Controller holds after each act if nothing goes wrong.
type wanted map[string]map[string]string

// tally counts what a matrix has seen.
type tally struct {
	mu           sync.Mutex
	cells, calls int
	worst        int
	worstOf      string
}

func (c *tally) add(cells, calls, looks int, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cells, c.calls = c.cells+cells, c.calls+calls
	if looks > c.worst {
		c.worst, c.worstOf = looks, what
	}
}

// looksMost is within how many looks everything has to be as it should after a trouble.
const looksMost = 12

// guarded notes what must never happen on a stage: a status that loses its address, and objects of a living owner that go.
type guarded struct {
	s       *stage
	living  []*actor
	had     map[string][]string // addresses by actor
	uuids   map[string]string
	moves   bool
	deleted bool // the actors are being deleted; the others stay
}

func (g *guarded) look(ctx context.Context, when string) {
	for _, a := range g.living {
		now, ok := g.s.status(ctx, a)
		had := g.had[a.name]
		switch {
		case !ok:
			g.s.problem("%s: the %s is gone", when, a.kind)
		case len(had) > 0 && len(now) == 0:
			g.s.problem("%s: the %s lost its address %v", when, a.kind, had)
		case len(had) > 0 && !g.moves && !slices.Equal(had, now):
			g.s.problem("%s: the %s went from %v to %v", when, a.kind, had, now)
		}
		if len(now) > 0 {
			g.had[a.name] = now
		}
	}
	uuids := g.s.uuids()
	for key, uuid := range g.uuids {
		if uuids[key] == uuid || g.moves || g.deleted && !strings.Contains(key, "stays-") {
			continue
		}
		g.s.problem("%s: %s was deleted", when, key)
	}
	g.uuids = uuids
}

// story plays all acts with a trouble in each. reference is filled if there is no trouble, and compared with otherwise.
func story(ctx context.Context, tr *trouble, reference wanted, count *tally) (problems []string) {
	s, err := newStage(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	defer s.close()
	s.options.Timeout = 150 * time.Millisecond
	must := func(what string, err error) {
		if err != nil {
			s.problem("%s: %v", what, err)
		}
	}
	must("start", s.start())
	neighbours, actors := s.play("stays", "Service", "Gateway"), s.play("amf")
	for _, a := range neighbours {
		must("create", s.create(ctx, a))
	}
	for range 3 {
		s.turn(ctx)
	}
	g := &guarded{s: s, had: make(map[string][]string), living: neighbours}
	g.look(ctx, "before")
	s.after = func(_ string, o runtime.Object) error { return g.kept(ctx, o) }
	for _, act := range acts {
		if act.before != nil {
			must(act.name, act.before(ctx, s, actors))
		}
		g.moves = tr != nil && tr.moves
		g.deleted = act.name == "delete"
		if g.deleted {
			g.living = neighbours
		}
		s.sim.ResetRequests()
		remove := s.begin(tr, must)
		for _, a := range actors {
			must(act.name, act.do(ctx, s, a))
		}
		if act.name == "create" {
			g.living = append(slices.Clone(neighbours), actors...)
		}
		s.turn(ctx)
		g.look(ctx, act.name)
		remove()
		if tr != nil && tr.lift != nil {
			must(act.name, tr.lift(ctx, s))
		}
		looks, left := s.recover(ctx, func() []string {
			g.look(ctx, act.name+", afterwards")
			return s.unlike(ctx, reference[act.name], actors, g)
		})
		if tr == nil {
			reference[act.name] = s.inventory()
		}
		for _, l := range left {
			s.problem("%s: in the end it %s", act.name, l)
		}
		count.add(len(actors), len(s.sim.Requests()), looks, fmt.Sprintf("%s at %v", act.name, tr))
	}
	return s.problems
}

// begin lets the trouble begin.
func (s *stage) begin(tr *trouble, must func(string, error)) (end func()) {
	if tr == nil {
		return func() {}
	}
	for _, f := range tr.faults {
		f.Name = tr.effect
		_, err := s.sim.AddFault(f)
		must("adding a fault", err)
	}
	return s.sim.ClearFaults
}

// recover looks until nothing is wrong, and reports after how many looks, and what is wrong in the end.
func (s *stage) recover(ctx context.Context, wrong func() []string) (looks int, left []string) {
	for looks = 1; looks <= looksMost; looks++ {
		s.turn(ctx)
		if left = wrong(); len(left) == 0 {
			return looks, nil
		}
	}
	return looks, left
}

// unlike is what is not as it should be after an act.
func (s *stage) unlike(ctx context.Context, want map[string]string, actors []*actor, g *guarded) (out []string) {
	if want != nil {
		out = differences(want, s.inventory())
	}
	for _, a := range actors {
		addresses, there := s.status(ctx, a)
		switch {
		case g.deleted && there:
			out = append(out, "has the "+a.kind)
		case !g.deleted && len(addresses) == 0:
			out = append(out, "shows no address of the "+a.kind)
		}
	}
	return out
}

// kept looks at each status as it is written.
func (g *guarded) kept(_ context.Context, o runtime.Object) error {
	owner, ok := o.(client.Object)
	if !ok || owner.GetDeletionTimestamp() != nil {
		return nil
	}
	for _, a := range g.living {
		if a.owner.GetName() == owner.GetName() && fmt.Sprintf("%T", a.owner) == fmt.Sprintf("%T", owner) && len(g.had[a.name]) > 0 &&
			len(addressesOf(owner)) == 0 {
			g.s.problem("a status of the %s was written without its address", a.kind)
		}
	}
	return nil
}

// TestFaultMatrix lets the Controller misbehave in each way that the simulator knows while owners of each kind are made, changed, drained,
// adopted by a new process and deleted. When it is over, everything is as if nothing had happened; no address was lost, and nothing was
// deleted that is wanted, at any time.
func TestFaultMatrix(t *testing.T) {
	reference, count := make(wanted), new(tally)
	if problems := story(t.Context(), nil, reference, new(tally)); len(problems) > 0 {
		t.Fatalf("with a Controller in order: %s", strings.Join(problems, "\n"))
	}
	covered := make(map[string]bool)
	all := troubles()
	for _, tr := range all {
		covered[tr.effect] = true
	}
	for _, e := range avisim.EffectTable() {
		if !covered[e.Name] {
			t.Errorf("effect %s is not in the matrix", e.Name)
		}
	}
	if only := chosen(); only != "" {
		all = slices.DeleteFunc(all, func(tr trouble) bool { return !strings.HasPrefix(tr.String(), only) })
	}
	concurrently(some(all), func(tr trouble) {
		if problems := story(t.Context(), &tr, maps.Clone(reference), count); len(problems) > 0 {
			t.Errorf("%v:\n  %s", tr, strings.Join(problems, "\n  "))
		}
	})
	t.Logf("%d cells, %d calls; worst recovery %d looks (%s)", count.cells, count.calls, count.worst, count.worstOf)
}

// concurrently does something for each element, a few at a time.
func concurrently[T any](list []T, do func(T)) {
	const most = 4
	var group sync.WaitGroup
	slots := make(chan struct{}, most)
	for _, e := range list {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			do(e)
		})
	}
	group.Wait()
}
