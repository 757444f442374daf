// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

const (
	defaultPageSize = 25  // documented for inventories, inferred for configuration
	maxPageSize     = 200 // documented
)

// query is a request for a list.
type query struct {
	c    *Call
	s    *world.Reader
	kind *world.Kind
}

// controls are the query parameters of a list that are not filters.
var controls = map[string]bool{
	"page": true, "page_size": true, "fields": true, "include_name": true, "include_refs": true, "skip_default": true, "sort": true,
	"search": true, "isearch": true, "refers_to": true, "referred_by": true, "limit_by": true, "join_subresources": true,
	"exclude": true, "label_key": true, "label_value": true, "cloud": true, "cloud_uuid": true, "tenant": true, "export_key": true,
	"include": true, "metric_id": true, "metrics": true, "step": true, "limit": true, "start": true, "stop": true, "duration": true,
}

// filterOps are the operators that may end a filter's name. Evidence: documented by the schema.
var filterOps = map[string]func(have, want string) bool{
	"contains":  strings.Contains,
	"icontains": func(have, want string) bool { return strings.Contains(strings.ToLower(have), strings.ToLower(want)) },
	"in":        func(have, want string) bool { return slices.Contains(strings.Split(want, ","), have) },
}

// filters reads the parameters. Unknown ones filter by a field of that name. Evidence: documented by the schema and by
// the clients that use them.
func (q *query) filters() []func(*world.Object) bool {
	var filters []func(*world.Object) bool
	for key := range q.c.Query {
		if key != "" && !controls[key] {
			filters = append(filters, q.byField(key, q.filterValue(q.c.Query.Get(key))))
		}
	}
	for _, f := range filterParams {
		if value := q.c.Query.Get(f.param); value != "" {
			if test := f.test(q, value); test != nil {
				filters = append(filters, test)
			}
		}
	}
	// The header is documented by the vendor's own tests, which read an SE group by name with it, from a cloud of several.
	if name := cmp.Or(q.c.Query.Get("cloud"), q.c.Request.Header.Get("X-Avi-Cloud")); name != "" && q.c.kindIsOfCloud() {
		filters = append(filters, q.named("cloud_ref", name))
	}
	if key, value := q.c.Query.Get("label_key"), q.c.Query.Get("label_value"); key != "" || value != "" {
		filters = append(filters, func(o *world.Object) bool { return labelled(o, key, value) })
	}
	return filters
}

// filterParams are the parameters that filter by something else than a field. A test may be nil: the parameter filters nothing.
var filterParams = []struct {
	param string
	test  func(q *query, value string) func(*world.Object) bool
}{
	// Documented by the vendor's own tests, which ask for the health monitors of tenant=admin.
	{"tenant", func(q *query, name string) func(*world.Object) bool {
		if name == world.AllTenants {
			return nil
		}
		return q.named("tenant_ref", name)
	}},
	{"cloud_uuid", func(_ *query, id string) func(*world.Object) bool {
		return func(o *world.Object) bool { return !o.Kind.Cloud || o.Cloud.UUID == id }
	}},
	{"search", func(q *query, text string) func(*world.Object) bool {
		return func(o *world.Object) bool { return q.search(o, text, false) }
	}},
	{"isearch", func(q *query, text string) func(*world.Object) bool {
		return func(o *world.Object) bool { return q.search(o, text, true) }
	}},
	{"refers_to", func(q *query, value string) func(*world.Object) bool {
		typ, id, ok := strings.Cut(value, ":")
		if !ok {
			return nil
		}
		return func(o *world.Object) bool { return q.s.Store.Refers(o.Ref, doc.Ref{Type: typ, UUID: id}) }
	}},
	{"referred_by", func(q *query, value string) func(*world.Object) bool {
		typ, id, ok := strings.Cut(value, ":")
		if !ok {
			return nil
		}
		return func(o *world.Object) bool { return q.s.Store.Refers(doc.Ref{Type: typ, UUID: id}, o.Ref) }
	}},
}

// named filters by the name of the object that a field refers to.
func (q *query) named(field, name string) func(*world.Object) bool {
	return func(o *world.Object) bool { return slices.Contains(q.texts(o, []string{field, "name"}), name) }
}

// byField filters by the field of a parameter's name.
func (q *query) byField(key, want string) func(*world.Object) bool {
	path := strings.Split(key, ".")
	negate := slices.Contains(strings.Split(q.c.Query.Get("exclude"), ","), key) // documented for uuid.in, inferred for others
	if len(path) == 1 && !negate && key != "uuid" && key != "url" && key != "_last_modified" {
		return func(o *world.Object) bool { // by far the most frequent kind of filter
			if have, ok := o.Body[key].(string); ok {
				return have == want
			}
			return slices.Contains(q.texts(o, path), want)
		}
	}
	match := func(have, want string) bool { return have == want }
	if op, ok := filterOps[path[len(path)-1]]; ok && len(path) > 1 {
		match, path = op, path[:len(path)-1]
	}
	return func(o *world.Object) bool {
		return negate != slices.ContainsFunc(q.texts(o, path), func(have string) bool { return match(have, want) })
	}
}

// kindIsOfCloud reports whether the objects of the path belong to clouds.
func (c *Call) kindIsOfCloud() bool {
	kind := world.KindOf(c.Route.Type)
	return kind == nil || kind.Cloud // what is no type here is made from networks
}

// filterValue is a filter's value; of a reference, in any form that names an object, its uuid. Evidence: inferred.
func (q *query) filterValue(v string) string {
	_, path, ok := strings.Cut(v, "/api/")
	if !ok {
		return v
	}
	typ, _, _ := strings.Cut(path, "/")
	typ, _, _ = strings.Cut(typ, "?")
	if o := (world.Resolver{Store: q.s.Store, Scope: world.Scope{Tenant: q.c.tenant}}).Find(typ, v); o != nil {
		return o.UUID
	}
	return v
}

// texts returns the values at a path of an object as text: through lists, and through a reference to the name or
// uuid of its object.
func (q *query) texts(o *world.Object, path []string) []string {
	switch path[0] {
	case "uuid":
		return []string{o.UUID}
	case "url":
		return []string{o.String()}
	case "_last_modified":
		return []string{world.Microseconds(o.Modified)}
	}
	var out []string
	var walk func(v any, path []string)
	walk = func(v any, path []string) {
		switch x := v.(type) {
		case map[string]any:
			if len(path) > 0 {
				walk(x[path[0]], path[1:])
			}
		case []any:
			for _, e := range x {
				walk(e, path)
			}
		case doc.Ref:
			switch {
			case len(path) == 0:
				out = append(out, x.UUID, x.String())
			case path[0] == "uuid":
				out = append(out, x.UUID)
			case path[0] == "name":
				if to := q.s.Store.Get(x); to != nil {
					out = append(out, to.Name)
				}
			}
		case nil:
		default:
			if len(path) == 0 {
				out = append(out, doc.Text(x))
			}
		}
	}
	walk(o.Body, path)
	return out
}

func labelled(o *world.Object, key, value string) bool {
	for _, m := range doc.Messages(o.Body["markers"]) {
		if key != "" && doc.Str(m, "key") != key {
			continue
		}
		values, _ := m["values"].([]any)
		if value == "" || slices.Contains(values, any(value)) {
			return true
		}
	}
	return false
}

// search reports whether an object has a text in any field, or in one with the form (field,text).
func (q *query) search(o *world.Object, want string, fold bool) bool {
	match := strings.Contains
	if fold {
		match = filterOps["icontains"]
	}
	if inner, ok := strings.CutPrefix(want, "("); ok {
		field, t, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ",")
		return slices.ContainsFunc(q.texts(o, strings.Split(field, ".")), func(have string) bool { return match(have, t) })
	}
	var anywhere func(v any) bool
	anywhere = func(v any) bool {
		switch x := v.(type) {
		case map[string]any:
			for _, e := range x {
				if anywhere(e) {
					return true
				}
			}
			return false
		case []any:
			return slices.ContainsFunc(x, anywhere)
		}
		return match(doc.Text(v), want)
	}
	return anywhere(o.Body) || match(o.UUID, want)
}

// list serves GET /api/<type>.
func list(c *Call, s *world.Reader) *Answer { return listOf(c, s, c.kind(), c.show(s), nil) }

// listOf answers with the objects of a type that the request is about and that pass the test, if there is one; show renders one object.
func listOf(c *Call, s *world.Reader, kind *world.Kind, show func(*world.Renderer, *world.Object) map[string]any,
	test func(*world.Object) bool) *Answer {
	found := (&query{c, s, kind}).matching(test)
	page, size, bad := paging(c.Query)
	if bad != nil {
		return bad
	}
	first := (page - 1) * size
	if first >= len(found) && page > 1 {
		return detail(http.StatusNotFound, "Invalid page.") // unverified
	}
	last := min(first+size, len(found))
	r := c.renderer(s, c.named())
	results := make([]any, 0, last-first)
	for _, o := range found[first:last] {
		results = append(results, show(r, o))
	}
	out := map[string]any{"count": len(found), "results": results}
	if last < len(found) {
		out["next"] = c.Base() + "/api/" + c.Route.Name() + "?" + nextQuery(c.Query, page+1)
	}
	return Reply(http.StatusOK, out)
}

// listCache keeps what matched until something is written: a client that reads a list of n objects page by page would else
// have all n looked at for each page.
type listCache struct {
	mu         sync.Mutex
	generation uint64 // of the store
	found      map[string][]*world.Object
}

// listCacheSize is how many lists are kept at a time.
const listCacheSize = 16

// matching returns the objects that a list is about, in its order. The result is shared.
func (q *query) matching(test func(*world.Object) bool) []*world.Object {
	if test != nil || q.c.Replica != nil || q.c.Query.Has("name") || q.c.Query.Has("uuid") { // found by index, or of another store
		return q.match(test)
	}
	what := maps.Clone(q.c.Query)
	what.Del("page")
	what.Del("page_size")
	key := strings.Join([]string{q.kind.Path, q.c.Route.Type, q.c.tenant, q.c.Request.Header.Get("X-Avi-Cloud"), what.Encode()}, "\x00")
	l := &q.c.api.lists
	l.mu.Lock()
	if l.found == nil || l.generation != q.s.Store.Generation || len(l.found) >= listCacheSize {
		l.generation, l.found = q.s.Store.Generation, map[string][]*world.Object{}
	}
	found, known := l.found[key]
	l.mu.Unlock()
	if known {
		return found
	}
	found = q.match(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found[key] = found // the caller holds the lock of the store, so that the generation is the same
	return found
}

func (q *query) match(test func(*world.Object) bool) []*world.Object {
	filters := q.filters()
	if test != nil {
		filters = append(filters, test)
	}
	var found []*world.Object
next:
	for _, o := range q.candidates() {
		if !o.Visible(q.c.tenant) {
			continue
		}
		for _, f := range filters {
			if !f(o) {
				continue next
			}
		}
		found = append(found, o)
	}
	if by := q.c.Query.Get("sort"); by != "" {
		q.sort(found, strings.Split(by, ","))
	}
	if n, err := strconv.Atoi(q.c.Query.Get("limit_by")); err == nil && n >= 0 && n < len(found) {
		found = found[:n]
	}
	return found
}

// sort orders objects by fields, each descending with a minus before it; numbers by value. Evidence: one field is
// documented, several are inferred.
func (q *query) sort(objs []*world.Object, by []string) {
	type key struct {
		text         string
		FormatNumber float64
		isNum        bool
	}
	keys := map[*world.Object][]key{}
	for _, o := range objs {
		for _, f := range by {
			k := key{text: strings.Join(q.texts(o, strings.Split(strings.TrimPrefix(f, "-"), ".")), " ")}
			var err error
			k.FormatNumber, err = strconv.ParseFloat(k.text, 64)
			k.isNum = err == nil
			keys[o] = append(keys[o], k)
		}
	}
	slices.SortStableFunc(objs, func(a, b *world.Object) int {
		for i, f := range by {
			x, y := keys[a][i], keys[b][i]
			order := strings.Compare(x.text, y.text)
			if x.isNum && y.isNum {
				order = cmp.Compare(x.FormatNumber, y.FormatNumber)
			}
			if strings.HasPrefix(f, "-") {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
}

// candidates returns the objects that a list has to look at: those of the name or uuid that it asks for, else all.
func (q *query) candidates() []*world.Object {
	if q.c.Query.Has("exclude") {
		return q.s.Store.All(q.kind.Path)
	}
	if id := q.c.Query.Get("uuid"); id != "" {
		if o := q.s.Store.Get(doc.Ref{Type: q.kind.Path, UUID: id}); o != nil {
			return []*world.Object{o}
		}
		return nil
	}
	name := q.c.Query.Get("name")
	if name == "" {
		return q.s.Store.All(q.kind.Path)
	}
	var out []*world.Object
	for _, t := range q.s.Store.All("tenant") {
		if q.c.tenant == world.AllTenants || t.UUID == q.c.tenant || t.UUID == world.AdminTenant {
			out = append(out, q.s.Store.Named(q.kind.Path, t.UUID, name)...)
		}
	}
	slices.SortFunc(out, func(a, b *world.Object) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}

// paging reads page and page_size. Evidence: the limits are documented, that a longer page is cut to the longest is inferred (clients ask
// for more and go on), the refusal of what is no number above 0 is unverified.
func paging(q url.Values) (page, size int, bad *Answer) {
	page, size = 1, defaultPageSize
	for key, to := range map[string]*int{"page": &page, "page_size": &size} {
		v := q.Get(key)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return 0, 0, Refused(http.StatusBadRequest, "Invalid value %s for %s", v, key)
		}
		*to = n
	}
	return page, min(size, maxPageSize), nil
}

func nextQuery(q url.Values, page int) string {
	next := url.Values{}
	for k, v := range q {
		if k != "" {
			next[k] = v
		}
	}
	next.Set("page", strconv.Itoa(page))
	return next.Encode()
}
