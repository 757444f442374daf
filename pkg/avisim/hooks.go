package avisim

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Time.

func latency(a args, r *chance) hooks {
	return hooks{before: func(_ *Layer, c *call) *answer {
		if !sleep(c.r.Context(), a.duration("delay")+time.Duration(r.float()*float64(a.duration("jitter")))) {
			return cut
		}
		return nil
	}}
}

func hang(args, *chance) hooks {
	return hooks{final: true, before: func(_ *Layer, c *call) *answer {
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
	return hooks{hold: func(s *Layer) func() { return s.Gate.refuse() }}
}

func down(args, *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		s.Gate.SetDown(true)
		return func() { s.Gate.SetDown(false) }
	}}
}

func half(w http.ResponseWriter, _ *http.Request, body []byte) {
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func tlsFailure(args, *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		end := s.Identity.BreakHandshakes()
		s.Gate.cut()
		return end
	}}
}

func newCertificate(s *Layer, _ *call) error { return s.Identity.Rotate() }

func lastOnConnection(_ *Layer, _ *call, a *answer) { a.set("Connection", "close") }

// Answers.

func fixedAnswer(a args, _ *chance) hooks {
	return hooks{final: true, before: func(_ *Layer, c *call) *answer {
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
	return hooks{final: true, before: func(_ *Layer, c *call) *answer {
		return retryAfter(usualAnswer(c, a.int("status")), a)
	}}
}

func rateLimit(a args, _ *chance) hooks {
	bucket := rate.NewLimiter(rate.Limit(a.float("rate")), a.int("burst"))
	return hooks{before: func(_ *Layer, c *call) *answer {
		if bucket.Allow() {
			return nil
		}
		return retryAfter(usualAnswer(c, a.int("status")), a)
	}}
}

// Sessions.

func expireSessions(a args, _ *chance) hooks {
	return hooks{act: func(s *Layer, _ *call) error { s.API.Accounts().Age(a.text("how")); return nil }}
}

func switchSessions(s *Layer, _ *call) error { s.API.Accounts().SwitchSessions(); return nil }

func rotateCSRF(s *Layer, _ *call) error { s.API.Accounts().RotateCSRF(); return nil }

func changePassword(a args, _ *chance) hooks {
	return hooks{act: func(s *Layer, _ *call) error {
		return s.API.Accounts().ChangePassword(a.text("username"), a.text("password"), a.text("sessions"))
	}}
}

func expireTokens(s *Layer, _ *call) error { s.API.Accounts().ExpireTokens(); return nil }

func lockAccount(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() { return s.API.Accounts().Lock(a.text("username")) }}
}

// Cluster.

func upgrade(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		s.API.SetUpgradeMode(true)
		return func() {
			if v := a.text("version"); v != "" {
				_ = s.World.Switches().SetVersion(v) // checked as the parameter's kind
			}
			s.API.SetUpgradeMode(false)
		}
	}}
}

func setVersion(a args, _ *chance) hooks {
	return hooks{act: func(s *Layer, _ *call) error { return s.World.Switches().SetVersion(a.text("version")) }}
}

func leaderChange(a args, _ *chance) hooks {
	d := a.duration("refuse")
	h := hooks{act: func(s *Layer, _ *call) error {
		if d > 0 {
			time.AfterFunc(d, s.Gate.refuse())
		}
		if lost := a.duration("lose"); lost > 0 {
			since := s.World.Now().Add(-lost)
			s.World.Write(func(w *Writer) { w.ForgetSince(since) })
		}
		s.World.Switches().SetLeader(a.text("leader"))
		return nil
	}}
	if d > 0 {
		h.before = noAnswer // its connection is gone
	}
	return h
}

// Concurrency.

// subject is the object that an effect is about: of its arguments, and where they are empty, of the request.
func (s *Layer) subject(c *call, a args) (typ, tenant, name string, err error) {
	typ, tenant, name = a.text("type"), a.text("tenant"), a.text("name")
	if c != nil {
		if _, of, found := s.World.Admin().Find(c.route.typ, c.route.uuid); found && tenant == "" {
			tenant = of
		}
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
func foreign(a args, do func(s *Layer, c *call, typ, tenant, name string) error) hooks {
	return hooks{late: true, act: func(s *Layer, c *call) error {
		typ, tenant, name, err := s.subject(c, a)
		if err != nil {
			return err
		}
		return do(s, c, typ, tenant, name)
	}}
}

func foreignEdit(a args, _ *chance) hooks {
	return foreign(a, func(s *Layer, _ *call, typ, tenant, name string) error {
		if field := a.text("field"); field != "" {
			return s.World.Admin().Edit(typ, tenant, name, func(m map[string]any) {
				var v any
				if json.Unmarshal([]byte(a.text("value")), &v) != nil {
					v = a.text("value")
				}
				m[field] = v
			})
		}
		return s.World.Admin().Touch(typ, tenant, name)
	})
}

func foreignDelete(a args, _ *chance) hooks {
	return foreign(a, func(s *Layer, _ *call, typ, tenant, name string) error {
		return s.World.Admin().Remove(typ, tenant, name)
	})
}

func foreignCreate(a args, _ *chance) hooks {
	return foreign(a, func(s *Layer, c *call, typ, tenant, name string) error {
		body := map[string]any{"name": name}
		if c != nil {
			if in, err := decode(c.body); err == nil && in["cloud_ref"] != nil {
				body["cloud_ref"] = in["cloud_ref"]
			}
		}
		_, err := s.World.Admin().Create(typ, tenant, body)
		return err
	})
}

func hide(a args, _ *chance) hooks {
	pattern := a.pattern("name")
	return hooks{after: func(_ *Layer, _ *call, an *answer) {
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
	var r *Replica
	return hooks{
		prepare: func(s *Layer) (end func()) { r, end = s.World.Replicate(a.duration("lag")); return end },
		before:  func(_ *Layer, c *call) *answer { c.replica = r; return nil },
	}
}

func duplicate(a args, _ *chance) hooks {
	return hooks{process: func(_ *Layer, c *call, process func(*call) *answer) *answer {
		again := *c
		first, second := process(c), process(&again)
		if a.text("answer") == "first" {
			return first
		}
		return second
	}}
}

// Addresses.

func ipamExhausted(args, *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		s.World.Switches().SetIPAMExhausted(true)
		return func() { s.World.Switches().SetIPAMExhausted(false) }
	}}
}

func ipamAsync(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		was := s.World.Switches().SetIPAMAsync(a.duration("delay"))
		return func() { s.World.Switches().SetIPAMAsync(was) }
	}}
}

// otherAddress processes the write of a VsVip as if the addresses that it prefers were just being taken by somebody else, and
// as if preferring were no more than that.
func otherAddress(s *Layer, c *call, process func(*call) *answer) *answer {
	body, err := decode(c.body)
	if err != nil {
		return process(c)
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
		holder := map[string]any{"name": "address-taken-" + rand.Text(), "vip": taken}
		for _, k := range []string{"cloud_ref", "vrf_context_ref"} {
			if v := body[k]; v != nil {
				holder[k] = v
			}
		}
		if _, err := s.World.Admin().Create("vsvip", adminTenant, holder); err == nil { // else it is taken anyway
			defer func() { _ = s.World.Admin().Remove("vsvip", adminTenant, holder["name"].(string)) }()
		}
		if b, err := json.Marshal(body); err == nil {
			c.body = b
		}
	}
	return process(c)
}

func addressChanges(a args, _ *chance) hooks {
	a["type"] = "vsvip"
	return hooks{late: true, lateWrites: true, act: func(s *Layer, c *call) error {
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
func (s *Layer) moveAddress(tenant, name, address string) error {
	body, ok := s.World.Admin().Object("vsvip", tenant, name)
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
		err = s.World.Admin().Edit("vsvip", tenant, name, func(m map[string]any) {
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
	return hooks{after: func(_ *Layer, _ *call, an *answer) {
		an.edit(func(body map[string]any) {
			if l, _ := body["results"].([]any); len(l) > max(0, a.int("keep")) {
				body["results"] = l[:max(0, a.int("keep"))]
			}
		})
	}}
}

func pageLoop(_ *Layer, c *call, a *answer) {
	a.edit(func(body map[string]any) { body["next"] = c.base() + c.r.URL.RequestURI() })
}

func wrongCount(a args, _ *chance) hooks {
	return hooks{after: func(_ *Layer, _ *call, an *answer) {
		an.edit(func(body map[string]any) {
			if n, ok := body["count"].(float64); ok {
				body["count"] = int(n) + a.int("add")
			}
		})
	}}
}

func pageSizeIgnored(a args, _ *chance) hooks {
	return hooks{before: func(_ *Layer, c *call) *answer {
		c.query.Set("page_size", a.text("size"))
		return nil
	}}
}

// Decoding.

func unknownFields(_ *Layer, _ *call, a *answer) {
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
	return hooks{after: func(_ *Layer, _ *call, an *answer) {
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
	return hooks{after: func(_ *Layer, _ *call, an *answer) {
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
	return hooks{after: func(_ *Layer, _ *call, an *answer) {
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

func stuck(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		return s.World.Switches().HoldState(a.pattern("name"), a.text("state"), a.text("reason"))
	}}
}

func serverDown(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		at := a.server("server")
		s.World.Switches().SetServerHealth(at.Addr().String(), int(at.Port()), false, a.text("reason"))
		return func() { s.World.Switches().SetServerHealth(at.Addr().String(), int(at.Port()), true, "") }
	}}
}

func serverFlap(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		at, stop := a.server("server"), make(chan struct{})
		set := func(up bool) {
			reason := a.text("reason")
			if up {
				reason = ""
			}
			s.World.Switches().SetServerHealth(at.Addr().String(), int(at.Port()), up, reason)
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
