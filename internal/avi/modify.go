// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Object is an object of the Controller with its top-level fields as they came, so that what isn't understood survives a
// change.
type Object map[string]json.RawMessage

// Text is a field that holds a string, "" if it holds none.
func (o Object) Text(field string) string {
	var s string
	if json.Unmarshal(o[field], &s) != nil {
		return ""
	}
	return s
}

// modifyRounds bounds how often Modify reads anew because somebody else was faster.
const modifyRounds = 5

// Modify changes an object that others change too. It reads the object, has change edit it, and writes the whole object
// back if change reports true. Read may be the object as it was just read, to save the first reading; nil if it wasn't. The write carries
// the _last_modified that was read, so it can't undo what others wrote meanwhile: the Controller refuses it with 412, and Modify reads
// again and has change look anew, at most 5 times; then the error has ReasonStale. Any other error is returned at once. A write whose
// answer was lost may have been carried out (see Ambiguous); the next Modify finds out, because change sees what the Controller has then.
//
// The object that is returned is the one that the Controller has: the answer to the write, or what was read if there was
// nothing to write.
func (c *Client) Modify(ctx context.Context, kind model.Kind, tenant, uuid string, read Object, change func(Object) (bool, error)) (Object,
	error) {
	var stale error
	for range modifyRounds {
		o := read
		if read = nil; o == nil {
			var err error
			if o, err = c.Read(ctx, kind, tenant, uuid); err != nil {
				return nil, err
			}
		}
		if o.Text("_last_modified") == "" {
			// Without it the last writer wins, and that would be us.
			return nil, &Error{Method: http.MethodPut, Route: itemRoute(kind), Tenant: tenant, Class: Terminal, Reason: ReasonBadAnswer,
				Message: "the Controller's answer has no _last_modified, without which changes of others could be lost"}
		}
		if changed, err := change(o); err != nil || !changed {
			return o, err
		}
		answer, err := c.Put(ctx, kind, tenant, uuid, o)
		switch {
		case ReasonOf(err) == ReasonStale:
			stale = err
			continue
		case err != nil:
			return nil, err
		}
		return decodeObject(kind, tenant, answer)
	}
	return nil, stale
}

// Read reads an object of a kind by its UUID.
func (c *Client) Read(ctx context.Context, kind model.Kind, tenant, uuid string) (Object, error) {
	cl, err := c.object(http.MethodGet, kind, tenant, &uuid)
	if err != nil {
		return nil, err
	}
	raw, err := c.doJSON(ctx, cl)
	if err != nil {
		return nil, err
	}
	return decodeObject(kind, tenant, raw)
}

func decodeObject(kind model.Kind, tenant string, raw json.RawMessage) (Object, error) {
	var o Object
	if err := json.Unmarshal(raw, &o); err != nil || o.Text("uuid") == "" {
		return nil, &Error{Method: http.MethodGet, Route: itemRoute(kind), Tenant: tenant, Class: Transient, Reason: ReasonBadAnswer,
			Message: "the answer is no object with a uuid"}
	}
	return o, nil
}
