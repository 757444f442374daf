// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// BenchmarkSimulator measures the simulated Controller itself, through HTTPS and without its usual latency.
func BenchmarkSimulator(b *testing.B) {
	for range b.N {
		n := number("BENCH_SIMULATED", 10_000)
		x := &load{B: b, n: n, state: filepath.Join(b.TempDir(), "state.json")}
		x.open()
		rows := x.fill()
		rows = append(rows, x.lists()...)
		rows = append(rows, x.single()...)
		rows = append(rows, x.restart()...)
		rows = append(rows, x.empty()...)
		x.sim.Close()
		table(fmt.Sprintf("the simulator alone, %d clients on the same cores, %d virtual services, each with a VsVip, a policy set and two pools of three servers: %d objects",
			concurrency, n, 5*n), rows)
	}
}

// load is a simulator with its clients.
type load struct {
	*testing.B
	n       int
	state   string
	sim     *avisim.Server
	clients []*aviClient
	heap    uint64 // before anything was made
}

// aviClient is a session.
type aviClient struct {
	http *http.Client
	csrf string
	base string
}

func (x *load) check(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *load) open() {
	var err error
	x.sim, err = avisim.New(avisim.Options{OmitBodies: true, StateFile: x.state})
	x.check(err)
	x.check(x.sim.Start())
	x.heap = heap()
	x.clients = nil
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(x.sim.CAPEM())
	for range concurrency {
		jar, err := cookiejar.New(nil)
		x.check(err)
		c := &aviClient{base: "https://" + x.sim.Host(), http: &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
		_, cookies, err := c.call(http.MethodPost, "/login", map[string]any{"username": "admin", "password": "avi123$%"})
		x.check(err)
		for _, k := range cookies {
			if k.Name == "csrftoken" {
				c.csrf = k.Value
			}
		}
		x.clients = append(x.clients, c)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one may have found the sweep of another unfinished
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (c *aviClient) call(method, path string, body any) ([]byte, []*http.Cookie, error) {
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		in = bytes.NewReader(raw)
	}
	r, err := http.NewRequest(method, c.base+path, in)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Avi-Version", "30.2.1")
	r.Header.Set("X-CSRFToken", c.csrf)
	r.Header.Set("Referer", c.base)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %.300s", method, path, resp.Status, raw)
	}
	return raw, resp.Cookies(), err
}

// each has the clients do something for every virtual service, and returns how long it took.
func (x *load) each(n int, do func(c *aviClient, i int) error) time.Duration {
	x.Helper()
	begin := time.Now()
	var g errgroup.Group
	for k, c := range x.clients {
		g.Go(func() error {
			for i := k; i < n; i += len(x.clients) {
				if err := do(c, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	x.check(g.Wait())
	return time.Since(begin)
}

func perSecond(n int, took time.Duration) string {
	return fmt.Sprintf("%.0f/s", float64(n)/took.Seconds())
}

func name(i int) string { return fmt.Sprintf("bench-%05d", i) }

// tree is a virtual service with its parts, in the order in which they have to be made.
func tree(i int) []struct {
	typ  string
	body map[string]any
} {
	type obj = map[string]any
	n := name(i)
	pool := func(suffix string) obj {
		var servers []obj
		for s := range 3 {
			servers = append(servers,
				obj{"ip": obj{"addr": fmt.Sprintf("10.%d.%d.%d", 100+s, i/250%250, 1+i%250), "type": "V4"}, "port": 30100, "enabled": true})
		}
		return obj{"name": n + suffix, "health_monitor_refs": []string{"/api/healthmonitor?name=System-SCTP"}, "servers": servers,
			"created_by": "bench"}
	}
	rule := func(index, port int, pool string) obj {
		return obj{"name": fmt.Sprint("r", index), "index": index, "match": obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{port}}},
			"action": obj{"select_pool": obj{"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": "/api/pool?name=" + pool}}}
	}
	return []struct {
		typ  string
		body map[string]any
	}{
		{"vsvip", obj{"name": n, "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}}},
		{"pool", pool("-a")}, {"pool", pool("-b")},
		{"l4policyset",
			obj{"name": n, "l4_connection_policy": obj{"rules": []obj{rule(0, 38412, n+"-a"), rule(1, 38413, n+"-b")}}, "created_by": "bench"}},
		{"virtualservice", obj{"name": n, "vsvip_ref": "/api/vsvip?name=" + n, "services": []obj{{"port": 38412}, {"port": 38413}},
			"application_profile_ref": "/api/applicationprofile?name=System-L4-Application", "network_profile_ref": "/api/networkprofile?name=System-SCTP-Proxy",
			"l4_policies": []obj{{"index": 0, "l4_policy_set_ref": "/api/l4policyset?name=" + n}}, "created_by": "bench",
			"markers": []obj{{"key": "clustername", "values": []string{"bench"}}}}},
	}
}

func (x *load) fill() []row {
	var first, last time.Duration
	build := func(c *aviClient, i int) error {
		for _, o := range tree(i) {
			if _, _, err := c.call(http.MethodPost, "/api/"+o.typ, o.body); err != nil {
				return err
			}
		}
		return nil
	}
	tenth := max(1, x.n/10)
	first = x.each(tenth, build)
	middle := x.each(x.n-2*tenth, func(c *aviClient, i int) error { return build(c, tenth+i) })
	last = x.each(tenth, func(c *aviClient, i int) error { return build(c, x.n-tenth+i) })
	used := heap() - x.heap
	return []row{
		{"writes while it fills", perSecond(5*x.n, first+middle+last), fmt.Sprintf("first tenth %s, last tenth %s", perSecond(5*tenth, first), perSecond(5*tenth, last))},
		{"memory", fmt.Sprintf("%.0f MiB, %.1f KiB each virtual service with its tree", float64(used)/(1<<20), float64(used)/1024/float64(x.n)), "heap in use, request bodies not logged"},
	}
}

// pages reads a whole list.
func (x *load) pages(path string) (time.Duration, int) {
	x.Helper()
	begin, count := time.Now(), 0
	for path != "" {
		raw, _, err := x.clients[0].call(http.MethodGet, path, nil)
		x.check(err)
		var page struct {
			Next    string
			Results []json.RawMessage
		}
		x.check(json.Unmarshal(raw, &page))
		count += len(page.Results)
		path = strings.TrimPrefix(page.Next, x.clients[0].base)
	}
	return time.Since(begin), count
}

func (x *load) lists() []row {
	var rows []row
	for _, l := range []struct {
		what, path string
		of         int
	}{
		{"virtual services", "/api/virtualservice?page_size=200", x.n},
		{"virtual services with names, by created_by", "/api/virtualservice?page_size=200&include_name&created_by=bench", x.n},
		{"pools with names, by created_by", "/api/pool?page_size=200&include_name&created_by=bench", 2 * x.n},
		{"inventory of virtual services, with runtime", "/api/virtualservice-inventory?page_size=200", x.n},
		{"virtual services sorted by name, names only", "/api/virtualservice?page_size=200&sort=-name&fields=name", x.n},
	} {
		took, count := x.pages(l.path)
		if count < l.of {
			x.Fatalf("%s: %d of %d", l.what, count, l.of)
		}
		rows = append(rows, row{"list of " + l.what, fmt.Sprintf("%.2f s", took.Seconds()), fmt.Sprintf("%d pages of 200", (count+199)/200)})
	}
	return rows
}

func (x *load) single() []row {
	count := min(x.n, 2000)
	byName := x.each(count, func(c *aviClient, i int) error {
		_, _, err := c.call(http.MethodGet, "/api/virtualservice?name="+name(i*(x.n/count)), nil)
		return err
	})
	patch := x.each(count, func(c *aviClient, i int) error {
		o, _ := x.sim.Object("pool", "admin", name(i*(x.n/count))+"-a")
		_, _, err := c.call(http.MethodPatch, "/api/pool/"+o["uuid"].(string), map[string]any{"add": map[string]any{"servers": []any{
			map[string]any{"ip": map[string]any{"addr": "10.200.0.1", "type": "V4"}, "port": 30100}}}})
		return err
	})
	put := x.each(count, func(c *aviClient, i int) error {
		body := tree(i * (x.n / count))[4].body
		body["description"] = "changed"
		o, _ := x.sim.Object("virtualservice", "admin", body["name"].(string))
		_, _, err := c.call(http.MethodPut, "/api/virtualservice/"+o["uuid"].(string), body)
		return err
	})
	return []row{
		{"reads of one virtual service by name", perSecond(count, byName), ""},
		{"PATCHes of a pool's servers", perSecond(count, patch), ""},
		{"PUTs of a virtual service", perSecond(count, put), ""},
	}
}

func (x *load) restart() []row {
	begin := time.Now()
	x.check(x.sim.Save())
	saved := time.Since(begin)
	info, err := os.Stat(x.state)
	x.check(err)
	x.sim.Close()
	begin = time.Now()
	x.open()
	return []row{{"state file", fmt.Sprintf("%.0f MiB, saved in %.2f s, read in %.2f s", float64(info.Size())/(1<<20), saved.Seconds(), time.Since(begin).Seconds()), ""}}
}

// empty deletes everything again, top down.
func (x *load) empty() []row {
	ids := map[string]string{}
	for _, typ := range []string{"virtualservice", "l4policyset", "pool", "vsvip"} {
		for _, o := range x.sim.Objects(typ) {
			ids[typ+" "+o["name"].(string)] = o["uuid"].(string)
		}
	}
	took := x.each(x.n, func(c *aviClient, i int) error {
		parts := tree(i)
		for k := range parts {
			o := parts[len(parts)-1-k]
			if _, _, err := c.call(http.MethodDelete, "/api/"+o.typ+"/"+ids[o.typ+" "+o.body["name"].(string)], nil); err != nil {
				return err
			}
		}
		return nil
	})
	return []row{{"deletes", perSecond(5*x.n, took), ""}}
}
