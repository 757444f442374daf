// SPDX-License-Identifier: Apache-2.0

// Package schema knows what objects look like: types, fields and their limits, and which version and licence tier has which of them. It is
// made from schema.txt, which hack/avisim-schema writes from the published schema. It checks and completes a body, and knows no other
// object.
package schema

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// Messages returns the message types of the schema by name.
func Messages() map[string]*Message { return table().messages }

// Message is one message type of the schema.
type Message struct {
	name    string
	Fields  map[string]*Field
	must    []*Field // mandatory, or lists that may not be empty; in the order of the table, which is by name
	preset  []*Field // with a default in some tier, but for references
	Retires bool     // has fields that are gone from some version on, itself or in a message that it reaches
}

// Field is one field of a message, as a line of schema.txt describes it.
type Field struct {
	name     string
	Kind     string   // str bool int int64 uint uint64 num msg ref
	Target   string   // the message of a msg, the object type of a ref
	message  *Message // of a msg
	list     bool
	required bool
	readOnly bool
	ranged   bool
	lo, hi   float64
	also     []float64 // allowed beside the range
	only     []float64 // the values allowed
	min, max int       // of a list; 0: no limit
	enum     *Enumeration
	value    any // default, nil if there is none
	key      []string
	since    []Version // one for each line of releases that got the field
	until    Version   // gone from this version on
	Lower    [2]TierLimit

	contested bool // a client sends it in tiers that lack it
}

// Enumeration is a list of values, with the versions of those that are known to have come later.
type Enumeration struct {
	values []string
	since  map[string]Version
}

// TierLimit is what a tier below Enterprise makes of a field.
type TierLimit struct {
	limited bool
	Allowed []string // if limited; as text, empty for none
	preset  any      // its own default, nil if it has none
}

// LowerTiers are the tiers below Enterprise, in the order of field.lower.
var LowerTiers = [...]string{"ESSENTIALS", "BASIC"}

// verdict decides what becomes of a finding: the refusal by the rule of that id, or nil to let it pass.
type verdict func(rule, format string, args ...any) *Refusal

// Conform walks an incoming or patched body along the schema, in place: it drops what protobuf would not keep (nulls,
// empty lists, unknown fields), coerces scalars, and checks kinds, ranges, enumerations and list lengths.
//
// Evidence: a string "true" for a bool and an unknown field were accepted in recorded traffic of 20.1; "Bad pb" for a body
// that can't be decoded is documented by an issue on 22.1.6; the limits are documented, most texts are unverified.
func (m *Message) Conform(body map[string]any, judge verdict) *Refusal {
	for _, name := range doc.Keys(body) {
		var kept any
		var err *Refusal
		switch f, v := m.Fields[name], body[name]; {
		case v == nil:
		case f == nil:
			err = judge("unknown-field", "Message type \"%s\" has no field named \"%s\"", m.name, name)
		case f.list:
			kept, err = m.conformList(f, v, judge)
		default:
			kept, err = f.conform(v, judge)
		}
		if err != nil {
			return err
		}
		if kept == nil {
			delete(body, name)
		} else {
			body[name] = kept
		}
	}
	return nil
}

// conformList returns the list as it is stored, or nil if nothing of it counts.
func (m *Message) conformList(f *Field, v any, judge verdict) (any, *Refusal) {
	l, ok := v.([]any)
	if !ok {
		return nil, badPB("%s.%s must be a list", m.name, f.name)
	}
	out := make([]any, 0, len(l))
	for _, e := range l {
		w, err := f.conform(e, judge)
		if err != nil {
			return nil, err
		}
		if w != nil {
			out = append(out, w)
		}
	}
	if f.max > 0 && len(out) > f.max {
		if err := judge("list-max", fieldText, f.name, fmt.Sprintf("Maximum of %d items allowed", f.max)); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// sub calls do for every message in the value of a field, until one returns an error.
func (f *Field) sub(v any, do func(*Message, map[string]any) *Refusal) *Refusal {
	if f == nil || f.message == nil {
		return nil
	}
	for _, e := range doc.Elements(v) {
		if b, ok := e.(map[string]any); ok {
			if err := do(f.message, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Require checks the mandatory fields of a body and of all its messages. It runs after the server has filled its own.
func (m *Message) Require(body map[string]any, judge verdict) *Refusal {
	for _, f := range m.must {
		if _, have := body[f.name]; have {
			continue
		}
		var err *Refusal
		switch {
		case f.required && len(body) == 0:
			err = judge("empty-message", "Bad pb: Message type \"%s\" is missing required field \"%s\"", m.name, f.name)
		case f.required:
			err = judge("field-required", fieldText, f.name, "Missing required field")
		default:
			err = judge("list-min", fieldText, f.name, fmt.Sprintf("There must be at least %d %s", f.min, f.name))
		}
		if err != nil {
			return err
		}
	}
	for _, name := range doc.Keys(body) {
		if err := m.Fields[name].sub(body[name], func(m *Message, b map[string]any) *Refusal { return m.Require(b, judge) }); err != nil {
			return err
		}
	}
	return nil
}

// widths are the numbers that the integer kinds hold.
var widths = map[string][2]float64{"int": {math.MinInt32, math.MaxInt32}, "uint": {0, math.MaxUint32},
	"int64": {math.MinInt64, math.MaxInt64}, "uint64": {0, math.MaxUint64}}

// conform returns the value as it is stored, or nil if it counts as unset.
func (f *Field) conform(v any, judge verdict) (any, *Refusal) {
	switch f.Kind {
	case "str":
		return f.conformText(v, judge)
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
	case "msg":
		b, ok := v.(map[string]any)
		if !ok {
			return nil, badPB("%s is not a message", f.name)
		}
		return b, f.message.Conform(b, judge)
	case "ref":
		switch v.(type) {
		case doc.Ref, string:
		default:
			return nil, badPB("%s is not a reference", f.name)
		}
		if v == "" { // an empty reference counts as unset: a documented client sends it so
			return nil, nil
		}
		return v, nil
	}
	return f.conformNumber(v, judge)
}

func (f *Field) conformText(v any, judge verdict) (any, *Refusal) {
	switch x := v.(type) {
	case string:
		if f.enum != nil && !slices.Contains(f.enum.values, x) {
			return x, judge("field-enum", fieldText, f.name, "Invalid value "+x)
		}
		return x, nil
	case float64, bool:
		return fmt.Sprint(x), nil
	}
	return nil, badPB("%s is not a string", f.name)
}

func (f *Field) conformNumber(v any, judge verdict) (any, *Refusal) {
	x, ok := v.(float64)
	if s, is := v.(string); is {
		var err error
		x, err = strconv.ParseFloat(s, 64)
		ok = err == nil
	}
	width, whole := widths[f.Kind]
	text := doc.FormatNumber
	switch {
	case !ok || whole && x != math.Trunc(x):
		return nil, badPB("%s is not a number", f.name)
	case whole && (x < width[0] || x > width[1]):
		return nil, badPB("%s: value out of range: %s", f.name, text(x))
	case f.ranged && (x < f.lo || x > f.hi) && !slices.Contains(f.also, x):
		return x, judge("field-range", fieldText, f.name, fmt.Sprintf("Value %s not in range %s-%s", text(x), text(f.lo), text(f.hi)))
	case f.only != nil && !slices.Contains(f.only, x):
		return x, judge("field-range", fieldText, f.name, fmt.Sprintf("Value %s not allowed", text(x)))
	}
	return x, nil
}

// PresetIn is the field's default in a tier, nil if it has none.
func (f *Field) PresetIn(tier string) any {
	if i := slices.Index(LowerTiers[:], tier); i >= 0 && f.Lower[i].preset != nil {
		return f.Lower[i].preset
	}
	return f.value
}

// Fill adds the defaults of the fields that the Controller's version knows, to the body and to all its messages.
func (m *Message) Fill(body map[string]any, at Version, tier string) {
	for name, v := range body {
		_ = m.Fields[name].sub(v, func(m *Message, b map[string]any) *Refusal { m.Fill(b, at, tier); return nil })
	}
	for _, f := range m.preset {
		if _, have := body[f.name]; have {
			continue
		}
		if d := f.PresetIn(tier); d != nil && f.Known(at) && !f.gone(at) {
			body[f.name] = d
		}
	}
}

// identity are the fields that every object has in every version.
var identity = map[string]bool{"name": true, "uuid": true, "url": true, "_last_modified": true}

// Gate refuses fields and values of enumerations that the request's version does not know yet, and drops fields that it
// does not know any more. Evidence: the refusal of fields is documented by issues, the rest is inferred.
func (m *Message) Gate(body map[string]any, at Version, judge verdict) *Refusal {
	const text = "Incoming request (v%s) has field (%s) introduced in later versions(v%s)."
	for _, name := range doc.Keys(body) {
		f, v := m.Fields[name], body[name]
		if f == nil || v == nil || f.readOnly || identity[name] {
			continue
		}
		var err *Refusal
		switch newer := f.newer(v); {
		case !f.Known(at):
			err = judge("version-field", text, at.Join("_"), name, f.introduced(at).Join("_"))
		case newer > at:
			err = judge("version-value", text, at.Join("_"), name, newer.Join("_"))
		case f.gone(at):
			delete(body, name)
		default:
			err = f.sub(v, func(m *Message, b map[string]any) *Refusal { return m.Gate(b, at, judge) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Trim removes from a rendered body what the request's version does not know, and, if asked, what stands at its default. A mandatory
// field stays all the same, documented by a client that could not read the object otherwise. The body must not be shared with the store.
func (m *Message) Trim(body map[string]any, at Version, skipDefault bool) {
	for name, v := range body {
		f := m.Fields[name]
		if f == nil || identity[name] {
			continue
		}
		if !f.Known(at) || f.gone(at) || f.newer(v) > at || skipDefault && !f.required && f.value != nil && f.value == v {
			delete(body, name)
			continue
		}
		_ = f.sub(v, func(m *Message, b map[string]any) *Refusal { m.Trim(b, at, skipDefault); return nil })
	}
}

// Known reports whether a version has the field: if it is not older than the introduction in its own line of releases, such as
// 21.1, or, if the field was not introduced in that line, than any introduction.
func (f *Field) Known(at Version) bool {
	for _, s := range f.since {
		if s.line() == at.line() {
			return s <= at
		}
	}
	return len(f.since) == 0 || slices.Min(f.since) <= at
}

// gone reports whether a version has the field no longer.
func (f *Field) gone(at Version) bool { return f.until != 0 && f.until <= at }

// introduced is the first version after at that has the field.
func (f *Field) introduced(at Version) Version {
	later := slices.DeleteFunc(slices.Clone(f.since), func(s Version) bool { return s <= at })
	if len(later) == 0 {
		return 0
	}
	return slices.Min(later)
}

// newer is the latest version that introduced one of the values, 0 if none is dated.
func (f *Field) newer(v any) Version {
	if f.enum == nil || len(f.enum.since) == 0 {
		return 0
	}
	var latest Version
	for _, e := range doc.Elements(v) {
		s, _ := e.(string)
		latest = max(latest, f.enum.since[s])
	}
	return latest
}

// License refuses fields and values that a tier below Enterprise does not have. What stands at a default, or is false or 0,
// counts as unset. Evidence: the limits are documented by the schema, the texts are unverified.
func (m *Message) License(body map[string]any, tier string, judge verdict) *Refusal {
	i := slices.Index(LowerTiers[:], tier)
	if i < 0 {
		return nil
	}
	for _, name := range doc.Keys(body) {
		f, v := m.Fields[name], body[name]
		if f == nil || f.readOnly {
			continue
		}
		var err *Refusal
		switch limit := f.Lower[i]; {
		case limit.limited && !f.within(limit, v):
			rule := "tier-field"
			if f.contested {
				rule = "tier-contested"
			}
			if len(limit.Allowed) == 0 {
				err = judge(rule, "Field %s is not allowed in license tier %s", name, tier)
			} else {
				err = judge("tier-value", "Field %s allows only %s in license tier %s", name, strings.Join(limit.Allowed, ", "), tier)
			}
		default:
			err = f.sub(v, func(m *Message, b map[string]any) *Refusal { return m.License(b, tier, judge) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// within reports whether a value is one of those that a tier allows, or counts as unset. The default of a mandatory field does not:
// such a field is always sent.
func (f *Field) within(limit TierLimit, v any) bool {
	for _, e := range doc.Elements(v) {
		unset := e == f.value && !f.required || e == limit.preset || e == "" || f.value == nil && (e == false || e == 0.0)
		switch e.(type) {
		case bool, float64, string:
		default:
			return false
		}
		if !unset && !slices.ContainsFunc(limit.Allowed, func(a string) bool { return literal(a) == e || a == e }) {
			return false
		}
	}
	return true
}

// Type describes what the server knows of an object type beside its fields. Path, title, cloud and singleton come from
// the schema.
type Type struct {
	Path      string // as in /api/<path>
	Title     string // as messages spell it; also the name of its message in the schema, if that has one
	Cloud     bool   // belongs to a cloud: cloud_ref is defaulted, names are unique within it
	Singleton bool   // one object, no list, and no path by uuid
}

// SingletonUUID is the uuid of the one object of a singleton. Evidence: "default" is recorded for the system configuration, "global"
// documented for the controller's properties by a client's tests; others are unverified.
func (t *Type) SingletonUUID() string {
	if t.Path == "controllerproperties" {
		return "global"
	}
	return "default"
}

// ListKey names the fields that identify an entry of a list: PATCH add merges and delete removes by it. A list of scalars
// or references is keyed by the value itself. Evidence: see hack/avisim-schema/overlay.txt.
func ListKey(list string) []string { return table().keys[list] }

// Message returns the schema of the type, or nil for a type that is known by name only.
func (t *Type) Message() *Message { return Messages()[t.Title] }

// Verbose is the type's name as the duplicate message spells it: VrfContext becomes "Vrf context". Evidence: that one
// type's text is documented, the others are inferred.
func (t *Type) Verbose() string {
	var b strings.Builder
	runes := []rune(t.Title)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]) {
			b.WriteByte(' ')
		}
		if i > 0 {
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Version is an API version, packed so that versions compare as numbers. The zero version is older than all others.
type Version uint64

// Oldest is what a request without X-Avi-Version speaks. Evidence: recorded.
const Oldest Version = 16<<48 | 4<<32 | 2<<16

// SCTPSince is the version that brought SCTP, and with it the shipped SCTP profile and monitor. Evidence: documented.
const SCTPSince Version = 22<<48 | 1<<32 | 3<<16

// ParseVersion reads 22.1.3, 22_1_3 and shorter or longer forms of up to four numbers.
func ParseVersion(s string) (Version, error) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '_' })
	if len(parts) < 2 || len(parts) > 4 {
		return 0, fmt.Errorf("version %q is not of the form 22.1.3", s)
	}
	var v Version
	for i := range 4 {
		v <<= 16
		if i < len(parts) {
			n, err := strconv.ParseUint(parts[i], 10, 16)
			if err != nil {
				return 0, fmt.Errorf("version %q: %w", s, err)
			}
			v |= Version(n)
		}
	}
	return v, nil
}

// Join renders the version with the separator between its first three numbers, and the fourth if it has one.
func (v Version) Join(sep string) string {
	s := fmt.Sprintf("%d%s%d%s%d", v>>48, sep, v>>32&0xffff, sep, v>>16&0xffff)
	if last := v & 0xffff; last != 0 {
		s += sep + strconv.FormatUint(uint64(last), 10)
	}
	return s
}

// line is the line of releases that a version belongs to, such as 22.1.
func (v Version) line() Version { return v >> 32 }
