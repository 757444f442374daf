// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"unique"
	"weak"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// This file is about how little the mirror keeps of an object. The SDK's structs are more than a kilobyte each, nearly all of it nil
// pointers, and each value is an allocation of its own. A body is kept as compressed JSON, and is decoded when somebody asks
// for the object; what the indexes need of it stands beside it.

// entry is an object as the mirror keeps it.
type entry struct {
	head model.Observed // without its body
	body packed         // JSON of what the operator owns, as the SDK writes it: equal bodies are equal bytes
	seq  uint64         // of the operator's write that it was learnt from, or of the load

	claims  []string // what only one VsVip should have
	uses    string   // the reference to a common object
	service string   // that a pool's markers name

	// whole is the decoded object for as long as somebody holds it.
	whole atomic.Pointer[weak.Pointer[model.Observed]]
}

// entry makes one of an object as the Controller renders it.
func (c *codec) entry(o *model.Observed, seq uint64) (*entry, error) {
	plan.Prune(o.Body)
	text, err := json.Marshal(o.Body)
	if err != nil {
		return nil, fmt.Errorf("keeping %s: %w", o.Key, err)
	}
	body, err := c.pack(text)
	if err != nil {
		return nil, err
	}
	e := &entry{head: *o, body: body, seq: seq, claims: model.Claims(o.Body)}
	e.head.Body = nil
	for _, s := range []*string{&e.head.Key.Tenant, &e.head.Key.Name, &e.head.CreatedBy, &e.head.Owner.Namespace, &e.head.Owner.Name} {
		*s = unique.Make(*s).Value() // most of them stand in several objects
	}
	if ref := o.Key.Kind.Type().Uses; ref != nil {
		if text := ref(o.Body); text != nil {
			e.uses = *text
		}
	}
	if pool, ok := o.Body.(*models.Pool); ok {
		e.service = model.Mark(pool.Markers, model.MarkServiceName)
	}
	return e, nil
}

// observed is the object, which is shared and must not be changed.
func (e *entry) observed() *model.Observed {
	if kept := e.whole.Load(); kept != nil {
		if o := kept.Value(); o != nil {
			return o
		}
	}
	body := model.NewBody(e.head.Key.Kind)
	text, err := e.body.body()
	if err == nil {
		err = json.Unmarshal(text, body)
	}
	if err != nil {
		panic(fmt.Sprintf("%s: what was kept of it can't be read: %v", e.head.Key, err)) // it was made of the same type
	}
	return e.with(body)
}

// with is the object with its body, decoded, which is shared from now on.
func (e *entry) with(body any) *model.Observed {
	o := e.head
	o.Body = body
	kept := weak.Make(&o)
	e.whole.Store(&kept)
	return &o
}

// same reports whether two entries are of one object in one state.
func (e *entry) same(other *entry) bool {
	return e.head.UUID == other.head.UUID && e.body.same(other.body)
}

// owned is an entry of another owner, which is a copy, since what the mirror has returned is shared.
func (e *entry) owned(owner model.Owner) *entry {
	out := &entry{head: e.head, body: e.body, seq: e.seq, claims: e.claims, uses: e.uses, service: e.service}
	out.head.Owner = owner
	return out
}

// index finds objects by what they have in common, which few have.
type index[K comparable] map[K][]*entry

func (x index[K]) insert(at K, e *entry) { x[at] = append(x[at], e) }

func (x index[K]) remove(at K, e *entry) {
	left := slices.DeleteFunc(x[at], func(other *entry) bool { return other == e })
	if len(left) == 0 {
		delete(x, at)
		return
	}
	x[at] = left
}
