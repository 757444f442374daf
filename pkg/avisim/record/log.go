// SPDX-License-Identifier: Apache-2.0

// Package record keeps the requests that a server got: a log without secrets, counters, and an HTTP Archive.
package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// DefaultLimit is how many bytes of memory a log takes if nothing else is said; bodyLimit is the longest body that an entry keeps.
const (
	DefaultLimit = 128 << 20
	bodyLimit    = 64 << 10
)

// Request is one entry of the request log.
type Request struct {
	ID      int64     `json:"id"` // 1, 2, …, in order of completion; goes on when the log is emptied
	Time    time.Time `json:"time"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Query   string    `json:"query,omitempty"`
	Route   string    `json:"route"`             // path template, e.g. /api/pool/{uuid}
	Type    string    `json:"type"`              // object type, "login", or a special endpoint's first segment
	Tenant  string    `json:"tenant,omitempty"`  // X-Avi-Tenant as sent
	Version string    `json:"version,omitempty"` // X-Avi-Version as sent
	Status  int       `json:"status"`            // 0 if the client got no answer

	// Secrets are masked; a body that is not JSON is a JSON string; nil beyond 64 KiB and with Options.OmitBodies.
	Body     json.RawMessage `json:"body,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`

	// Secrets are masked; nil with Options.OmitBodies. The response's are those that not every answer has.
	Header, ResponseHeader http.Header `json:"-"`

	Fault string        `json:"fault,omitempty"` // names of the faults that took effect, "unnamed" for one that has none
	Took  time.Duration `json:"took"`            // ns, latency and delays included
}

// Counter identifies requests that are counted together.
type Counter struct {
	Method string `json:"method"`
	Route  string `json:"route"` // path template, e.g. /api/pool/{uuid}
	Status int    `json:"status"`
}

// Log keeps the requests that a server got. All methods are safe for concurrent use.
type Log struct {
	omitBodies bool

	mu       sync.Mutex
	passing  sync.RWMutex // held for reading by requests on their way into the log
	entries  []packed     // with consecutive IDs
	size     int          // bytes that the entries cost
	limit    int          // of size; the oldest go first
	lastID   int64
	counters map[Counter]int
}

// New makes an empty log that takes up to limit bytes of memory, or DefaultLimit if that is 0; with omitBodies, it keeps neither bodies
// nor headers.
func New(omitBodies bool, limit int) *Log {
	return &Log{omitBodies: omitBodies, limit: cmp.Or(limit, DefaultLimit), counters: map[Counter]int{}}
}

// Pending is a request on its way into the log. From the processing of a request to its entry in the log nobody reads the log, so that a
// client which has seen what a request did finds it there.
type Pending struct {
	log     *Log
	passing bool
}

// Begin is called when a request arrives; Leave has to be called when it is over.
func (l *Log) Begin() *Pending { return &Pending{log: l} }

// Enter is called when what the request does may become visible.
func (p *Pending) Enter() {
	if !p.passing {
		p.passing = true
		p.log.passing.RLock()
	}
}

// Leave lets others read the log.
func (p *Pending) Leave() {
	if p.passing {
		p.passing = false
		p.log.passing.RUnlock()
	}
}

// Add logs the request. Its secrets are masked and its bodies cut to what is kept, and it gets its ID.
func (p *Pending) Add(entry Request) {
	defer p.Leave()
	l := p.log
	entry.Query = maskText(entry.Query)
	if l.omitBodies {
		entry.Header, entry.ResponseHeader, entry.Body, entry.Response = nil, nil, nil, nil
	} else {
		entry.Header, entry.ResponseHeader = maskHeader(entry.Header), maskHeader(entry.ResponseHeader)
		entry.Body, entry.Response = loggable(entry.Body, entry.Type), loggable(entry.Response, entry.Type)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID++
	entry.ID = l.lastID
	l.counters[Counter{entry.Method, entry.Route, entry.Status}]++
	kept := pack(&entry)
	l.makeRoom(kept.size())
	l.entries = append(l.entries, kept)
	l.size += kept.size()
}

// makeRoom drops the oldest entries, some more than it has to, so that they are not moved for each new one.
func (l *Log) makeRoom(size int) {
	if l.size+size <= l.limit {
		return
	}
	n := 0
	for ; n < len(l.entries) && l.size+size > l.limit-l.limit/16; n++ {
		l.size -= l.entries[n].size()
	}
	l.entries = slices.Clone(l.entries[n:])
}

// last unpacks the last n entries.
func (l *Log) last(n int) []Request {
	out := make([]Request, 0, n)
	for _, p := range l.entries[len(l.entries)-n:] {
		out = append(out, p.unpack())
	}
	return out
}

// LastID is the ID of the last entry.
func (l *Log) LastID() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastID
}

const mask = "********"

// secretWords are parts of the names, in lower case, of fields, form values and headers whose values are secret.
var secretWords = []string{"passw", "secret", "token", "passphrase", "private_key", "privatekey", "community", "authorization",
	"access_key"}

// secretPair finds such values in what is neither JSON nor a whole form.
var secretPair = regexp.MustCompile(`(?i)("?[\w.-]*(?:passw|secret|token|passphrase|private_?key|access_?key)[\w.-]*"?\s*[=:]\s*)("(?:[^"\\]|\\.)*"?|[^&\s,}]+)`)

// suspicious reports whether a text has one of the words, in any case.
func suspicious(s string) bool {
	s = strings.ToLower(s)
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(s, w) })
}

func maskText(s string) string {
	if !suspicious(s) {
		return s
	}
	return secretPair.ReplaceAllString(s, "${1}"+mask)
}

// maskHeader hides cookies, but for their names, and the other secret headers.
func maskHeader(h http.Header) http.Header {
	out := maps.Clone(h)
	for k, values := range out {
		cookies := strings.HasSuffix(k, "Cookie")
		if !cookies && !suspicious(k) {
			continue
		}
		masked := make([]string, len(values))
		for i, v := range values {
			masked[i] = mask
			var pairs []string
			for part := range strings.SplitSeq(v, ";") {
				if name, _, ok := strings.Cut(strings.TrimSpace(part), "="); ok && cookies &&
					!slices.Contains([]string{"expires", "max-age", "path"}, strings.ToLower(name)) {
					pairs = append(pairs, name+"="+mask)
				}
			}
			if len(pairs) > 0 {
				masked[i] = strings.Join(pairs, "; ")
			}
		}
		out[k] = masked
	}
	return out
}

// maskJSON hides secret values in a decoded body of a type.
func maskJSON(v any, typ string) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if _, isText := e.(string); isText && (suspicious(k) || typ == "sslkeyandcertificate" && k == "key") {
				x[k] = mask
			} else {
				x[k] = maskJSON(e, typ)
			}
		}
	case []any:
		for i, e := range x {
			x[i] = maskJSON(e, typ)
		}
	}
	return v
}

// loggable masks the secrets of a body. One without a suspicious word goes as it is: decoding each again would cost more than
// serving it.
func loggable(b []byte, typ string) json.RawMessage {
	if len(b) == 0 || len(b) > bodyLimit {
		return nil
	}
	valid := json.Valid(b)
	if valid && typ != "sslkeyandcertificate" && !suspicious(string(b)) {
		return b
	}
	var v any
	if d := json.NewDecoder(bytes.NewReader(b)); valid {
		d.UseNumber()
		_ = d.Decode(&v) // it is valid
	} else {
		v = maskText(string(b))
	}
	out, err := json.Marshal(maskJSON(v, typ))
	if err != nil {
		return nil
	}
	return out
}

// Requests returns the log: all requests since the start or the last reset, oldest first, in order of completion.
func (l *Log) Requests() []Request {
	l.passing.Lock()
	defer l.passing.Unlock() // see Pending
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last(len(l.entries))
}

// RequestsAfter returns the last entries, at most limit of them, whose IDs are above one.
func (l *Log) RequestsAfter(id int64, limit int) []Request {
	l.passing.Lock()
	defer l.passing.Unlock() // see Pending
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last(max(0, min(int(l.lastID-id), limit, len(l.entries))))
}

// Writes returns the logged POST, PUT, PATCH and DELETE requests under /api, whatever became of them.
func (l *Log) Writes() []Request {
	var out []Request
	for _, r := range l.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(strings.TrimLeft(r.Path, "/"), "api/") {
			out = append(out, r)
		}
	}
	return out
}

// Unexpected returns the logged requests that none of the patterns allows. A pattern is a method and a path template, such as
// "GET /api/pool/{uuid}"; * stands for any method or any part of a segment, ** for any rest of a path.
func (l *Log) Unexpected(allowed ...string) []Request {
	var patterns []*regexp.Regexp
	for _, a := range allowed {
		p := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(strings.Fields(a), " ")), `\*\*`, ".*")
		patterns = append(patterns, regexp.MustCompile("^"+strings.ReplaceAll(p, `\*`, "[^/ ]*")+"$"))
	}
	return slices.DeleteFunc(l.Requests(), func(r Request) bool {
		return slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(r.Method + " " + r.Route) })
	})
}

// Counters returns how many requests each route got, by status.
func (l *Log) Counters() map[Counter]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counters)
}

// ResetRequests empties the log and the counters.
func (l *Log) ResetRequests() {
	l.passing.Lock()
	defer l.passing.Unlock() // see Pending
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.size = nil, 0
	clear(l.counters)
}

// packed is an entry as the log keeps it: one piece of memory. As a Request with its maps, strings and the buffers that they are parts of,
// an entry takes several times as much, which no sum of lengths shows.
type packed []byte

// perEntry is what the log takes for an entry beside its bytes: the slice's header, and the allocator's rounding of small pieces.
const perEntry = 64

// size is what the entry costs in bytes: its own, with what the allocator rounds up.
func (p packed) size() int { return perEntry + len(p) + len(p)/16 }

// wire is a Request in the order in which it is packed.
type wire struct {
	_                                                         struct{} `cbor:",toarray"`
	ID, Time, Took                                            int64
	Method, Path, Query, Route, Type, Tenant, Version, Faults string
	Status                                                    int
	Body, Response                                            []byte
	Header, ResponseHeader                                    http.Header
}

func pack(r *Request) packed {
	b, err := cbor.Marshal(wire{ID: r.ID, Time: r.Time.UnixNano(), Took: int64(r.Took), Method: r.Method, Path: r.Path, Query: r.Query,
		Route: r.Route, Type: r.Type, Tenant: r.Tenant, Version: r.Version, Faults: r.Fault, Status: r.Status, Body: r.Body, Response: r.Response,
		Header: r.Header, ResponseHeader: r.ResponseHeader})
	if err != nil { // texts, numbers and bytes can always be written
		panic("avisim: packing a request: " + err.Error())
	}
	return b
}

func (p packed) unpack() Request {
	var w wire
	if err := anyText.Unmarshal(p, &w); err != nil { // it is what pack wrote
		panic("avisim: unpacking a request: " + err.Error())
	}
	return Request{ID: w.ID, Time: time.Unix(0, w.Time), Took: time.Duration(w.Took), Method: w.Method, Path: w.Path, Query: w.Query,
		Route: w.Route, Type: w.Type, Tenant: w.Tenant, Version: w.Version, Fault: w.Faults, Status: w.Status, Body: w.Body, Response: w.Response,
		Header: w.Header, ResponseHeader: w.ResponseHeader}
}

// anyText reads texts as clients send them, which need not be UTF-8.
var anyText = func() cbor.DecMode {
	m, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil { // the options are constants
		panic(err)
	}
	return m
}()
