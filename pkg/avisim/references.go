package avisim

import (
	"net/url"
	"strings"
)

const (
	adminTenant = "admin" // name and uuid at once
	allTenants  = "*"
)

// refTypes corrects the types that field names of schemaless objects suggest.
var refTypes = map[string]string{
	"vrf": "vrfcontext", "nw": "network", "segroup": "serviceenginegroup",
	"defaulttenant": "tenant", "userprofile": "useraccountprofile",
	"ipamprovider": "ipamdnsproviderprofile", "dnsprovider": "ipamdnsproviderprofile",
}

// scope is where references of a request are looked up.
type scope struct {
	tenant string // uuid, or allTenants
	cloud  ref    // the cloud of the object that refers; zero if it has none
}

// resolver replaces the reference strings in a body by refs.
type resolver struct {
	store   *store
	scope   scope
	lenient bool // keep references to objects that are not there
}

// message resolves the reference fields of a body along the schema; m may be nil for a schemaless type.
func (r resolver) message(m *message, body map[string]any) *apiError {
	for _, name := range sortedKeys(body) {
		v := body[name]
		var f *field
		if m != nil {
			f = m.fields[name]
		}
		switch {
		case f != nil && f.kind == "ref":
			w, err := r.value(f.target, v)
			if err != nil {
				return err
			}
			body[name] = w
		case f != nil && f.kind == "msg":
			for _, b := range elements(v) {
				if sub, ok := b.(map[string]any); ok {
					if err := r.message(schema()[f.target], sub); err != nil {
						return err
					}
				}
			}
		case strings.HasSuffix(name, "_ref") || strings.HasSuffix(name, "_refs"):
			w, err := r.value(guessed(name), v)
			if err != nil {
				return err
			}
			body[name] = w
		default:
			for _, b := range elements(v) {
				if sub, ok := b.(map[string]any); ok {
					if err := r.message(nil, sub); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// guess finds the type of a reference field that the schema does not list, nil if it can't.
func guess(field string) *Kind {
	base := strings.TrimSuffix(strings.TrimSuffix(field, "s"), "_ref")
	base = strings.ReplaceAll(base, "_", "")
	if t, ok := refTypes[base]; ok {
		base = t
	}
	return KindOf(base)
}

func guessed(field string) string {
	if kind := guess(field); kind != nil {
		return kind.path
	}
	return ""
}

func (r resolver) value(typ string, v any) (any, *apiError) {
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
		o := r.find(typ, x)
		if o == nil && (r.lenient || KindOf(typ).loose) {
			if id := uuidIn(typ, x); id != "" {
				return ref{typ, id}, nil
			}
			return x, nil
		}
		if o == nil {
			// Evidence: the text is documented by a client that matches on it; 400 likewise.
			return nil, refuse(statusBadRequest, "%s object not found", KindOf(typ).title)
		}
		return o.ref, nil
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

// find looks an object up by any of the forms that a reference may have:
//
//	https://host/api/pool/pool-<uuid>#name   absolute, with or without the name (recorded)
//	/api/pool/pool-<uuid>                    relative (recorded)
//	/api/pool?name=x&tenant=t&cloud=c        by name, with or without a slash before the ? (documented)
//	pool-<uuid>                              the bare uuid (documented)
func (r resolver) find(typ, s string) *object {
	s, _, _ = strings.Cut(s, "#")
	i := strings.Index(s, "/api/")
	if i < 0 {
		return r.visible(r.store.get(ref{typ, s}))
	}
	path, query, _ := strings.Cut(s[i+len("/api/"):], "?")
	path = strings.Trim(path, "/")
	at, id, _ := strings.Cut(path, "/")
	if at != typ {
		return nil
	}
	if id != "" {
		return r.visible(r.store.get(ref{typ, id}))
	}
	q, err := url.ParseQuery(query)
	if err != nil || q.Get("name") == "" {
		return r.visible(r.store.get(ref{typ, q.Get("uuid")}))
	}
	sc := r.scope
	if t := q.Get("tenant"); t != "" {
		id, ok := r.store.tenantByName(t)
		if !ok {
			return nil
		}
		sc.tenant = id
	}
	if c := q.Get("cloud"); c != "" {
		o := r.store.lookup("cloud", c, scope{tenant: sc.tenant})
		if o == nil {
			return nil
		}
		sc.cloud = o.ref
	}
	return r.store.lookup(typ, q.Get("name"), sc)
}

func (r resolver) visible(o *object) *object {
	if o == nil || !o.visible(r.scope.tenant) {
		return nil
	}
	return o
}

// lookup finds an object by name: in the scope's tenant first, then among the admin tenant's shared objects; within the
// scope's cloud if the type belongs to one. Evidence: inferred.
func (s *store) lookup(typ, name string, sc scope) *object {
	tenants := []string{sc.tenant, adminTenant}
	if sc.tenant == allTenants {
		tenants = []string{adminTenant}
	}
	for _, t := range tenants {
		for _, o := range s.named(typ, t, name) {
			if o.visible(sc.tenant) && (!o.kind.cloud || sc.cloud == ref{} || o.cloud == sc.cloud) {
				return o
			}
		}
	}
	return nil
}

// renderer turns stored bodies into what a client reads.
type renderer struct {
	store *store
	base  string // "https://host", from the request's Host header
	names bool   // append #name to references and to the object's own url
}

// url of an object. Evidence: recorded: with #name after a write and with include_name, without it after a read.
func (r *renderer) url(to ref) string {
	u := r.base + "/api/" + to.typ + "/" + to.uuid
	if r.names {
		if o := r.store.get(to); o != nil {
			u += "#" + o.name
		}
	}
	return u
}

func (r *renderer) value(v any) any {
	switch x := v.(type) {
	case ref:
		return r.url(x)
	case map[string]any:
		out := make(map[string]any, len(x)+4)
		for k, e := range x {
			out[k] = r.value(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = r.value(e)
		}
		return out
	}
	return v
}

// secretFields are never shown. Evidence: recorded for keys, inferred for passwords.
var secretFields = map[string][]string{"user": {"password"}, "sslkeyandcertificate": {"key", "key_passphrase"}}

// sensitive is what a read shows in place of a secret. Evidence: recorded for keys.
const sensitive = "<sensitive>"

// keepSecrets carries the secrets over that a client which echoes what it read can't know. Evidence: inferred.
func keepSecrets(w *write) {
	for _, f := range secretFields[w.Kind.path] {
		if old := w.Old; old != nil && (w.body[f] == nil || w.body[f] == sensitive) && old.body[f] != nil {
			w.body[f] = old.body[f]
		}
	}
}

// tenantless are the types that have no tenant_ref. Evidence: recorded for the tenant and the system configuration, documented
// for the others.
var tenantless = map[string]bool{"tenant": true, "systemconfiguration": true, "controllerproperties": true, "user": true, "useraccountprofile": true}

// object renders a whole object into a map of its own.
func (r *renderer) object(o *object) map[string]any {
	out := r.value(o.body).(map[string]any)
	for _, f := range secretFields[o.typ] {
		delete(out, f)
	}
	if tenantless[o.typ] {
		delete(out, "tenant_ref")
	}
	out["url"] = r.url(o.ref)
	out["uuid"] = o.uuid
	out["name"] = o.name
	out["_last_modified"] = microseconds(o.modified)
	if o.ref == (ref{"tenant", adminTenant}) { // recorded
		delete(out, "_last_modified")
	}
	return out
}
