// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// Script is a timeline of faults: steps that are taken one after the other.
type Script struct{ steps []step }

// step is one step of a script: wait for a while, then for a request, then do something.
type step struct {
	line    int
	after   time.Duration
	on      *Fault // conditions of the request to wait for
	fault   Fault  // what is added then; its conditions are those of match, or of on
	matched bool   // match was given: the effects strike other requests than the one that was waited for
}

// Len is the number of steps.
func (s *Script) Len() int { return len(s.steps) }

// ParseScript reads a script and checks all of it. An error has one line for each mistake, which begins with the line of the text.
func ParseScript(text []byte) (*Script, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the script is empty; it needs steps")
	} else if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: ")) // has the line
	}
	if d.Decode(new(yaml.Node)) == nil {
		return nil, errors.New("a script is one document, and this file has more")
	}
	p := &scriptParser{}
	out := &Script{}
	p.mapping(doc.Content[0], "the script", map[string]func(*yaml.Node){"steps": func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			p.fail(n, "steps has to be a list of steps")
			return
		}
		for _, c := range n.Content {
			out.steps = append(out.steps, p.step(c))
		}
	}}, "steps")
	return out, errors.Join(p.errs...)
}

type scriptParser struct{ errs []error }

func (p *scriptParser) fail(n *yaml.Node, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...)))
}

// mapping calls the function of each key, and reports keys that are unknown, twice there, or missing.
func (p *scriptParser) mapping(n *yaml.Node, what string, keys map[string]func(*yaml.Node), needed ...string) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s has to be a mapping with %s", what, strings.Join(doc.Keys(keys), ", "))
		return
	}
	var seen []string
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		read := keys[k.Value]
		switch {
		case read == nil:
			p.fail(k, "%s has no key %q; it has: %s", what, k.Value, strings.Join(doc.Keys(keys), ", "))
		case slices.Contains(seen, k.Value):
			p.fail(k, "%s has %s twice", what, k.Value)
		default:
			read(v)
		}
		seen = append(seen, k.Value)
	}
	for _, k := range needed {
		if !slices.Contains(seen, k) {
			p.fail(n, "%s needs %s", what, k)
		}
	}
}

// The readers of values report what is not of their kind.

func (p *scriptParser) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			p.fail(n, "a single value is wanted here")
			return
		}
		*to = n.Value
	}
}

func read[T any](p *scriptParser, to *T, what string, parse func(string) (T, error)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := parse(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			p.fail(n, "%q is not %s", n.Value, what)
			return
		}
		*to = v
	}
}

func (p *scriptParser) duration(to *time.Duration) func(*yaml.Node) {
	return read(p, to, "a duration such as 500ms, 2s or 1m30s", func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err == nil && d < 0 {
			err = errors.New("below 0")
		}
		return d, err
	})
}

func (p *scriptParser) number(to *int, least int) func(*yaml.Node) {
	return read(p, to, fmt.Sprintf("a whole number from %d", least), func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err == nil && n < least {
			err = errors.New("too small")
		}
		return n, err
	})
}

// conditions reads the part of a fault that says which requests it is about.
func (p *scriptParser) conditions(n *yaml.Node, what string, f *Fault) {
	nth := 1
	p.mapping(n, what, map[string]func(*yaml.Node){
		"method": p.text(&f.Method), "type": p.text(&f.Type), "route": p.text(&f.Route), "tenant": p.text(&f.Tenant),
		"nth": p.number(&nth, 1),
		"objectName": func(n *yaml.Node) {
			re, err := regexp.Compile(n.Value)
			if err != nil {
				p.fail(n, "objectName: %v", err)
				return
			}
			f.ObjectName = re
		},
	})
	f.Method = strings.ToUpper(f.Method)
	f.After = nth - 1
}

func (p *scriptParser) step(n *yaml.Node) step {
	st := step{line: n.Line}
	f := &st.fault
	p.mapping(n, "a step", map[string]func(*yaml.Node){
		"name": p.text(&f.Name), "after": p.duration(&st.after), "for": p.duration(&f.Duration), "count": p.number(&f.Count, 0),
		"probability": read(p, &f.Probability, "a number above 0 and up to 1", func(s string) (float64, error) {
			x, err := strconv.ParseFloat(s, 64)
			if err == nil && (x <= 0 || x > 1) {
				err = errors.New("out of range")
			}
			return x, err
		}),
		"seed": read(p, &f.Seed, "a whole number", func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }),
		"on": func(n *yaml.Node) {
			st.on = &Fault{}
			p.conditions(n, "on", st.on)
		},
		"match": func(n *yaml.Node) {
			st.matched = true
			p.conditions(n, "match", f)
		},
		"do": func(n *yaml.Node) {
			list := []*yaml.Node{n}
			if n.Kind == yaml.SequenceNode {
				list = n.Content
			}
			for _, c := range list {
				f.Effects = append(f.Effects, p.effect(c))
			}
		},
	}, "do")
	if st.on != nil && !st.matched { // the effects strike the request that was waited for, and with a count or a time more of its kind
		bounded := slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Value == "count" || c.Value == "for" })
		f.Method, f.Type, f.Route = st.on.Method, st.on.Type, st.on.Route
		f.ObjectName, f.Tenant, f.After = st.on.ObjectName, st.on.Tenant, st.on.After
		if !bounded {
			f.Count = 1
		}
	}
	return st
}

// effect reads a flat mapping: effect, and its parameters.
func (p *scriptParser) effect(n *yaml.Node) Effect {
	e := Effect{Args: map[string]string{}}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "an effect is a mapping such as {effect: latency, delay: 2s}")
		return e
	}
	lines := map[string]*yaml.Node{}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		var text string
		switch v.Kind {
		case yaml.ScalarNode:
			text = v.Value
		default: // headers may be a mapping
			var x any
			b, err := []byte(nil), v.Decode(&x)
			if err == nil {
				b, err = json.Marshal(x)
			}
			if err != nil {
				p.fail(v, "%s: %v", k.Value, err)
			}
			text = string(b)
		}
		if lines[k.Value] = v; k.Value == "effect" {
			e.Name = text
		} else {
			e.Args[k.Value] = text
		}
	}
	def := effectByName(e.Name)
	if def == nil {
		at := n
		if lines["effect"] != nil {
			at = lines["effect"]
		}
		p.fail(at, "no effect is called %q; there are: %s", e.Name, strings.Join(effectNames(), ", "))
		return e
	}
	if _, err := def.settle(e.Args); err != nil {
		at := n
		for k, v := range lines { // the line of the parameter that the error is about
			if strings.Contains(err.Error(), " "+k+": ") || strings.Contains(err.Error(), strconv.Quote(k)) {
				at = v
			}
		}
		p.fail(at, "%v", err)
	}
	return e
}

// Run takes the steps of a script, and returns when it has taken the last one, or when the context ends. The faults that it
// added stay until their time is over or somebody removes them. A step that waits for a request waits for ever, unless its
// fault is removed, which ends the script.
func (s *Layer) Run(ctx context.Context, sc *Script) error {
	for i := range sc.steps {
		st := &sc.steps[i]
		if !sleep(ctx, st.after) {
			return ctx.Err()
		}
		if err := s.take(ctx, st); err != nil {
			return fmt.Errorf("step %d, line %d: %w", i+1, st.line, err)
		}
	}
	return nil
}

func (s *Layer) take(ctx context.Context, st *step) error {
	if st.on == nil {
		_, err := s.AddFault(st.fault)
		return err
	}
	struck := make(chan struct{})
	trigger := st.fault
	if st.matched {
		trigger = *st.on
		trigger.Name, trigger.Count = st.fault.Name, 1
	}
	added, err := s.inject(trigger, func() { close(struck) })
	if err != nil {
		return err
	}
	select {
	case <-struck:
	case <-added.gone:
		select {
		case <-struck: // and over already
		default:
			return errors.New("the fault that waited for a request was removed")
		}
	case <-ctx.Done():
		s.RemoveFault(added.id)
		return ctx.Err()
	}
	if !st.matched {
		return nil
	}
	s.RemoveFault(added.id)
	_, err = s.AddFault(st.fault)
	return err
}
