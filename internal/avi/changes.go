// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// change is a field of ours that a newer API version has replaced by another one. Inside the operator all bodies are of the schema
// of DefaultVersion; what is sent with a newer X-Avi-Version, and what is answered to it, is translated here and nowhere else.
type change struct {
	kind     model.Kind
	since    string // the version that brought the new field
	old, new string
	// newer and older convert a value of the old field to one of the new and back; ok is false for one that the other can't say.
	newer, older func(int64) (v int64, ok bool)
}

// changes are all up to MaxVersion that concern what the operator sends.
var changes = []change{
	// Swagger of 31.2.1: the first, in minutes, is deprecated and has no default any more; the second is in seconds. In both 0 is
	// at once and -1 never.
	{model.Pool, "31.2.1", "graceful_disable_timeout", "graceful_disable_timeout_sec", toSeconds, toMinutes},
}

func toSeconds(minutes int64) (int64, bool) {
	if minutes > 0 {
		return minutes * 60, true
	}
	return minutes, true
}

func toMinutes(seconds int64) (int64, bool) {
	if seconds > 0 {
		return seconds / 60, seconds%60 == 0
	}
	return seconds, true
}

// changesOf are those that a call on a kind has to observe.
func changesOf(kind, pinned string) (out []change) {
	for _, c := range changes {
		if string(c.kind) == kind && model.ReleaseAtLeast(pinned, c.since) {
			out = append(out, c)
		}
	}
	return out
}

// outgoing is the body of a call as its API version has it: an object, or a patch of objects.
func outgoing(cl call, pinned string) json.RawMessage {
	body := cl.body
	for _, c := range changesOf(cl.kind, pinned) {
		if bytes.Contains(body, []byte(strconv.Quote(c.old))) {
			body = within(body, []string{"replace", "delete", "add"}, func(o json.RawMessage) json.RawMessage { return rename(o, c.old, c.new, c.newer) })
		}
	}
	return body
}

// incoming is an answer as DefaultVersion would have it: an object, or a page of them.
func incoming(cl call, pinned string, body []byte) []byte {
	for _, c := range changesOf(cl.kind, pinned) {
		if bytes.Contains(body, []byte(strconv.Quote(c.new))) {
			body = within(body, []string{"results"}, func(o json.RawMessage) json.RawMessage { return rename(o, c.new, c.old, c.older) })
		}
	}
	return body
}

// within translates an object, and what the members hold: an object each, or a list of them. What is no JSON is left alone.
func within(body json.RawMessage, members []string, translate func(json.RawMessage) json.RawMessage) json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(body, &o) != nil {
		return body
	}
	some := false
	for _, m := range members {
		inner, ok := o[m]
		if !ok {
			continue
		}
		some = true
		var list []json.RawMessage
		if json.Unmarshal(inner, &list) != nil {
			o[m] = translate(inner)
			continue
		}
		for i := range list {
			list[i] = translate(list[i])
		}
		o[m] = encode(list, inner)
	}
	if !some {
		return translate(body)
	}
	return encode(o, body)
}

// rename moves a field of an object. A value that can't be said in the other field is dropped: then the field is one that nobody
// has set, which differs from every value but 0.
func rename(object json.RawMessage, from, to string, convert func(int64) (int64, bool)) json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(object, &o) != nil || o[from] == nil {
		return object
	}
	var old *int64
	if json.Unmarshal(o[from], &old) != nil {
		return object
	}
	delete(o, from)
	if old == nil {
		o[to] = json.RawMessage("null")
	} else if v, ok := convert(*old); ok {
		o[to] = json.RawMessage(strconv.FormatInt(v, 10))
	}
	return encode(o, object)
}

// encode marshals what was decoded from body before, which can't fail.
func encode(v any, body json.RawMessage) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return out
}
