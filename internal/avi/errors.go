// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Class says what to do about an error. Each maps to one kind of reconcile result.
type Class int

// The classes of error.
const (
	// Terminal errors stay until a person changes something; do not try again before that.
	Terminal Class = iota + 1
	// Wait errors pass by themselves, or by what a person does elsewhere; try again after Error.RetryAfter.
	Wait
	// Transient errors are tried again with a growing delay, not before Error.RetryAfter.
	Transient
	// Conflict errors mean that what was last read of the Controller is out of date; read again and plan again.
	Conflict
)

func (c Class) String() string {
	switch c {
	case Terminal:
		return "Terminal"
	case Wait:
		return "Wait"
	case Transient:
		return "Transient"
	case Conflict:
		return "Conflict"
	}
	return fmt.Sprintf("Class(%d)", int(c))
}

// Reason names an error in CamelCase, fit for a condition's reason or a metric's label.
type Reason string

// The reasons, with the answers of the Controller that they stand for.
const (
	ReasonNotFound      Reason = "NotFound"            // 404, or a name that a complete answer does not hold
	ReasonAlreadyExists Reason = "AlreadyExists"       // 409
	ReasonStale         Reason = "Stale"               // 412: _last_modified is not the stored one
	ReasonReferred      Reason = "Referred"            // a delete refused because other objects refer to this one
	ReasonNoFreeIP      Reason = "NoFreeIP"            // IPAM is exhausted
	ReasonUpgrade       Reason = "ControllerUpgrading" // configuration is closed during an upgrade
	ReasonTenantMissing Reason = "TenantMissing"       // X-Avi-Tenant names no tenant
	ReasonCredentials   Reason = "InvalidCredentials"  // the login was refused
	ReasonSession       Reason = "SessionLost"         // 401 or 419 even after logging in again
	ReasonForbidden     Reason = "Forbidden"           // 403: the account's role does not allow it
	ReasonInvalid       Reason = "Invalid"             // 400 and other 4xx, 500 "Bad pb", or an argument refused before sending
	ReasonVersion       Reason = "APIVersion"          // the Controller refuses the pinned X-Avi-Version, or a field as newer than it
	ReasonRefNotFound   Reason = "RefNotFound"         // a reference in the body names nothing
	ReasonNoEndpoint    Reason = "NoEndpoint"          // 404 that is not the API's own: the path is not served
	ReasonNotUnique     Reason = "NotUnique"           // several objects where there must be one
	ReasonThrottled     Reason = "Throttled"           // 429
	ReasonUnavailable   Reason = "Unavailable"         // no connection, 502, 503, 504, or calls suspended after several of these
	ReasonServerError   Reason = "ServerError"         // other 5xx
	ReasonTLS           Reason = "TLS"                 // the Controller's certificate could not be verified
	ReasonTimeout       Reason = "Timeout"             // Config.Timeout or the caller's deadline passed
	ReasonCanceled      Reason = "Canceled"            // the caller's context was canceled, or the client closed
	ReasonNotLeader     Reason = "NotLeader"           // a write that WithFence kept from being sent
	ReasonIncomplete    Reason = "Incomplete"          // the pages of a list do not add up
	ReasonBadAnswer     Reason = "BadAnswer"           // an answer that is not what the API promises, such as a proxy's page
)

// Error is every error that a Client returns, except those of callbacks. It holds no secret, cookie or token.
type Error struct {
	Method string // HTTP verb
	Route  string // path without the UUID, as in "/api/pool/{uuid}"
	Tenant string // tenant that the request named
	Status int    // HTTP status, 0 if there was no answer
	// Message is the Controller's own text ("error" or "detail" of the body, or the text), or the cause on our side.
	// At most 500 characters, on one line.
	Message string
	// RetryAfter is the shortest sensible delay, from the Retry-After header or the kind of error; 0 if unknown.
	RetryAfter time.Duration
	Class      Class
	Reason     Reason
	Host       string // of the Controller, as configured; empty if nothing was sent to it

	cause error
	sent  bool // the request, or part of it, went out
}

// Error says what was asked, what came back, and what a person can do about it.
func (e *Error) Error() string {
	status := ""
	if e.Status != 0 {
		status = fmt.Sprintf("status %d: ", e.Status)
	}
	return e.request() + ": " + status + e.Cause()
}

// Cause says what is wrong and what a person can do about it, without the call that met it.
func (e *Error) Cause() string {
	what := e.Message
	switch {
	case what != "":
	case e.Status != 0:
		what = strings.ToLower(http.StatusText(e.Status))
	default:
		what = string(e.Reason)
	}
	a := advice[e.Reason]
	if e.Status == 0 && e.Host != "" {
		a = cmp.Or(a, unreached[e.Reason])
	}
	if a == "" {
		return what
	}
	return strings.TrimRight(what, ".") + "; " + a
}

// Call names the call that failed, as in "POST /api/pool in tenant admin, status 400"; empty if none was made.
func (e *Error) Call() string {
	switch {
	case e.Method == "":
		return ""
	case e.Status == 0:
		return e.request()
	}
	return fmt.Sprintf("%s, status %d", e.request(), e.Status)
}

func (e *Error) request() string {
	if e.Tenant == "" {
		return e.Method + " " + e.Route
	}
	return e.Method + " " + e.Route + " in tenant " + e.Tenant
}

// Unwrap returns the cause on our side: of a network error, a context's error, nil for an answer of the Controller.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf returns the Reason of err: "" for nil, and for errors that are not this package's too, unless they are a
// context's.
func ReasonOf(err error) Reason {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, context.Canceled):
		return ReasonCanceled
	}
	return ""
}

// ClassOf returns the Class of err: 0 for nil, Transient for errors that are not this package's.
func ClassOf(err error) Class {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Class
	}
	return Transient
}

// RetryAfterOf returns the shortest sensible delay before err's call is made again, 0 if unknown.
func RetryAfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// Ambiguous reports whether the Controller may have carried out the write that returned err: the request went out, and
// no answer came back or one that does not say. The caller must read the object before it repeats the call. It is false
// for reads.
func Ambiguous(err error) bool {
	var e *Error
	if !errors.As(err, &e) || !e.sent || e.Method == http.MethodGet {
		return false
	}
	switch e.Reason {
	case ReasonUnavailable, ReasonServerError, ReasonTimeout, ReasonCanceled, ReasonBadAnswer:
		return true
	}
	return false
}

// rule is one row of the table that turns answers into errors.
type rule struct {
	method string   // "" matches any
	status int      // 0 matches any
	text   []string // all must occur in the message, whatever the case
	reason Reason
	class  Class
	wait   time.Duration // RetryAfter, if the answer has none
}

// rules is matched from the top; the first hit wins. Texts before statuses: the same refusal comes with different statuses
// from different releases. The texts are those on record from Controllers and in AKO (internal/lib, internal/rest).
var rules = []rule{
	{text: []string{"disallowed during upgrade"}, reason: ReasonUpgrade, class: Wait, wait: 5 * time.Minute},
	{text: []string{"tenant '", "does not exist"}, reason: ReasonTenantMissing, class: Wait, wait: 5 * time.Minute},
	{text: []string{"object is referred by"}, reason: ReasonReferred, class: Transient},
	{text: []string{"system default object"}, reason: ReasonForbidden, class: Terminal},
	{text: []string{"no available free ips"}, reason: ReasonNoFreeIP, class: Wait, wait: 2 * time.Minute},
	{text: []string{"need to reload object data"}, reason: ReasonStale, class: Conflict},
	{text: []string{"introduced in later versions"}, reason: ReasonVersion, class: Terminal},
	{text: []string{"invalid version"}, reason: ReasonVersion, class: Transient},
	{text: []string{"cannot modify vrfcontext"}, reason: ReasonForbidden, class: Terminal},
	{text: []string{"bad pb"}, reason: ReasonInvalid, class: Terminal},

	{status: 400, text: []string{"already exists"}, reason: ReasonAlreadyExists, class: Conflict},
	{status: 400, text: []string{"object not found"}, reason: ReasonRefNotFound, class: Wait, wait: time.Minute},
	{status: 400, text: []string{"vrfcontext not found"}, reason: ReasonRefNotFound, class: Wait, wait: time.Minute},
	{method: http.MethodPost, status: 404, text: []string{"not found"}, reason: ReasonRefNotFound, class: Wait, wait: time.Minute},

	{status: 401, text: []string{"invalid credentials"}, reason: ReasonCredentials, class: Wait, wait: time.Minute},
	{status: 401, reason: ReasonSession, class: Transient},
	{status: 419, reason: ReasonSession, class: Transient},
	{status: 403, reason: ReasonForbidden, class: Terminal},
	{status: 404, reason: ReasonNotFound, class: Conflict},
	{status: 408, reason: ReasonTimeout, class: Transient},
	{status: 409, reason: ReasonAlreadyExists, class: Conflict},
	{status: 412, reason: ReasonStale, class: Conflict},
	{status: 429, reason: ReasonThrottled, class: Transient},
	{status: 502, reason: ReasonUnavailable, class: Transient},
	{status: 503, reason: ReasonUnavailable, class: Transient},
	{status: 504, reason: ReasonUnavailable, class: Transient},
}

// match finds the rule for an answer that is no success.
func match(method string, status int, message string) rule {
	message = strings.ToLower(message)
next:
	for _, r := range rules {
		if r.method != "" && r.method != method || r.status != 0 && r.status != status {
			continue
		}
		for _, t := range r.text {
			if !strings.Contains(message, t) {
				continue next
			}
		}
		return r
	}
	switch {
	case status >= 500:
		return rule{reason: ReasonServerError, class: Transient}
	case status >= 400:
		return rule{reason: ReasonInvalid, class: Terminal}
	}
	return rule{reason: ReasonBadAnswer, class: Transient} // a redirect, or a 1xx or 2xx without meaning here
}

// advice is what a person can do, for the errors that need one.
var advice = map[Reason]string{
	ReasonNoFreeIP:      "add addresses to the VIP network or choose another network",
	ReasonUpgrade:       "wait for the upgrade to end",
	ReasonTenantMissing: "create the tenant or correct its name in the settings",
	ReasonCredentials:   "correct the username and password or token in the Secret",
	ReasonForbidden:     "give the operator's account a role that allows this",
	ReasonVersion:       "lower the configured API version to one that the Controller knows",
	ReasonRefNotFound:   "create the object that is referred to or correct its name",
	ReasonNotUnique:     "rename or remove the other objects of this name",
	ReasonTLS:           "configure the CA that signed the Controller's certificate and a host name that the certificate holds",
	ReasonNoEndpoint:    "check the host and the Controller's release",
	ReasonBadAnswer:     "check that the host is the Controller itself",
}

// unreached is what a person can do where the Controller gave no answer.
var unreached = map[Reason]string{
	ReasonUnavailable: "check controllerIP, and the way from the operator's pods to the Controller",
	ReasonTimeout:     "check controllerIP, and the way from the operator's pods to the Controller",
}

// invalid is an argument refused before anything is sent.
func invalid(method, route, format string, args ...any) *Error {
	return &Error{
		Method: method, Route: route, Message: fmt.Sprintf(format, args...),
		Class: Terminal, Reason: ReasonInvalid,
	}
}
