// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, text string) *Script {
	t.Helper()
	sc, err := ParseScript([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// TestScript runs a timeline: a time, a request that is waited for and struck, one that is waited for and followed by a state,
// and a last word.
func TestScript(t *testing.T) {
	s, c := signedIn(t, Options{})
	sc := mustParse(t, `
steps:
- after: 50ms
  do: {effect: answer, status: 502}
  match: {type: vsvip}
  for: 100ms
- name: third
  on: {method: post, type: pool, nth: 3}
  do:
  - {effect: latency, delay: 20ms}
  - effect: answer
    status: 503
    headers: {Retry-After: 4}
- on: {type: pool, objectName: ^go$}
  match: {method: DELETE}
  do: {effect: hidden-referrer, by: "VirtualService x"}
  count: 1
- after: 10ms
  do: {effect: upgrade}
  for: 1h
`)
	if sc.Len() != 4 {
		t.Fatal(sc.Len())
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), sc) }()
	eventually(t, func() bool { return c.do("GET", "/api/vsvip", nil).status == 502 })
	eventually(t, func() bool { return c.do("GET", "/api/vsvip", nil).status == 200 })
	eventually(t, func() bool { return len(s.Faults()) == 1 }) // the script waits
	c.want(201, "POST", "/api/pool", poolBody("a"))
	c.want(201, "POST", "/api/pool", poolBody("b"))
	if r := c.want(503, "POST", "/api/pool", poolBody("c")); r.header.Get("Retry-After") != "4" {
		t.Error(r.header)
	}
	c.want(201, "POST", "/api/pool", poolBody("c"))                                               // once
	eventually(t, func() bool { f := s.Faults(); return len(f) == 2 && f[1].State == "waiting" }) // beside the spent one
	id := c.want(201, "POST", "/api/pool", poolBody("go")).uuid()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.want(403, "POST", "/api/pool", poolBody("d")) // upgrade
	if r := c.want(403, "DELETE", "/api/pool/"+id, nil); !strings.Contains(r.raw, "VirtualService x") {
		t.Error(r.raw)
	}
	s.ClearFaults()
	c.want(204, "DELETE", "/api/pool/"+id, nil)
}

func TestScriptEnds(t *testing.T) {
	s := start(t, Options{})
	sc := mustParse(t, "steps: [{on: {type: pool}, do: {effect: hang}}]")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sc) }()
	eventually(t, func() bool { return len(s.Faults()) == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || len(s.Faults()) != 0 {
		t.Error(err, s.Faults())
	}
	go func() { done <- s.Run(t.Context(), sc) }()
	eventually(t, func() bool { return len(s.Faults()) == 1 })
	s.ClearFaults()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "step 1, line 1: ") {
		t.Error(err)
	}
	if err := s.Run(t.Context(), mustParse(t, "steps:\n- after: 1ms\n  do: {effect: foreign-delete, type: pool, name: none}")); err == nil ||
		!strings.Contains(err.Error(), `line 2: no pool "none"`) {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Run(ctx, mustParse(t, "steps: [{after: 1h, do: {effect: down}}]")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestScriptErrors shows that each mistake is reported with its line.
func TestScriptErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "line 1: the script is empty"},
		{"steps:\n- do: [\n", "line 2: "},
		{"- a\n", "line 1: the script has to be a mapping with steps"},
		{"{}", "line 1: the script needs steps"},
		{"steps: []", "line 1: steps has to be a list"},
		{"steps:\n- after: 5s", "line 2: a step needs do"},
		{"steps:\n- do: {effect: hang}\n  afer: 5s", `line 3: a step has no key "afer"; it has: after, count, do, for, match, name, on, probability, seed`},
		{"steps:\n- do: {effect: hang}\n  do: {effect: hang}", "line 3: a step has do twice"},
		{"steps:\n- do: {effect: hang}\n  after: soon", `line 3: "soon" is not a duration`},
		{"steps:\n- do: {effect: hang}\n  after: -1s", `line 3: "-1s" is not a duration`},
		{"steps:\n- do: {effect: hang}\n  count: x", `line 3: "x" is not a whole number from 0`},
		{"steps:\n- do: {effect: hang}\n  probability: 2", `line 3: "2" is not a number above 0`},
		{"steps:\n- do: {effect: hang}\n  on:\n    nth: 0", `line 4: "0" is not a whole number from 1`},
		{"steps:\n- do: {effect: hang}\n  on:\n    typ: x", `line 4: on has no key "typ"`},
		{"steps:\n- do: {effect: hang}\n  on: {objectName: (}", `line 3: objectName: error parsing regexp`},
		{"steps:\n- do:\n  - effect: hang\n  - effect: bang", `line 4: no effect is called "bang"; there are: latency`},
		{"steps:\n- do: {delay: 1s}", `line 2: no effect is called ""`},
		{"steps:\n- do:\n    effect: latency\n    delay: 1s\n    jiter: 1s", `line 5: effect latency has no parameter "jiter"`},
		{"steps:\n- do:\n    effect: latency\n    jitter: 1s\n    delay: long", `line 5: effect latency: delay: "long"`},
		{"steps:\n- do: latency", `line 2: an effect is a mapping`},
		{"steps:\n- do: {effect: hang}\n  name: [a]", `line 3: a single value`},
		{"steps: [{do: {effect: hang}}]\n---\nx: y", "one document"},
	} {
		if _, err := ParseScript([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
	_, err := ParseScript([]byte("steps:\n- after: x\n- do: {effect: y}\n"))
	if n := strings.Count(err.Error(), "line "); n != 3 {
		t.Errorf("%d mistakes told of 3: %v", n, err)
	}
}
