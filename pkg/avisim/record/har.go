// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The parts of an HTTP Archive 1.2 that are filled here.
type (
	har struct {
		Log harLog `json:"log"`
	}
	harLog struct {
		Version string     `json:"version"`
		Creator harCreator `json:"creator"`
		Entries []harEntry `json:"entries"`
	}
	harCreator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	harEntry struct {
		Started  string      `json:"startedDateTime"`
		Time     float64     `json:"time"` // ms
		Request  harRequest  `json:"request"`
		Response harResponse `json:"response"`
		Cache    struct{}    `json:"cache"`
		Timings  harTimings  `json:"timings"`
		Comment  string      `json:"comment,omitempty"`
	}
	harRequest struct {
		Method      string    `json:"method"`
		URL         string    `json:"url"`
		HTTPVersion string    `json:"httpVersion"`
		Cookies     []harPair `json:"cookies"`
		Headers     []harPair `json:"headers"`
		Query       []harPair `json:"queryString"`
		PostData    *harBody  `json:"postData,omitempty"`
		HeadersSize int       `json:"headersSize"`
		BodySize    int       `json:"bodySize"`
	}
	harResponse struct {
		Status      int       `json:"status"` // 0: no answer
		StatusText  string    `json:"statusText"`
		HTTPVersion string    `json:"httpVersion"`
		Cookies     []harPair `json:"cookies"`
		Headers     []harPair `json:"headers"`
		Content     harBody   `json:"content"`
		RedirectURL string    `json:"redirectURL"`
		HeadersSize int       `json:"headersSize"`
		BodySize    int       `json:"bodySize"`
	}
	harPair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	harBody struct {
		Size     *int   `json:"size,omitempty"`
		MimeType string `json:"mimeType"`
		Text     string `json:"text"`
	}
	harTimings struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
)

// Archive writes the log, of a server at a host and of a version, as an HTTP Archive 1.2, with secrets masked. A normal one is the same in
// each run that makes the same requests: times are counted, durations and sizes are left out, and uuids, values of _last_modified and the
// server's address are numbered.
func (l *Log) Archive(host, version string, normal bool) ([]byte, error) {
	out := har{harLog{Version: "1.2", Creator: harCreator{"avisim", version}, Entries: []harEntry{}}}
	for i, r := range l.Requests() {
		e := entryOf(r, host)
		if normal {
			e.Started = time.Date(2000, 1, 1, 0, 0, i, 0, time.UTC).Format("2006-01-02T15:04:05.000Z07:00")
			e.Time, e.Timings = 0, harTimings{}
			e.Request.BodySize, e.Response.BodySize, e.Response.Content.Size = -1, -1, new(0) // numbers differ in their digits
		}
		out.Log.Entries = append(out.Log.Entries, e)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil || !normal {
		return b, err
	}
	return normalise(b, host), nil
}

func entryOf(r Request, host string) harEntry {
	ms := float64(r.Took) / float64(time.Millisecond)
	u := "https://" + host + r.Path
	if r.Query != "" {
		u += "?" + r.Query
	}
	e := harEntry{Started: r.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Time: ms, Timings: harTimings{Wait: ms},
		Request: harRequest{Method: r.Method, URL: u, HTTPVersion: "HTTP/1.1", Cookies: []harPair{}, Headers: harHeaders(r.Header),
			Query: []harPair{}, HeadersSize: -1, BodySize: len(harText(r.Body))},
		Response: harResponse{Status: r.Status, StatusText: http.StatusText(r.Status), HTTPVersion: "HTTP/1.1", Cookies: []harPair{},
			Headers: harHeaders(r.ResponseHeader), HeadersSize: -1, BodySize: len(harText(r.Response)),
			Content: harBody{Size: new(len(harText(r.Response))), MimeType: contentType(r.ResponseHeader), Text: harText(r.Response)}}}
	query, _ := url.ParseQuery(r.Query)
	for _, k := range slices.Sorted(maps.Keys(query)) {
		for _, v := range query[k] {
			e.Request.Query = append(e.Request.Query, harPair{k, v})
		}
	}
	if len(r.Body) > 0 {
		e.Request.PostData = &harBody{MimeType: contentType(r.Header), Text: harText(r.Body)}
	}
	if r.Fault != "" {
		e.Comment = "fault: " + r.Fault
	}
	return e
}

func contentType(h http.Header) string {
	if t := h.Get("Content-Type"); t != "" {
		return t
	}
	return "application/json"
}

// harText is a logged body as it was: JSON, or the text that a JSON string holds.
func harText(b json.RawMessage) string {
	var text string
	if json.Unmarshal(b, &text) == nil {
		return text
	}
	return string(b)
}

func harHeaders(h http.Header) []harPair {
	out := []harPair{}
	for _, k := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[k] {
			out = append(out, harPair{k, v})
		}
	}
	return out
}

// What differs from run to run, in the text of an archive, where the bodies' quotes are escaped.
var (
	anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime = []*regexp.Regexp{
		regexp.MustCompile(`(_last_modified\\?":\s*\\?")(\d+)`),
		regexp.MustCompile(`(up_since\\?":\s*\\?")([^"\\]+)`),
		regexp.MustCompile(`(expires_at\\?":\s*\\?")([^"\\]+)`),
		regexp.MustCompile(`(\\?"u?secs\\?":\s*)(\d+)`),
	}
)

// normalise numbers what differs from run to run, in the order in which it appears.
func normalise(b []byte, host string) []byte {
	text := strings.ReplaceAll(string(b), host, "controller")
	var uuids []string
	text = anyUUID.ReplaceAllStringFunc(text, func(u string) string {
		i := slices.Index(uuids, u)
		if i < 0 {
			i, uuids = len(uuids), append(uuids, u)
		}
		return fmt.Sprintf("00000000-0000-0000-0000-%012d", i+1)
	})
	for _, t := range anyTime {
		seen := map[string]int{}
		text = t.ReplaceAllStringFunc(text, func(m string) string {
			parts := t.FindStringSubmatch(m)
			n, ok := seen[parts[2]]
			if !ok {
				n = len(seen) + 1
				seen[parts[2]] = n
			}
			return fmt.Sprintf("%s%d", parts[1], n)
		})
	}
	return []byte(text)
}
