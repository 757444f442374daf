package avisim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Time.

func latency(a args, r *chance) hooks {
	return hooks{before: func(_ *Server, c *call) *answer {
		if !sleep(c.r.Context(), a.duration("delay")+time.Duration(r.float()*float64(a.duration("jitter")))) {
			return cut
		}
		return nil
	}}
}

func hang(args, *chance) hooks {
	return hooks{final: true, before: func(_ *Server, c *call) *answer {
		<-c.r.Context().Done()
		return cut
	}}
}

func drip(a args, _ *chance) hooks {
	return hooks{deliver: func(w http.ResponseWriter, r *http.Request, body []byte) {
		flush := http.NewResponseController(w).Flush
		_ = flush() // here and below: a client that is gone ends the loop by its context
		for piece := range slices.Chunk(body, max(1, a.int("bytes"))) {
			if !sleep(r.Context(), a.duration("every")) {
				return
			}
			_, _ = w.Write(piece)
			_ = flush()
		}
	}}
}

func stall(a args, _ *chance) hooks {
	return hooks{deliver: func(w http.ResponseWriter, r *http.Request, _ []byte) {
		_ = http.NewResponseController(w).Flush()
		if d := a.duration("for"); d > 0 {
			sleep(r.Context(), d)
		} else {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}}
}

// Connections.

func refuseConnections(args, *chance) hooks {
	return hooks{hold: func(s *Server) func() { return s.listener.refuse() }}
}

func down(args, *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		s.SetDown(true)
		return func() { s.SetDown(false) }
	}}
}

func half(w http.ResponseWriter, _ *http.Request, body []byte) {
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func tlsFailure(args, *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		s.tlsBroken.Add(1)
		s.listener.cut()
		return func() { s.tlsBroken.Add(-1) }
	}}
}

func newCertificate(s *Server, _ *call) error { return s.RotateCertificate() }

func lastOnConnection(_ *Server, _ *call, a *answer) { a.set("Connection", "close") }

// Answers.

func fixedAnswer(a args, _ *chance) hooks {
	return hooks{final: true, before: func(_ *Server, c *call) *answer {
		code, body := a.int("status"), a.text("body")
		text := http.StatusText(code)
		contentType := map[string]string{"json": "application/json", "plain": "text/plain; charset=utf-8", "html": "text/html"}[a.text("format")]
		out := plain(code, body)
		switch format := a.text("format"); {
		case format == "usual" && body == "":
			out = usualAnswer(c, code)
		case format == "usual":
			out = typed(out)
		case format == "empty":
			out.body = nil
		case body != "":
		case format == "json":
			out = reply(code, map[string]any{"error": text})
		case format == "html":
			out.body = []byte(fmt.Sprintf("<html><head><title>%d %s</title></head><body><center><h1>%d %s</h1></center></body></html>", code, text, code, text))
		default:
			out.body = []byte(text)
		}
		if contentType != "" {
			out.set("Content-Type", contentType)
		}
		for k, v := range a.headers("headers") {
			out.set(k, v)
		}
		return retryAfter(out, a)
	}}
}

func retryAfter(out *answer, a args) *answer {
	if v := a.text("retry_after"); v != "" {
		out.set("Retry-After", v)
	}
	return out
}

func unavailable(a args, _ *chance) hooks {
	return hooks{final: true, before: func(_ *Server, c *call) *answer {
		return retryAfter(usualAnswer(c, a.int("status")), a)
	}}
}

func rateLimit(a args, _ *chance) hooks {
	bucket := rate.NewLimiter(rate.Limit(a.float("rate")), a.int("burst"))
	return hooks{before: func(_ *Server, c *call) *answer {
		if bucket.Allow() {
			return nil
		}
		return retryAfter(usualAnswer(c, a.int("status")), a)
	}}
}

// overLimit tells if a request is over the limits of the controller properties. Evidence: the settings are documented by the
// schema, both off by default; that one without the other does nothing, and the answer, are unverified.
func (s *Server) overLimit() bool {
	s.mu.RLock()
	o := s.store.get(ref{"controllerproperties", "default"})
	s.mu.RUnlock()
	if o == nil {
		return false
	}
	perSecond, burst := integer(o.body, "portal_request_rate_limit"), integer(o.body, "portal_request_burst_limit")
	if perSecond <= 0 {
		return false
	}
	if burst <= 0 {
		burst = perSecond
	}
	s.bucketMu.Lock()
	defer s.bucketMu.Unlock()
	if s.bucket == nil || s.bucket.Limit() != rate.Limit(perSecond) || s.bucket.Burst() != burst {
		s.bucket = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	return !s.bucket.Allow()
}

// Sessions.

func expireSessions(a args, _ *chance) hooks {
	return hooks{act: func(s *Server, _ *call) error {
		switch a.text("how") {
		case "kill":
			s.ExpireSessions()
		case "idle":
			s.ageSessions(func(x *session) { x.used = time.Time{} })
		case "force":
			s.ageSessions(func(x *session) { x.made = time.Time{} })
		}
		return nil
	}}
}

func (s *Server) ageSessions(age func(*session)) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	for _, x := range s.sessions {
		age(x)
	}
}

func switchSessions(s *Server, _ *call) error {
	s.ageSessions(func(x *session) { x.swapped = true })
	return nil
}

func rotateCSRF(s *Server, _ *call) error {
	s.ageSessions(func(x *session) { x.csrf = secret() })
	return nil
}

func changePassword(a args, _ *chance) hooks {
	return hooks{act: func(s *Server, _ *call) error {
		user := s.userOf(a)
		if err := s.Edit("user", adminTenant, user, func(m map[string]any) { m["password"] = a.text("password") }); err != nil {
			return err
		}
		s.sessionMu.Lock()
		defer s.sessionMu.Unlock()
		for id, x := range s.sessions {
			if x.user != user {
				continue
			}
			switch a.text("sessions") {
			case "switch":
				x.swapped = true
			case "kill":
				delete(s.sessions, id)
			}
		}
		return nil
	}}
}

// userOf is the one that an effect names, or the one that the server was started with.
func (s *Server) userOf(a args) string {
	if u := a.text("username"); u != "" {
		return u
	}
	return s.options.Username
}

func expireTokens(s *Server, _ *call) error {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	s.tokens = slices.DeleteFunc(s.tokens, func(t token) bool { return t.single })
	for i := range s.tokens {
		s.tokens[i].expires = time.Time{}
	}
	return nil
}

func lockAccount(a args, _ *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		user := s.userOf(a)
		add := func(n int) {
			s.sessionMu.Lock()
			defer s.sessionMu.Unlock()
			s.locked[user] += n
		}
		add(1)
		return func() { add(-1) }
	}}
}

// Cluster.

func upgrade(a args, _ *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		s.SetUpgradeMode(true)
		return func() {
			if v := a.text("version"); v != "" {
				_ = s.SetVersion(v) // checked as the parameter's kind
			}
			s.SetUpgradeMode(false)
		}
	}}
}

func setVersion(a args, _ *chance) hooks {
	return hooks{act: func(s *Server, _ *call) error { return s.SetVersion(a.text("version")) }}
}

// SetVersion makes the Controller one of another version, as an upgrade does. Objects stay as they are.
func (s *Server) SetVersion(v string) error {
	parsed, err := parseVersion(v)
	if err != nil {
		return err
	}
	s.epoch.Lock() // no request is being processed
	defer s.epoch.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = parsed
	return nil
}

func leaderChange(a args, _ *chance) hooks {
	d := a.duration("refuse")
	h := hooks{act: func(s *Server, _ *call) error {
		if d > 0 {
			time.AfterFunc(d, s.listener.refuse())
		}
		now := s.now()
		if lost := a.duration("lose"); lost > 0 {
			s.forgetSince(now.Add(-lost))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leader, s.upSince = a.text("leader"), now.UTC().Format("2006-01-02 15:04:05")
		return nil
	}}
	if d > 0 {
		h.before = noAnswer // its connection is gone
	}
	return h
}

// Concurrency.

// subject is the object that an effect is about: of its arguments, and where they are empty, of the request.
func (s *Server) subject(c *call, a args) (typ, tenant, name string, err error) {
	typ, tenant, name = a.text("type"), a.text("tenant"), a.text("name")
	if c != nil {
		s.mu.RLock()
		o := s.store.get(ref{c.route.typ, c.route.uuid})
		if o != nil && tenant == "" {
			if t := s.store.get(ref{"tenant", o.tenant}); t != nil {
				tenant = t.name
			}
		}
		s.mu.RUnlock()
		if typ == "" {
			typ = c.route.typ
		}
		if name == "" {
			name = s.objectName(c)
		}
		if tenant == "" {
			tenant = c.r.Header.Get("X-Avi-Tenant")
		}
	}
	if tenant == "" {
		tenant = adminTenant
	}
	if typ == "" || name == "" {
		return "", "", "", errors.New("it has to be said which object: type and name, or conditions that a request about it meets")
	}
	return typ, tenant, name, nil
}

// foreign makes the hooks of what another client does to an object.
func foreign(a args, do func(s *Server, c *call, typ, tenant, name string) error) hooks {
	return hooks{late: true, act: func(s *Server, c *call) error {
		typ, tenant, name, err := s.subject(c, a)
		if err != nil {
			return err
		}
		return do(s, c, typ, tenant, name)
	}}
}

func foreignEdit(a args, _ *chance) hooks {
	return foreign(a, func(s *Server, _ *call, typ, tenant, name string) error {
		if field := a.text("field"); field != "" {
			return s.Edit(typ, tenant, name, func(m map[string]any) {
				var v any
				if json.Unmarshal([]byte(a.text("value")), &v) != nil {
					v = a.text("value")
				}
				m[field] = v
			})
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		o, err := s.byName(typ, tenant, name)
		if err != nil {
			return err
		}
		touched := *o
		touched.modified = s.tick()
		s.store.put(&touched)
		return nil
	})
}

func foreignDelete(a args, _ *chance) hooks {
	return foreign(a, func(s *Server, _ *call, typ, tenant, name string) error { return s.Remove(typ, tenant, name) })
}

func foreignCreate(a args, _ *chance) hooks {
	return foreign(a, func(s *Server, c *call, typ, tenant, name string) error {
		body := map[string]any{"name": name}
		if c != nil {
			if in, err := decode(c.body); err == nil && in["cloud_ref"] != nil {
				body["cloud_ref"] = in["cloud_ref"]
			}
		}
		_, err := s.Create(typ, tenant, body)
		return err
	})
}

func hide(a args, _ *chance) hooks {
	pattern := a.pattern("name")
	return hooks{after: func(_ *Server, _ *call, an *answer) {
		an.edit(func(body map[string]any) {
			results, _ := body["results"].([]any)
			kept := slices.DeleteFunc(results, func(e any) bool {
				m, _ := e.(map[string]any)
				name := str(m, "name")
				if name == "" {
					name = str(m, "config", "name")
				}
				return pattern == nil || pattern.MatchString(name)
			})
			if n, ok := body["count"].(float64); ok {
				body["count"] = int(n) - len(results) + len(kept)
			}
			body["results"] = kept
		})
	}}
}

func staleReads(a args, _ *chance) hooks {
	var r *replica
	return hooks{
		prepare: func(s *Server) (end func()) { r, end = s.replicate(a.duration("lag")); return end },
		before:  func(_ *Server, c *call) *answer { c.replica = r; return nil },
	}
}

func duplicate(a args, _ *chance) hooks {
	return hooks{process: func(s *Server, c *call) *answer {
		again := *c
		first, second := s.process(c), s.process(&again)
		if a.text("answer") == "first" {
			return first
		}
		return second
	}}
}

// Addresses.

func ipamExhausted(args, *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		s.SetIPAMExhausted(true)
		return func() { s.SetIPAMExhausted(false) }
	}}
}

func ipamAsync(a args, _ *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		set := func(d time.Duration) (was time.Duration) {
			s.mu.Lock()
			defer s.mu.Unlock()
			was, s.ipam.options.Async = s.ipam.options.Async, d
			return was
		}
		was := set(a.duration("delay"))
		return func() { set(was) }
	}}
}

// otherAddress processes the write of a VsVip as if the addresses that it prefers were just being taken by somebody else, and
// as if preferring were no more than that.
func otherAddress(s *Server, c *call) *answer {
	body, err := decode(c.body)
	if err != nil {
		return s.process(c)
	}
	var taken []map[string]any
	for _, v := range messages(body["vip"]) {
		for _, f := range families {
			if a := v[f.field]; a != nil && boolean(v, "auto_allocate_ip", false) {
				taken = append(taken, map[string]any{"vip_id": fmt.Sprint(len(taken)), f.field: a})
				delete(v, f.field)
			}
		}
	}
	if len(taken) > 0 {
		holder := map[string]any{"name": "address-taken-" + secret(), "vip": taken}
		for _, k := range []string{"cloud_ref", "vrf_context_ref"} {
			if v := body[k]; v != nil {
				holder[k] = v
			}
		}
		if _, err := s.Create("vsvip", adminTenant, holder); err == nil { // else it is taken anyway
			defer func() { _ = s.Remove("vsvip", adminTenant, holder["name"].(string)) }()
		}
		if b, err := json.Marshal(body); err == nil {
			c.body = b
		}
	}
	return s.process(c)
}

func addressChanges(a args, _ *chance) hooks {
	a["type"] = "vsvip"
	return hooks{late: true, lateWrites: true, act: func(s *Server, c *call) error {
		_, tenant, name, err := s.subject(c, a)
		if err != nil {
			return err
		}
		if d := a.duration("delay"); d > 0 {
			time.AfterFunc(d, func() { _ = s.moveAddress(tenant, name, a.text("address")) })
			return nil
		}
		return s.moveAddress(tenant, name, a.text("address"))
	}}
}

// moveAddress gives the first VIP of a VsVip another address: the one given, or the next that is free.
func (s *Server) moveAddress(tenant, name, address string) error {
	body, ok := s.Object("vsvip", tenant, name)
	vips := messages(body["vip"])
	if !ok || len(vips) == 0 {
		return fmt.Errorf("no vsvip %q with a VIP in tenant %q", name, tenant)
	}
	field := "ip_address"
	old, err := netip.ParseAddr(str(vips[0], field, "addr"))
	if err != nil {
		field = "ip6_address"
		if old, err = netip.ParseAddr(str(vips[0], field, "addr")); err != nil {
			return fmt.Errorf("vsvip %q has no address yet", name)
		}
	}
	next := old.Next()
	if address != "" {
		if next, err = netip.ParseAddr(address); err != nil {
			return err
		}
	}
	for range 256 {
		err = s.Edit("vsvip", tenant, name, func(m map[string]any) {
			if v := messages(m["vip"]); len(v) > 0 {
				v[0][field] = map[string]any{"addr": next.String(), "type": map[bool]string{true: "V4", false: "V6"}[next.Is4()]}
			}
		})
		if err == nil || address != "" {
			return err
		}
		next = next.Next()
	}
	return err
}

// Lists.

// edit changes the body of an answer that holds a JSON object and no error.
func (a *answer) edit(change func(map[string]any)) {
	if a.status >= http.StatusMultipleChoices {
		return
	}
	body, err := decode(a.body)
	if err != nil {
		return
	}
	change(body)
	var b bytes.Buffer
	if json.NewEncoder(&b).Encode(body) == nil { // it came from JSON
		a.body = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
}

// editObjects changes each object of an answer: those of a list and of an inventory's config, or the one.
func (a *answer) editObjects(change func(map[string]any)) {
	a.edit(func(body map[string]any) {
		results, ok := body["results"].([]any)
		if !ok {
			change(body)
			return
		}
		for _, m := range messages(results) {
			change(m)
			if c, ok := m["config"].(map[string]any); ok {
				change(c)
			}
		}
	})
}

func pageTruncated(a args, _ *chance) hooks {
	return hooks{after: func(_ *Server, _ *call, an *answer) {
		an.edit(func(body map[string]any) {
			if l, _ := body["results"].([]any); len(l) > max(0, a.int("keep")) {
				body["results"] = l[:max(0, a.int("keep"))]
			}
		})
	}}
}

func pageLoop(_ *Server, c *call, a *answer) {
	a.edit(func(body map[string]any) { body["next"] = c.base() + c.r.URL.RequestURI() })
}

func wrongCount(a args, _ *chance) hooks {
	return hooks{after: func(_ *Server, _ *call, an *answer) {
		an.edit(func(body map[string]any) {
			if n, ok := body["count"].(float64); ok {
				body["count"] = int(n) + a.int("add")
			}
		})
	}}
}

func pageSizeIgnored(a args, _ *chance) hooks {
	return hooks{before: func(_ *Server, c *call) *answer {
		c.query.Set("page_size", a.text("size"))
		return nil
	}}
}

// Decoding.

func unknownFields(_ *Server, _ *call, a *answer) {
	extra := func() map[string]any {
		return map[string]any{"depth": 2.5, "list": []any{"a", 1, nil}, "empty": map[string]any{}}
	}
	a.editObjects(func(o map[string]any) {
		for _, v := range o {
			for _, sub := range elements(v) {
				if m, ok := sub.(map[string]any); ok {
					m["x_of_the_future"] = extra()
				}
			}
		}
		o["x_of_the_future"], o["x_flag"], o["x_nothing"] = extra(), true, nil
	})
}

func dropFields(a args, _ *chance) hooks {
	return hooks{after: func(_ *Server, _ *call, an *answer) {
		an.editObjects(func(o map[string]any) {
			for f := range strings.SplitSeq(a.text("fields"), ",") {
				delete(o, strings.TrimSpace(f))
			}
		})
	}}
}

// everywhere visits all maps of a value.
func everywhere(v any, visit func(map[string]any)) {
	switch x := v.(type) {
	case map[string]any:
		visit(x)
		for _, e := range x {
			everywhere(e, visit)
		}
	case []any:
		for _, e := range x {
			everywhere(e, visit)
		}
	}
}

func nullLists(a args, _ *chance) hooks {
	return hooks{after: func(_ *Server, _ *call, an *answer) {
		empty := func(o map[string]any) {
			everywhere(o, func(m map[string]any) {
				for k, v := range m {
					if _, ok := v.([]any); ok {
						m[k] = nil
					}
				}
			})
		}
		if a.on("results") {
			an.edit(empty)
		} else {
			an.editObjects(empty)
		}
	}}
}

func unknownEnum(a args, _ *chance) hooks {
	return hooks{after: func(_ *Server, _ *call, an *answer) {
		an.edit(func(body map[string]any) {
			everywhere(body, func(m map[string]any) {
				if _, ok := m[a.text("field")].(string); ok {
					m[a.text("field")] = a.text("value")
				}
			})
		})
	}}
}

// Health.

// forced is a state that a fault holds virtual services in.
type forced struct {
	name  *regexp.Regexp
	state state
}

// forcedState is the state that a fault holds a virtual service in.
func (s *Server) forcedState(vs *object) (state, bool) {
	for _, f := range s.forced {
		if f.name == nil || f.name.MatchString(vs.name) {
			return f.state, true
		}
	}
	return state{}, false
}

func stuck(a args, _ *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		f := &forced{a.pattern("name"), state{strings.TrimPrefix(a.text("state"), "OPER_"), a.text("reason"), s.tick()}}
		s.forced = append(slices.Clone(s.forced), f)
		s.revision.Add(1)
		return func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.forced = slices.DeleteFunc(slices.Clone(s.forced), func(x *forced) bool { return x == f })
			s.revision.Add(1)
		}
	}}
}

func serverDown(a args, _ *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		at := a.server("server")
		s.SetServerHealth(at.Addr().String(), int(at.Port()), false, a.text("reason"))
		return func() { s.SetServerHealth(at.Addr().String(), int(at.Port()), true, "") }
	}}
}

func serverFlap(a args, _ *chance) hooks {
	return hooks{hold: func(s *Server) func() {
		at, stop := a.server("server"), make(chan struct{})
		set := func(up bool) {
			reason := a.text("reason")
			if up {
				reason = ""
			}
			s.SetServerHealth(at.Addr().String(), int(at.Port()), up, reason)
		}
		set(false)
		var done sync.WaitGroup
		done.Go(func() {
			tick := time.NewTicker(max(a.duration("every"), time.Millisecond))
			defer tick.Stop()
			for up := true; ; up = !up {
				select {
				case <-tick.C:
					set(up)
				case <-stop:
					set(true)
					return
				}
			}
		})
		return func() { close(stop); done.Wait() }
	}}
}
