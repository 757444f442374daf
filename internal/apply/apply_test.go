// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// TestOrder: a step begins when those that it needs have ended, and the results come in the plan's order.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var told []string
	w.applier.Done = func(r StepResult) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Step.Key.Name)
	}
	results := w.run(create("c1--a"), create("c1--b", 0), create("c1--c", 1), create("c1--d", 0, 2))
	for i, want := range []string{"c1--a", "c1--b", "c1--c", "c1--d"} {
		if r := results[i]; r.Err != nil || r.Skipped || r.Step.Key.Name != want || told[i] != want {
			t.Errorf("step %d: %+v, told as %s", i, r, told[i])
		}
		if o := w.applier.Mirror.Get(key(want)); o == nil || o.Owner != amf || o.UUID == "" {
			t.Errorf("the mirror has %+v of %s", o, want)
		}
	}
}

// TestParallel: steps that don't need each other are under way at the same time. The Controller answers none of their
// requests before all of them have come, so the test would end by the client's time limit otherwise.
func TestParallel(t *testing.T) {
	const many = 4
	var mu sync.Mutex
	waiting, all := 0, make(chan struct{})
	w := newWorld(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path == "/api/pool" {
				mu.Lock()
				if waiting++; waiting == many {
					close(all)
				}
				mu.Unlock()
				select {
				case <-all:
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(rw, r)
		})
	})
	var steps []plan.Step
	for i := range many {
		steps = append(steps, create(fmt.Sprintf("c1--p%d", i)))
	}
	for _, r := range w.run(steps...) {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Step.Key, r.Err)
		}
	}
}

// TestFailureStopsWhatNeedsIt: and nothing else.
func TestFailureStopsWhatNeedsIt(t *testing.T) {
	w := newWorld(t)
	bad := regexp.MustCompile("^c1--bad$")
	w.sim.Inject(fault{Method: "POST", Type: "pool", ObjectName: bad, Status: 403, Body: `{"error":"not allowed"}`})
	results := w.run(create("c1--bad"), create("c1--needs", 0), create("c1--needs-too", 1), create("c1--apart"))
	for i, want := range []struct{ failed, skipped bool }{{true, false}, {false, true}, {false, true}, {false, false}} {
		if r := results[i]; (r.Err != nil) != want.failed || r.Skipped != want.skipped || r.Replan {
			t.Errorf("step %d: %+v", i, r)
		}
	}
	for name, want := range map[string]bool{"c1--bad": false, "c1--needs": false, "c1--needs-too": false, "c1--apart": true} {
		if _, got := w.sim.Object("pool", "admin", name); got != want {
			t.Errorf("%s is there: %v", name, got)
		}
	}
}

// TestCreate: where the name is taken, or the answer lost, the Controller is asked before anything else is done.
func TestCreate(t *testing.T) {
	for name, c := range map[string]struct {
		have   *models.Pool // what has the name
		fault  fault
		replan bool
		taken  string // what a NotOursError says
		reason avi.Reason
		there  bool
	}{
		"ours already":                   {have: pool("c1--p", "amf"), replan: true, there: true, reason: avi.ReasonAlreadyExists},
		"another owner's":                {have: pool("c1--p", "smf"), taken: "core/smf", there: true},
		"somebody else's":                {have: &models.Pool{Name: new("c1--p"), CreatedBy: new("bob")}, taken: "created by bob"},
		"lost before the work":           {fault: fault{ResetBefore: true}, replan: true, reason: avi.ReasonUnavailable},
		"lost after the work":            {fault: fault{ResetAfter: true}, replan: true, there: true, reason: avi.ReasonUnavailable},
		"refused":                        {fault: fault{Status: 400, Body: `{"error":"bad pool"}`}, reason: avi.ReasonInvalid},
		"said to exist, and isn't there": {fault: fault{Status: 409, Body: `{"error":"already exists"}`}, reason: avi.ReasonAlreadyExists},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.have != nil {
				if _, err := w.applier.Client.Create(t.Context(), model.Pool, "admin", c.have); err != nil {
					t.Fatal(err)
				}
			} else {
				c.fault.Method, c.fault.Type, c.fault.Count = "POST", "pool", 1
				w.sim.Inject(c.fault)
			}
			w.sim.ResetRequests()
			r := w.one(create("c1--p"))
			if r.Err == nil || r.Skipped || r.Replan != c.replan {
				t.Errorf("result %+v", r)
			}
			var foreign *mirror.NotOursError
			if taken := errors.As(r.Err, &foreign); taken != (c.taken != "") || !strings.Contains(fmt.Sprint(r.Err), c.taken) {
				t.Errorf("error %v, want one that says %q", r.Err, c.taken)
			}
			if got := avi.ReasonOf(r.Err); got != c.reason {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			if got := w.applier.Mirror.Get(key("c1--p")) != nil; got != c.there {
				t.Errorf("the mirror has it: %v, want %v", got, c.there)
			}
			if posts := w.requests("POST"); len(posts) != 1 {
				t.Errorf("%d creates were sent", len(posts))
			}
		})
	}
}

// TestLookFails: what became of a create whose answer was lost isn't known, so nothing is concluded.
func TestLookFails(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(fault{Method: "POST", Type: "pool", ResetAfter: true})
	w.sim.Inject(fault{Method: "GET", Type: "pool", Status: 503})
	if r := w.one(create("c1--p")); r.Err == nil || r.Replan {
		t.Errorf("result %+v", r)
	}
}

// TestUpdate sends values, empties lists, and resets what has no value any more; the rest stays.
func TestUpdate(t *testing.T) {
	w := newWorld(t)
	have := w.created("c1--p")
	if err := w.sim.Edit("pool", "admin", "c1--p", func(o map[string]any) { o["description"] = "theirs" }); err != nil {
		t.Fatal(err)
	}
	servers := have.Body.(*models.Pool).Servers
	r := w.one(update(have,
		plan.FieldChange{Field: "graceful_disable_timeout", To: new(int32(5))},
		plan.FieldChange{Field: "servers", From: servers},
		plan.FieldChange{Field: "created_by", From: new("ako-c1"), To: new("ako-c1")},
	))
	if r.Err != nil || r.Replan {
		t.Fatalf("result %+v", r)
	}
	got, _ := w.sim.Object("pool", "admin", "c1--p")
	if fmt.Sprint(got["graceful_disable_timeout"]) != "5" || got["description"] != "theirs" {
		t.Errorf("the pool is %v", got)
	}
	if left, _ := got["servers"].([]any); len(left) != 0 {
		t.Errorf("servers are %v", left)
	}
	body := w.applier.Mirror.Get(have.Key).Body.(*models.Pool)
	if len(body.Servers) != 0 || *body.GracefulDisableTimeout != 5 {
		t.Errorf("the mirror has %+v", body)
	}
	r = w.one(update(have, plan.FieldChange{Field: "graceful_disable_timeout", From: new(int32(5))}))
	if got, _ := w.sim.Object("pool", "admin", "c1--p"); r.Err != nil || fmt.Sprint(got["graceful_disable_timeout"]) == "5" {
		t.Errorf("not reset: %v, %v", got["graceful_disable_timeout"], r.Err)
	}
}

// TestUpdateLooksAgain: where the Controller holds something else than the plan was made for, the mirror learns it.
func TestUpdateLooksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fault   fault
		removed bool
		replan  bool
		there   bool
	}{
		"gone":                      {removed: true, replan: true},
		"old":                       {fault: fault{Status: 412, Body: `{"error":"Need to reload object data"}`}, replan: true, there: true},
		"lost":                      {fault: fault{ResetAfter: true}, replan: true, there: true},
		"refused":                   {fault: fault{Status: 400, Body: `{"error":"bad pool"}`}, there: true},
		"404 for what it refers to": {fault: fault{Status: 404, Body: `{"error":"object not found!"}`}, there: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			have := w.created("c1--p")
			if c.removed {
				if err := w.sim.Remove("pool", "admin", "c1--p"); err != nil {
					t.Fatal(err)
				}
			} else {
				c.fault.Method, c.fault.Type, c.fault.Count = "PATCH", "pool", 1
				w.sim.Inject(c.fault)
			}
			r := w.one(update(have))
			if r.Err == nil || r.Replan != c.replan {
				t.Errorf("result %+v", r)
			}
			if got := w.applier.Mirror.Get(have.Key) != nil; got != c.there {
				t.Errorf("the mirror has it: %v", got)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	for name, c := range map[string]struct {
		removed bool // behind the mirror's back
		fault   *fault
		err     bool
		replan  bool
	}{
		"there":   {},
		"gone":    {removed: true},
		"lost":    {fault: &fault{ResetAfter: true}, err: true, replan: true},
		"refused": {fault: &fault{Status: 403, Body: `{"error":"not allowed"}`}, err: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			have := w.created("c1--p")
			if c.removed {
				if err := w.sim.Remove("pool", "admin", "c1--p"); err != nil {
					t.Fatal(err)
				}
			}
			if c.fault != nil {
				c.fault.Method, c.fault.Type, c.fault.Count = "DELETE", "pool", 1
				w.sim.Inject(*c.fault)
			}
			r := w.one(plan.Step{Op: plan.Delete, Key: have.Key, UUID: have.UUID})
			if (r.Err != nil) != c.err || r.Replan != c.replan {
				t.Errorf("result %+v", r)
			}
			if known := w.applier.Mirror.Get(have.Key) != nil; known != c.err {
				t.Errorf("the mirror has it: %v", known)
			}
		})
	}
}

// TestUnknownOperation: a step that nobody knows is an error and no call.
func TestUnknownOperation(t *testing.T) {
	w := newWorld(t)
	w.sim.ResetRequests()
	if r := w.one(plan.Step{Op: "merge", Key: key("c1--p")}); r.Err == nil || r.Skipped {
		t.Errorf("result %+v", r)
	}
	if got := w.requests("POST", "PATCH", "DELETE", "PUT"); got != nil {
		t.Errorf("requests %v", got)
	}
}

// TestAnswerOfSomebodyElse: an answer that shows somebody else's object is not taken for ours.
func TestAnswerOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	have := w.created("c1--p")
	object, _ := w.sim.Object("pool", "admin", "c1--p")
	w.sim.Inject(fault{Method: "PATCH", Type: "pool", Status: 200, Body: strings.Replace(encode(t, object), `"ako-c1"`, `"bob"`, 1)})
	r := w.one(update(have))
	var foreign *mirror.NotOursError
	if !errors.As(r.Err, &foreign) || foreign.CreatedBy != "bob" {
		t.Errorf("result %+v", r)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
