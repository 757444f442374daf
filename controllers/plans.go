// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// PlanPath is where a running operator serves what it would change. The answer has names and addresses of all namespaces, so it is behind
// the same filter as the metrics.
const PlanPath = "/plan"

// planLimit bounds an answer.
const planLimit = time.Minute

// planQuery is what is asked for: query parameters of these names. Without any, all plans of all owners, in words.
type planQuery struct {
	namespace, kind, name string // of owners; a kind as model.OwnerKind names it, in any case of letters
	drift                 bool   // only where the Controller holds something that differs from what is wanted
	json                  bool   // format=json
}

func parsePlanQuery(v url.Values) (q planQuery, err error) {
	for key := range v {
		switch value := v.Get(key); key {
		case "namespace":
			q.namespace = value
		case "kind":
			q.kind = value
		case "name":
			q.name = value
		case "drift":
			q.drift = value == "true"
		case "format":
			q.json = value == "json"
		default:
			return q, fmt.Errorf("parameter %q is none of namespace, kind, name, drift, format", key)
		}
	}
	return q, nil
}

// wants reports whether an owner is asked for.
func (q planQuery) wants(o model.Owner) bool {
	return (q.namespace == "" || q.namespace == o.Namespace) && (q.name == "" || q.name == o.Name) &&
		(q.kind == "" || strings.EqualFold(q.kind, o.Kind.Noun()))
}

// planReport is the answer in JSON.
type planReport struct {
	Cluster    string      `json:"cluster"`
	Controller string      `json:"controller"`
	ReadAt     time.Time   `json:"readAt"` // when all of the Controller was last read
	Owners     []ownerPlan `json:"owners"` // those of which there is something to say
	Unclaimed  []string    `json:"unclaimed"`
}

// ownerPlan is what would become of one owner.
type ownerPlan struct {
	Kind      string        `json:"kind"`
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	Removed   string        `json:"removed,omitempty"` // why all of it would be removed
	Problem   string        `json:"problem,omitempty"` // why nothing can be planned
	Steps     []planStep    `json:"steps,omitempty"`
	Held      []planStep    `json:"held,omitempty"` // that an annotation keeps from being carried out
	Findings  []planFinding `json:"findings,omitempty"`
}

type planStep struct {
	Operation string   `json:"operation"` // create, update or delete
	Kind      string   `json:"kind"`      // such as VirtualService
	Tenant    string   `json:"tenant"`
	Name      string   `json:"name"`
	Reason    string   `json:"reason"`
	Fields    []string `json:"fields,omitempty"` // that would be changed
}

type planFinding struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// badQuestion is the error of a question that can't be answered as it was asked.
type badQuestion struct{ error }

// questions serves answers by GET, one at a time, since each costs time or calls; an answer has a limit.
func questions(answer func(context.Context, url.Values) (body []byte, mime string, err error)) http.Handler {
	var busy sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is served", http.StatusMethodNotAllowed)
			return
		case !busy.TryLock():
			w.Header().Set("Retry-After", "1")
			http.Error(w, "another question is being answered; try again in a moment", http.StatusTooManyRequests)
			return
		}
		defer busy.Unlock()
		ctx, cancel := context.WithTimeout(r.Context(), planLimit)
		defer cancel()
		body, mime, err := answer(logr.NewContext(ctx, logr.Discard()), r.URL.Query())
		var bad badQuestion
		switch {
		case errors.As(err, &bad):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", mime)
			_, _ = w.Write(body) // #nosec G705 -- plain text or JSON; a client that hung up needs no answer
		}
	})
}

// Plans serves what the operator would change now, by GET: nothing is written for it, neither to the Controller nor to Kubernetes. One
// question is answered at a time, since each looks at all owners that it is about.
func (op *Operator) Plans() http.Handler {
	return questions(func(ctx context.Context, v url.Values) ([]byte, string, error) {
		q, err := parsePlanQuery(v)
		if err != nil {
			return nil, "", badQuestion{err}
		}
		body, err := op.plans(ctx, q)
		return body, map[bool]string{true: "application/json", false: "text/plain; charset=utf-8"}[q.json], err
	})
}

// plans makes an answer from what is known of the Controller.
func (op *Operator) plans(ctx context.Context, q planQuery) ([]byte, error) {
	cfg := op.Settings.Current()
	if cfg == nil {
		return nil, errors.Join(errUnconfigured, op.Settings.Err())
	}
	if err := op.readable(ctx); err != nil {
		return nil, err
	}
	dry := op.Engine.Dry()
	var all []foreseen
	for _, k := range op.Owners {
		some, err := k.Preview(ctx, cfg, dry, q.wants)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	unclaimed := []string{}
	if q.kind == "" && q.name == "" {
		unclaimed = append(unclaimed, op.unclaimed(all, q.wants)...)
	}
	if q.drift {
		all = slices.DeleteFunc(all, func(f foreseen) bool { return !f.serves || len(f.steps)+len(f.held) == 0 })
	}
	report := planReport{Cluster: cfg.ClusterName, Controller: cfg.Controller, ReadAt: op.Mirror.LoadedAt().UTC(), Owners: []ownerPlan{},
		Unclaimed: unclaimed}
	if !q.json {
		what := "Plan"
		if q.drift {
			what = "Drift"
		}
		head := fmt.Sprintf("%s %s, all of which was last read at %s. Nothing was changed.\n", what, scopeText(cfg), report.ReadAt.Format(time.RFC3339))
		return []byte(head + reportText(cfg, all, unclaimed, op.toRecord())), nil
	}
	for _, f := range all {
		if o, ok := f.inJSON(); ok {
			report.Owners = append(report.Owners, o)
		}
	}
	return json.MarshalIndent(report, "", "  ")
}

// inJSON returns the plan in the form of the answer; ok is false if there is nothing to report.
func (f *foreseen) inJSON() (out ownerPlan, ok bool) {
	if o, ok := f.owner.(model.Owner); ok {
		out.Kind, out.Namespace, out.Name = o.Kind.Noun(), o.Namespace, o.Name
	}
	out.Removed, out.Problem, out.Steps, out.Held = f.removed, f.problem, stepsInJSON(f.steps), stepsInJSON(f.held)
	for _, finding := range f.findings {
		out.Findings = append(out.Findings, planFinding{finding.Reason, finding.Message})
	}
	return out, len(out.Steps)+len(out.Held)+len(out.Findings) > 0 || out.Problem != ""
}

func stepsInJSON(steps []plan.Step) (out []planStep) {
	for _, s := range steps {
		next := planStep{Operation: string(s.Op), Kind: s.Key.Kind.Title(), Tenant: s.Key.Tenant, Name: s.Key.Name, Reason: s.Reason}
		for _, c := range s.Fields {
			next.Fields = append(next.Fields, c.Field)
		}
		out = append(out, next)
	}
	return out
}
