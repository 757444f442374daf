// SPDX-License-Identifier: Apache-2.0

// Package fault is a layer around the API that makes a simulated Controller misbehave. A [Fault] is conditions and effects of one table
// ([EffectTable]), which drives the Go API, the control API, the command line, scripts, the page's form and the documentation.
package fault

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/transport"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Fault is one misbehaviour of the simulated Controller: conditions, which are and-ed and whose zero values match every
// request, and effects (see EffectTable). In JSON its fields are spelt in camel case, durations and patterns are text.
//
// What an effect does with the conditions depends on its kind. One of kind "request" strikes the requests that match. One of
// kind "action" happens at each request that matches, or at once if there are no conditions. One of kind "state" holds from
// the first request that matches, or at once if there are no conditions, until the fault is removed or its Duration is over.
type Fault struct {
	Name       string         // shown in the request log
	Method     string         // HTTP method
	Type       string         // object type, e.g. "pool"; "login" and "logout"; a special endpoint's first segment, e.g. "cluster"
	Route      string         // the whole template, e.g. "/api/pool/{uuid}"
	ObjectName *regexp.Regexp // the object's name: in the body, in the store by uuid, or the query's name=
	Tenant     string         // name, as in X-Avi-Tenant

	After       int           // skip the first After matches: After 2 is the third one
	Count       int           // apply to this many matches, 0 = for ever
	Probability float64       // apply to a match with this probability; 0 means always
	Seed        int64         // of the chance in Probability and in effects; the same seed makes the same choices
	Duration    time.Duration // remove the fault after this, 0 = never; of a state, counted from its start

	Effects []Effect // in this order, after Delay, Hang, ResetBefore and ExpireSessions, before Status and ResetAfter

	// Short for the effects latency, hang, reset-before, expire-sessions, answer and reset-after.
	Status         int               // answer so instead of processing
	Body           string            // with Status; "" means the usual body of that status
	Header         map[string]string // with Status, e.g. Retry-After
	Delay          time.Duration     // before anything else
	ResetBefore    bool              // cut the connection without processing
	ResetAfter     bool              // process, then cut the connection: the work is done and the answer lost
	ExpireSessions bool              // end all sessions first, so that the request meets 401
	Hang           bool              // no answer until the client gives up
}

// effects are all of the fault's effects, the short forms spelt out.
func (f *Fault) effects() []Effect {
	var out []Effect
	add := func(on bool, name string, a map[string]string) {
		if on {
			out = append(out, Effect{name, a})
		}
	}
	add(f.Delay > 0, "latency", map[string]string{"delay": f.Delay.String()})
	add(f.Hang, "hang", nil)
	add(f.ResetBefore, "reset-before", nil)
	add(f.ExpireSessions, "expire-sessions", nil)
	out = append(out, f.Effects...)
	if f.Status != 0 {
		a := map[string]string{"status": strconv.Itoa(f.Status), "body": f.Body}
		if len(f.Header) > 0 {
			b, _ := json.Marshal(f.Header) // strings always marshal
			a["headers"] = string(b)
		}
		add(true, "answer", a)
	}
	add(f.ResetAfter, "reset-after", nil)
	return out
}

// conditional reports whether the fault waits for certain requests.
func (f *Fault) conditional() bool {
	return f.Method != "" || f.Type != "" || f.Route != "" || f.ObjectName != nil || f.Tenant != "" || f.After > 0 || f.Probability > 0
}

// Target is what faults act on.
type Target struct {
	World    *world.World
	API      *api.Handler
	Gate     *transport.Gate
	Identity *transport.Identity
}

// Layer is a layer of faults around an API. All methods are safe for concurrent use.
type Layer struct {
	target *Target

	mu     sync.Mutex
	faults []*fault
	lastID int
	hits   int
	last   []savedFault // of a layer that is closed

	revision                  atomic.Int64 // counts changes of the faults
	readLatency, writeLatency atomic.Int64
}

// New makes a layer without faults.
func New(t *Target) *Layer { return &Layer{target: t} }

// SetLatency sets how long each read and each write takes at least.
func (s *Layer) SetLatency(read, write time.Duration) {
	s.readLatency.Store(int64(read))
	s.writeLatency.Store(int64(write))
}

// FaultRevision is raised with each change of the faults and of their counts.
func (s *Layer) FaultRevision() int64 { return s.revision.Load() }

// changed notes that a fault, or what is counted of one, is another.
func (s *Layer) changed() {
	s.revision.Add(1)
	s.target.World.Dirty()
}

// fault is an injected Fault with its counts. What is not said to be under mu is under the layer's lock.
type fault struct {
	Fault
	id               int
	since            time.Time
	hooks            []hooks
	matched, applied int
	chance           *rand.Rand
	struck           func()        // called once at the first strike, before it takes effect; may be nil
	gone             chan struct{} // closed at the fault's end

	mu       sync.Mutex // guards the states' beginning and end
	on, over bool
	undo     []func()
	timer    *time.Timer
	ends     time.Time
	left     time.Duration // of Duration, for a fault that comes back
}

// Inject adds a fault that is known to be valid, and panics if it is not. Faults are tried in the order in which they were
// added; all that match take effect, up to the first that settles what becomes of the request.
func (s *Layer) Inject(f Fault) (remove func()) {
	added, err := s.inject(f, nil)
	if err != nil {
		panic(fmt.Sprintf("avisim: fault %q: %v", f.Name, err))
	}
	return func() { s.RemoveFault(added.id) }
}

// AddFault adds a fault and returns its number. A fault that is done at once, of actions without conditions only, has the
// number 0 and is not kept.
func (s *Layer) AddFault(f Fault) (id int, err error) {
	if len(f.effects()) == 0 {
		return 0, errors.New("a fault needs an effect")
	}
	added, err := s.inject(f, nil)
	if err != nil {
		return 0, err
	}
	return added.id, nil
}

func (s *Layer) inject(f Fault, struck func()) (*fault, error) {
	added, err := s.make(f, struck)
	if err != nil {
		return nil, err
	}
	atOnce := !f.conditional() && struck == nil
	if atOnce {
		if err := s.act(added.hooks); err != nil {
			return nil, err
		}
	}
	lasting := slices.ContainsFunc(added.hooks, func(h hooks) bool { return h.kind != kindAction })
	if atOnce && !lasting && len(added.hooks) > 0 {
		return added, nil
	}
	s.mu.Lock()
	s.lastID++
	added.id = s.lastID
	s.faults = append(s.faults, added)
	s.mu.Unlock()
	s.changed()
	added.prepare(s)
	if atOnce {
		added.begin(s)
	}
	return added, nil
}

// make checks a fault and builds its effects.
func (s *Layer) make(f Fault, struck func()) (*fault, error) {
	if f.Probability < 0 || f.Probability > 1 || f.After < 0 || f.Count < 0 || f.Duration < 0 {
		return nil, errors.New("probability has to be from 0 to 1, and after, count and duration not below 0")
	}
	if struck != nil {
		struck = sync.OnceFunc(struck)
	}
	made := &fault{Fault: f, since: s.target.World.Now(), struck: struck, gone: make(chan struct{}),
		chance: rand.New(rand.NewPCG(uint64(f.Seed), 0))}
	for i, e := range f.effects() {
		def := effectByName(e.Name)
		if def == nil {
			return nil, fmt.Errorf("no effect is called %q; there are: %s", e.Name, strings.Join(effectNames(), ", "))
		}
		a, err := def.settle(e.Args)
		if err != nil {
			return nil, err
		}
		h := def.build(a, newChance(f.Seed, i))
		h.kind = def.kind
		if def.scope != nil {
			h.scope = def.scope
		}
		made.hooks = append(made.hooks, h)
	}
	return made, nil
}

// act does the actions among the effects now.
func (s *Layer) act(effects []hooks) error {
	for _, h := range effects {
		if h.kind != kindAction {
			continue
		}
		if err := h.act(s, nil); err != nil {
			return err
		}
		s.mu.Lock()
		s.hits++
		s.mu.Unlock()
	}
	return nil
}

// prepare starts what has to run before the first request matches, and the clock unless a state starts it.
func (f *fault) prepare(s *Layer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waits := false
	for _, h := range f.hooks {
		if h.prepare != nil {
			f.undo = append(f.undo, h.prepare(s))
		}
		waits = waits || h.kind == kindState
	}
	if !waits {
		f.clock(s)
	}
}

func (f *fault) clock(s *Layer) {
	if f.Duration > 0 && f.timer == nil && !f.over {
		left := cmp.Or(f.left, f.Duration)
		f.ends = time.Now().Add(left)
		f.timer = time.AfterFunc(left, func() { s.RemoveFault(f.id) })
	}
}

// begin starts the states, once.
func (f *fault) begin(s *Layer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on || f.over {
		return
	}
	f.on = true
	for _, h := range f.hooks {
		if h.kind == kindState {
			f.undo = append(f.undo, h.hold(s))
		}
	}
	f.clock(s)
}

// end undoes the states, for good.
func (f *fault) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	f.over = true
	close(f.gone)
	if f.timer != nil {
		f.timer.Stop()
	}
	for _, undo := range slices.Backward(f.undo) {
		undo()
	}
}

// RemoveFault removes a fault by its number, ends its states, and reports whether there was one.
func (s *Layer) RemoveFault(id int) bool {
	s.mu.Lock()
	i := slices.IndexFunc(s.faults, func(f *fault) bool { return f.id == id })
	if i < 0 {
		s.mu.Unlock()
		return false
	}
	gone := s.faults[i]
	s.faults = slices.Delete(slices.Clone(s.faults), i, i+1)
	s.mu.Unlock()
	gone.end()
	s.changed()
	return true
}

// ClearFaults removes all faults and ends their states. FaultHits keeps its count.
func (s *Layer) ClearFaults() {
	s.mu.Lock()
	gone := s.faults
	s.faults = nil
	s.mu.Unlock()
	for _, f := range slices.Backward(gone) {
		f.end()
	}
	s.changed()
}

// FaultHits returns how many times any fault took effect.
func (s *Layer) FaultHits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}

// ActiveFault is a fault that was added and not removed.
type ActiveFault struct {
	ID      int       `json:"id"`
	Fault   Fault     `json:"fault"` // the short forms spelt out as effects
	Matched int       `json:"matched"`
	Applied int       `json:"applied"`
	Since   time.Time `json:"since"`
	Ends    time.Time `json:"ends,omitzero"`
	State   string    `json:"state"` // waiting (for a request), active, or spent
}

// Faults lists the faults, oldest first.
func (s *Layer) Faults() []ActiveFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ActiveFault, 0, len(s.faults))
	for _, f := range s.faults {
		a := ActiveFault{ID: f.id, Fault: f.Fault, Matched: f.matched, Applied: f.applied, Since: f.since, State: "active"}
		a.Fault.Effects = f.effects()
		a.Fault.Status, a.Fault.Body, a.Fault.Header, a.Fault.Delay = 0, "", nil, 0
		a.Fault.ResetBefore, a.Fault.ResetAfter, a.Fault.ExpireSessions, a.Fault.Hang = false, false, false, false
		f.mu.Lock()
		a.Ends = f.ends
		holds := f.on && slices.ContainsFunc(f.hooks, func(h hooks) bool { return h.kind == kindState })
		f.mu.Unlock()
		switch {
		case holds:
		case f.spent():
			a.State = "spent"
		case f.applied == 0 && f.conditional():
			a.State = "waiting"
		}
		out = append(out, a)
	}
	return out
}

func (f *fault) spent() bool { return f.Count > 0 && f.applied >= f.Count }

func (f *fault) matches(s *Layer, c *api.Call) bool {
	tenant := c.Request.Header.Get("X-Avi-Tenant")
	if tenant == "" {
		tenant = world.AdminTenant
	}
	return (f.Method == "" || f.Method == c.Request.Method) &&
		(f.Type == "" || f.Type == c.Route.Type || f.Type == c.Route.Name()) &&
		(f.Route == "" || f.Route == c.Route.Template()) &&
		(f.Tenant == "" || f.Tenant == tenant) &&
		(f.ObjectName == nil || f.ObjectName.MatchString(s.objectName(c))) &&
		(len(f.hooks) == 0 || slices.ContainsFunc(f.hooks, func(h hooks) bool {
			return h.covers(c) && (h.kind == kindRequest || f.conditional() || f.struck != nil)
		}))
}

// objectName is the name of the object that a request is about, as far as it can be known before processing.
func (s *Layer) objectName(c *api.Call) string {
	if c.Route.UUID != "" {
		name, _, _ := s.target.World.Admin().Find(c.Route.Type, c.Route.UUID)
		return name
	}
	var in struct{ Name string }
	if c.Request.Method == http.MethodPost && json.Unmarshal(c.Body, &in) == nil {
		return in.Name
	}
	return c.Query.Get("name")
}

// wireFault is a Fault as JSON and YAML write it.
type wireFault struct {
	Name           string            `json:"name,omitempty"`
	Method         string            `json:"method,omitempty"`
	Type           string            `json:"type,omitempty"`
	Route          string            `json:"route,omitempty"`
	ObjectName     string            `json:"objectName,omitempty"`
	Tenant         string            `json:"tenant,omitempty"`
	After          int               `json:"after,omitempty"`
	Count          int               `json:"count,omitempty"`
	Probability    float64           `json:"probability,omitempty"`
	Seed           int64             `json:"seed,omitempty"`
	Duration       string            `json:"duration,omitempty"`
	Effects        []Effect          `json:"effects,omitempty"`
	Status         int               `json:"status,omitempty"`
	Body           string            `json:"body,omitempty"`
	Header         map[string]string `json:"header,omitempty"`
	Delay          string            `json:"delay,omitempty"`
	ResetBefore    bool              `json:"resetBefore,omitempty"`
	ResetAfter     bool              `json:"resetAfter,omitempty"`
	ExpireSessions bool              `json:"expireSessions,omitempty"`
	Hang           bool              `json:"hang,omitempty"`
}

// MarshalJSON writes durations and patterns as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	w := wireFault{f.Name, f.Method, f.Type, f.Route, "", f.Tenant, f.After, f.Count, f.Probability, f.Seed, "", f.Effects,
		f.Status, f.Body, f.Header, "", f.ResetBefore, f.ResetAfter, f.ExpireSessions, f.Hang}
	if f.ObjectName != nil {
		w.ObjectName = f.ObjectName.String()
	}
	for to, d := range map[*string]time.Duration{&w.Duration: f.Duration, &w.Delay: f.Delay} {
		if d != 0 {
			*to = d.String()
		}
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses fields that a fault does not have.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var w wireFault
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return err
	}
	*f = Fault{Name: w.Name, Method: w.Method, Type: w.Type, Route: w.Route, Tenant: w.Tenant, After: w.After, Count: w.Count,
		Probability: w.Probability, Seed: w.Seed, Effects: w.Effects, Status: w.Status, Body: w.Body, Header: w.Header,
		ResetBefore: w.ResetBefore, ResetAfter: w.ResetAfter, ExpireSessions: w.ExpireSessions, Hang: w.Hang}
	for name, t := range map[string]struct {
		text string
		to   *time.Duration
	}{"duration": {w.Duration, &f.Duration}, "delay": {w.Delay, &f.Delay}} {
		if t.text == "" {
			continue
		}
		d, err := time.ParseDuration(t.text)
		if err != nil || d < 0 {
			return fmt.Errorf("%s: %q is not a duration such as 500ms or 2s", name, t.text)
		}
		*t.to = d
	}
	if w.ObjectName != "" {
		re, err := regexp.Compile(w.ObjectName)
		if err != nil {
			return fmt.Errorf("objectName: %w", err)
		}
		f.ObjectName = re
	}
	return nil
}
