// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	initialDataRoute = "/api/initial-data"
	// renegotiate is the shortest time between two questions for the version that refused requests lead to.
	renegotiate = time.Minute
	// versionFresh is how long an answer is good enough for Client.Version.
	versionFresh = 10 * time.Second
)

// version is what the Controller runs, and what is pinned for it.
type version struct {
	ep    *endpoint
	group singleflight.Group

	mu         sync.Mutex
	controller string // as the Controller says it, "" if unknown
	pinned     string // X-Avi-Version of all calls; kept while controller is asked for again
	dropped    time.Time
	learned    time.Time // when the Controller last said it
}

// get returns the Controller's version and the pinned one, and asks the Controller if they are not known.
func (v *version) get(ctx context.Context) (controller, pinned string, err error) {
	for {
		if c, p := v.known(); c != "" {
			return c, p, nil
		}
		flight := v.group.DoChan("", func() (any, error) {
			if c, _ := v.known(); c != "" {
				return nil, nil
			}
			return nil, v.ask(v.ep.ctx)
		})
		select {
		case <-ctx.Done():
			return "", "", v.ep.interrupted(ctx, http.MethodGet, initialDataRoute)
		case r := <-flight:
			if r.Err != nil {
				return "", "", r.Err
			}
		}
	}
}

// current is get for callers that have to notice a release that changed although the sessions went on: what was learned a while ago is
// asked for again. Where that fails, what is known stands.
func (v *version) current(ctx context.Context) (controller string, err error) {
	v.mu.Lock()
	known, old := v.controller, v.ep.now().Sub(v.learned) >= versionFresh
	v.mu.Unlock()
	if known != "" && old {
		if err := v.ask(ctx); err != nil {
			v.ep.client.log.V(1).Info("The Controller's version can't be asked for again", "known", known, "error", err.Error())
		}
	}
	controller, _, err = v.get(ctx)
	return controller, err
}

func (v *version) known() (controller, pinned string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.controller, v.pinned
}

// ask reads initial-data. It sends neither session nor X-Avi-Version: the one is not needed, and the other is not known.
func (v *version) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.ep.base+initialDataRoute, nil)
	if err != nil {
		return invalid(http.MethodGet, initialDataRoute, "controller host %q: %v", v.ep.cfg.Host, err)
	}
	for k, val := range v.ep.headers {
		req.Header.Set(k, val)
	}
	x := v.ep.send(ctx, req, "initial-data", initialDataRoute)
	if !x.ok() {
		e := v.ep.failure(x, initialDataRoute)
		e.sent = false // the caller's request, that is
		return e
	}
	c := versionOf(x.body)
	if numeric(c) == "" {
		e := badAnswer(x, initialDataRoute, "no version in the answer")
		e.sent = false
		return e
	}
	v.learn(c)
	return nil
}

// learn takes note of the Controller's version, "" if it could not be read.
func (v *version) learn(controller string) {
	if numeric(controller) == "" {
		return
	}
	pinned := v.ep.cfg.Version
	for _, limit := range []string{MaxVersion, numeric(controller)} {
		if newer(pinned, limit) {
			pinned = limit
		}
	}
	v.mu.Lock()
	changed := v.pinned != pinned || v.controller != "" && v.controller != controller
	v.controller, v.pinned, v.learned = controller, pinned, v.ep.now()
	v.mu.Unlock()
	if changed {
		v.ep.client.log.Info("API version chosen", "controller", controller, "pinned", pinned, "max", v.ep.cfg.Version)
	}
}

// drop has the version asked for again before the next call, after the Controller refused the pinned one: it may have been
// upgraded or rolled back. At most once a minute, since a body that no version allows is refused each time.
func (v *version) drop() {
	now := v.ep.now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dropped.IsZero() || now.Sub(v.dropped) >= renegotiate {
		v.controller = ""
		v.dropped = now
	}
}

// numeric returns the leading numbers of a version, "22.1.3" of "22.1.3-2p5"; "" if there are none.
func numeric(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		s = s[:end]
	}
	s = strings.TrimRight(s, ".")
	for part := range strings.SplitSeq(s, ".") {
		if _, err := strconv.Atoi(part); err != nil {
			return ""
		}
	}
	return s
}

// newer reports whether numeric version a is after b. Missing parts count as 0.
func newer(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := part(as, i), part(bs, i)
		if x != y {
			return x > y
		}
	}
	return false
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i]) // numeric has checked it
	return n
}
