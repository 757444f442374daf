// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// A state file lets a simulated Controller survive its process: objects, users, sessions, tokens, certificate, and what was
// said about servers and service engines. Everything is written anew after a change, beside the old file, which is then
// replaced, so that there is a whole one at any moment. What was written in the last moments before a kill may be missing.

// stateFormat is raised when an older program could not read what is written.
const stateFormat = 1

// saveDelay is how long a change waits for others. A large state waits longer: saving takes at most a sixth of the time.
const (
	saveDelay = 200 * time.Millisecond
	saveRest  = 5 // × the duration of the last save
)

// keeper stores whole states. Tests have others than the file.
type keeper interface {
	save(*snapshot) error
}

// snapshot is all that a restart needs. Parts of other packages stand beside the world's own fields, under names of their own.
type snapshot struct {
	Format     int                      `json:"format"`
	Version    string                   `json:"version"`
	Given      string                   `json:"given,omitempty"` // version that the settings named
	Tick       int64                    `json:"tick"`            // the last _last_modified
	Configured string                   `json:"configured"`      // password that the settings named for their user
	Health     []savedHealth            `json:"health,omitempty"`
	Failed     map[string]engineFailure `json:"failed,omitempty"`   // service engines by uuid
	Cluster    map[string]any           `json:"cluster,omitempty"`  // of /api/cluster
	Changed    int64                    `json:"changed,omitempty"`  // its _last_modified
	Dangling   int                      `json:"dangling,omitempty"` // references to what is not there: somebody forced a removal
	Rules      map[string]bool          `json:"rules,omitempty"`    // switched by hand, by id: on or off
	Bumps      bool                     `json:"bumps,omitempty"`    // see SetNoOpBump
	States     []savedState             `json:"states,omitempty"`   // set by hand

	Objects []*savedObject             `json:"-"`
	Parts   map[string]json.RawMessage `json:"-"`
}

// part is what another package keeps in the state.
type part struct {
	name string
	save func() any
}

// Keep lets another package keep something in the state under a name: load gets what was saved, if the world began with a state that has
// it, and save returns what JSON can write. It is called without the world's lock.
func (w *World) Keep(name string, save func() any, load func(json.RawMessage) error) error {
	w.parts = append(w.parts, part{name, save})
	if w.loaded == nil || w.loaded.Parts[name] == nil {
		return nil
	}
	if err := load(w.loaded.Parts[name]); err != nil {
		return misfit(w.settings.StateFile, err)
	}
	return nil
}

// misfit is the error about a state file that can be read and not used.
func misfit(file string, err error) error {
	return fmt.Errorf("state file %s does not fit: %w; nothing was changed", file, err)
}

type savedObject struct {
	Type     string         `json:"type"`
	UUID     string         `json:"uuid"`
	Name     string         `json:"name"`
	Tenant   string         `json:"tenant"`
	Cloud    string         `json:"cloud,omitempty"`
	Seq      uint64         `json:"seq"`
	Modified int64          `json:"modified"`
	Since    int64          `json:"since"`
	Seen     []int64        `json:"seen,omitempty"`
	System   bool           `json:"system,omitempty"`
	Body     map[string]any `json:"body"`
}

type savedHealth struct {
	Server netip.AddrPort `json:"server"`
	At     int64          `json:"at"`
	Up     bool           `json:"up"`
	Reason string         `json:"reason,omitempty"`
}

type savedState struct {
	Type   string `json:"type"`
	UUID   string `json:"uuid"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Since  int64  `json:"since"`
}

// wrap escapes the keys that would look like the mark of a reference, in a copy if there are any.
func wrap(v any) (out any, copied bool) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			_, inner := wrap(e)
			if copied = copied || inner || strings.HasPrefix(k, "$"); copied {
				break
			}
		}
		if !copied {
			return x, false
		}
		out := make(map[string]any, len(x))
		for k, e := range x {
			if strings.HasPrefix(k, "$") {
				k = "$" + k
			}
			out[k], _ = wrap(e)
		}
		return out, true
	case []any:
		out := x
		for i, e := range x {
			if w, inner := wrap(e); inner {
				if !copied {
					out, copied = slices.Clone(x), true
				}
				out[i] = w
			}
		}
		return out, copied
	}
	return v, false
}

// unwrap turns what a state file holds back into the kinds that bodies hold.
func unwrap(v any) (any, error) {
	switch x := v.(type) {
	case map[string]any:
		if to, ok := x["$ref"].(string); ok && len(x) == 1 {
			typ, uuid, ok := strings.Cut(to, "/")
			if !ok {
				return nil, fmt.Errorf("reference %q is not of the form type/uuid", to)
			}
			return doc.Ref{Type: typ, UUID: uuid}, nil
		}
		out := make(map[string]any, len(x))
		for k, e := range x {
			w, err := unwrap(e)
			if err != nil {
				return nil, err
			}
			out[strings.TrimPrefix(k, "$")] = w
		}
		return out, nil
	case []any:
		for i, e := range x {
			w, err := unwrap(e)
			if err != nil {
				return nil, err
			}
			x[i] = w
		}
	}
	return v, nil
}

// fileKeeper keeps the state in one file. Its last line holds a checksum of the lines before.
type fileKeeper struct{ path string }

const trailer = `],"sha256":"`

func (k fileKeeper) save(s *snapshot) (err error) {
	// In the same folder, so that the rename is one step. It holds passwords and keys: for its owner only.
	f, err := os.OpenFile(k.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := s.write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), k.path); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(k.path))
	if err != nil {
		return err
	}
	defer d.Close() // nothing was written to it
	return d.Sync()
}

func (s *snapshot) write(to io.Writer) error {
	w := bufio.NewWriterSize(to, 1<<20)
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	head, err := s.head()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "{\"state\":%s,\n\"objects\":[", head); err != nil {
		return err
	}
	sep := "\n"
	for _, o := range s.Objects {
		b, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("%s %q: %w", o.Type, o.Name, err)
		}
		if _, err := fmt.Fprintf(out, "%s%s", sep, b); err != nil {
			return err
		}
		sep = ",\n"
	}
	if _, err := io.WriteString(out, "\n"); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s%x\"}\n", trailer, sum.Sum(nil)); err != nil {
		return err
	}
	return w.Flush()
}

// head is the state without the objects, as JSON.
func (s *snapshot) head() ([]byte, error) {
	own, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(own, &all); err != nil {
		return nil, err
	}
	maps.Copy(all, s.Parts)
	return json.Marshal(all)
}

// load returns nil if nothing was saved yet.
func (k fileKeeper) load() (*snapshot, error) {
	raw, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state file: %w", err)
	}
	s, err := readSnapshot(raw)
	if err != nil {
		return nil, fmt.Errorf("state file %s is damaged: %w; nothing was changed: put a good copy in its place, or move it away to start with a new Controller", k.path, err)
	}
	return s, nil
}

func readSnapshot(raw []byte) (*snapshot, error) {
	end := bytes.LastIndex(raw, []byte(trailer))
	if end < 0 {
		return nil, errors.New("its end is missing")
	}
	sum := sha256.Sum256(raw[:end])
	if want, _, ok := bytes.Cut(raw[end+len(trailer):], []byte(`"`)); !ok || hex.EncodeToString(sum[:]) != string(want) {
		return nil, errors.New("its checksum does not match")
	}
	var in struct {
		State   json.RawMessage `json:"state"`
		Objects []*savedObject  `json:"objects"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, err
	}
	out := &snapshot{Objects: in.Objects}
	if in.State != nil {
		if err := errors.Join(json.Unmarshal(in.State, out), json.Unmarshal(in.State, &out.Parts)); err != nil {
			return nil, err
		}
	}
	if out.Format != stateFormat {
		return nil, fmt.Errorf("it is not of format %d, the one that this program reads", stateFormat)
	}
	for _, o := range in.Objects {
		if o == nil {
			return nil, errors.New("an object is null")
		}
		body, err := unwrap(o.Body)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", o.Type, o.Name, err)
		}
		if o.Body, _ = body.(map[string]any); o.Body == nil {
			return nil, fmt.Errorf("%s %q has no body", o.Type, o.Name)
		}
	}
	return out, nil
}

// snapshot takes the state as it is now. Bodies are immutable, so only the list of objects is copied under the lock.
func (w *World) snapshot() *snapshot {
	out := &snapshot{Format: stateFormat, Given: w.settings.Version, Configured: w.settings.Password, Rules: map[string]bool{},
		Failed: map[string]engineFailure{},
		Parts:  map[string]json.RawMessage{}}
	var all []*Object
	w.Read(func(s *Reader) {
		out.Version, out.Tick = s.version.Join("."), s.lastTick
		out.Cluster, out.Changed = s.cluster.Body, s.cluster.Modified
		for _, sh := range s.Store.shelves {
			all = append(all, sh.ordered...)
		}
		out.Dangling = s.Store.Dangling()
		for k, events := range s.health {
			e := events[len(events)-1]
			out.Health = append(out.Health, savedHealth{netip.AddrPortFrom(k.Addr, uint16(k.Port)), e.at, e.up, e.reason})
		}
		maps.Copy(out.Failed, s.placement.failed)
		for id, off := range defaultRules(s.settings.UnknownFields) {
			if s.rulesOff[id] != off {
				out.Rules[id] = !s.rulesOff[id]
			}
		}
		out.Bumps = s.bumps
		for at, st := range s.overrides {
			out.States = append(out.States, savedState{at.Type, at.UUID, st.Name, st.Reason, st.Since})
		}
	})
	slices.SortFunc(all, func(a, b *Object) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, o := range all {
		body, _ := wrap(o.Body)
		out.Objects = append(out.Objects, &savedObject{o.Type, o.UUID, o.Name, o.Tenant, o.Cloud.UUID, o.Seq, o.Modified, o.since, o.seen,
			o.System,
			body.(map[string]any)})
	}
	for _, p := range w.parts {
		if v := p.save(); v != nil {
			b, err := json.Marshal(v)
			if err != nil { // only a mistake in the program makes a part that JSON can't write
				panic("avisim: " + p.name + ": " + err.Error())
			}
			out.Parts[p.name] = b
		}
	}
	return out
}

// restore fills a new world from a snapshot, and checks that the objects fit together.
func (s *Writer) restore(in *snapshot) error {
	v, err := schema.ParseVersion(in.Version)
	switch {
	case err == nil && in.Given == s.settings.Version: // with the same settings it goes on with the version that it was upgraded to
		s.version = v
	case err != nil || v > s.version:
		return fmt.Errorf("it is of version %s: start with that version or a newer one instead of %s", in.Version, s.version.Join("."))
	}
	s.lastTick = in.Tick
	s.placement.hiring, s.placement.closed = true, true // the engines that there were come back with the rest
	addresses := map[restKey]string{}
	slices.SortFunc(in.Objects, func(a, b *savedObject) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, x := range in.Objects {
		if err := s.restoreObject(x, addresses); err != nil {
			return err
		}
	}
	maps.Copy(s.placement.failed, in.Failed) // after all are placed: a virtual service stays where it was if it can't move
	s.placement.settle()
	s.placement.hiring, s.placement.closed = false, false
	if dangling := s.Store.Dangling(); dangling != in.Dangling {
		return fmt.Errorf("%d references lead to objects that are not there, and there were %d", dangling, in.Dangling)
	}
	if s.Store.Get(doc.Ref{Type: "tenant", UUID: AdminTenant}) == nil {
		return errors.New("it has no tenant admin")
	}
	s.restoreRest(in)
	if s.version > v {
		return s.shipNewer()
	}
	return nil
}

// restoreObject puts one object back; addresses are those of the VsVips before it.
func (s *Writer) restoreObject(x *savedObject, addresses map[restKey]string) error {
	kind := KindOf(x.Type)
	if kind == nil {
		return fmt.Errorf("type %q is not known to this program", x.Type)
	}
	if kind.Singleton { // older programs gave all of them the uuid "default"; nothing refers to a singleton
		x.UUID = kind.SingletonUUID()
	}
	o := &Object{Ref: doc.Ref{Type: x.Type, UUID: x.UUID}, Kind: kind, Name: x.Name, Tenant: x.Tenant, Seq: x.Seq, Modified: x.Modified,
		since: x.Since, seen: x.Seen, System: x.System, Body: x.Body}
	if x.Cloud != "" {
		o.Cloud = doc.Ref{Type: "cloud", UUID: x.Cloud}
	}
	servers := len(doc.Messages(x.Body["servers"]))
	switch {
	case x.UUID == "" || x.Seq == 0 || x.Body == nil:
		return fmt.Errorf("%s %q has no uuid, seq or body", x.Type, x.Name)
	case s.Store.Get(o.Ref) != nil:
		return fmt.Errorf("there are two %s with uuid %s", x.Type, x.UUID)
	case slices.ContainsFunc(s.Store.Named(x.Type, x.Tenant, x.Name), func(b *Object) bool { return b.Cloud == o.Cloud }):
		return fmt.Errorf("there are two %s named %q in one tenant and cloud", x.Type, x.Name)
	case len(o.seen) != servers && x.Type == "pool":
		return fmt.Errorf("pool %q has %d servers, and the times of %d", x.Name, servers, len(o.seen))
	case x.Type == "vsvip":
		for _, h := range holdings(o) {
			at := restKey{h.vrf, h.addr}
			if other := addresses[at]; other != "" {
				return fmt.Errorf("address %s is held by two VsVips, %s and %s", h.addr, other, x.UUID)
			}
			addresses[at] = x.UUID
		}
	}
	s.Store.put(o)
	return nil
}

// restoreRest takes over what is not an object, and the password that the settings give.
func (s *Writer) restoreRest(in *snapshot) {
	if in.Cluster != nil {
		s.cluster.Body, s.cluster.Modified = in.Cluster, in.Changed
	}
	for _, h := range in.Health {
		s.health[Endpoint{h.Server.Addr(), int(h.Server.Port())}] = []healthEvent{{at: h.At, up: h.Up, reason: h.Reason, proven: true}}
	}
	for id, on := range in.Rules {
		s.rulesOff[id] = !on
	}
	s.bumps = in.Bumps
	for _, st := range in.States {
		s.overrides[doc.Ref{Type: st.Type, UUID: st.UUID}] = State{st.State, st.Reason, st.Since}
	}
	// A password that the settings give anew wins over one that a client set; else the settings would have no effect.
	if o := s.User(s.settings.Username); o != nil && in.Configured != s.settings.Password {
		given := *o
		given.Body = doc.CloneMap(o.Body)
		given.Body["password"] = s.settings.Password
		s.Store.put(&given)
	}
}

// saver saves in the background, and is the only one that writes the file.
type saver struct {
	keeper keeper
	take   func() *snapshot
	logf   func(string, ...any)
	wake   chan struct{}   // holds one: something changed
	ask    chan chan error // saves that somebody waits for
	stop   chan struct{}
	done   chan struct{}
	end    func()
}

// StartSaving begins to save changes to the state file, if there is one.
func (w *World) StartSaving() {
	w.loaded = nil
	if w.settings.StateFile != "" {
		w.saveTo(fileKeeper{w.settings.StateFile})
		w.Dirty()
	}
}

func (w *World) saveTo(k keeper) {
	v := &saver{keeper: k, take: w.snapshot, logf: w.settings.Logf, wake: make(chan struct{}, 1), ask: make(chan chan error),
		stop: make(chan struct{}), done: make(chan struct{})}
	if v.logf == nil {
		v.logf = func(string, ...any) {}
	}
	v.end = sync.OnceFunc(func() { close(v.stop); <-v.done })
	w.saver.Store(v)
	go v.run()
}

// run saves what changed, after a pause that lets changes gather, and what is asked for at once.
func (v *saver) run() {
	defer close(v.done)
	var took time.Duration
	var pause <-chan time.Time // nil: nothing changed
	for {
		wake := v.wake
		if pause != nil {
			wake = nil // what changes during the pause is saved with the rest
		}
		select {
		case <-v.stop:
			if err := v.save(); err != nil {
				v.logf("saving the state failed: %v", err)
			}
			return
		case <-wake:
			pause = time.After(max(saveDelay, saveRest*took))
			continue
		case reply := <-v.ask:
			reply <- v.save()
			pause = nil
		case <-pause:
			pause = nil
			begin := time.Now()
			if err := v.save(); err != nil {
				v.logf("saving the state failed, and is tried again: %v", err)
				pause = time.After(max(saveDelay, saveRest*took))
			}
			took = time.Since(begin)
		}
	}
}

// save writes all that changed until now.
func (v *saver) save() error {
	select {
	case <-v.wake:
	default:
	}
	return v.keeper.save(v.take())
}

// Save writes the state file now. Without one, or after StopSaving, there is nothing to do.
func (w *World) Save() error {
	v := w.saver.Load()
	if v == nil {
		return nil
	}
	reply := make(chan error)
	select {
	case v.ask <- reply:
		return <-reply
	case <-v.done:
		return nil
	}
}

// StopSaving ends it with a last save, and leaves the state file to others.
func (w *World) StopSaving() {
	if v := w.saver.Load(); v != nil {
		v.end()
	}
	w.release()
}
