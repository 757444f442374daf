// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// full are the object types whose fields the table lists, with all messages that they reach.
var full = strings.Fields(`
	Tenant Cloud VrfContext Network ServiceEngineGroup ServiceEngine IpamDnsProviderProfile NetworkProfile ApplicationProfile
	ApplicationPersistenceProfile AnalyticsProfile HealthMonitor Pool PoolGroup L4PolicySet NetworkSecurityPolicy IpAddrGroup VsVip
	VirtualService PKIProfile SSLKeyAndCertificate SSLProfile HTTPPolicySet VSDataScriptSet StringGroup ErrorPageProfile
	SystemConfiguration ControllerProperties`)

// definition is a message of an OpenAPI file.
type definition struct {
	Required   []string
	Properties map[string]property
}

type property struct {
	Description, Type, Format string
	Ref                       string `json:"$ref"`
	Items                     *property
	ReadOnly                  bool
	Default                   any
}

// spec is what the OpenAPI files say.
type spec struct {
	api         string                           // its version
	definitions map[string]map[string]definition // by title of the file's object type, then by name
	classes     string                           // folder of the Java classes of the messages
	types       map[string]*objectType           // by path
}

// objectType is one type line.
type objectType struct {
	path, title      string
	cloud, singleton bool
}

var typePath = regexp.MustCompile(`^/([a-z0-9]+)(/\{uuid\})?$`)

// classDefault finds a field of a Java class that begins as false or 0.
var classDefault = regexp.MustCompile(`@JsonProperty\("(\w+)"\)\s+private \w+ \w+ = (false|0|0\.0)f?;`)

// zeroDefaults reads the defaults of a message that are false or 0. The OpenAPI files leave them out; the Java classes that the vendor
// generates from the same schema have them, and have none for a field without a default.
func (s *spec) zeroDefaults(message string) (map[string]any, error) {
	b, err := os.ReadFile(filepath.Join(s.classes, message+".java"))
	if errors.Is(err, fs.ErrNotExist) { // the class has a name of another spelling, or there is none
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("defaults of %s: %w", message, err)
	}
	out := map[string]any{}
	for _, m := range classDefault.FindAllSubmatch(b, -1) {
		if out[string(m[1])] = any(0); string(m[2]) == "false" {
			out[string(m[1])] = false
		}
	}
	return out, nil
}

func readSpec(dir string) (*spec, error) {
	files, err := filepath.Glob(filepath.Join(dir, "swagger", "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no OpenAPI files in %s", dir)
	}
	s := &spec{classes: filepath.Join(dir, "java/src/com/vmware/avi/sdk/model"), definitions: map[string]map[string]definition{}, types: map[string]*objectType{}}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var doc struct {
			Info  struct{ Version string }
			Paths map[string]struct {
				Get struct {
					Responses map[string]struct{ Schema property }
				}
			}
			Definitions map[string]definition
		}
		title := strings.TrimSuffix(filepath.Base(file), ".json")
		if title == "package" || title == "avi_global_spec" { // no object type; all of them once more
			continue
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		s.api = doc.Info.Version
		s.definitions[title] = doc.Definitions
		for path, methods := range doc.Paths {
			m := typePath.FindStringSubmatch(path)
			answer := baseName(methods.Get.Responses["200"].Schema.Ref)
			if m == nil || answer != title { // a list's answer is a message of its own
				continue
			}
			_, cloud := doc.Definitions[title].Properties["cloud_ref"]
			s.types[m[1]] = &objectType{path: m[1], title: title, cloud: cloud, singleton: m[2] == ""}
		}
	}
	return s, nil
}

func baseName(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

// table reduces the definitions that the full types reach.
func (s *spec) table() (*table, error) {
	t := &table{types: s.types, messages: map[string]map[string]*field{}}
	kept := map[string]definition{}
	for _, title := range full {
		if s.definitions[title] == nil {
			return nil, fmt.Errorf("no file for type %s", title)
		}
		todo := []string{title}
		for len(todo) > 0 {
			name := todo[0]
			todo = todo[1:]
			def, ok := s.definitions[title][name]
			if !ok {
				return nil, fmt.Errorf("%s.json does not define %s", title, name)
			}
			if other, done := kept[name]; done {
				if !reflect.DeepEqual(other, def) {
					return nil, fmt.Errorf("%s.json and another file differ in %s", title, name)
				}
				continue
			}
			kept[name] = def
			fields, err := s.fields(name, def)
			if err != nil {
				return nil, err
			}
			for _, f := range fields {
				if to, ok := strings.CutPrefix(strings.TrimPrefix(f.kind, "[]"), "msg:"); ok {
					todo = append(todo, to)
				}
			}
			t.messages[name] = fields
		}
	}
	return t, nil
}

// fields reduces the properties of one definition.
func (s *spec) fields(name string, def definition) (map[string]*field, error) {
	zero, err := s.zeroDefaults(name)
	if err != nil {
		return nil, err
	}
	fields := map[string]*field{}
	for f, p := range def.Properties {
		if p.Default == nil {
			p.Default = zero[f]
		}
		reduced, err := s.reduce(p)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, f, err)
		}
		if slices.Contains(def.Required, f) {
			reduced.set("req", "")
		}
		fields[f] = reduced
	}
	return fields, nil
}

// What the descriptions say beside prose.
var (
	says = map[string]*regexp.Regexp{
		"since":  regexp.MustCompile(`Field introduced in ([\d., ]*\d)`),
		"until":  regexp.MustCompile(`Field deprecated in ([\d.]*\d)`),
		"min":    regexp.MustCompile(`Minimum of (\d+) items required`),
		"max":    regexp.MustCompile(`Maximum of (\d+) items allowed`),
		"enum":   regexp.MustCompile(`Enum options - ([\w, ]+)\.`),
		"range":  regexp.MustCompile(`Allowed values are (.*?)\.(?: |$)`),
		"or":     regexp.MustCompile(`Special values are ([^.]*)\.`),
		"ref":    regexp.MustCompile(`It is a reference to an object of type (\w+)`),
		"tiers":  regexp.MustCompile(`Allowed in Enterprise edition with any value,(.*) Enterprise with Cloud Services edition\.`),
		"preset": regexp.MustCompile(`Special default for (.*)\.$`),
	}
	bounds  = regexp.MustCompile(`^([-+]?[\d.]+) ?- ?\+?(-?[\d.]+)$`)
	special = regexp.MustCompile(`(?:^|, )(-?\d+) ?-`)
	// lower are the tiers below Enterprise, with the attribute that stands for each one.
	lower = []struct {
		attr   string
		tier   *regexp.Regexp
		preset *regexp.Regexp
	}{
		{"ess", regexp.MustCompile(`\bEssentials\b(?: edition\(Allowed values- ([^)]*)\))?`), regexp.MustCompile(`Essentials edition is ([^,]+)`)},
		{"basic", regexp.MustCompile(`\bBasic\b(?: edition\(Allowed values- ([^)]*)\))?`), regexp.MustCompile(`Basic edition is ([^,]+)`)},
	}
)

// reduce turns a property into a field of the table.
func (s *spec) reduce(p property) (*field, error) {
	find := func(what string) string {
		if m := says[what].FindStringSubmatch(p.Description); m != nil {
			return strings.TrimSpace(m[1])
		}
		return ""
	}
	list, scalar := p.Type == "array", p
	if list {
		scalar = *p.Items
	}
	f := &field{}
	var err error
	if f.kind, err = s.kindOf(find("ref"), p.Format, scalar); err != nil {
		return nil, err
	}
	kind := f.kind
	if list {
		f.kind = "[]" + f.kind
	}
	if p.ReadOnly {
		f.set("ro", "")
	}
	if text := find("range"); text != "" {
		if m := bounds.FindStringSubmatch(text); m != nil {
			f.set("range", m[1]+".."+m[2])
		} else {
			f.set("in", text)
		}
	}
	var also []string
	for _, m := range special.FindAllStringSubmatch(find("or"), -1) {
		also = append(also, m[1])
	}
	f.set("or", strings.Join(also, ","))
	f.set("enum", strings.ReplaceAll(find("enum"), ", ", "|"))
	f.set("since", strings.ReplaceAll(find("since"), " ", ""))
	for _, what := range []string{"until", "min", "max"} {
		f.set(what, find(what))
	}
	if p.Default != nil {
		f.set("default", literal(p.Default))
	}
	f.setTiers(p.Description, find("preset"), kind)
	return f, nil
}

// kindOf is the kind of a field, or of the entries of a list.
func (s *spec) kindOf(target, format string, scalar property) (string, error) {
	if target != "" {
		if s.types[strings.ToLower(target)] == nil {
			return "", fmt.Errorf("refers to unknown type %s", target)
		}
		return "ref:" + strings.ToLower(target), nil
	}
	if scalar.Ref != "" {
		return "msg:" + baseName(scalar.Ref), nil
	}
	kinds := map[string]string{"string": "str", "boolean": "bool", "number": "num", "integer": "int"}
	formats := map[string]string{"uint32": "uint", "uint64": "uint64", "int64": "int64"}
	kind := kinds[scalar.Type]
	if kind == "" {
		return "", fmt.Errorf("unknown type %q", scalar.Type)
	}
	if k := formats[format]; k != "" && kind == "int" {
		kind = k
	}
	return kind, nil
}

// setTiers notes what a description says of the lower license tiers: the values that they allow, and those that they preset.
func (f *field) setTiers(description, preset, kind string) {
	if m := says["tiers"].FindStringSubmatch(description); m != nil {
		for _, l := range lower {
			switch m := l.tier.FindStringSubmatch(m[1]); {
			case m == nil:
				f.set(l.attr, "-")
			case m[1] != "":
				f.set(l.attr, strings.ReplaceAll(strings.ReplaceAll(m[1], " ", ""), ",", "|"))
			}
		}
	}
	for _, l := range lower {
		m := l.preset.FindStringSubmatch(preset)
		switch {
		case m == nil:
		case kind == "str" || strings.HasPrefix(kind, "ref:"):
			f.set(l.attr+":", literal(m[1]))
		default:
			f.set(l.attr+":", strings.ToLower(m[1]))
		}
	}
}

// literal is the value as JSON without spaces, which separate the attributes of a line.
func literal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came out of JSON
	}
	return strings.ReplaceAll(string(b), " ", `\u0020`)
}
