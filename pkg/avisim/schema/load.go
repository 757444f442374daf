// SPDX-License-Identifier: Apache-2.0

package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed schema.txt
var schemaText string

// table is schema.txt parsed, once for the process: a few milliseconds.
var table = sync.OnceValue(func() *schemaTable {
	t, err := parseSchema(schemaText)
	if err != nil {
		panic(fmt.Sprintf("avisim: schema.txt: %v", err)) // the table is part of the program
	}
	return t
})

type schemaTable struct {
	messages map[string]*Message
	types    []Type              // all that the schema knows, by path
	keys     map[string][]string // what names an entry of a list, by the list's name
}

func parseSchema(text string) (*schemaTable, error) {
	t := &schemaTable{messages: map[string]*Message{}, keys: map[string][]string{}}
	shared := map[string]*Enumeration{}
	var cur *Message
	for n, line := range strings.Split(text, "\n") {
		w := strings.Fields(line)
		switch {
		case len(w) == 0 || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "type "):
			t.types = append(t.types, Type{Path: w[1], Title: w[2], Cloud: slices.Contains(w[3:], "cloud"),
				Singleton: slices.Contains(w[3:], "singleton")})
		case strings.HasPrefix(line, "message "):
			cur = &Message{name: w[1], Fields: map[string]*Field{}}
			t.messages[cur.name] = cur
		default:
			f, err := parseField(w, cur.name, shared)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			cur.add(f)
			if f.key != nil {
				t.keys[f.name] = f.key
			}
		}
	}
	if err := t.link(); err != nil {
		return nil, err
	}
	for t.retire() { // messages may refer to each other in circles
	}
	return t, nil
}

// link lets the fields that are messages lead to them.
func (t *schemaTable) link() error {
	for _, m := range t.messages {
		for _, f := range m.Fields {
			if f.Kind != "msg" {
				continue
			}
			if f.message = t.messages[f.Target]; f.message == nil {
				return fmt.Errorf("%s.%s: no message %s", m.name, f.name, f.Target)
			}
		}
	}
	return nil
}

// retire marks the messages that have a field which is gone from some version on, or one whose message is marked, and reports whether it
// marked any.
func (t *schemaTable) retire() (some bool) {
	for _, m := range t.messages {
		for _, f := range m.Fields {
			if !m.Retires && (f.until != 0 || f.message != nil && f.message.Retires) {
				m.Retires, some = true, true
			}
		}
	}
	return some
}

func (m *Message) add(f *Field) {
	m.Fields[f.name] = f
	if f.required || f.min > 0 {
		m.must = append(m.must, f)
	}
	if f.Kind != "ref" && (f.value != nil || f.Lower[0].preset != nil || f.Lower[1].preset != nil) {
		m.preset = append(m.preset, f)
	}
}

// attributes read the values of a field's attributes, by the attribute's name. A default has none, and a range is an attribute by itself.
var attributes = map[string]func(f *Field, val string) error{
	"req":       func(f *Field, _ string) error { f.required = true; return nil },
	"ro":        func(f *Field, _ string) error { f.readOnly = true; return nil },
	"contested": func(f *Field, _ string) error { f.contested = true; return nil },
	"":          func(f *Field, val string) error { return json.Unmarshal([]byte(val), &f.value) },
	"since": func(f *Field, val string) error {
		for v := range strings.SplitSeq(val, ",") {
			x, err := ParseVersion(v)
			if err != nil {
				return err
			}
			f.since = append(f.since, x)
		}
		return nil
	},
	"until":  func(f *Field, val string) (err error) { f.until, err = ParseVersion(val); return err },
	"enum":   func(f *Field, val string) (err error) { f.enum, err = parseEnum(val); return err },
	"key":    func(f *Field, val string) error { f.key = strings.Split(val, ","); return nil },
	"min":    func(f *Field, val string) (err error) { f.min, err = strconv.Atoi(val); return err },
	"max":    func(f *Field, val string) (err error) { f.max, err = strconv.Atoi(val); return err },
	"or":     func(f *Field, val string) (err error) { f.also, err = parseNumbers(val); return err },
	"in":     func(f *Field, val string) (err error) { f.only, err = parseNumbers(val); return err },
	"ent":    allowed(0, 1),
	"low":    allowed(0, 1),
	"ess":    allowed(0),
	"basic":  allowed(1),
	"low:":   presets(0, 1),
	"ess:":   presets(0),
	"basic:": presets(1),
}

// parseField reads a field's line, as words; shared holds the enumerations of the fields before it.
func parseField(w []string, message string, shared map[string]*Enumeration) (*Field, error) {
	f := &Field{name: w[0]}
	kind, list := strings.CutPrefix(w[1], "[]")
	f.list = list
	f.Kind, f.Target, _ = strings.Cut(kind, ":")
	for _, a := range w[2:] {
		key, val, _ := strings.Cut(a, "=")
		read := attributes[key]
		var err error
		switch first, is := strings.CutPrefix(val, "@"); {
		case key == "enum" && is:
			f.enum = shared[first]
		case read != nil:
			err = read(f, val)
		default:
			err = f.limit(a)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.name, a, err)
		}
		if key == "enum" {
			shared[message+"."+f.name] = f.enum
		}
	}
	return f, nil
}

// allowed reads what the tiers of those indexes in LowerTiers allow.
func allowed(tiers ...int) func(*Field, string) error {
	return func(f *Field, val string) error {
		limit := TierLimit{limited: true}
		if val != "" && val != "-" {
			limit.Allowed = strings.Split(val, "|")
		}
		for _, i := range tiers {
			limit.preset = f.Lower[i].preset
			f.Lower[i] = limit
		}
		return nil
	}
}

// presets reads the default that the tiers of those indexes in LowerTiers have.
func presets(tiers ...int) func(*Field, string) error {
	return func(f *Field, val string) (err error) {
		for _, i := range tiers {
			err = json.Unmarshal([]byte(val), &f.Lower[i].preset)
		}
		return err
	}
}

// limit reads a range, lo..hi.
func (f *Field) limit(text string) (err error) {
	lo, hi, _ := strings.Cut(text, "..")
	f.ranged = true
	if f.lo, err = strconv.ParseFloat(lo, 64); err == nil {
		f.hi, err = strconv.ParseFloat(hi, 64)
	}
	return err
}

func parseEnum(s string) (*Enumeration, error) {
	e := &Enumeration{since: map[string]Version{}}
	for v := range strings.SplitSeq(s, "|") {
		name, since, dated := strings.Cut(v, "@")
		e.values = append(e.values, name)
		if dated {
			at, err := ParseVersion(since)
			if err != nil {
				return nil, err
			}
			e.since[name] = at
		}
	}
	return e, nil
}

func parseNumbers(s string) ([]float64, error) {
	var out []float64
	for v := range strings.SplitSeq(s, ",") {
		x, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// literal is the value of a text that stands for a bool or a number.
func literal(text string) any {
	var v any
	_ = json.Unmarshal([]byte(text), &v) // nil for another text
	return v
}

// Types lists all types of objects, by path.
var Types = sync.OnceValue(func() []*Type {
	out := make([]*Type, 0, len(table().types))
	for _, t := range table().types {
		if t.Path == "cluster" || t.Path == "systemlimits" { // endpoints of their own serve these, and no objects
			continue
		}
		out = append(out, &t)
	}
	return out
})
