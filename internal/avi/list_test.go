// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pager lists objects 1 to n, and lets spoil change each page.
func pager(n int, spoil func(page int, p map[string]any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		num, _ := strconv.Atoi(q.Get("page"))
		size, _ := strconv.Atoi(q.Get("page_size"))
		if size > 200 {
			reply(w, 400, `{"error":"page_size"}`)
			return
		}
		if num > 1 && (num-1)*size >= n {
			reply(w, 404, `{"detail":"Invalid page."}`)
			return
		}
		results := []any{}
		for i := (num-1)*size + 1; i <= min(num*size, n); i++ {
			results = append(results, map[string]string{"uuid": fmt.Sprintf("pool-%d", i), "name": fmt.Sprintf("p%d", i)})
		}
		p := map[string]any{"count": n, "results": results}
		if num*size < n {
			p["next"] = fmt.Sprintf("https://elsewhere/api/pool?page=%d", num+1)
		}
		if spoil != nil {
			spoil(num, p)
		}
		b, _ := json.Marshal(p)
		reply(w, 200, string(b))
	}
}

func TestList(t *testing.T) {
	for _, n := range []int{0, 1, 199, 200, 201, 400, 1001} {
		var queries []url.Values
		list := pager(n, nil)
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			queries = append(queries, r.URL.Query())
			if r.Header.Get("X-Avi-Tenant") != "*" {
				t.Errorf("tenant %q", r.Header.Get("X-Avi-Tenant"))
			}
			list(w, r)
		})
		var names []string
		query := url.Values{"created_by": {"ako-a b"}}
		err := f.client(t).List(ctx, "pool-inventory", "*", query, func(raw json.RawMessage) error {
			names = append(names, identify(raw).Name)
			return nil
		})
		if err != nil || len(names) != n {
			t.Fatalf("%d of %d: %v", len(names), n, err)
		}
		if n > 0 && (names[0] != "p1" || names[n-1] != fmt.Sprintf("p%d", n)) {
			t.Errorf("%d: from %s to %s", n, names[0], names[n-1])
		}
		if want := max(1, (n+199)/200); len(queries) != want {
			t.Errorf("%d: %d pages, want %d", n, len(queries), want)
		}
		if q := queries[0]; q.Get("page_size") != "200" || q.Get("created_by") != "ako-a b" {
			t.Errorf("%v", q)
		}
		if len(query) != 1 {
			t.Error("the caller's query was changed")
		}
	}
}

func TestListAcceptsSmallerPagesThanAskedFor(t *testing.T) {
	list := pager(250, nil)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) { // one that caps page_size at 100
		q := r.URL.Query()
		q.Set("page_size", "100")
		r.URL.RawQuery = q.Encode()
		list(w, r)
	})
	n := 0
	if err := f.client(t).List(ctx, "pool", "", nil, func(json.RawMessage) error { n++; return nil }); err != nil || n != 250 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestListThatDoesNotAddUp(t *testing.T) {
	last := func(p map[string]any) []any { return p["results"].([]any) }
	for name, tt := range map[string]struct {
		spoil func(page int, p map[string]any)
		want  Reason
	}{
		"no further page":            {func(_ int, p map[string]any) { delete(p, "next") }, ReasonIncomplete},
		"short page":                 {func(n int, p map[string]any) { p["results"] = last(p)[:len(last(p))-min(n-1, 1)*3] }, ReasonIncomplete},
		"empty first page":           {func(_ int, p map[string]any) { p["results"] = []any{} }, ReasonIncomplete},
		"object came":                {func(n int, p map[string]any) { p["count"] = 499 + n }, ReasonIncomplete},
		"object went":                {func(n int, p map[string]any) { p["count"] = 501 - n }, ReasonIncomplete},
		"count too low":              {func(_ int, p map[string]any) { p["count"] = 100 }, ReasonIncomplete},
		"count too low for the next": {func(_ int, p map[string]any) { p["count"] = 200 }, ReasonIncomplete},
		"count too high":             {func(_ int, p map[string]any) { p["count"] = 501 }, ReasonIncomplete},
		"no count":                   {func(_ int, p map[string]any) { delete(p, "count") }, ReasonBadAnswer},
		"no results":                 {func(n int, p map[string]any) { p["results"] = nil }, ReasonBadAnswer},
		"results not a list":         {func(n int, p map[string]any) { p["results"] = "x" }, ReasonBadAnswer},
		"object on two pages": {func(n int, p map[string]any) {
			if n == 2 {
				last(p)[0] = map[string]string{"uuid": "pool-7"}
			}
		}, ReasonIncomplete},
	} {
		f := newFake(t, pager(500, tt.spoil))
		err := f.client(t).List(ctx, "pool", "", nil, func(json.RawMessage) error { return nil })
		if ReasonOf(err) != tt.want || ClassOf(err) != Transient {
			t.Errorf("%s: %v", name, err)
		}
	}

	// The same page over and over, as of a Controller or proxy that ignores the parameter.
	first := pager(500, nil)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = strings.NewReplacer("page=2", "page=1", "page=3", "page=1").Replace(r.URL.RawQuery)
		first(w, r)
	})
	err := f.client(t).List(ctx, "pool", "", nil, func(json.RawMessage) error { return nil })
	wantReason(t, err, ReasonIncomplete)

	// Pages that shrank away under us.
	all := pager(500, nil)
	f = newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "3" {
			reply(w, 404, `{"detail":"Invalid page."}`)
			return
		}
		all(w, r)
	})
	err = f.client(t).List(ctx, "pool", "", nil, func(json.RawMessage) error { return nil })
	wantReason(t, err, ReasonIncomplete)
}

func TestListEndsWithItsCallback(t *testing.T) {
	f := newFake(t, pager(500, nil))
	stop := errors.New("enough")
	var seen []string
	err := f.client(t).List(ctx, "pool", "", nil, func(raw json.RawMessage) error {
		seen = append(seen, identify(raw).Name)
		if len(seen) == 2 {
			return stop
		}
		return nil
	})
	if err != stop || !slices.Equal(seen, []string{"p1", "p2"}) {
		t.Errorf("%v, %v", seen, err)
	}
	if n := f.count("GET /api/pool"); n != 1 {
		t.Errorf("%d pages read", n)
	}
}

func TestListFailsMidway(t *testing.T) {
	list := pager(500, nil)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "2" {
			reply(w, 500, `{"error":"oops"}`)
			return
		}
		list(w, r)
	})
	wantReason(t, f.client(t).List(ctx, "pool", "", nil, func(json.RawMessage) error { return nil }), ReasonServerError)
}
