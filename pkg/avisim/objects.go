package avisim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// create serves POST /api/<type>.
func create(c *call) (a *answer) {
	body, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	kind := c.kind()
	if err := c.owns(kind); err != nil {
		return refusal(err)
	}
	if name := c.r.Header.Get("X-Avi-Cloud"); name != "" && kind.cloud && body["cloud_ref"] == nil {
		body["cloud_ref"] = "/api/cloud?name=" + url.QueryEscape(name)
	}
	c.api.world.Write(func(s *Writer) {
		o, err := s.Apply(Write{Kind: kind, At: c.version, Tenant: c.tenant, Incoming: body, Slug: c.r.Header.Get("Slug")})
		if err != nil {
			a = refusal(err)
			return
		}
		a = c.written(&s.Reader, http.StatusCreated, o)
	})
	return a
}

// written is the answer to a write: the whole object, with names in its references. Evidence: recorded.
func (c *call) written(s *Reader, status int, o *object) *answer {
	r := c.renderer(s, true)
	a := reply(status, c.present(s, r, o, includes(c.query, "skip_default")))
	if status == http.StatusCreated {
		a.set("Location", r.url(o.ref))
	}
	return a
}

// owns refuses a write of a type that only the admin tenant has from another tenant. Evidence: that tenants are written by
// admin only is documented; status and text follow those of VrfContext.
func (c *call) owns(kind *Kind) *apiError {
	if adminOnly[kind.path] && c.tenant != adminTenant && c.tenant != allTenants {
		return refuse(http.StatusBadRequest, "Cannot modify %s", kind.title)
	}
	return nil
}

// adminOnly are the types whose objects are all in the admin tenant.
var adminOnly = map[string]bool{"tenant": true, "user": true, "useraccountprofile": true,
	"systemconfiguration": true, "controllerproperties": true}

// showItem serves GET /api/<type>/<uuid>.
func showItem(c *call, s *Reader) *answer { return c.showOne(s, c.route.uuid) }

// changeItem serves PUT, PATCH and DELETE of /api/<type>/<uuid>.
func changeItem(c *call) *answer { return c.changeOne(c.route.uuid) }

// showSingleton and changeSingleton serve a type of which there is one object, with or without its uuid in the path.
func showSingleton(c *call, s *Reader) *answer {
	if c.strange() {
		return missing(c.kind())
	}
	return c.showOne(s, "default")
}

func changeSingleton(c *call) *answer {
	if c.strange() {
		return missing(c.kind())
	}
	return c.changeOne("default")
}

// strange reports whether the path of a singleton names another object.
func (c *call) strange() bool { return c.route.uuid != "" && c.route.uuid != "default" }

func (c *call) showOne(s *Reader, uuid string) *answer {
	o := s.store.get(ref{c.route.typ, uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(c.kind())
	}
	return reply(http.StatusOK, c.show(s)(c.renderer(s, c.named()), o))
}

func (c *call) changeOne(uuid string) (a *answer) {
	kind := c.kind()
	var body map[string]any
	if empty := len(c.body) == 0 && kind.singleton; c.r.Method == http.MethodPut && !empty || c.r.Method == http.MethodPatch {
		var bad *answer
		if body, bad = parse(c.body); bad != nil {
			return bad
		}
	}
	c.api.world.Write(func(s *Writer) {
		o := s.store.get(ref{kind.path, uuid})
		switch {
		case o == nil || !o.visible(c.tenant):
			a = missing(kind)
		case c.tenant != allTenants && o.tenant != c.tenant: // documented for VrfContext, inferred for the others
			a = refused(http.StatusBadRequest, "Cannot modify %s", kind.title)
		case c.r.Method == http.MethodDelete:
			a = &answer{status: http.StatusNoContent}
			if err := s.Remove(o); err != nil {
				a = refusal(err)
			}
		case body == nil: // recorded for a singleton: nothing changes but _last_modified
			a = c.written(&s.Reader, http.StatusOK, s.Touch(o))
		default:
			a = c.change(s, o, body)
		}
	})
	return a
}

// change applies PUT or PATCH.
func (c *call) change(s *Writer, o *object, body map[string]any) *answer {
	w := Write{Kind: o.kind, Old: o, At: c.version, Incoming: body}
	if c.r.Method == http.MethodPatch {
		w.Incoming, w.Patch = nil, body
	}
	o, err := s.Apply(w)
	if err != nil {
		return refusal(err)
	}
	if o.typ == "systemconfiguration" {
		c.api.present(&s.Reader, o)
	}
	return c.written(&s.Reader, http.StatusOK, o)
}

// present makes the server present the certificate that the system configuration names, if it names one that has
// its key; else the one that it had at first. Evidence: documented by the vendor's own tests.
func (h *API) present(s *Reader, system *object) {
	refs, _ := at(system.body, "portal_configuration", "sslkeyandcertificate_refs").([]any)
	for _, r := range refs {
		r, _ := r.(ref)
		if o := s.store.get(r); o != nil && h.portal.Present([]byte(str(o.body, "certificate", "certificate")), []byte(str(o.body, "key"))) {
			return
		}
	}
	h.portal.Restore()
}

// show renders an object for GET, shaped by the query's fields, skip_default and join_subresources.
func (c *call) show(s *Reader) func(*renderer, *object) map[string]any {
	only := c.query.Get("fields")
	joined := strings.Split(c.query.Get("join_subresources"), ",")
	skip := includes(c.query, "skip_default")
	return func(r *renderer, o *object) map[string]any {
		out := c.present(s, r, o, skip)
		switch o.typ {
		case "virtualservice":
			internals(out)
		case "vsvip": // recorded
			if users := s.referring(o.ref, "virtualservice"); len(users) > 0 {
				refs := make([]any, len(users))
				for i, vs := range users {
					refs[i] = r.url(vs.ref)
				}
				out["vs_refs"] = refs
			}
		case "sslkeyandcertificate":
			if cert, _ := out["certificate"].(map[string]any); cert != nil && at(o.body, "certificate", "certificate") != nil {
				for _, k := range writesHide {
					cert[k] = at(o.body, "certificate", k)
				}
			}
			if o.body["key"] != nil && out["key"] == nil {
				out["key"] = sensitive
			}
		}
		if only != "" {
			fields := []string{"uuid", "url", "name"}
			for f := range strings.SplitSeq(only, ",") {
				top, _, _ := strings.Cut(f, ".") // a part of a message: the whole of it
				fields = append(fields, top)
			}
			keep(out, fields)
		}
		if slices.ContainsFunc(joined, func(j string) bool { return j == "runtime" || j == "runtime/detail" }) {
			if rt := runtimeOf(s, r, o); rt != nil {
				out["runtime"] = rt
			}
		}
		return out
	}
}

// internals adds what a GET of a virtual service shows beyond the schema, so that clients learn to tolerate it and not to
// echo a GET into a PUT. Evidence: recorded on 20.1.
func internals(vs map[string]any) {
	vs["marked_for_delete"], vs["self_se_election"], vs["version"] = false, true, "1"
	vs["redis_db"], vs["redis_port"] = 8, 5028
	ticket := map[string]any{"name": "00000000-0000-4000-8000-000000000001", "aes_key": "", "hmac_key": ""}
	vs["tls_ticket_key"] = []any{ticket, ticket, ticket}
	vs["vip_runtime"] = []any{map[string]any{"vip_id": "0", "num_additional_se": 0, "requested_resource": map[string]any{"num_se": 1, "num_standby_se": 0}}}
}

// writesHide are the fields of a certificate that reads show and answers to writes do not. Evidence: recorded.
var writesHide = []string{"certificate", "public_key"}

// present renders an object as the request's version knows it. Evidence: recorded.
func (c *call) present(s *Reader, r *renderer, o *object, skipDefault bool) map[string]any {
	out := r.object(o)
	if o.kind.singleton { // recorded
		delete(out, "name")
		out["url"] = r.base + "/api/" + o.typ
	}
	if c.version < configpbSince {
		delete(out, "configpb_attributes")
	}
	if o.typ == "sslkeyandcertificate" { // recorded, but for export_key, which the vendor's own tests document
		if o.body["status"] != nil {
			out["key_passphrase"] = ""
		}
		if cert, _ := out["certificate"].(map[string]any); cert != nil {
			for _, k := range writesHide {
				delete(cert, k)
			}
		}
		if includes(c.query, "export_key") {
			out["key"] = o.body["key"]
		}
	}
	if m := o.kind.message(); m != nil && (skipDefault || c.version < s.Version() || m.retires) {
		m.trim(out, c.version, skipDefault)
	}
	return out
}

// keep drops all other keys.
func keep(m map[string]any, keys []string) {
	for k := range m {
		if !slices.Contains(keys, k) {
			delete(m, k)
		}
	}
}

// includes reports whether a switch-like parameter is on: present in any form but an explicit false. Evidence: recorded for
// include_name.
func includes(q url.Values, key string) bool {
	return q.Has(key) && !strings.EqualFold(q.Get(key), "false")
}
