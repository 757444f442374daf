// SPDX-License-Identifier: Apache-2.0

// Package browser drives the simulator's page in a real browser, as a person would: it looks, clicks and types. It is a module
// of its own, so that the operator does not depend on the library that speaks to the browser.
package browser

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
)

// Names as somebody would give them who wants the page to run a script. Each would leave a mark if it did.
const (
	hostileVS   = `<img src=x onerror="window.pwned='vs'">`
	hostilePool = `"><script>window.pwned='pool'</script>`
	hostileHost = `<svg/onload=window.pwned='host'>`
)

// tab is a page of the simulator in a browser.
type tab struct {
	*testing.T
	ctx  context.Context
	sim  *avisim.Server
	addr string // of the control listener
	stop func() // ends the control listener

	mu       sync.Mutex
	problems []string
}

// chromium finds the browser. Without one the tests fail: make test-browser installs it.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Fatal("no Chromium on this machine: run make test-browser, which installs Debian's package chromium, or install it and name it in CHROMIUM")
	return ""
}

// open starts a simulator and opens its page.
func open(t *testing.T) *tab {
	t.Helper()
	sim, err := avisim.New(avisim.Options{})
	if err == nil {
		err = sim.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	b := &tab{T: t, sim: sim, addr: "127.0.0.1:0"}
	b.serve()
	t.Cleanup(func() { b.stop() })

	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WindowSize(1440, 900), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true)}
	ctx, cancelBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancelBrowser)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	b.ctx = ctx
	b.run() // starts the browser
	if err := chromedp.Listen(ctx, b.watch); err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.Navigate("http://" + b.addr + "/"))
	b.until("the page is live", `document.querySelector("#live").dataset.state === "on"`)
	return b
}

// serve starts the control listener, on the address that it had before if there was one.
func (b *tab) serve() {
	b.Helper()
	var l net.Listener
	var err error
	for range 50 {
		if l, err = net.Listen("tcp", b.addr); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.New(b.sim).Serve(ctx, l) }()
	b.stop = func() { cancel(); <-done }
}

// watch notes what must not happen: requests to anybody else, errors in the console, dialogs.
func (b *tab) watch(event any) {
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, fmt.Sprintf(format, args...))
	}
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "http://"+b.addr+"/") {
			note("asked for %s", e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		note("exception: %+v", e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			note("console: %s %+v", e.Type, e.Args)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			note("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *page.EventJavascriptDialogOpening:
		note("dialog: %s", e.Message)
	}
}

// clean fails the test if anything happened that must not, and forgets it.
func (b *tab) clean() {
	b.Helper()
	if pwned := b.text(`String(window.pwned)`); pwned != "undefined" {
		b.Errorf("a name was executed: %s", pwned)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.Error(p)
	}
	b.problems = nil
}

// expected forgets problems that are none.
func (b *tab) expected(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = slices.DeleteFunc(b.problems, func(p string) bool { return strings.Contains(p, part) })
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// js runs an expression in the page, and waits for a promise.
func js[T any](b *tab, expression string) T {
	b.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise, chromedp.EvalAsValue))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return out
}

// set gives a field a value as typing would.
func (b *tab) set(selector, value string) {
	b.Helper()
	js[bool](b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; for (const n of ["input", "change"]) e.dispatchEvent(new Event(n, { bubbles: true })); return true; })()`, selector, value))
}

// text is the value of a JavaScript expression that is a string.
func (b *tab) text(expression string) string {
	b.Helper()
	return js[string](b, expression)
}

// until waits for a JavaScript expression to be true.
func (b *tab) until(what, expression string) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(30 * time.Millisecond) {
		if js[bool](b, "Boolean("+expression+")") {
			return
		}
	}
	b.picture("failed")
	b.Fatalf("not within 20 s: %s (%s)", what, expression)
}

func (b *tab) click(selector string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(selector)); err != nil {
		b.picture("failed")
		b.Fatalf("clicking %s: %v", selector, err)
	}
}

// picture writes what the browser shows into the folder of BROWSER_PICTURES, for a person to look at.
func (b *tab) picture(name string) {
	b.Helper()
	dir := os.Getenv("BROWSER_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

type obj = map[string]any

func (b *tab) create(typ string, body obj) {
	b.Helper()
	if _, err := b.sim.Create(typ, "admin", body); err != nil {
		b.Fatal(err)
	}
}

// service makes a virtual service with a VsVip, a rule to a pool and, if it has more servers, one to a pool group.
func (b *tab) service(name, vip string, servers ...string) {
	b.Helper()
	by := func(typ, n string) string { return "/api/" + typ + "?name=" + url.QueryEscape(n) }
	list := func(ips []string) (out []obj) {
		for _, ip := range ips {
			out = append(out, obj{"ip": obj{"addr": ip, "type": "V4"}, "port": 30100})
		}
		return out
	}
	b.create("vsvip",
		obj{"name": name, "vip": []obj{{"vip_id": "0", "ip_address": obj{"addr": vip, "type": "V4"}}},
			"dns_info": []obj{{"fqdn": "app.demo.avi.local"}}})
	b.create("pool", obj{"name": name + "-a", "servers": list(servers[:1])})
	b.create("pool", obj{"name": name + "-b", "servers": list(servers[1:])})
	b.create("poolgroup",
		obj{"name": name + "-group",
			"members": []obj{{"pool_ref": by("pool", name+"-a"), "ratio": 3}, {"pool_ref": by("pool", name+"-b"), "ratio": 1}}})
	match := func(port int, protocol string) obj {
		return obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{port}},
			"protocol": obj{"match_criteria": "IS_IN", "protocol": "PROTOCOL_" + protocol}}
	}
	b.create("l4policyset", obj{"name": name, "l4_connection_policy": obj{"rules": []obj{
		{"name": "sctp", "index": 0, "match": match(38412, "SCTP"),
			"action": obj{"select_pool": obj{"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": by("pool", name+"-a")}}},
		{"name": "tcp", "index": 1, "match": match(443, "TCP"),
			"action": obj{"select_pool": obj{"action_type": "L4_RULE_ACTION_SELECT_POOLGROUP", "pool_group_ref": by("poolgroup", name+"-group")}}},
	}}})
	b.create("virtualservice", obj{"name": name, "vsvip_ref": by("vsvip", name), "services": []obj{
		{"port": 38412, "override_network_profile_ref": by("networkprofile", "System-SCTP-Proxy")}, {"port": 443}},
		"l4_policies": []obj{{"index": 0, "l4_policy_set_ref": by("l4policyset", name)}}})
}

// client is one that speaks to the Controller's API.
type client struct {
	*tab
	http *http.Client
	csrf string
}

func (b *tab) client() *client {
	b.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	c := &client{tab: b,
		http: &http.Client{Jar: jar, Timeout: 10 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	b.Cleanup(c.http.CloseIdleConnections)
	c.do("POST", "/login", obj{"username": "admin", "password": "avi123$%"})
	for _, k := range c.http.Jar.Cookies(&url.URL{Scheme: "https", Host: b.sim.Host(), Path: "/"}) {
		if k.Name == "csrftoken" {
			c.csrf = k.Value
		}
	}
	return c
}

func (c *client) do(method, path string, body any) (status int, out obj) {
	c.Helper()
	in, err := json.Marshal(body)
	if err != nil {
		c.Fatal(err)
	}
	r, err := http.NewRequest(method, "https://"+c.sim.Host()+path, bytes.NewReader(in))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("X-Avi-Version", "30.2.1")
	r.Header.Set("X-CSRFToken", c.csrf)
	resp, err := c.http.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	_ = json.Unmarshal(raw, &out) // not all answers are JSON
	return resp.StatusCode, out
}

// state is what the API says about a virtual service.
func (c *client) state(name string) string {
	c.Helper()
	_, list := c.do("GET", "/api/virtualservice-inventory?name="+url.QueryEscape(name), nil)
	results, _ := list["results"].([]any)
	if len(results) != 1 {
		c.Fatalf("%v", list)
	}
	rt := results[0].(obj)["runtime"].(obj)
	return rt["oper_status"].(obj)["state"].(string)
}

func row(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".vs")].find((e) => e.dataset.name === %q)`, name)
}

// TestPage follows a person who looks at a simulator, breaks it and fixes it.
func TestPage(t *testing.T) {
	b := open(t)
	b.until("it says that there is nothing, and how to begin", `(() => { const t = document.querySelector("#tree .empty")?.innerText || ""; return t.startsWith("No virtual services yet") && t.includes("https://`+b.sim.Host()+`") && t.includes("controllerIP"); })()`)
	js[string](b, `window.mark = "not reloaded"`)

	// What is created appears by itself.
	b.service("core-amf", "10.10.1.5", "10.244.1.11", "10.244.2.12", "10.244.3.13")
	b.service(hostileVS, "10.10.1.6", "10.244.1.14", "10.244.1.15")
	for i := range 9 {
		b.service(fmt.Sprintf("tenant-%d-signalling", i), fmt.Sprintf("10.10.2.%d", i+1), fmt.Sprintf("10.244.4.%d", i+1),
			fmt.Sprintf("10.244.5.%d", i+1))
	}
	b.create("pool",
		obj{"name": hostilePool, "servers": []obj{{"ip": obj{"addr": "10.244.9.9", "type": "V4"}, "port": 1, "hostname": hostileHost}}})
	b.create("virtualservice",
		obj{"name": "plain", "pool_ref": "/api/pool?name=" + url.QueryEscape(hostilePool), "services": []obj{{"port": 80}},
			"vip": []obj{{"vip_id": "0", "ip_address": obj{"addr": "10.10.1.7", "type": "V4"}}}})
	b.until("all rows are there", `document.querySelectorAll(".vs").length === 12`)
	b.until("the tiles count them", `document.querySelector("#n-total").textContent === "12" && document.querySelector("#n-up").textContent === "12"`)

	if expanded := b.text(`document.querySelector(".head").getAttribute("aria-expanded")`); expanded != "false" {
		t.Errorf("closed is %q to a screen reader", expanded)
	}

	// Opened with the keyboard: / finds the search, Tab leads on.
	if focus := b.text(`document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true })), document.activeElement.id`); focus != "search" {
		t.Errorf("/ leads to %q", focus)
	}
	b.run(chromedp.KeyEvent("core"))
	b.until("the search leaves one", `document.querySelectorAll(".vs").length === 1`)
	b.run(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until("the tree shows VIP, rules, pools and servers", `(() => { const t = `+row("core-amf")+`.innerText; return ["10.10.1.5", "app.demo.avi.local", "38412 SCTP", "443 TCP", "core-amf-group", "× 3", "core-amf-b", "10.244.3.13:30100"].every((x) => t.includes(x)); })()`)
	b.until("each port has a protocol", row("core-amf")+`.querySelector(".head").innerText.includes("38412 SCTP")`)

	// Its objects are looked at, with what they say of Kubernetes.
	b.click(`[data-object="virtualservice"]`)
	b.until("the object is shown", `(() => { const d = document.querySelector("#object"), t = d.innerText; return d.open && ["virtualservice core-amf", "tenant admin", "No marker names", '"vsvip_ref"'].every((x) => t.includes(x)); })()`)
	b.picture("object")
	b.click("#object-close")
	b.until("and closed", `!document.querySelector("#object").open`)
	b.set("#search", "")
	b.until("all are back", `document.querySelectorAll(".vs").length === 12`)

	c := b.client()
	if got := c.state("core-amf"); got != "OPER_UP" {
		t.Fatal(got)
	}

	// Servers are set down by clicking: the pool and the virtual service turn red, on the page and in the API.
	b.click(`[data-server="10.244.1.11:30100"]`)
	b.until("the pool is red", `document.querySelector('[data-pool="core-amf-a"] .badge').dataset.health === "down"`)
	if down := b.text(row("core-amf") + `.querySelector(".head .badge").textContent`); down != "UP" {
		t.Errorf("with a pool left it is %s", down)
	}
	b.click(`[data-server="10.244.2.12:30100"]`)
	b.click(`[data-server="10.244.3.13:30100"]`)
	b.until("the virtual service is red", row("core-amf")+`.dataset.health === "down" && `+row("core-amf")+`.querySelector(".head .badge").textContent === "DOWN"`)
	b.until("so is the tile", `document.querySelector("#n-down").textContent === "1"`)
	if got := c.state("core-amf"); got != "OPER_DOWN" {
		t.Error(got)
	}
	b.picture("down")

	// A fault from the form strikes a client, until it is removed.
	b.run(chromedp.Focus("#tab-requests"), chromedp.KeyEvent(kb.ArrowRight))
	b.until("the arrow key leads to the faults", `!document.querySelector("#pane-faults").hidden`)
	b.set("#effect", "answer")
	b.set(`[name="param-status"]`, "abc")
	b.click("#add-fault")
	b.until("a mistake is told", `document.querySelector("#fault-error").textContent.includes("not a whole number")`)
	b.expected("status of 400") // which the browser logs, too
	b.set(`[name="param-status"]`, "429")
	b.set(`[name="param-retry_after"]`, "7")
	b.click("#fault-form summary")
	b.set(`#fault-form [name="type"]`, "pool")
	b.set(`#fault-form [name="name"]`, hostileHost)
	b.click("#add-fault")
	b.until("it is listed", `document.querySelector(".fault-item code")?.textContent.startsWith("answer") && document.querySelector("#n-faults").textContent === "1"`)
	if status, _ := c.do("GET", "/api/pool", nil); status != 429 {
		t.Errorf("status %d", status)
	}
	if status, _ := c.do("GET", "/api/vsvip", nil); status != 200 {
		t.Errorf("status %d", status)
	}
	b.until("it says how often", `document.querySelector(".fault-item").innerText.includes("struck 1×")`)
	b.picture("fault")
	b.click(`.fault-item button`)
	b.until("it is gone", `!document.querySelector(".fault-item") && document.querySelector("#n-faults").textContent === "0"`)
	if status, _ := c.do("GET", "/api/pool", nil); status != 200 {
		t.Errorf("status %d", status)
	}

	// The request log, with what a client put into it.
	_, _ = c.do("GET", "/api/%3Cimg%20src=x%20onerror=window.pwned='path'%3E?x=%3Cb%3E", nil)
	_, _ = c.do("POST", "/api/pool", obj{"name": "made by a client", "description": "<script>window.pwned='body'</script>"})
	b.click("#tab-requests")
	b.until("requests and their colours", `document.querySelector('#requests .status[data-class="4"]') && document.querySelector('#requests .status[data-class="2"]') && document.querySelector("#requests").innerText.includes("onerror")`)
	b.set("#request-filter", "/api/pool 201")
	b.until("the filter leaves one", `document.querySelectorAll("#requests .entry").length === 1`)
	b.click("#requests .entry")
	b.until("its bodies are shown", `document.querySelector("#requests pre").textContent.includes("<script>window.pwned='body'</script>")`)
	b.picture("request")
	b.set("#request-filter", "")
	b.click("#writes-only")
	b.until("only writes are left", `document.querySelectorAll("#requests .entry").length > 0 && ![...document.querySelectorAll("#requests .method")].some((m) => m.textContent === "GET")`)
	b.click("#writes-only")
	b.click("#tab-changes")
	b.until("what changed last", `document.querySelector("#changes").innerText.includes("made by a client")`)
	if err := b.sim.Edit("pool", "admin", "made by a client", func(o map[string]any) { o["description"] = "changed" }); err != nil {
		t.Fatal(err)
	}
	b.until("and in which field", `document.querySelector("#changes .field")?.textContent.startsWith("description: ")`)
	b.click("#tab-counters")
	b.until("counters", `[...document.querySelectorAll("#counters tr")].some((r) => r.innerText.includes("/api/pool") && r.innerText.includes("429"))`)

	// A simulator that goes and comes back is noticed, without a reload.
	b.clean()
	b.stop()
	b.until("it is seen to be gone", `document.querySelector("#live").dataset.state === "off"`)
	b.serve()
	b.sim.SetServerHealth("10.244.1.11", 30100, true, "")
	b.until("it is live again", `document.querySelector("#live").dataset.state === "on"`)
	b.until("and current", row("core-amf")+`.dataset.health === "up"`)
	b.expected("net::ERR_") // connections that were refused meanwhile
	if mark := b.text(`String(window.mark)`); mark != "not reloaded" {
		t.Error("the page was reloaded")
	}

	// Light and dark.
	background := `getComputedStyle(document.body).backgroundColor`
	b.click("#theme")
	light := b.text(background)
	b.picture("light")
	b.click("#theme")
	if dark := b.text(background); dark == light {
		t.Errorf("both are %s", light)
	}
	b.click("#tab-requests")
	b.set("#request-filter", "")
	b.picture("dark")
	b.clean()
}

// TestSmallScreen shows that the page can be used on a phone: nothing has to be pushed sideways, and each name can be read.
func TestSmallScreen(t *testing.T) {
	b := open(t)
	const name = "a-cluster--core-amf-with-a-rather-long-name"
	if _, err := b.sim.Create("pool", "admin", obj{"name": name, "markers": []obj{
		{"key": "Namespace", "values": []string{"core"}}, {"key": "ServiceName", "values": []string{"amf"}}}}); err != nil {
		t.Fatal(err)
	}
	b.service("core-amf", "10.10.1.5", "10.244.1.11", "10.244.2.12", "10.244.3.13")
	b.service(name, "10.10.1.6", "10.244.1.14", "10.244.1.15")
	b.run(chromedp.EmulateViewport(390, 844))
	b.until("the rows are there", `document.querySelectorAll(".vs").length === 2`)
	fits := `document.documentElement.scrollWidth <= 390`
	b.until("the page is as wide as the screen", fits)
	b.until("the name is there, with its address and its state", `(() => { const h = `+row(name)+`.querySelector(".head"), n = h.querySelector(".name");
		return n.offsetWidth > 0 && n.scrollWidth <= n.clientWidth && ["10.10.1.6", "38412 SCTP", "UP"].every((x) => h.innerText.includes(x)); })()`)
	js[string](b, row(name)+`.querySelector(".head").click(), ""`)
	b.until("opened it still fits", `!`+row(name)+`.querySelector(".body").hidden && `+fits)
	js[string](b, row(name)+`.querySelector("[data-object]").click(), ""`)
	b.until("so does an object", `document.querySelector("#object").open && `+fits+` && document.querySelector("#object").getBoundingClientRect().right <= 390`)
	b.picture("small")
	b.clean()
}

// TestForeignPage shows that another site's page can neither read nor change anything.
func TestForeignPage(t *testing.T) {
	b := open(t)
	b.clean()
	evil := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!doctype html><title>elsewhere</title>")
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := evil.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	defer evil.Close()
	b.run(chromedp.Navigate("http://" + l.Addr().String() + "/"))
	attack := fmt.Sprintf(`(async () => {
		const out = [];
		for (const mode of ["no-cors", "cors"]) {
			try { const r = await fetch("http://%[1]s/faults", { method: "POST", mode, body: '{"effects":[{"effect":"upgrade"}]}' }); out.push(r.type); } catch { out.push("refused"); }
		}
		try { await (await fetch("http://%[1]s/tree")).text(); out.push("read"); } catch { out.push("refused"); }
		return out.join(" ");
	})()`, b.addr)
	if got := b.text(attack); got != "refused refused refused" {
		t.Error(got)
	}
	if n := len(b.sim.Faults()); n != 0 {
		t.Errorf("%d faults", n)
	}
	if s := b.sim.Status(); s.Upgrade {
		t.Error("upgrading")
	}
}

// TestManyServices shows that the page stays small and live with ten thousand virtual services.
func TestManyServices(t *testing.T) {
	b := open(t)
	for i := range 10_000 {
		n := fmt.Sprintf("s%05d", i)
		b.create("pool",
			obj{"name": n, "servers": []obj{{"ip": obj{"addr": fmt.Sprintf("10.8.%d.%d", i/250, i%250+1), "type": "V4"}, "port": 80}}})
		b.create("virtualservice", obj{"name": n, "pool_ref": "/api/pool?name=" + n, "services": []obj{{"port": 80}},
			"vip": []obj{{"vip_id": "0", "ip_address": obj{"addr": fmt.Sprintf("10.9.%d.%d", i/250, i%250+1), "type": "V4"}}}})
	}
	b.until("all are counted", `document.querySelector("#n-total").textContent.replace(/\D/g, "") === "10000"`)
	if rows := b.text(`String(document.querySelectorAll(".vs").length)`); rows != "50" {
		t.Errorf("%s rows", rows)
	}
	b.sim.SetServerHealth("10.8.0.3", 80, false, "unplugged")
	b.until("a change is seen", row("s00002")+`.dataset.health === "down"`)
	b.run(chromedp.SendKeys("#search", "10.8.39.250:80"))
	b.until("the search finds the last one", `document.querySelectorAll(".vs").length === 1 && `+row("s09999"))
	b.set("#search", "")
	b.until("there are pages", `document.querySelector("#pages").textContent.includes("page 1 of 200")`)
	b.click("#next")
	b.until("the next page", row("s00099")+` && document.querySelector("#pages").textContent.includes("page 2 of 200")`)
	b.picture("many")
	b.clean()
}
