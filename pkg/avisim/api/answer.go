// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Answer is a whole response, kept apart from the connection so that it can be logged, replaced or thrown away.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	bare   bool // from before the application was reached: without its headers
}

// Set sets a header of the answer.
func (a *Answer) Set(key, value string) {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set(key, value)
}

// slow is how long a write takes whose duration the answer states. Evidence: recorded from 224 ms on, and not below 200.
const slow = 200 * time.Millisecond

// steps are the names under which a duration is told. Evidence: recorded.
var steps = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "update", http.MethodDelete: "destroy"}

// Timing adds how long a write took, where a Controller says it.
func (a *Answer) Timing(method string, took time.Duration) {
	if step := steps[method]; step != "" && took >= slow && a.Status < 300 {
		ms := float64(took.Microseconds()) / 1000
		a.Set("Server-Timing", fmt.Sprintf("%s;dur=%g,total;dur=%g", step, ms, ms))
	}
}

// Reply answers with a JSON body.
func Reply(status int, v any) *Answer {
	b, err := json.Marshal(v)
	if err != nil {
		return &Answer{Status: http.StatusInternalServerError, Body: []byte(err.Error())}
	}
	return &Answer{Status: status, Body: b}
}

// Plain answers with a body that is not JSON although, as recorded, the content type says so.
func Plain(status int, text string) *Answer { return &Answer{Status: status, Body: []byte(text)} }

// detail answers as the Controller's framework does before the application is reached.
func detail(status int, text string) *Answer { return Reply(status, map[string]any{"detail": text}) }

// refusal is the answer that a refusal by the application becomes.
func refusal(e *schema.Refusal) *Answer {
	body := map[string]any{"error": e.Text}
	if e.Object != "" {
		body["obj_name"] = e.Object
	}
	return Reply(e.Status, body)
}

// Refused answers with a refusal.
func Refused(status int, format string, args ...any) *Answer {
	return refusal(schema.Refuse(status, format, args...))
}

// usual are the bodies of statuses that a fault answers with unless it brings its own.
var usual = map[int]string{
	http.StatusBadRequest:          `{"error":"No available free IPs"}`,
	http.StatusUnauthorized:        `{"detail":"Authentication credentials were not provided."}`,
	http.StatusForbidden:           `{"error":"Configuration is disallowed during upgrade"}`,
	http.StatusNotFound:            `{"error":"%s object not found!"}`,
	http.StatusConflict:            `{"error":"%s with this Name, Tenant ref and Cloud ref already exists."}`,
	http.StatusPreconditionFailed:  `{"error":"Need to reload object data %s"}`,
	419:                            `{"error":"Need to switch session"}`,
	http.StatusTooManyRequests:     `{"error":"Too many requests"}`,
	http.StatusInternalServerError: `{"error":"Internal server error"}`,
	http.StatusBadGateway:          "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>",
	http.StatusServiceUnavailable:  "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>",
	http.StatusGatewayTimeout:      "<html><head><title>504 Gateway Time-out</title></head><body><center><h1>504 Gateway Time-out</h1></center></body></html>",
}

// Usual is the answer of a status with the body that clients know it by.
func Usual(c *Call, status int) *Answer {
	body := usual[status]
	title := c.Route.Type
	if kind := world.KindOf(title); kind != nil {
		title = kind.Title
	}
	switch {
	case status == http.StatusUnauthorized && c.Route.Type == "login":
		body = `{"error":"Invalid credentials"}`
	case strings.Contains(body, "%s"):
		body = fmt.Sprintf(body, title)
	}
	return Typed(Plain(status, body))
}

// Typed says that a body is HTML if it looks so; all others go out as JSON, whatever they are.
func Typed(a *Answer) *Answer {
	if len(a.Body) > 0 && a.Body[0] == '<' {
		a.Set("Content-Type", "text/html")
	}
	return a
}

func missing(kind *world.Kind) *Answer {
	return Refused(http.StatusNotFound, "%s object not found!", kind.Title)
}

func notAllowed(c *Call) *Answer {
	return detail(http.StatusMethodNotAllowed, fmt.Sprintf("Method '%s' not allowed.", c.Request.Method)) // documented
}

// notFound answers for an unknown endpoint. Evidence: 404 with a body that is not JSON is documented, the bytes are not.
func notFound() *Answer {
	a := Plain(http.StatusNotFound, "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>")
	a.Set("Content-Type", "text/html")
	return a
}

func parse(b []byte) (map[string]any, *Answer) {
	body, err := doc.Decode(b)
	if err != nil {
		return nil, detail(http.StatusBadRequest, "JSON parse error - "+err.Error())
	}
	return body, nil
}

// fixedHeaders go with every answer. Evidence: recorded.
var fixedHeaders = map[string][]string{
	"Content-Type":                     {"application/json"},
	"Cache-Control":                    {"private, no-cache, must-revalidate"},
	"Vary":                             {"Accept, Cookie", "Origin"},
	"Strict-Transport-Security":        {"max-age=31536000; includeSubdomains"},
	"X-Frame-Options":                  {"SAMEORIGIN"},
	"X-Content-Type-Options":           {"nosniff"},
	"X-Xss-Protection":                 {"1; mode=block"},
	"Referrer-Policy":                  {"strict-origin"},
	"Content-Security-Policy":          {"default-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:;"},
	"Access-Control-Allow-Origin":      {"https://portal.avinetworks.com"},
	"Access-Control-Allow-Credentials": {"true"},
	"Access-Control-Allow-Methods":     {"GET, POST, PUT, DELETE, OPTIONS"},
	"Access-Control-Expose-Headers":    {"X-NEXT-CALL"},
	"Access-Control-Allow-Headers": {"Accept,Authorization,Cache-Control,Content-Type,DNT,If-Modified-Since,Keep-Alive,Origin,User-Agent," +
		"X-Mx-ReqToken,X-Requested-With,X-Avi-Tenant,X-Avi-UserAgent,X-Avi-Tenant-UUID,X-CSRFToken,X-PORTAL-AUTHTOKEN"},
}

// Send writes the answer to a call; deliver, if there is one, writes the body.
func (a *Answer) Send(w http.ResponseWriter, c *Call, deliver func(http.ResponseWriter, *http.Request, []byte)) {
	h := w.Header()
	for k, v := range fixedHeaders {
		if !a.bare || k == "Content-Type" || k == "Cache-Control" {
			h[k] = v
		}
	}
	h["AVI_API_VERSION"] = []string{c.version.Join(".")}
	if c.version == schema.Oldest {
		h["AVI_API_VERSION"] = []string{"16_4_2"}
	}
	if a.bare {
		h.Set("Vary", "Cookie") // recorded
	} else {
		h.Set("Allow", c.allow())
	}
	for k, v := range a.Header {
		h[k] = v
	}
	if deliver != nil {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
		w.WriteHeader(a.Status)
		deliver(w, c.Request, a.Body)
		return
	}
	w.WriteHeader(a.Status)
	if c.Request.Method != http.MethodHead {
		_, _ = w.Write(a.Body) // a client that is gone is not our concern
	}
}

// Cut stands for no answer: the connection is cut.
var Cut = new(Answer)
