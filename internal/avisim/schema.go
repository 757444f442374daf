package avisim

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed schema.txt
var schemaText string

// schema returns the reduced schema, parsed once for the process.
var schema = sync.OnceValue(func() map[string]*message { return parseSchema(schemaText) })

// message is one message type of the schema.
type message struct {
	name   string
	open   bool // fields that are not listed are kept
	fields map[string]*field
}

// field is one field of a message, as a line of schema.txt describes it.
type field struct {
	name     string
	kind     string // str int num bool any msg ref
	target   string // the message of a msg, the object type of a ref
	list     bool
	required bool
	readOnly bool
	ent      bool
	ranged   bool
	lo, hi   float64
	also     []float64
	max      int
	enum     []string
	value    any // default, nil if there is none
	since    version
}

func parseSchema(text string) map[string]*message {
	all := map[string]*message{}
	var cur *message
	for n, line := range strings.Split(text, "\n") {
		w := strings.Fields(line)
		switch {
		case len(w) == 0 || strings.HasPrefix(line, "#"):
		case w[0] == "message":
			cur = &message{name: w[1], open: len(w) > 2, fields: map[string]*field{}}
			all[cur.name] = cur
		default:
			f, err := parseField(w)
			if err != nil {
				panic(fmt.Sprintf("avisim: schema.txt:%d: %v", n+1, err)) // the table is part of the program
			}
			cur.fields[f.name] = f
		}
	}
	return all
}

func parseField(w []string) (*field, error) {
	f := &field{name: w[0]}
	kind, list := strings.CutPrefix(w[1], "[]")
	f.list = list
	f.kind, f.target, _ = strings.Cut(kind, ":")
	for _, a := range w[2:] {
		key, val, _ := strings.Cut(a, "=")
		var err error
		switch {
		case a == "req":
			f.required = true
		case a == "ro":
			f.readOnly = true
		case a == "ent":
			f.ent = true
		case key == "":
			err = json.Unmarshal([]byte(val), &f.value)
		case key == "since":
			f.since, err = parseVersion(val)
		case key == "enum":
			f.enum = strings.Split(val, "|")
		case key == "max":
			f.max, err = strconv.Atoi(val)
		case key == "or":
			for v := range strings.SplitSeq(val, ",") {
				x, e := strconv.ParseFloat(v, 64)
				f.also, err = append(f.also, x), e
			}
		default:
			lo, hi, _ := strings.Cut(a, "..")
			f.ranged = true
			if f.lo, err = strconv.ParseFloat(lo, 64); err == nil {
				f.hi, err = strconv.ParseFloat(hi, 64)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.name, a, err)
		}
	}
	return f, nil
}

// conform walks an incoming or patched body along the schema, in place: it drops what protobuf would not keep (nulls,
// empty lists, unknown fields), coerces scalars, and checks kinds, ranges, enumerations and list lengths.
//
// Evidence: a string "true" for a bool and an unknown field were accepted in recorded traffic of 20.1; "Bad pb" for an
// empty message with mandatory members is documented by an issue on 22.1.6; the other texts are unverified.
func (m *message) conform(body map[string]any) *apiError {
	for name, v := range body {
		f := m.fields[name]
		switch {
		case v == nil:
			delete(body, name)
			continue
		case f == nil && m.open:
			continue
		case f == nil:
			delete(body, name)
			continue
		}
		if !f.list {
			w, err := f.conform(v)
			if err != nil {
				return err
			}
			if w == nil {
				delete(body, name)
			} else {
				body[name] = w
			}
			continue
		}
		l, ok := v.([]any)
		if !ok {
			return badPB("%s.%s must be a list", m.name, name)
		}
		out := make([]any, 0, len(l))
		for _, e := range l {
			w, err := f.conform(e)
			if err != nil {
				return err
			}
			if w != nil {
				out = append(out, w)
			}
		}
		if f.max > 0 && len(out) > f.max {
			return fieldCheck(name, "Maximum of %d items allowed", f.max)
		}
		if len(out) == 0 {
			delete(body, name)
			continue
		}
		body[name] = out
	}
	return nil
}

// require checks the mandatory fields of a body and of all its messages. It runs after the server has filled its own.
func (m *message) require(body map[string]any) *apiError {
	for name, f := range m.fields {
		v, have := body[name]
		if !have {
			if f.required {
				if len(body) == 0 {
					return badPB("Message type \"%s\" is missing required field \"%s\"", m.name, name)
				}
				return fieldCheck(name, "Missing required field")
			}
			continue
		}
		if f.kind != "msg" {
			continue
		}
		sub := schema()[f.target]
		for _, e := range elements(v) {
			if b, ok := e.(map[string]any); ok {
				if err := sub.require(b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// conform returns the value as it is stored, or nil if it counts as unset.
func (f *field) conform(v any) (any, *apiError) {
	switch f.kind {
	case "str":
		switch x := v.(type) {
		case string:
			if len(f.enum) > 0 && !slices.Contains(f.enum, x) {
				return nil, fieldCheck(f.name, "Invalid value %s", x)
			}
			return x, nil
		case float64, bool:
			return fmt.Sprint(x), nil
		}
		return nil, badPB("%s is not a string", f.name)
	case "bool":
		switch x := v.(type) {
		case bool:
			return x, nil
		case string:
			if b, err := strconv.ParseBool(strings.ToLower(x)); err == nil {
				return b, nil
			}
		}
		return nil, badPB("%s is not a bool", f.name)
	case "int", "num":
		x, ok := v.(float64)
		if s, is := v.(string); is {
			var err error
			x, err = strconv.ParseFloat(s, 64)
			ok = err == nil
		}
		if !ok || f.kind == "int" && x != math.Trunc(x) {
			return nil, badPB("%s is not a number", f.name)
		}
		if f.ranged && (x < f.lo || x > f.hi) && !slices.Contains(f.also, x) {
			return nil, fieldCheck(f.name, "Value %s not in range %s-%s", number(x), number(f.lo), number(f.hi))
		}
		return x, nil
	case "msg":
		b, ok := v.(map[string]any)
		if !ok {
			return nil, badPB("%s is not a message", f.name)
		}
		return b, schema()[f.target].conform(b)
	case "ref":
		switch x := v.(type) {
		case ref:
			return x, nil
		case string:
			if x == "" { // an empty reference counts as unset: a documented client sends it so
				return nil, nil
			}
			return x, nil
		}
		return nil, badPB("%s is not a reference", f.name)
	}
	return v, nil
}

// fill adds the defaults of the fields that the Controller's version knows, to the body and to all its messages.
func (m *message) fill(body map[string]any, at version) {
	for name, f := range m.fields {
		v, have := body[name]
		if !have {
			if f.value != nil && f.since <= at {
				body[name] = f.value
			}
			continue
		}
		if f.kind != "msg" {
			continue
		}
		for _, e := range elements(v) {
			if b, ok := e.(map[string]any); ok {
				schema()[f.target].fill(b, at)
			}
		}
	}
}

// tooNew returns the name of a field that the request's version does not know yet, with the version that introduced it.
func (m *message) tooNew(body map[string]any, at version) (string, version) {
	for _, name := range sortedKeys(body) {
		f := m.fields[name]
		v := body[name]
		if f == nil || v == nil || f.readOnly {
			continue
		}
		if f.since > at {
			return name, f.since
		}
		if s, ok := v.(string); ok && at < sctpSince && len(f.enum) > 0 && strings.Contains(s, "SCTP") {
			return name, sctpSince
		}
		if f.kind != "msg" {
			continue
		}
		for _, e := range elements(v) {
			if b, ok := e.(map[string]any); ok {
				if bad, since := schema()[f.target].tooNew(b, at); bad != "" {
					return bad, since
				}
			}
		}
	}
	return "", 0
}

// trim removes from a rendered body the fields that the request's version does not know, and, if asked, those that
// stand at their default. The body must not be shared with the store.
func (m *message) trim(body map[string]any, at version, skipDefault bool) {
	for name, v := range body {
		f := m.fields[name]
		if f == nil {
			continue
		}
		if f.since > at || skipDefault && f.value != nil && f.value == v {
			delete(body, name)
			continue
		}
		if f.kind != "msg" {
			continue
		}
		for _, e := range elements(v) {
			if b, ok := e.(map[string]any); ok {
				schema()[f.target].trim(b, at, skipDefault)
			}
		}
	}
}

// beyondTier returns a field that is set to something else than its default though only Enterprise tiers allow it.
func (m *message) beyondTier(body map[string]any) string {
	for _, name := range sortedKeys(body) {
		f, v := m.fields[name], body[name]
		if f == nil {
			continue
		}
		if f.ent && v != f.value && v != false {
			return name
		}
		if f.kind != "msg" {
			continue
		}
		for _, e := range elements(v) {
			if b, ok := e.(map[string]any); ok {
				if bad := schema()[f.target].beyondTier(b); bad != "" {
					return bad
				}
			}
		}
	}
	return ""
}

// elements returns the entries of a list, or the value itself as the only one.
func elements(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
