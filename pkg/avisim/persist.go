package avisim

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
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

// keeper stores whole states.
type keeper interface {
	load() (*snapshot, error) // nil if nothing was saved yet
	save(*snapshot) error
}

// snapshot is all that a restart needs.
type snapshot struct {
	Format      int                      `json:"format"`
	Version     string                   `json:"version"`
	Tick        int64                    `json:"tick"`       // the last _last_modified
	Configured  string                   `json:"configured"` // password that the options named for their user
	Sessions    map[string]savedSession  `json:"sessions"`
	Tokens      []savedToken             `json:"tokens"`
	Certificate *savedCertificate        `json:"certificate,omitempty"`
	Health      []savedHealth            `json:"health,omitempty"`
	Failed      map[string]engineFailure `json:"failed,omitempty"`   // service engines by uuid
	Cluster     map[string]any           `json:"cluster,omitempty"`  // of /api/cluster
	Changed     int64                    `json:"changed,omitempty"`  // its _last_modified
	Dangling    int                      `json:"dangling,omitempty"` // references to what is not there: somebody forced a removal

	Objects []*savedObject `json:"-"`
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

type savedSession struct {
	User    string    `json:"user"`
	CSRF    string    `json:"csrf"`
	Made    time.Time `json:"made"`
	Used    time.Time `json:"used"`
	Swapped bool      `json:"swapped,omitempty"`
}

type savedToken struct {
	ID      string    `json:"id"`
	Secret  string    `json:"secret"`
	User    string    `json:"user"`
	Hours   int       `json:"hours"`
	Expires time.Time `json:"expires"`
	Single  bool      `json:"single,omitempty"`
}

type savedCertificate struct {
	Chain [][]byte `json:"chain"` // DER
	Key   []byte   `json:"key"`   // PKCS #8
	CA    []byte   `json:"ca"`    // PEM
}

type savedHealth struct {
	Server netip.AddrPort `json:"server"`
	At     int64          `json:"at"`
	Up     bool           `json:"up"`
	Reason string         `json:"reason,omitempty"`
}

// MarshalJSON is how a state file writes a reference; see unwrap. Answers never hold one: they are rendered.
func (r ref) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"$ref": r.typ + "/" + r.uuid})
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
			return ref{typ, uuid}, nil
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
	head, err := json.Marshal(s)
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
		State   *snapshot      `json:"state"`
		Objects []*savedObject `json:"objects"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, err
	}
	if in.State == nil || in.State.Format != stateFormat {
		return nil, fmt.Errorf("it is not of format %d, the one that this program reads", stateFormat)
	}
	in.State.Objects = in.Objects
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
	return in.State, nil
}

// snapshot takes the state as it is now. Bodies are immutable, so only the list of objects is copied under the lock.
func (s *Server) snapshot() *snapshot {
	out := &snapshot{Format: stateFormat, Version: s.version.join("."), Configured: s.options.Password,
		Sessions: map[string]savedSession{}, Failed: map[string]engineFailure{}}
	s.mu.RLock()
	out.Tick = s.lastTick
	out.Cluster, out.Changed = s.clusterBody, s.clusterModified // never written to again
	var all []*object
	for _, sh := range s.store.shelves {
		all = append(all, sh.ordered...)
	}
	for to, from := range s.store.in {
		if s.store.get(to) == nil {
			out.Dangling += len(from)
		}
	}
	for k, events := range s.health {
		e := events[len(events)-1]
		out.Health = append(out.Health, savedHealth{netip.AddrPortFrom(k.addr, uint16(k.port)), e.at, e.up, e.reason})
	}
	maps.Copy(out.Failed, s.placement.failed)
	s.mu.RUnlock()

	slices.SortFunc(all, func(a, b *object) int { return cmp.Compare(a.seq, b.seq) })
	for _, o := range all {
		body, _ := wrap(o.body)
		out.Objects = append(out.Objects, &savedObject{o.typ, o.uuid, o.name, o.tenant, o.cloud.uuid, o.seq, o.modified, o.since, o.seen, o.system,
			body.(map[string]any)})
	}
	if c := s.certificate.Load(); c != nil && s.options.CertFile == "" {
		if key, err := x509.MarshalPKCS8PrivateKey(c.leaf.PrivateKey); err == nil {
			out.Certificate = &savedCertificate{c.leaf.Certificate, key, c.ca}
		}
	}
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	for id, x := range s.sessions {
		out.Sessions[id] = savedSession{x.user, x.csrf, x.made, x.used, x.swapped}
	}
	for _, t := range s.tokens {
		out.Tokens = append(out.Tokens, savedToken{t.id, t.secret, t.user, t.hours, t.expires, t.single})
	}
	return out
}

// restore fills a new Server from a snapshot, and checks that the objects fit together.
func (s *Server) restore(in *snapshot) error {
	if v, err := parseVersion(in.Version); err != nil || v > s.version {
		return fmt.Errorf("it is of version %s: start with that version or a newer one instead of %s", in.Version, s.version.join("."))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastTick = in.Tick
	s.placement.hiring, s.placement.closed = true, true // the engines that there were come back with the rest
	addresses := map[restKey]string{}
	slices.SortFunc(in.Objects, func(a, b *savedObject) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, x := range in.Objects {
		sh := s.store.shelves[x.Type]
		if sh == nil {
			return fmt.Errorf("type %q is not known to this program", x.Type)
		}
		o := &object{ref: ref{x.Type, x.UUID}, kind: sh.kind, name: x.Name, tenant: x.Tenant, seq: x.Seq, modified: x.Modified, since: x.Since,
			seen: x.Seen, system: x.System, body: x.Body}
		if x.Cloud != "" {
			o.cloud = ref{"cloud", x.Cloud}
		}
		switch {
		case x.UUID == "" || x.Seq == 0 || x.Body == nil:
			return fmt.Errorf("%s %q has no uuid, seq or body", x.Type, x.Name)
		case s.store.get(o.ref) != nil:
			return fmt.Errorf("there are two %s with uuid %s", x.Type, x.UUID)
		case slices.ContainsFunc(s.store.named(x.Type, x.Tenant, x.Name), func(b *object) bool { return b.cloud == o.cloud }):
			return fmt.Errorf("there are two %s named %q in one tenant and cloud", x.Type, x.Name)
		case len(o.seen) != len(messages(x.Body["servers"])) && x.Type == "pool":
			return fmt.Errorf("pool %q has %d servers, and the times of %d", x.Name, len(messages(x.Body["servers"])), len(o.seen))
		}
		if x.Type == "vsvip" {
			for _, h := range holdings(o) {
				if other := addresses[restKey{h.vrf, h.addr}]; other != "" {
					return fmt.Errorf("address %s is held by two VsVips, %s and %s", h.addr, other, x.UUID)
				}
				addresses[restKey{h.vrf, h.addr}] = x.UUID
			}
		}
		s.store.put(o)
	}
	maps.Copy(s.placement.failed, in.Failed) // after all are placed: a virtual service stays where it was if it can't move
	for at, g := range s.placement.groups {
		s.placement.rebalance(at)
		for uuid, x := range g.placed {
			if vs := s.store.get(ref{"virtualservice", uuid}); vs != nil {
				x.since = vs.since // it was placed before, and its state is what it was
			}
		}
	}
	s.placement.hiring, s.placement.closed = false, false
	dangling := 0
	for to, from := range s.store.in {
		if s.store.get(to) == nil {
			dangling += len(from)
		}
	}
	if dangling != in.Dangling {
		return fmt.Errorf("%d references lead to objects that are not there, and there were %d", dangling, in.Dangling)
	}
	for _, o := range s.store.shelves["tenant"].ordered {
		if o.uuid == adminTenant {
			return s.restoreRest(in)
		}
	}
	return errors.New("it has no tenant admin")
}

// restoreRest takes over what is not an object.
func (s *Server) restoreRest(in *snapshot) error {
	if in.Cluster != nil {
		s.clusterBody, s.clusterModified = in.Cluster, in.Changed
	}
	for _, h := range in.Health {
		s.health[endpointKey{h.Server.Addr(), int(h.Server.Port())}] = []healthEvent{{at: h.At, up: h.Up, reason: h.Reason, proven: true}}
	}
	if c := in.Certificate; c != nil && s.options.CertFile == "" && s.certificateFits(c) {
		key, err := x509.ParsePKCS8PrivateKey(c.Key)
		if err != nil {
			return fmt.Errorf("its certificate's key: %w", err)
		}
		s.certificate.Store(&certificate{leaf: tls.Certificate{Certificate: c.Chain, PrivateKey: key}, ca: c.CA})
	}
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	// A password that the options give anew wins over one that a client set; else the options would have no effect.
	if o := s.user(s.options.Username); o != nil && in.Configured != s.options.Password {
		given := *o
		given.body = cloneMap(o.body)
		given.body["password"] = s.options.Password
		s.store.put(&given)
	}
	for id, x := range in.Sessions {
		s.sessions[id] = &session{user: x.User, csrf: x.CSRF, made: x.Made, used: x.Used, swapped: x.Swapped}
	}
	for _, t := range in.Tokens {
		s.tokens = append(s.tokens, token{id: t.ID, secret: t.Secret, user: t.User, hours: t.Hours, expires: t.Expires, single: t.Single})
	}
	return nil
}

// certificateFits tells if a saved certificate is good for another month and for the names that the options ask for.
func (s *Server) certificateFits(c *savedCertificate) bool {
	if len(c.Chain) == 0 {
		return false
	}
	leaf, err := x509.ParseCertificate(c.Chain[0])
	return err == nil && time.Until(leaf.NotAfter) > 30*24*time.Hour &&
		!slices.ContainsFunc(s.options.HostNames, func(h string) bool { return leaf.VerifyHostname(h) != nil })
}

// saver saves in the background.
type saver struct {
	keeper keeper
	wake   chan struct{} // holds one: something changed
	stop   chan struct{}
	done   chan struct{}
	mu     sync.Mutex // one save at a time
	once   sync.Once
}

// startSaving begins to save changes.
func (s *Server) startSaving(k keeper) {
	v := &saver{keeper: k, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	s.saver.Store(v)
	go func() {
		defer close(v.done)
		var took time.Duration
		for {
			select {
			case <-v.stop:
				return
			case <-v.wake:
			}
			select {
			case <-v.stop:
				return
			case <-time.After(max(saveDelay, saveRest*took)):
			}
			begin := time.Now()
			if err := s.Save(); err != nil {
				s.logf("saving the state failed, and is tried again: %v", err)
				s.dirty()
			}
			took = time.Since(begin)
		}
	}()
}

// dirty notes that something changed.
func (s *Server) dirty() {
	if v := s.saver.Load(); v != nil {
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
}

// Save writes the state file now. Without one there is nothing to do.
func (s *Server) Save() error {
	v := s.saver.Load()
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	select { // what changed until now is in this save
	case <-v.wake:
	default:
	}
	return v.keeper.save(s.snapshot())
}

// stopSaving ends it with a last save.
func (s *Server) stopSaving() {
	v := s.saver.Load()
	if v == nil {
		return
	}
	v.once.Do(func() {
		close(v.stop)
		<-v.done
		if err := s.Save(); err != nil {
			s.logf("saving the state failed: %v", err)
		}
	})
}

func (s *Server) logf(format string, args ...any) {
	if s.options.Logf != nil {
		s.options.Logf(format, args...)
	}
}

// follow keeps what depends on the objects up to date with the store.
func (s *Server) follow(old, now *object) {
	switch {
	case now == nil:
		delete(s.overrides, old.ref)
		if old.typ == "vsvip" {
			s.ipam.release(old.uuid, s.now())
		}
	case now.typ == "vsvip":
		s.settleVIPs(now, old)
	}
	s.placement.changed(old, now)
	s.dirty()
}
