// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

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
