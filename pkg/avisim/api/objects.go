// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// create serves POST /api/<type>.
func create(c *Call) (a *Answer) {
	body, bad := parse(c.Body)
	if bad != nil {
		return bad
	}
	kind := c.kind()
	if err := c.owns(kind); err != nil {
		return refusal(err)
	}
	if name := c.Request.Header.Get("X-Avi-Cloud"); name != "" && kind.Cloud && body["cloud_ref"] == nil {
		body["cloud_ref"] = "/api/cloud?name=" + url.QueryEscape(name)
	}
	c.api.world.Write(func(s *world.Writer) {
		o, err := s.Apply(world.Write{Kind: kind, At: c.version, Tenant: c.tenant, Incoming: body, Slug: c.Request.Header.Get("Slug")})
		if err != nil {
			a = refusal(err)
			return
		}
		a = c.written(&s.Reader, http.StatusCreated, o)
	})
	return a
}

// written is the answer to a write: the whole object, with names in its references. Evidence: recorded.
func (c *Call) written(s *world.Reader, status int, o *world.Object) *Answer {
	r := c.renderer(s, true)
	a := Reply(status, c.present(s, r, o, includes(c.Query, "skip_default")))
	if status == http.StatusCreated {
		a.Set("Location", r.URL(o.Ref))
	}
	return a
}

// owns refuses a write of a type that only the admin tenant has from another tenant. Evidence: that tenants are written by
// admin only is documented; status and text follow those of VrfContext.
func (c *Call) owns(kind *world.Kind) *schema.Refusal {
	if adminOnly[kind.Path] && c.tenant != world.AdminTenant && c.tenant != world.AllTenants {
		return schema.Refuse(http.StatusBadRequest, "Cannot modify %s", kind.Title)
	}
	return nil
}

// adminOnly are the types whose objects are all in the admin tenant.
var adminOnly = map[string]bool{"tenant": true, "user": true, "useraccountprofile": true,
	"systemconfiguration": true, "controllerproperties": true}

// showItem serves GET /api/<type>/<uuid>.
func showItem(c *Call, s *world.Reader) *Answer { return c.showOne(s, c.Route.UUID) }

// changeItem serves PUT, PATCH and DELETE of /api/<type>/<uuid>.
func changeItem(c *Call) *Answer { return c.changeOne(c.Route.UUID) }

// showSingleton and changeSingleton serve a type of which there is one object.
func showSingleton(c *Call, s *world.Reader) *Answer { return c.showOne(s, c.kind().SingletonUUID()) }

func changeSingleton(c *Call) *Answer { return c.changeOne(c.kind().SingletonUUID()) }

func (c *Call) showOne(s *world.Reader, uuid string) *Answer {
	o := s.Store.Get(doc.Ref{Type: c.Route.Type, UUID: uuid})
	if o == nil || !o.Visible(c.tenant) {
		return missing(c.kind())
	}
	return Reply(http.StatusOK, c.show(s)(c.renderer(s, c.named()), o))
}

func (c *Call) changeOne(uuid string) (a *Answer) {
	kind := c.kind()
	var body map[string]any
	if empty := len(c.Body) == 0 && kind.Singleton; c.Request.Method == http.MethodPut && !empty || c.Request.Method == http.MethodPatch {
		var bad *Answer
		if body, bad = parse(c.Body); bad != nil {
			return bad
		}
	}
	c.api.world.Write(func(s *world.Writer) {
		o := s.Store.Get(doc.Ref{Type: kind.Path, UUID: uuid})
		switch {
		case o == nil || !o.Visible(c.tenant):
			a = missing(kind)
		case c.tenant != world.AllTenants && o.Tenant != c.tenant: // documented for VrfContext, inferred for the others
			a = Refused(http.StatusBadRequest, "Cannot modify %s", kind.Title)
		case c.Request.Method == http.MethodDelete:
			a = &Answer{Status: http.StatusNoContent}
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
func (c *Call) change(s *world.Writer, o *world.Object, body map[string]any) *Answer {
	w := world.Write{Kind: o.Kind, Old: o, At: c.version, Incoming: body}
	if c.Request.Method == http.MethodPatch {
		w.Incoming, w.Patch = nil, body
	}
	o, err := s.Apply(w)
	if err != nil {
		return refusal(err)
	}
	if o.Type == "systemconfiguration" {
		c.api.present(&s.Reader, o)
	}
	return c.written(&s.Reader, http.StatusOK, o)
}

// present makes the server present the certificate that the system configuration names, if it names one that has
// its key; else the one that it had at first. Evidence: documented by the vendor's own tests.
func (h *Handler) present(s *world.Reader, system *world.Object) {
	refs, _ := doc.At(system.Body, "portal_configuration", "sslkeyandcertificate_refs").([]any)
	for _, r := range refs {
		r, _ := r.(doc.Ref)
		if o := s.Store.Get(r); o != nil && h.portal.Present([]byte(doc.Str(o.Body, "certificate", "certificate")),
			[]byte(doc.Str(o.Body, "key"))) {
			return
		}
	}
	h.portal.Restore()
}

// show renders an object for GET, shaped by the query's fields, skip_default and join_subresources.
func (c *Call) show(s *world.Reader) func(*world.Renderer, *world.Object) map[string]any {
	var fields []string
	if only := c.Query.Get("fields"); only != "" {
		fields = []string{"uuid", "url", "name"}
		for f := range strings.SplitSeq(only, ",") {
			top, _, _ := strings.Cut(f, ".") // a part of a message: the whole of it
			fields = append(fields, top)
		}
	}
	skip := includes(c.Query, "skip_default")
	joins := slices.ContainsFunc(strings.Split(c.Query.Get("join_subresources"), ","),
		func(j string) bool { return j == "runtime" || j == "runtime/detail" })
	return func(r *world.Renderer, o *world.Object) map[string]any {
		out := c.present(s, r, o, skip)
		if add := shown[o.Type]; add != nil {
			add(s, r, o, out)
		}
		if fields != nil {
			keep(out, fields)
		}
		if joins {
			if rt := runtimeOf(s, r, o); rt != nil {
				out["runtime"] = rt
			}
		}
		return out
	}
}

// shown adds what a GET shows of an object and the answer to a write does not, by type. Evidence: recorded.
var shown = map[string]func(s *world.Reader, r *world.Renderer, o *world.Object, out map[string]any){
	"virtualservice": func(_ *world.Reader, _ *world.Renderer, _ *world.Object, out map[string]any) { internals(out) },
	"vsvip": func(s *world.Reader, r *world.Renderer, o *world.Object, out map[string]any) {
		var refs []any
		for _, vs := range s.Referring(o.Ref, "virtualservice") {
			refs = append(refs, r.URL(vs.Ref))
		}
		if refs != nil {
			out["vs_refs"] = refs
		}
	},
	"sslkeyandcertificate": func(_ *world.Reader, _ *world.Renderer, o *world.Object, out map[string]any) {
		if cert, _ := out["certificate"].(map[string]any); cert != nil && doc.At(o.Body, "certificate", "certificate") != nil {
			for _, k := range writesHide {
				cert[k] = doc.At(o.Body, "certificate", k)
			}
		}
		if o.Body["key"] != nil && out["key"] == nil {
			out["key"] = world.Sensitive
		}
	},
}

// internals adds what a GET of a virtual service shows beyond the schema, so that clients learn to tolerate it and not to
// echo a GET into a PUT. Evidence: recorded on 20.1.
func internals(vs map[string]any) {
	vs["marked_for_delete"], vs["self_se_election"], vs["version"] = false, true, "1"
	vs["redis_db"], vs["redis_port"] = 8, 5028
	ticket := map[string]any{"name": "00000000-0000-4000-8000-000000000001", "aes_key": "", "hmac_key": ""}
	vs["tls_ticket_key"] = []any{ticket, ticket, ticket}
	vs["vip_runtime"] = []any{map[string]any{"vip_id": "0", "num_additional_se": 0,
		"requested_resource": map[string]any{"num_se": 1, "num_standby_se": 0}}}
}

// writesHide are the fields of a certificate that reads show and answers to writes do not. Evidence: recorded.
var writesHide = []string{"certificate", "public_key"}

// present renders an object as the request's version knows it. Evidence: recorded.
func (c *Call) present(s *world.Reader, r *world.Renderer, o *world.Object, skipDefault bool) map[string]any {
	out := r.Object(o)
	if o.Kind.Singleton { // recorded
		delete(out, "name")
		out["url"] = r.Base + "/api/" + o.Type
	}
	if c.version < world.ConfigPBSince {
		delete(out, "configpb_attributes")
		if o.Ref == (doc.Ref{Type: "tenant", UUID: world.AdminTenant}) { // recorded on 20.1; that later ones have it, clients say
			delete(out, "_last_modified")
		}
	}
	if o.Type == "sslkeyandcertificate" { // recorded, but for export_key, which the vendor's own tests document
		if o.Body["status"] != nil {
			out["key_passphrase"] = ""
		}
		if cert, _ := out["certificate"].(map[string]any); cert != nil {
			for _, k := range writesHide {
				delete(cert, k)
			}
		}
		if includes(c.Query, "export_key") {
			out["key"] = o.Body["key"]
		}
	}
	if m := o.Kind.Message(); m != nil && (skipDefault || c.version < s.Version() || m.Retires) {
		m.Trim(out, c.version, skipDefault)
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
