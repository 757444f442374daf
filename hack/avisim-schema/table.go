// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// table is the text to write, still as data.
type table struct {
	types    map[string]*objectType
	messages map[string]map[string]*field
}

// field is one line: its kind and its attributes.
type field struct {
	kind  string
	attrs map[string]string
}

// order is that of the attributes of a line, and the list of those that exist.
var order = strings.Fields("req ro range or in enum min max default key since until ent ess basic low ess: basic: low: contested")

func (f *field) set(attr, value string) {
	if value == "" && attr != "req" && attr != "ro" && attr != "contested" {
		return
	}
	if f.attrs == nil {
		f.attrs = map[string]string{}
	}
	f.attrs[attr] = value
}

// overlay applies the hand-written changes. Every block of them starts with a comment that says why, and every one has to
// change something, so that none outlives its reason.
func (t *table) overlay(text string) error {
	reason := false
	for n, line := range strings.Split(text, "\n") {
		w := strings.Fields(line)
		switch {
		case len(w) == 0:
			reason = false
			continue
		case w[0] == "#":
			reason = true
			continue
		}
		err := t.change(w)
		if err == nil && !reason {
			err = fmt.Errorf("no comment above says why")
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return nil
}

// change applies one line:
//
//	MESSAGE.FIELD ATTR... -ATTR...   sets and drops attributes; "*" as MESSAGE: wherever the field is
//	MESSAGE.FIELD + KIND ATTR...     adds a field
//	value NAME VERSION               says when a value of an enumeration was introduced
func (t *table) change(w []string) error {
	if w[0] == "value" && len(w) == 3 {
		return t.dateValue(w[1], w[2])
	}
	message, name, _ := strings.Cut(w[0], ".")
	if message == "*" {
		return t.everywhere(name, w[1:])
	}
	fields := t.messages[message]
	if fields == nil || len(w) < 2 {
		return fmt.Errorf("no message %s, or nothing to change", message)
	}
	f, attrs := fields[name], w[1:]
	if attrs[0] == "+" {
		if f != nil || len(attrs) < 2 {
			return fmt.Errorf("%s is in the specification, or its kind is missing", w[0])
		}
		f = &field{kind: attrs[1]}
		fields[name], attrs = f, attrs[2:]
	} else if f == nil {
		return fmt.Errorf("no field %s", w[0])
	}
	for _, a := range attrs {
		if drop, ok := strings.CutPrefix(a, "-"); ok {
			if _, have := f.attrs[drop]; !have {
				return fmt.Errorf("%s has no %s to drop", w[0], drop)
			}
			delete(f.attrs, drop)
			continue
		}
		key, value, ok := strings.Cut(a, "=")
		switch {
		case !ok && strings.Contains(a, ".."):
			key, value = "range", a
		case key == "":
			key = "default"
		}
		if !slices.Contains(order, key) {
			return fmt.Errorf("%s: unknown attribute %s", w[0], key)
		}
		if have, is := f.attrs[key]; is && have == value {
			return fmt.Errorf("%s has %s already", w[0], a)
		}
		f.set(key, value)
	}
	return nil
}

// everywhere applies a change to the field of that name in all messages.
func (t *table) everywhere(name string, attrs []string) error {
	found := false
	for _, message := range slices.Sorted(maps.Keys(t.messages)) {
		if t.messages[message][name] == nil {
			continue
		}
		found = true
		if err := t.change(append([]string{message + "." + name}, attrs...)); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no message has a field %s", name)
	}
	return nil
}

func (t *table) dateValue(name, since string) error {
	found := false
	for _, fields := range t.messages {
		for _, f := range fields {
			values := strings.Split(f.attrs["enum"], "|")
			if i := slices.Index(values, name); i >= 0 {
				values[i] += "@" + since
				f.attrs["enum"] = strings.Join(values, "|")
				found = true
			}
		}
	}
	if !found {
		return fmt.Errorf("no enumeration has %s", name)
	}
	return nil
}

func (t *table) write(w io.Writer) {
	fmt.Fprintln(w)
	for _, path := range slices.Sorted(maps.Keys(t.types)) {
		typ := t.types[path]
		line := "type " + path + " " + typ.title
		if typ.cloud {
			line += " cloud"
		}
		if typ.singleton {
			line += " singleton"
		}
		fmt.Fprintln(w, line)
	}
	enums := map[string]string{} // list to the field that has it first
	for _, name := range slices.Sorted(maps.Keys(t.messages)) {
		fmt.Fprintf(w, "\nmessage %s\n", name)
		for _, f := range slices.Sorted(maps.Keys(t.messages[name])) {
			fmt.Fprintf(w, " %s %s\n", f, t.messages[name][f].line(name+"."+f, enums))
		}
	}
}

// line renders a field; enums remembers which field has a list of values first.
func (f *field) line(at string, enums map[string]string) string {
	a := maps.Clone(f.attrs)
	if list := a["enum"]; list != "" {
		if first, seen := enums[list]; seen {
			a["enum"] = "@" + first
		} else {
			enums[list] = at
		}
	}
	for _, what := range []string{"", ":"} { // one attribute for both lower tiers
		if v := a["ess"+what]; v != "" && v == a["basic"+what] {
			delete(a, "ess"+what)
			delete(a, "basic"+what)
			a["low"+what] = v
		}
	}
	if a["low"] == "-" {
		delete(a, "low")
		a["ent"] = ""
	}
	out := []string{f.kind}
	for _, key := range order {
		switch v, have := a[key]; {
		case !have:
		case v == "":
			out = append(out, key)
		case key == "range":
			out = append(out, v)
		case key == "default":
			out = append(out, "="+v)
		default:
			out = append(out, key+"="+v)
		}
	}
	return strings.Join(out, " ")
}
