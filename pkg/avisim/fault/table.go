// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"net/http"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Parameters that several effects have.
var (
	forType   = Param{"type", "text", nil, "", "type of the object; that of the request if empty"}
	forTenant = Param{"tenant", "text", nil, "", "its tenant; that of the request, or admin, if empty"}
	forName   = Param{"name", "text", nil, "", "its name; that of the request if empty"}
	retry     = Param{"retry_after", "text", nil, "", "Retry-After header, seconds or a date; none if empty"}
	endpoint1 = Param{"server", "server", nil, "", "ip:port, in all pools that have it"}
)

func status(n string) Param { return Param{"status", "int", nil, n, "HTTP status"} }

// effectTable lists all effects. The grade is about what a client sees: how well it is known that a real Controller, or what
// stands before it, does just this when it is in that trouble.
var effectTable = []effect{
	{"latency", "time", kindRequest, schema.Recorded, "answers late", []Param{
		{"delay", "duration", nil, "1s", "how late; 130s outlasts the clients' time-outs"}, {"jitter", "duration", nil, "0s",
			"up to this much more, at random"},
	}, nil, latency},
	{"hang", "time", kindRequest, schema.Inferred, "never answers; ends when the client gives up", nil, nil, hang},
	{"drip", "time", kindRequest, schema.Inferred, "sends the body in pieces", []Param{
		{"bytes", "int", nil, "1", "size of a piece"}, {"every", "duration", nil, "100ms", "pause before each piece"},
	}, nil, drip},
	{"stall", "time", kindRequest, schema.Inferred, "sends the headers and then nothing", []Param{
		{"for", "duration", nil, "0s", "cut the connection after this; 0 waits for the client to give up"},
	}, nil, stall},

	{"refuse", "connection", kindState, schema.Documented, "connections are refused, open ones cut", nil, nil, refuseConnections},
	{"down", "connection", kindState, schema.Documented, "connections are accepted and cut at once, open ones too", nil, nil, down},
	{"reset-before", "connection", kindRequest, schema.Documented, "cuts the connection without processing", nil, nil,
		always(hooks{final: true, before: noAnswer})},
	{"reset-after", "connection", kindRequest, schema.Documented, "processes, then cuts the connection: the work is done, the answer lost",
		nil, nil, always(hooks{lose: true})},
	{"half-response", "connection", kindRequest, schema.Inferred, "ends the connection in the middle of the body", nil, nil,
		always(hooks{deliver: half})},
	{"tls-failure", "connection", kindState, schema.Inferred, "TLS handshakes fail with an alert; open connections are cut", nil, nil,
		tlsFailure},
	{"new-certificate", "connection", kindAction, schema.Documented,
		"a new CA and certificate, as after a renewal; idle connections are closed", nil, nil,
		always(hooks{act: newCertificate, after: lastOnConnection})},

	{"answer", "answer", kindRequest, schema.Documented, "answers instead of processing", []Param{
		status("503"), {"body", "text", nil, "", "the body; if empty, the usual one of the format and status"},
		{"format", "enum", []string{"usual", "json", "plain", "html", "empty"}, "usual",
			"form of the body and its Content-Type; usual is what a Controller answers with that status, or HTML for what comes from a proxy"},
		{"headers", "headers", nil, "", "further headers, Name: value; Name: value"}, retry,
	}, nil, fixedAnswer},
	{"rate-limit", "answer", kindRequest, schema.Unverified,
		"a token bucket: refuses what is over the rate; controllerproperties' portal_request_rate_limit and portal_request_burst_limit do the same for everything", []Param{
			{"rate", "float", nil, "5", "requests per second"}, {"burst", "int", nil, "5", "size of the bucket"}, status("429"), retry,
		}, nil, rateLimit},

	{"expire-sessions", "session", kindAction, schema.Recorded, "ends all sessions: 401", []Param{
		{"how", "enum", []string{"kill", "idle", "force"}, "kill",
			"kill: gone; idle: not used for longer than api_idle_timeout; force: older than api_force_timeout"},
	}, nil, expireSessions},
	{"switch-session", "session", kindAction, schema.Recorded, "each session is answered once with 419 and is gone then", nil, nil,
		always(hooks{act: switchSessions})},
	{"change-password", "session", kindAction, schema.Documented, "the password is another one", []Param{
		{"username", "text", nil, "", "whose; the user that the server was started with if empty"}, {"password", "text", nil, "changed",
			"the new one"},
		{"sessions", "enum", []string{"switch", "kill", "keep"}, "switch", "what becomes of the user's sessions: 419 once, 401, nothing"},
	}, nil, changePassword},
	{"expire-tokens", "session", kindAction, schema.Documented, "all user tokens are expired", nil, nil, always(hooks{act: expireTokens})},
	{"lock-account", "session", kindState, schema.Unverified, "logins of the user are refused with 401, whatever the password", []Param{
		{"username", "text", nil, "", "whose; the user that the server was started with if empty"},
	}, nil, lockAccount},
	{"rotate-csrf", "session", kindAction, schema.Recorded,
		"the CSRF tokens of all sessions are other ones: 401 for writes until the next login", nil, nil, always(hooks{act: rotateCSRF})},

	{"login-unavailable", "cluster", kindRequest, schema.Documented, "/login is answered with 503, all else works, /api/cluster/status too",
		[]Param{status("503"), retry}, onLogin, unavailable},
	{"status-unavailable", "cluster", kindRequest, schema.Documented, "/api/cluster/status is answered with 503, all else works",
		[]Param{status("503"), retry}, onClusterStatus, unavailable},
	{"booting", "cluster", kindRequest, schema.Documented, "everything is answered with 503, as while the Controller starts",
		[]Param{status("503"), retry}, nil, unavailable},
	{"upgrade", "cluster", kindState, schema.Documented, "writes are refused with 403, reads work", []Param{
		{"version", "version", nil, "", "the version when it is over; the same if empty"},
	}, nil, upgrade},
	{"set-version", "cluster", kindAction, schema.Documented, "the Controller is of another version from now on", []Param{
		{"version", "version", nil, "31.1.1", "the version"},
	}, nil, setVersion},
	{"read-only", "cluster", kindRequest, schema.Unverified, "writes are refused with 403", nil, isWrite,
		always(hooks{final: true, before: readOnly})},
	{"leader-change", "cluster", kindAction, schema.Documented, "another node leads, with a new up_since", []Param{
		{"leader", "text", nil, "node2", "its name"}, {"refuse", "duration", nil, "10s", "how long connections are refused"},
		{"lose", "duration", nil, "0s", "the writes of this last while are lost"},
	}, nil, leaderChange},

	{"need-reload", "concurrency", kindRequest, schema.Documented, "a PUT is refused with 412", nil, isPut,
		always(hooks{final: true, before: usually(http.StatusPreconditionFailed)})},
	{"foreign-edit", "concurrency", kindAction, schema.Documented, "another client changes the object: before a write, after a read",
		[]Param{forType, forTenant, forName,
			{"field", "text", nil, "", "what it changes; only _last_modified if empty"}, {"value", "text", nil, "", "to what, in JSON or as text"},
		}, onObject, foreignEdit},
	{"foreign-delete", "concurrency", kindAction, schema.Documented,
		"another client deletes the object, even if others refer to it: before a write, after a read", []Param{forType, forTenant,
			forName}, onObject, foreignDelete},
	{"foreign-create", "concurrency", kindAction, schema.Documented,
		"another client creates an object of the same name: before a write, after a read", []Param{forType, forTenant,
			forName}, onObject, foreignCreate},
	{"conflict", "concurrency", kindRequest, schema.Documented, "a POST is refused with 409 although there is no such object to be seen", nil,
		isPost, always(hooks{final: true, before: usually(http.StatusConflict)})},
	{"record-not-found", "concurrency", kindRequest, schema.Documented,
		"a POST of a virtual service is refused with 500, as seen on 31.1.1; a second try passes with count 1", nil,
		func(c *api.Call) bool { return isPost(c) && c.Route.Type == "virtualservice" }, always(hooks{final: true, before: recordNotFound})},
	{"hide", "concurrency", kindRequest, schema.Inferred, "lists leave out objects that are there",
		[]Param{{"name", "pattern", nil, "", "names of the objects, a regular expression; all if empty"}}, isList, hide},
	{"stale-reads", "concurrency", kindRequest, schema.Inferred, "reads are answered by a follower that is behind",
		[]Param{{"lag", "duration", nil, "2s", "how far"}}, api.IsRead, staleReads},
	{"duplicate", "concurrency", kindRequest, schema.Inferred, "the request is delivered twice", []Param{
		{"answer", "enum", []string{"second", "first"}, "second", "which of the answers the client gets"},
	}, nil, duplicate},
	{"hidden-referrer", "concurrency", kindRequest, schema.Documented, "a DELETE is refused with 403: something refers to the object", []Param{
		{"by", "text", nil, "VirtualService hidden", "what, as the message spells it: type and name"},
	}, isDelete, hiddenReferrer},

	{"ipam-exhausted", "addresses", kindState, schema.Documented, "no address can be allocated: 400", nil, nil, ipamExhausted},
	{"ipam-slow", "addresses", kindRequest, schema.Documented, "writes of VsVips take long",
		[]Param{{"delay", "duration", nil, "5s", "how long"}, {"jitter", "duration", nil, "0s",
			"up to this much more, at random"}}, isVIPWrite, latency},
	{"ipam-async", "addresses", kindState, schema.Documented, "a VsVip is answered before it has its address",
		[]Param{{"delay", "duration", nil, "5s", "how long it takes"}}, nil, ipamAsync},
	{"ipam-other-address", "addresses", kindRequest, schema.Inferred, "a VsVip gets another address than it prefers", nil, isVIPWrite,
		always(hooks{process: otherAddress})},
	{"ipam-address-changes", "addresses", kindAction, schema.Inferred, "the address of a VsVip becomes another one",
		[]Param{forTenant, forName,
			{"address", "text", nil, "", "the new one; the next that is free if empty"}, {"delay", "duration", nil, "0s",
				"how long after the request"},
		}, isVIPWrite, addressChanges},

	{"page-truncated", "lists", kindRequest, schema.Inferred, "a page has fewer objects than it says",
		[]Param{{"keep", "int", nil, "1", "how many"}}, isList, pageTruncated},
	{"page-loop", "lists", kindRequest, schema.Inferred, "next leads to the same page for ever", nil, isList, always(hooks{after: pageLoop})},
	{"wrong-count", "lists", kindRequest, schema.Inferred, "count is wrong", []Param{{"add", "int", nil, "1", "by how many"}}, isList,
		wrongCount},
	{"page-size-ignored", "lists", kindRequest, schema.Inferred, "pages have another size than asked for",
		[]Param{{"size", "int", nil, "25", "the size"}}, isList, pageSizeIgnored},

	{"unknown-fields", "decoding", kindRequest, schema.Recorded, "objects have fields that no client knows", nil, api.IsRead,
		always(hooks{after: unknownFields})},
	{"drop-fields", "decoding", kindRequest, schema.Inferred, "objects lack fields",
		[]Param{{"fields", "text", nil, "_last_modified", "which, separated by commas"}}, nil, dropFields},
	{"null-lists", "decoding", kindRequest, schema.Inferred, "lists are null",
		[]Param{{"results", "bool", nil, "false", "results of a list too"}}, api.IsRead, nullLists},
	{"unknown-enum", "decoding", kindRequest, schema.Inferred, "an enumeration has a value that no client knows", []Param{
		{"field", "text", nil, "state", "the field, at any depth"}, {"value", "text", nil, "OPER_OF_THE_FUTURE", "the value"},
	}, api.IsRead, unknownEnum},

	{"vs-stuck", "health", kindState, schema.Inferred, "virtual services stay in a state", []Param{
		{"name", "pattern", nil, "", "their names, a regular expression; all if empty"}, {"state", "text", nil, "OPER_RESOURCES", "the state"},
		{"reason", "text", nil, "Insufficient Service Engine resources", "its reason"},
	}, nil, stuck},
	{"server-down", "health", kindState, schema.Documented, "a server is down", []Param{endpoint1,
		{"reason", "text", nil, "Health monitor failed", "its reason"}}, nil, serverDown},
	{"server-flap", "health", kindState, schema.Documented, "a server goes down and up again and again", []Param{endpoint1,
		{"every", "duration", nil, "1s", "how long it is down, and up"}, {"reason", "text", nil, "Health monitor failed", "its reason"},
	}, nil, serverFlap},

	{"clear-faults", "other", kindAction, "–", "removes all faults, this one too", nil, nil,
		always(hooks{act: func(s *Layer, _ *api.Call) error { s.ClearFaults(); return nil }})},
}

// What effects are made for.

func isPost(c *api.Call) bool {
	return c.Request.Method == http.MethodPost && c.Route.API && c.Route.UUID == "" && onObject(c)
}
func isPut(c *api.Call) bool   { return c.Request.Method == http.MethodPut && onObject(c) }
func isWrite(c *api.Call) bool { return !api.IsRead(c) && c.Route.API }
func isDelete(c *api.Call) bool {
	return c.Request.Method == http.MethodDelete && onObject(c)
}
func isList(c *api.Call) bool  { return api.IsRead(c) && c.Route.UUID == "" && onObject(c) }
func onLogin(c *api.Call) bool { return !c.Route.API && c.Route.Type == "login" }
func onClusterStatus(c *api.Call) bool {
	return c.Route.API && c.Route.Type == "cluster" && c.Route.UUID == "status"
}
func isVIPWrite(c *api.Call) bool {
	return c.Route.Type == "vsvip" && slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, c.Request.Method)
}

// onObject reports whether a request is about objects of a stored type.
func onObject(c *api.Call) bool { return c.Route.API && world.KindOf(c.Route.Type) != nil }

// always makes the build function of an effect without parameters.
func always(h hooks) func(args, *chance) hooks { return func(args, *chance) hooks { return h } }

func usually(status int) func(*Layer, *api.Call) *api.Answer {
	return func(_ *Layer, c *api.Call) *api.Answer { return api.Usual(c, status) }
}

func recordNotFound(*Layer, *api.Call) *api.Answer {
	return api.Refused(http.StatusInternalServerError, "record not found")
}

func noAnswer(*Layer, *api.Call) *api.Answer { return api.Cut }

func readOnly(*Layer, *api.Call) *api.Answer {
	return api.Refused(http.StatusForbidden, "The system is in read-only mode") // the text is unverified
}

func hiddenReferrer(a args, _ *chance) hooks {
	return hooks{final: true, before: func(*Layer, *api.Call) *api.Answer {
		return api.Refused(http.StatusForbidden, "Cannot delete, object is referred by: %s", world.Quote(strings.Split(a.text("by"), ", ")))
	}}
}
