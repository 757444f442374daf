// SPDX-License-Identifier: Apache-2.0

package main

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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// memoryGoal is set for the whole of the goal: 10,000 virtual services and 1,000,000 requests in 512 MiB, which takes minutes.
const memoryGoal = "AVISIM_MEMORY_GOAL"

// logShare is the part of a memory limit that the program gives its request log.
const logShare = 4

// TestMemory has the program serve many virtual services and more requests than its log has room for, in a cgroup that limits its memory,
// where it would be killed if it took more. Where no cgroup can be made, the limits that follow from one are given to the program, and the
// memory that it had resident is compared.
func TestMemory(t *testing.T) {
	mib, services, requests, patience := 128, 500, 30_000, time.Minute
	if os.Getenv(memoryGoal) != "" {
		mib, services, requests, patience = 512, 10_000, 1_000_000, 20*time.Minute
	}
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	program, args := build(t), []string{"--latency=0", "--write-latency=0", "--ca-file=" + ca}
	group, err := newMemoryGroup(t, mib)
	if err == nil {
		program = group.wrap(t, program, dir)
	} else {
		t.Logf("no cgroup can be made here, so that the limits are given: %v", err)
		t.Setenv("GOMEMLIMIT", fmt.Sprintf("%dMiB", mib*9/10))
		args = append(args, fmt.Sprint("--log-memory=", mib*9/10/logShare))
	}
	l := launchFor(t, patience, program, args...)
	if want := fmt.Sprintf("keeping within %d MiB of memory, %d of them for the request log", mib*9/10, mib*9/10/logShare); err == nil &&
		!strings.Contains(l.said, want) {
		t.Errorf("in a cgroup of %d MiB it says %q", mib, l.said)
	}
	c := newCaller(t, l.addr, ca)
	begin := time.Now()
	ids := c.fill(services)
	filled := time.Since(begin)
	c.each(requests-4*services, func(i int) error {
		id := ids[i%services]
		if i%10 == 0 {
			_, err := c.call(http.MethodPatch, "/api/virtualservice/"+id, fmt.Sprintf(`{"replace":{"description":"%d"}}`, i))
			return err
		}
		_, err := c.call(http.MethodGet, "/api/virtualservice/"+id+"?include_name=true", "")
		return err
	})
	peak := residentPeak(t, l.cmd.Process.Pid)
	t.Logf("%d virtual services in %s, %d requests in %s, %d MiB resident at most, of %d MiB", services, filled.Round(time.Second), requests,
		time.Since(begin).Round(time.Second), peak>>20, mib)
	if peak > int64(mib)<<20 {
		t.Errorf("%d MiB were resident, and %d are allowed", peak>>20, mib)
	}
	l.stop(t)
}

// residentPeak is the most memory that a process had resident.
func residentPeak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// memoryGroup is a cgroup of either version that limits memory.
type memoryGroup string

func newMemoryGroup(t *testing.T, mib int) (memoryGroup, error) {
	t.Helper()
	root, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, limit = "/sys/fs/cgroup", "memory.max"
	}
	dir, err := os.MkdirTemp(root, "avisim-test-")
	if err != nil {
		return "", err
	}
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // who was in it takes a moment to end
			err := os.Remove(dir)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Error(err)
				return
			}
		}
	})
	return memoryGroup(dir), os.WriteFile(filepath.Join(dir, limit), strconv.AppendInt(nil, int64(mib)<<20, 10), 0)
}

// wrap makes a program that runs another one in the cgroup.
func (g memoryGroup) wrap(t *testing.T, program, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "in-cgroup")
	script := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && exec %s \"$@\"\n", string(g), program)
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// caller is a session of a client that does several things at once.
type caller struct {
	t    *testing.T
	http *http.Client
	base string
	csrf string
}

const callers = 8

func newCaller(t *testing.T, addr, ca string) *caller {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: callers}
	t.Cleanup(transport.CloseIdleConnections)
	c := &caller{t: t, http: &http.Client{Jar: jar, Transport: transport}, base: "https://" + addr}
	if _, err := c.call(http.MethodPost, "/login", `{"username":"admin","password":"avi123$%"}`); err != nil {
		t.Fatal(err)
	}
	return c
}

// call makes a request; the CSRF token of a login is kept.
func (c *caller) call(method, path, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Referer", c.base)
	r.Header.Set("X-Avi-Version", "30.2.1")
	r.Header.Set("X-CSRFToken", c.csrf)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	for _, k := range resp.Cookies() {
		if k.Name == "csrftoken" && path == "/login" {
			c.csrf = k.Value
		}
	}
	var answer bytes.Buffer
	if _, err := io.Copy(&answer, resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s %.300s", method, path, resp.Status, answer.Bytes())
	}
	return answer.Bytes(), nil
}

// each does something so often, and stops at the first error.
func (c *caller) each(n int, do func(i int) error) {
	c.t.Helper()
	var next atomic.Int64
	var failed atomic.Value
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failed.Store(err.Error())
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		c.t.Fatal(err)
	}
}

// fill makes virtual services with their parts, and returns their uuids.
func (c *caller) fill(n int) []string {
	c.t.Helper()
	ids := make([]string, n)
	c.each(n, func(i int) error {
		name := fmt.Sprintf("s%05d", i)
		for _, o := range []struct{ typ, body string }{
			{"vsvip", `{"name":"%[1]s","vip":[{"vip_id":"0","auto_allocate_ip":true}]}`},
			{"pool", `{"name":"%[1]s","health_monitor_refs":["/api/healthmonitor?name=System-SCTP"],` +
				`"servers":[{"ip":{"addr":"10.20.0.1","type":"V4"},"port":30100},{"ip":{"addr":"10.20.0.2","type":"V4"},"port":30100}]}`},
			{"l4policyset", `{"name":"%[1]s","l4_connection_policy":{"rules":[{"name":"r","index":0,` +
				`"match":{"port":{"match_criteria":"IS_IN","ports":[38412]}},` +
				`"action":{"select_pool":{"action_type":"L4_RULE_ACTION_SELECT_POOL","pool_ref":"/api/pool?name=%[1]s"}}}]}}`},
			{"virtualservice", `{"name":"%[1]s","vsvip_ref":"/api/vsvip?name=%[1]s","services":[{"port":38412}],` +
				`"application_profile_ref":"/api/applicationprofile?name=System-L4-Application",` +
				`"network_profile_ref":"/api/networkprofile?name=System-SCTP-Proxy",` +
				`"l4_policies":[{"index":0,"l4_policy_set_ref":"/api/l4policyset?name=%[1]s"}]}`},
		} {
			answer, err := c.call(http.MethodPost, "/api/"+o.typ, fmt.Sprintf(o.body, name))
			if err != nil {
				return err
			}
			var made struct{ UUID string }
			if err := json.Unmarshal(answer, &made); err != nil {
				return err
			}
			ids[i] = made.UUID
		}
		return nil
	})
	return ids
}
