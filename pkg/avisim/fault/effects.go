// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// The kinds of effects: see Fault.
const (
	kindRequest = "request"
	kindAction  = "action"
	kindState   = "state"
)

// effect is a row of the table of effects, which drives the Go API, the control API, the command line, scripts, the page's form
// and the documentation.
type effect struct {
	name, group, kind string
	grade             schema.Evidence // of what a client sees, if the real Controller did this
	about             string
	params            []Param
	scope             func(*api.Call) bool // which requests it can strike at all; nil: any
	build             func(a args, r *chance) hooks
}

// hooks are what one effect of one fault does. Those that are nil do nothing.
type hooks struct {
	kind       string
	scope      func(*api.Call) bool
	final      bool // nothing that comes later matters for the request: it gets its answer, or none
	lateWrites bool // with late: it follows a write, too
	late       bool // an action that follows a read instead of preceding it, so that what was read is old at once
	prepare    func(*Layer) (end func())
	hold       func(*Layer) (end func())
	act        func(*Layer, *api.Call) error // call is nil outside of a request
	// may wait, change the call, or answer instead of processing; cut: no answer
	before  func(*Layer, *api.Call) *api.Answer
	process func(*Layer, *api.Call, func(*api.Call) *api.Answer) *api.Answer // around the processing
	after   func(*Layer, *api.Call, *api.Answer)                             // changes the answer
	lose    bool                                                             // cut the connection instead of answering
	deliver Deliver                                                          // writes the body, after the headers
}

func (h *hooks) covers(c *api.Call) bool { return h.scope == nil || h.scope(c) }

// chance is a source of randomness that concurrent requests may share.
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newChance(seed int64, n int) *chance {
	return &chance{r: rand.New(rand.NewPCG(uint64(seed), uint64(n)+1))}
}

func (c *chance) float() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.Float64()
}

// EffectInfo describes an effect for people and for forms.
type EffectInfo struct {
	Name     string          `json:"name"`
	Group    string          `json:"group"`
	Kind     string          `json:"kind"`
	Evidence schema.Evidence `json:"evidence"`
	About    string          `json:"about"`
	Params   []Param         `json:"params"`
}

// EffectTable lists all effects, by group.
func EffectTable() []EffectInfo {
	out := make([]EffectInfo, len(effectTable))
	for i, e := range effectTable {
		out[i] = EffectInfo{e.name, e.group, e.kind, e.grade, e.about, slices.Clone(e.params)}
	}
	return out
}

// EffectDocs is the table of effects as Markdown, for docs/simulator.md.
func EffectDocs() string {
	var b strings.Builder
	group := ""
	for _, e := range effectTable {
		if e.group != group {
			if group != "" {
				b.WriteByte('\n')
			}
			group = e.group
			b.WriteString("**" + strings.ToUpper(group[:1]) + group[1:] + "**\n\n| effect | kind | what it does | parameters (default) | known |\n|---|---|---|---|---|\n")
		}
		params := make([]string, len(e.params))
		for i, p := range e.params {
			kind := p.Kind
			if p.Kind == "enum" {
				kind = strings.Join(p.Enum, ", ")
			}
			params[i] = "`" + p.Name + "`"
			if p.Default != "" {
				params[i] += " (`" + p.Default + "`)"
			}
			params[i] += ", " + kind + ": " + p.About
		}
		b.WriteString("| `" + e.name + "` | " + e.kind + " | " + e.about + " | " + strings.ReplaceAll(strings.Join(params, "; "), "|",
			`\|`) + " | " + string(e.grade) + " |\n")
	}
	return b.String()
}

func effectByName(name string) *effect {
	for i := range effectTable {
		if effectTable[i].name == name {
			return &effectTable[i]
		}
	}
	return nil
}

func effectNames() []string {
	out := make([]string, len(effectTable))
	for i := range effectTable {
		out[i] = effectTable[i].name
	}
	return out
}

// follows reports whether an action comes after the processing of the request.
func (h *hooks) follows(c *api.Call) bool { return h.late && (h.lateWrites || api.IsRead(c)) }
