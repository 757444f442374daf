// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// pageSize is the largest that the Controller takes; its default is 25.
const pageSize = 200

// page is the answer to a list call. Count is the total over all pages; Next is there if there are more.
type page struct {
	Count   *int              `json:"count"`
	Results []json.RawMessage `json:"results"`
	Next    string            `json:"next"`
}

func parsePage(x *exchange, cl call) (*page, error) {
	p := new(page)
	if err := json.Unmarshal(x.body, p); err != nil || p.Count == nil || p.Results == nil || *p.Count < 0 {
		return nil, badAnswer(x, cl.route, "the answer is no list with count and results")
	}
	return p, nil
}

// identity is what all objects and inventory items have.
type identity struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
}

func identify(raw json.RawMessage) identity {
	var id identity
	_ = json.Unmarshal(raw, &id) // the zero value says it all
	return id
}

// List calls each for every object of a kind or inventory ("pool", "virtualservice-inventory") in a tenant, or in all with
// tenant "*", that query selects. It reads page after page, 200 objects each unless query has page_size.
//
// If the pages do not add up to exactly the number of objects that the Controller counts, because objects came or went
// meanwhile or because an answer is cut short, the error has ReasonIncomplete. Each may have been called for some objects by
// then: what it collected is worth nothing, and must not be taken for the whole. An error of each ends the list and is
// returned as it is.
func (c *Client) List(ctx context.Context, kind, tenant string, query url.Values, each func(json.RawMessage) error) error {
	cl, err := c.object(http.MethodGet, model.Kind(kind), tenant, nil)
	if err != nil {
		return err
	}
	q := clone(query)
	if !q.Has("page_size") {
		q.Set("page_size", strconv.Itoa(pageSize))
	}
	incomplete := func(tenant, format string, args ...any) error {
		return &Error{
			Method: cl.method, Route: cl.route, Tenant: tenant, Message: "incomplete list: " + fmt.Sprintf(format, args...),
			Class: Transient, Reason: ReasonIncomplete,
		}
	}

	t := tally{seen: make(map[string]bool)}
	for n := 1; ; n++ {
		q.Set("page", strconv.Itoa(n))
		cl.query = q.Encode()
		x, err := c.do(ctx, cl)
		if n > 1 && ReasonOf(err) == ReasonNotFound {
			return incomplete(cl.tenant, "page %d is gone", n)
		}
		if err != nil {
			return err
		}
		p, err := parsePage(x, cl)
		if err != nil {
			return err
		}
		if wrong := t.add(n, p); wrong != "" {
			return incomplete(x.tenant, "%s", wrong)
		}
		for _, raw := range p.Results {
			if err := each(raw); err != nil {
				return err
			}
		}
		if t.got == t.total {
			return nil
		}
	}
}

// tally adds the pages of a list up.
type tally struct {
	total int             // what the Controller counts
	size  int             // of the first page: the Controller may cap page_size
	got   int             // objects so far
	seen  map[string]bool // their UUIDs
}

// add counts page n, from 1, and says why the list can't be complete, "" if it still can.
func (t *tally) add(n int, p *page) (wrong string) {
	if n == 1 {
		t.total, t.size = *p.Count, len(p.Results)
	}
	t.got += len(p.Results)
	switch more := p.Next != ""; {
	case *p.Count != t.total:
		return fmt.Sprintf("the count changed from %d to %d", t.total, *p.Count)
	case t.got > t.total, t.got == t.total && more:
		return fmt.Sprintf("more than the %d objects counted", t.total)
	case t.got < t.total && len(p.Results) < max(t.size, 1):
		return fmt.Sprintf("page %d holds %d objects, the first %d", n, len(p.Results), t.size)
	case t.got < t.total && !more:
		return fmt.Sprintf("no page after %d of %d objects", t.got, t.total)
	}
	for _, raw := range p.Results {
		id := identify(raw).UUID
		if id != "" && t.seen[id] {
			return id + " is on two pages"
		}
		t.seen[id] = true
	}
	return ""
}
