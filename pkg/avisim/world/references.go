// SPDX-License-Identifier: Apache-2.0

package world

import (
	"net/url"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// The tenant that owns what is shared, and what a request names to see all tenants.
const (
	AdminTenant = "admin" // name and uuid at once
	AllTenants  = "*"
)

// refTypes corrects the types that field names of schemaless objects suggest.
var refTypes = map[string]string{
	"vrf": "vrfcontext", "nw": "network", "segroup": "serviceenginegroup",
	"defaulttenant": "tenant", "userprofile": "useraccountprofile",
	"ipamprovider": "ipamdnsproviderprofile", "dnsprovider": "ipamdnsproviderprofile",
}

// Scope is where references of a request are looked up.
type Scope struct {
	Tenant string  // uuid, or allTenants
	cloud  doc.Ref // the cloud of the object that refers; zero if it has none
}

// Resolver replaces the reference strings in a body by refs.
type Resolver struct {
	Store   *Store
	Scope   Scope
	lenient bool // keep references to objects that are not there
}

// message resolves the reference fields of a body along the schema; m may be nil for a schemaless type.
func (r Resolver) message(m *schema.Message, body map[string]any) *schema.Refusal {
	for _, name := range doc.Keys(body) {
		var f *schema.Field
		if m != nil {
			f = m.Fields[name]
		}
		v := body[name]
		var err *schema.Refusal
		switch {
		case f != nil && f.Kind == "ref":
			v, err = r.value(f.Target, v)
		case f != nil && f.Kind == "msg":
			err = r.messages(schema.Messages()[f.Target], v)
		case strings.HasSuffix(name, "_ref") || strings.HasSuffix(name, "_refs"):
			v, err = r.value(guessed(name), v)
		default:
			err = r.messages(nil, v)
		}
		if err != nil {
			return err
		}
		body[name] = v
	}
	return nil
}

// messages resolves what a value holds: a message, or a list of them.
func (r Resolver) messages(m *schema.Message, v any) *schema.Refusal {
	for _, b := range doc.Elements(v) {
		if sub, ok := b.(map[string]any); ok {
			if err := r.message(m, sub); err != nil {
				return err
			}
		}
	}
	return nil
}

// Guess finds the type of a reference field that the schema does not list, nil if it can't.
func Guess(field string) *Kind {
	base := strings.TrimSuffix(strings.TrimSuffix(field, "s"), "_ref")
	base = strings.ReplaceAll(base, "_", "")
	if t, ok := refTypes[base]; ok {
		base = t
	}
	return KindOf(base)
}

func guessed(field string) string {
	if kind := Guess(field); kind != nil {
		return kind.Path
	}
	return ""
}

func (r Resolver) value(typ string, v any) (any, *schema.Refusal) {
	switch x := v.(type) {
	case []any:
		out := make([]any, 0, len(x))
		for _, e := range x {
			w, err := r.value(typ, e)
			if err != nil {
				return nil, err
			}
			if w != nil {
				out = append(out, w)
			}
		}
		return out, nil
	case string:
		if x == "" {
			return nil, nil
		}
		if KindOf(typ) == nil {
			return x, nil // a type that is not simulated: kept as it came
		}
		o := r.Find(typ, x)
		if o == nil && (r.lenient || KindOf(typ).loose) {
			if id := uuidIn(typ, x); id != "" {
				return doc.Ref{Type: typ, UUID: id}, nil
			}
			return x, nil
		}
		if o == nil {
			// Evidence: the text is documented by a client that matches on it; 400 likewise.
			return nil, schema.Refuse(schema.StatusBadRequest, "%s object not found", KindOf(typ).Title)
		}
		return o.Ref, nil
	}
	return v, nil
}

// uuidIn is the uuid in a reference of a path form, "" for other forms.
func uuidIn(typ, s string) string {
	s, _, _ = strings.Cut(s, "#")
	_, id, _ := strings.Cut(s, "/api/"+typ+"/")
	if strings.ContainsAny(id, "?/") {
		return ""
	}
	return id
}

// Find looks an object up by any of the forms that a reference may have:
//
//	https://host/api/pool/pool-<uuid>#name   absolute, with or without the name (recorded)
//	/api/pool/pool-<uuid>                    relative (recorded)
//	/api/pool?name=x&tenant=t&cloud=c        by name, with or without a slash before the ? (documented)
//	pool-<uuid>                              the bare uuid (documented)
func (r Resolver) Find(typ, s string) *Object {
	s, _, _ = strings.Cut(s, "#")
	i := strings.Index(s, "/api/")
	if i < 0 {
		return r.Visible(r.Store.Get(doc.Ref{Type: typ, UUID: s}))
	}
	path, query, _ := strings.Cut(s[i+len("/api/"):], "?")
	path = strings.Trim(path, "/")
	at, id, _ := strings.Cut(path, "/")
	if at != typ {
		return nil
	}
	if id != "" {
		return r.Visible(r.Store.Get(doc.Ref{Type: typ, UUID: id}))
	}
	q, err := url.ParseQuery(query)
	if err != nil || q.Get("name") == "" {
		return r.Visible(r.Store.Get(doc.Ref{Type: typ, UUID: q.Get("uuid")}))
	}
	sc := r.Scope
	if t := q.Get("tenant"); t != "" {
		id, ok := r.Store.TenantByName(t)
		if !ok {
			return nil
		}
		sc.Tenant = id
	}
	if c := q.Get("cloud"); c != "" {
		o := r.Store.Lookup("cloud", c, Scope{Tenant: sc.Tenant})
		if o == nil {
			return nil
		}
		sc.cloud = o.Ref
	}
	return r.Store.Lookup(typ, q.Get("name"), sc)
}

// Visible returns the object if the request may see it, else nil.
func (r Resolver) Visible(o *Object) *Object {
	if o == nil || !o.Visible(r.Scope.Tenant) {
		return nil
	}
	return o
}

// Lookup finds an object by name: in the scope's tenant first, then among the admin tenant's shared objects; within the
// scope's cloud if the type belongs to one. Evidence: inferred.
func (s *Store) Lookup(typ, name string, sc Scope) *Object {
	tenants := []string{sc.Tenant, AdminTenant}
	if sc.Tenant == AllTenants {
		tenants = []string{AdminTenant}
	}
	for _, t := range tenants {
		for _, o := range s.Named(typ, t, name) {
			if o.Visible(sc.Tenant) && (!o.Kind.Cloud || sc.cloud == doc.Ref{} || o.Cloud == sc.cloud) {
				return o
			}
		}
	}
	return nil
}

// Renderer turns stored bodies into what a client reads.
type Renderer struct {
	store *Store
	Base  string // "https://host", from the request's Host header
	names bool   // append #name to references and to the object's own url
}

// URL of an object. Evidence: recorded: with #name after a write and with include_name, without it after a read.
func (r *Renderer) URL(to doc.Ref) string {
	u := r.Base + "/api/" + to.Type + "/" + to.UUID
	if r.names {
		if o := r.store.Get(to); o != nil {
			u += "#" + o.Name
		}
	}
	return u
}

// Value renders a value: references become URLs.
func (r *Renderer) Value(v any) any {
	switch x := v.(type) {
	case doc.Ref:
		return r.URL(x)
	case map[string]any:
		out := make(map[string]any, len(x)+4)
		for k, e := range x {
			out[k] = r.Value(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = r.Value(e)
		}
		return out
	}
	return v
}

// secretFields are never shown. Evidence: recorded for keys, inferred for passwords.
var secretFields = map[string][]string{"user": {"password"}, "sslkeyandcertificate": {"key", "key_passphrase"}}

// Sensitive is what a read shows in place of a secret. Evidence: recorded for keys.
const Sensitive = "<sensitive>"

// keepSecrets carries the secrets over that a client which echoes what it read can't know. Evidence: inferred.
func keepSecrets(w *write) {
	for _, f := range secretFields[w.Kind.Path] {
		if old := w.Old; old != nil && (w.body[f] == nil || w.body[f] == Sensitive) && old.Body[f] != nil {
			w.body[f] = old.Body[f]
		}
	}
}

// tenantless are the types that have no tenant_ref. Evidence: recorded for the tenant and the system configuration, documented
// for the others.
var tenantless = map[string]bool{"tenant": true, "systemconfiguration": true, "controllerproperties": true, "user": true,
	"useraccountprofile": true}

// Object renders a whole object into a map of its own.
func (r *Renderer) Object(o *Object) map[string]any {
	out := r.Value(o.Body).(map[string]any)
	for _, f := range secretFields[o.Type] {
		delete(out, f)
	}
	if tenantless[o.Type] {
		delete(out, "tenant_ref")
	}
	out["url"] = r.URL(o.Ref)
	out["uuid"] = o.UUID
	out["name"] = o.Name
	out["_last_modified"] = Microseconds(o.Modified)
	return out
}
