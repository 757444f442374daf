// SPDX-License-Identifier: Apache-2.0

package fault

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

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Time.

func latency(a args, r *chance) hooks {
	return hooks{before: func(_ *Layer, c *api.Call) *api.Answer {
		if !sleep(c.Request.Context(), a.duration("delay")+time.Duration(r.float()*float64(a.duration("jitter")))) {
			return api.Cut
		}
		return nil
	}}
}

func hang(args, *chance) hooks {
	return hooks{final: true, before: func(_ *Layer, c *api.Call) *api.Answer {
		<-c.Request.Context().Done()
		return api.Cut
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
	return hooks{hold: func(s *Layer) func() { return s.target.Gate.Refuse() }}
}

func down(args, *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		s.target.Gate.SetDown(true)
		return func() { s.target.Gate.SetDown(false) }
	}}
}

func half(w http.ResponseWriter, _ *http.Request, body []byte) {
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func tlsFailure(args, *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		end := s.target.Identity.BreakHandshakes()
		s.target.Gate.Cut()
		return end
	}}
}

func newCertificate(s *Layer, _ *api.Call) error { return s.target.Identity.Rotate() }

func lastOnConnection(_ *Layer, _ *api.Call, a *api.Answer) { a.Set("Connection", "close") }

// Answers.

func fixedAnswer(a args, _ *chance) hooks {
	return hooks{final: true, before: func(_ *Layer, c *api.Call) *api.Answer {
		code, body := a.int("status"), a.text("body")
		text := http.StatusText(code)
		contentType := map[string]string{"json": "application/json", "plain": "text/plain; charset=utf-8", "html": "text/html"}[a.text("format")]
		out := api.Plain(code, body)
		switch format := a.text("format"); {
		case format == "usual" && body == "":
			out = api.Usual(c, code)
		case format == "usual":
			out = api.Typed(out)
		case format == "empty":
			out.Body = nil
		case body != "":
		case format == "json":
			out = api.Reply(code, map[string]any{"error": text})
		case format == "html":
			const page = "<html><head><title>%[1]d %[2]s</title></head><body><center><h1>%[1]d %[2]s</h1></center></body></html>"
			out.Body = fmt.Appendf(nil, page, code, text)
		default:
			out.Body = []byte(text)
		}
		if contentType != "" {
			out.Set("Content-Type", contentType)
		}
		for k, v := range a.headers("headers") {
			out.Set(k, v)
		}
		return retryAfter(out, a)
	}}
}

func retryAfter(out *api.Answer, a args) *api.Answer {
	if v := a.text("retry_after"); v != "" {
		out.Set("Retry-After", v)
	}
	return out
}

func unavailable(a args, _ *chance) hooks {
	return hooks{final: true, before: func(_ *Layer, c *api.Call) *api.Answer {
		return retryAfter(api.Usual(c, a.int("status")), a)
	}}
}

func rateLimit(a args, _ *chance) hooks {
	bucket := rate.NewLimiter(rate.Limit(a.float("rate")), a.int("burst"))
	return hooks{before: func(_ *Layer, c *api.Call) *api.Answer {
		if bucket.Allow() {
			return nil
		}
		return retryAfter(api.Usual(c, a.int("status")), a)
	}}
}

// Sessions.

func expireSessions(a args, _ *chance) hooks {
	return hooks{act: func(s *Layer, _ *api.Call) error { s.target.API.Accounts().Age(a.text("how")); return nil }}
}

func switchSessions(s *Layer, _ *api.Call) error {
	s.target.API.Accounts().SwitchSessions()
	return nil
}

func rotateCSRF(s *Layer, _ *api.Call) error { s.target.API.Accounts().RotateCSRF(); return nil }

func changePassword(a args, _ *chance) hooks {
	return hooks{act: func(s *Layer, _ *api.Call) error {
		return s.target.API.Accounts().ChangePassword(a.text("username"), a.text("password"), a.text("sessions"))
	}}
}

func expireTokens(s *Layer, _ *api.Call) error { s.target.API.Accounts().ExpireTokens(); return nil }

func lockAccount(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() { return s.target.API.Accounts().Lock(a.text("username")) }}
}

// Cluster.

func upgrade(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		s.target.API.SetUpgradeMode(true)
		return func() {
			if v := a.text("version"); v != "" {
				_ = s.target.World.Switches().SetVersion(v) // checked as the parameter's kind
			}
			s.target.API.SetUpgradeMode(false)
		}
	}}
}

func setVersion(a args, _ *chance) hooks {
	return hooks{act: func(s *Layer, _ *api.Call) error { return s.target.World.Switches().SetVersion(a.text("version")) }}
}

func leaderChange(a args, _ *chance) hooks {
	d := a.duration("refuse")
	h := hooks{act: func(s *Layer, _ *api.Call) error {
		if d > 0 {
			time.AfterFunc(d, s.target.Gate.Refuse())
		}
		if lost := a.duration("lose"); lost > 0 {
			since := s.target.World.Now().Add(-lost)
			s.target.World.Write(func(w *world.Writer) { w.ForgetSince(since) })
		}
		s.target.World.Switches().SetLeader(a.text("leader"))
		return nil
	}}
	if d > 0 {
		h.before = noAnswer // its connection is gone
	}
	return h
}

// Concurrency.

// subject is the object that an effect is about: of its arguments, and where they are empty, of the request.
func (s *Layer) subject(c *api.Call, a args) (typ, tenant, name string, err error) {
	typ, tenant, name = a.text("type"), a.text("tenant"), a.text("name")
	if c != nil {
		if _, of, found := s.target.World.Admin().Find(c.Route.Type, c.Route.UUID); found && tenant == "" {
			tenant = of
		}
		if typ == "" {
			typ = c.Route.Type
		}
		if name == "" {
			name = s.objectName(c)
		}
		if tenant == "" {
			tenant = c.Request.Header.Get("X-Avi-Tenant")
		}
	}
	if tenant == "" {
		tenant = world.AdminTenant
	}
	if typ == "" || name == "" {
		return "", "", "", errors.New("it has to be said which object: type and name, or conditions that a request about it meets")
	}
	return typ, tenant, name, nil
}

// foreign makes the hooks of what another client does to an object.
func foreign(a args, do func(s *Layer, c *api.Call, typ, tenant, name string) error) hooks {
	return hooks{late: true, act: func(s *Layer, c *api.Call) error {
		typ, tenant, name, err := s.subject(c, a)
		if err != nil {
			return err
		}
		return do(s, c, typ, tenant, name)
	}}
}

func foreignEdit(a args, _ *chance) hooks {
	return foreign(a, func(s *Layer, _ *api.Call, typ, tenant, name string) error {
		if field := a.text("field"); field != "" {
			return s.target.World.Admin().Edit(typ, tenant, name, func(m map[string]any) {
				var v any
				if json.Unmarshal([]byte(a.text("value")), &v) != nil {
					v = a.text("value")
				}
				m[field] = v
			})
		}
		return s.target.World.Admin().Touch(typ, tenant, name)
	})
}

func foreignDelete(a args, _ *chance) hooks {
	return foreign(a, func(s *Layer, _ *api.Call, typ, tenant, name string) error {
		return s.target.World.Admin().Remove(typ, tenant, name)
	})
}

func foreignCreate(a args, _ *chance) hooks {
	return foreign(a, func(s *Layer, c *api.Call, typ, tenant, name string) error {
		body := map[string]any{"name": name}
		if c != nil {
			if in, err := doc.Decode(c.Body); err == nil && in["cloud_ref"] != nil {
				body["cloud_ref"] = in["cloud_ref"]
			}
		}
		_, err := s.target.World.Admin().Create(typ, tenant, body)
		return err
	})
}

func hide(a args, _ *chance) hooks {
	pattern := a.pattern("name")
	return hooks{after: func(_ *Layer, _ *api.Call, an *api.Answer) {
		edit(an, func(body map[string]any) {
			results, _ := body["results"].([]any)
			kept := slices.DeleteFunc(results, func(e any) bool {
				m, _ := e.(map[string]any)
				name := doc.Str(m, "name")
				if name == "" {
					name = doc.Str(m, "config", "name")
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
	var r *world.Replica
	return hooks{
		prepare: func(s *Layer) (end func()) { r, end = s.target.World.Replicate(a.duration("lag")); return end },
		before:  func(_ *Layer, c *api.Call) *api.Answer { c.Replica = r; return nil },
	}
}

func duplicate(a args, _ *chance) hooks {
	return hooks{process: func(_ *Layer, c *api.Call, process func(*api.Call) *api.Answer) *api.Answer {
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
		s.target.World.Switches().SetIPAMExhausted(true)
		return func() { s.target.World.Switches().SetIPAMExhausted(false) }
	}}
}

func ipamAsync(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		was := s.target.World.Switches().SetIPAMAsync(a.duration("delay"))
		return func() { s.target.World.Switches().SetIPAMAsync(was) }
	}}
}

// otherAddress processes the write of a VsVip as if the addresses that it prefers were just being taken by somebody else, and
// as if preferring were no more than that.
func otherAddress(s *Layer, c *api.Call, process func(*api.Call) *api.Answer) *api.Answer {
	body, err := doc.Decode(c.Body)
	if err != nil {
		return process(c)
	}
	var taken []map[string]any
	for _, v := range doc.Messages(body["vip"]) {
		for _, f := range world.Families {
			if a := v[f.Field]; a != nil && doc.Bool(v, "auto_allocate_ip", false) {
				taken = append(taken, map[string]any{"vip_id": fmt.Sprint(len(taken)), f.Field: a})
				delete(v, f.Field)
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
		if _, err := s.target.World.Admin().Create("vsvip", world.AdminTenant, holder); err == nil { // else it is taken anyway
			defer func() { _ = s.target.World.Admin().Remove("vsvip", world.AdminTenant, holder["name"].(string)) }()
		}
		if b, err := json.Marshal(body); err == nil {
			c.Body = b
		}
	}
	return process(c)
}

func addressChanges(a args, _ *chance) hooks {
	a["type"] = "vsvip"
	return hooks{late: true, lateWrites: true, act: func(s *Layer, c *api.Call) error {
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
	body, ok := s.target.World.Admin().Object("vsvip", tenant, name)
	vips := doc.Messages(body["vip"])
	if !ok || len(vips) == 0 {
		return fmt.Errorf("no vsvip %q with a VIP in tenant %q", name, tenant)
	}
	field := "ip_address"
	old, err := netip.ParseAddr(doc.Str(vips[0], field, "addr"))
	if err != nil {
		field = "ip6_address"
		if old, err = netip.ParseAddr(doc.Str(vips[0], field, "addr")); err != nil {
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
		err = s.target.World.Admin().Edit("vsvip", tenant, name, func(m map[string]any) {
			if v := doc.Messages(m["vip"]); len(v) > 0 {
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
func edit(a *api.Answer, change func(map[string]any)) {
	if a.Status >= http.StatusMultipleChoices {
		return
	}
	body, err := doc.Decode(a.Body)
	if err != nil {
		return
	}
	change(body)
	var b bytes.Buffer
	if json.NewEncoder(&b).Encode(body) == nil { // it came from JSON
		a.Body = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
}

// editObjects changes each object of an answer: those of a list and of an inventory's config, or the one.
func editObjects(a *api.Answer, change func(map[string]any)) {
	edit(a, func(body map[string]any) {
		results, ok := body["results"].([]any)
		if !ok {
			change(body)
			return
		}
		for _, m := range doc.Messages(results) {
			change(m)
			if c, ok := m["config"].(map[string]any); ok {
				change(c)
			}
		}
	})
}

func pageTruncated(a args, _ *chance) hooks {
	return hooks{after: func(_ *Layer, _ *api.Call, an *api.Answer) {
		edit(an, func(body map[string]any) {
			if l, _ := body["results"].([]any); len(l) > max(0, a.int("keep")) {
				body["results"] = l[:max(0, a.int("keep"))]
			}
		})
	}}
}

func pageLoop(_ *Layer, c *api.Call, a *api.Answer) {
	edit(a, func(body map[string]any) { body["next"] = c.Base() + c.Request.URL.RequestURI() })
}

func wrongCount(a args, _ *chance) hooks {
	return hooks{after: func(_ *Layer, _ *api.Call, an *api.Answer) {
		edit(an, func(body map[string]any) {
			if n, ok := body["count"].(float64); ok {
				body["count"] = int(n) + a.int("add")
			}
		})
	}}
}

func pageSizeIgnored(a args, _ *chance) hooks {
	return hooks{before: func(_ *Layer, c *api.Call) *api.Answer {
		c.Query.Set("page_size", a.text("size"))
		return nil
	}}
}

// Decoding.

func unknownFields(_ *Layer, _ *api.Call, a *api.Answer) {
	extra := func() map[string]any {
		return map[string]any{"depth": 2.5, "list": []any{"a", 1, nil}, "empty": map[string]any{}}
	}
	editObjects(a, func(o map[string]any) {
		for _, v := range o {
			for _, sub := range doc.Elements(v) {
				if m, ok := sub.(map[string]any); ok {
					m["x_of_the_future"] = extra()
				}
			}
		}
		o["x_of_the_future"], o["x_flag"], o["x_nothing"] = extra(), true, nil
	})
}

func dropFields(a args, _ *chance) hooks {
	return hooks{after: func(_ *Layer, _ *api.Call, an *api.Answer) {
		editObjects(an, func(o map[string]any) {
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
	return hooks{after: func(_ *Layer, _ *api.Call, an *api.Answer) {
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
			edit(an, empty)
		} else {
			editObjects(an, empty)
		}
	}}
}

func unknownEnum(a args, _ *chance) hooks {
	return hooks{after: func(_ *Layer, _ *api.Call, an *api.Answer) {
		edit(an, func(body map[string]any) {
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
		return s.target.World.Switches().HoldState(a.pattern("name"), a.text("state"), a.text("reason"))
	}}
}

func serverDown(a args, _ *chance) hooks {
	return hooks{hold: func(s *Layer) func() {
		at := a.server("server")
		s.target.World.Switches().SetServerHealth(at.Addr().String(), int(at.Port()), false, a.text("reason"))
		return func() { s.target.World.Switches().SetServerHealth(at.Addr().String(), int(at.Port()), true, "") }
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
			s.target.World.Switches().SetServerHealth(at.Addr().String(), int(at.Port()), up, reason)
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
