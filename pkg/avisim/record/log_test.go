// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestLogKnowsItsCost fills logs with entries of several sizes, as a server makes them, and compares what they say that they cost with
// the memory that is in use.
func TestLogKnowsItsCost(t *testing.T) {
	for _, size := range []int{10, 1000, 9000} {
		l := New(false, 1<<30)
		before := heap()
		for i := range 20_000_000 / (size + 1000) {
			body := fmt.Appendf(make([]byte, 0, 2*size+100), `{"name":"%d %s"}`, i, strings.Repeat("x", size)) // as a reader's buffer is
			h := http.Header{"User-Agent": {"go"}, "Cookie": {fmt.Sprint("avi-sessionid=", i)}, "Referer": {"https://host/"},
				"X-Avi-Version": {"30.2.1"}}
			l.Begin().Add(Request{Time: time.Now(), Method: "POST", Path: "/api/pool", Route: "/api/pool", Type: "pool", Status: 201, Body: body,
				Response: body, Header: h, ResponseHeader: http.Header{"Content-Type": {"application/json"}}})
		}
		used := float64(heap() - before)
		if said := float64(l.size); said < used*0.9 || said > used*1.25 {
			t.Errorf("bodies of %d bytes: %d entries say that they cost %.0f bytes, and take %.0f", size, len(l.entries), said, used)
		}
		runtime.KeepAlive(l)
	}
}

// heap is how many bytes are in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestPacking shows that an entry comes out of the log as it went in.
func TestPacking(t *testing.T) {
	for _, r := range []Request{
		{},
		{ID: 7, Time: time.Unix(3, 4), Took: 5, Method: "PUT", Path: "/a\xff", Query: "b=c", Route: "r", Type: "t", Tenant: "n", Version: "v",
			Status: 200, Body: json.RawMessage(`{}`), Response: json.RawMessage{}, Header: http.Header{"A": {"b", "\xfe"}, "C": {}},
			ResponseHeader: http.Header{}, Fault: "f"},
	} {
		if r.Time.IsZero() {
			r.Time = time.Unix(0, 0)
		}
		if got := pack(&r).unpack(); !reflect.DeepEqual(got, r) {
			t.Errorf("%+v\nbecame %+v", r, got)
		}
	}
}

// TestLogIsBounded shows that the oldest entries go, by number and by size.
func TestLogIsBounded(t *testing.T) {
	const logBytes = 16 << 20
	s := New(false, logBytes)
	body := []byte(`{"name":"` + strings.Repeat("x", bodyLimit-100) + `"}`)
	const entries = 3 * logBytes / bodyLimit / 4 // half as many again as fit
	for range entries {
		s.Begin().Add(Request{Method: "POST", Route: "/api/pool", Type: "pool", Status: 201, Body: body, Response: body})
	}
	log := s.Requests()
	size := 0
	for _, e := range log {
		size += len(e.Body) + len(e.Response)
	}
	if size > logBytes || size < logBytes/4 {
		t.Errorf("%d entries of %d bytes", len(log), size)
	}
	if last := log[len(log)-1].ID; last != entries {
		t.Errorf("last is %d", last)
	}
	if l := s.RequestsAfter(log[len(log)-3].ID, 100); len(l) != 2 {
		t.Errorf("%d after the last but two", len(l))
	}
	if l := s.RequestsAfter(0, 5); len(l) != 5 || l[4].ID != log[len(log)-1].ID {
		t.Errorf("%d of the last five", len(l))
	}
}
