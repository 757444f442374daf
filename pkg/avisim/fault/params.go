// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Effect is one misbehaviour by its name in the table of effects, with arguments as text. Parameters that are left out
// have the table's defaults. In JSON and YAML it is one flat mapping: {"effect": "latency", "delay": "2s"}.
type Effect struct {
	Name string
	Args map[string]string
}

// Param is a parameter of an effect.
type Param struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // duration, int, float, bool, text, pattern, headers, server, version, or enum
	Enum    []string `json:"enum,omitempty"`
	Default string   `json:"default"`
	About   string   `json:"about"`
}

// paramKinds check the text of an argument. An empty text is fine for every kind but those that say otherwise.
var paramKinds = map[string]func(string) error{
	"duration": func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration such as 500ms, 2s or 1m30s", s)
		}
		return nil
	},
	"int": func(s string) error {
		if _, err := strconv.Atoi(s); err != nil {
			return fmt.Errorf("%q is not a whole number", s)
		}
		return nil
	},
	"float": func(s string) error {
		if _, err := strconv.ParseFloat(s, 64); err != nil {
			return fmt.Errorf("%q is not a number", s)
		}
		return nil
	},
	"bool": func(s string) error {
		if _, err := strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	},
	"text":    func(string) error { return nil },
	"enum":    func(string) error { return nil }, // the parameter knows its values
	"pattern": func(s string) error { _, err := regexp.Compile(s); return err },
	"headers": func(s string) error { _, err := headers(s); return err },
	"version": func(s string) error { _, err := schema.ParseVersion(s); return err },
	"server": func(s string) error {
		if _, err := netip.ParseAddrPort(s); err != nil {
			return fmt.Errorf("%q is not ip:port, or [ip6]:port", s)
		}
		return nil
	},
}

func (p *Param) check(text string) error {
	if text == "" && p.Default == "" && p.Kind != "server" {
		return nil
	}
	if p.Kind == "enum" && !slices.Contains(p.Enum, text) {
		return fmt.Errorf("%s: %q is none of %s", p.Name, text, strings.Join(p.Enum, ", "))
	}
	if err := paramKinds[p.Kind](text); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// headers reads "Name: value" pairs, separated by line feeds or semicolons, or a JSON object.
func headers(s string) (map[string]string, error) {
	out := map[string]string{}
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		var values map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &values); err != nil {
			return nil, fmt.Errorf("%q is not a JSON object", s)
		}
		for k, raw := range values {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw) // a number, mostly
			}
			out[k] = text
		}
		return out, nil
	}
	for pair := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == ';' }) {
		k, v, ok := strings.Cut(pair, ":")
		if k = strings.TrimSpace(k); !ok || k == "" || strings.ContainsAny(k, " \t") {
			return nil, fmt.Errorf("%q is not Name: value", pair)
		}
		out[k] = strings.TrimSpace(v)
	}
	return out, nil
}

// args are the checked arguments of an effect, defaults filled in; so the getters can't fail.
type args map[string]string

func (a args) text(k string) string { return a[k] }
func (a args) on(k string) bool     { b, _ := strconv.ParseBool(a[k]); return b }
func (a args) int(k string) int     { n, _ := strconv.Atoi(a[k]); return n }
func (a args) float(k string) float64 {
	f, _ := strconv.ParseFloat(a[k], 64)
	return f
}
func (a args) duration(k string) time.Duration {
	d, _ := time.ParseDuration(a[k])
	return d
}
func (a args) headers(k string) map[string]string { h, _ := headers(a[k]); return h }
func (a args) server(k string) netip.AddrPort     { s, _ := netip.ParseAddrPort(a[k]); return s }
func (a args) pattern(k string) *regexp.Regexp {
	if a[k] == "" {
		return nil
	}
	r, _ := regexp.Compile(a[k])
	return r
}

// settle checks an effect's arguments and fills in the defaults.
func (e *effect) settle(given map[string]string) (args, error) {
	out := args{}
	for k := range given {
		if !slices.ContainsFunc(e.params, func(p Param) bool { return p.Name == k }) {
			var known []string
			for _, p := range e.params {
				known = append(known, p.Name)
			}
			return nil, fmt.Errorf("effect %s has no parameter %q; it has: %s", e.name, k, orNone(known))
		}
	}
	for i := range e.params {
		p := &e.params[i]
		text, have := given[p.Name]
		if !have {
			text = p.Default
		}
		if err := p.check(text); err != nil {
			return nil, fmt.Errorf("effect %s: %w", e.name, err)
		}
		out[p.Name] = text
	}
	return out, nil
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "none"
	}
	return strings.Join(l, ", ")
}

// MarshalJSON writes the flat form.
func (e Effect) MarshalJSON() ([]byte, error) {
	flat := map[string]string{"effect": e.Name}
	for k, v := range e.Args {
		flat[k] = v
	}
	return json.Marshal(flat)
}

// UnmarshalJSON reads the flat form. Numbers, switches, lists and objects are taken as the text that they are in JSON.
func (e *Effect) UnmarshalJSON(b []byte) error {
	var flat map[string]json.RawMessage
	if err := json.Unmarshal(b, &flat); err != nil {
		return fmt.Errorf(`an effect is an object such as {"effect":"latency","delay":"2s"}: %w`, err)
	}
	*e = Effect{Args: map[string]string{}}
	for k, raw := range flat {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		if k == "effect" {
			e.Name = text
		} else {
			e.Args[k] = text
		}
	}
	return nil
}

// String is the form that the command line takes: name key=value….
func (e Effect) String() string {
	out := e.Name
	for _, k := range doc.Keys(e.Args) {
		out += " " + k + "=" + e.Args[k]
	}
	return out
}
