package avisim

import (
	"net/http"
	"slices"
	"strings"
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
	{"latency", "time", kindRequest, Recorded, "answers late", []Param{
		{"delay", "duration", nil, "1s", "how late; 130s outlasts the clients' time-outs"}, {"jitter", "duration", nil, "0s", "up to this much more, at random"},
	}, nil, latency},
	{"hang", "time", kindRequest, Inferred, "never answers; ends when the client gives up", nil, nil, hang},
	{"drip", "time", kindRequest, Inferred, "sends the body in pieces", []Param{
		{"bytes", "int", nil, "1", "size of a piece"}, {"every", "duration", nil, "100ms", "pause before each piece"},
	}, nil, drip},
	{"stall", "time", kindRequest, Inferred, "sends the headers and then nothing", []Param{
		{"for", "duration", nil, "0s", "cut the connection after this; 0 waits for the client to give up"},
	}, nil, stall},

	{"refuse", "connection", kindState, Documented, "connections are refused, open ones cut", nil, nil, refuseConnections},
	{"down", "connection", kindState, Documented, "connections are accepted and cut at once, open ones too", nil, nil, down},
	{"reset-before", "connection", kindRequest, Documented, "cuts the connection without processing", nil, nil, always(hooks{final: true, before: noAnswer})},
	{"reset-after", "connection", kindRequest, Documented, "processes, then cuts the connection: the work is done, the answer lost", nil, nil, always(hooks{lose: true})},
	{"half-response", "connection", kindRequest, Inferred, "ends the connection in the middle of the body", nil, nil, always(hooks{deliver: half})},
	{"tls-failure", "connection", kindState, Inferred, "TLS handshakes fail with an alert; open connections are cut", nil, nil, tlsFailure},
	{"new-certificate", "connection", kindAction, Documented, "a new CA and certificate, as after a renewal; idle connections are closed", nil, nil, always(hooks{act: newCertificate, after: lastOnConnection})},

	{"answer", "answer", kindRequest, Documented, "answers instead of processing", []Param{
		status("503"), {"body", "text", nil, "", "the body; if empty, the usual one of the format and status"},
		{"format", "enum", []string{"usual", "json", "plain", "html", "empty"}, "usual", "form of the body and its Content-Type; usual is what a Controller answers with that status, or HTML for what comes from a proxy"},
		{"headers", "headers", nil, "", "further headers, Name: value; Name: value"}, retry,
	}, nil, fixedAnswer},
	{"rate-limit", "answer", kindRequest, Unverified, "a token bucket: refuses what is over the rate; controllerproperties' portal_request_rate_limit and portal_request_burst_limit do the same for everything", []Param{
		{"rate", "float", nil, "5", "requests per second"}, {"burst", "int", nil, "5", "size of the bucket"}, status("429"), retry,
	}, nil, rateLimit},

	{"expire-sessions", "session", kindAction, Recorded, "ends all sessions: 401", []Param{
		{"how", "enum", []string{"kill", "idle", "force"}, "kill", "kill: gone; idle: not used for longer than api_idle_timeout; force: older than api_force_timeout"},
	}, nil, expireSessions},
	{"switch-session", "session", kindAction, Recorded, "each session is answered once with 419 and is gone then", nil, nil, always(hooks{act: switchSessions})},
	{"change-password", "session", kindAction, Documented, "the password is another one", []Param{
		{"username", "text", nil, "", "whose; the user that the server was started with if empty"}, {"password", "text", nil, "changed", "the new one"},
		{"sessions", "enum", []string{"switch", "kill", "keep"}, "switch", "what becomes of the user's sessions: 419 once, 401, nothing"},
	}, nil, changePassword},
	{"expire-tokens", "session", kindAction, Documented, "all user tokens are expired", nil, nil, always(hooks{act: expireTokens})},
	{"lock-account", "session", kindState, Unverified, "logins of the user are refused with 401, whatever the password", []Param{
		{"username", "text", nil, "", "whose; the user that the server was started with if empty"},
	}, nil, lockAccount},
	{"rotate-csrf", "session", kindAction, Recorded, "the CSRF tokens of all sessions are other ones: 401 for writes until the next login", nil, nil, always(hooks{act: rotateCSRF})},

	{"login-unavailable", "cluster", kindRequest, Documented, "/login is answered with 503, all else works, /api/cluster/status too", []Param{status("503"), retry}, onLogin, unavailable},
	{"status-unavailable", "cluster", kindRequest, Documented, "/api/cluster/status is answered with 503, all else works", []Param{status("503"), retry}, onClusterStatus, unavailable},
	{"booting", "cluster", kindRequest, Documented, "everything is answered with 503, as while the Controller starts", []Param{status("503"), retry}, nil, unavailable},
	{"upgrade", "cluster", kindState, Documented, "writes are refused with 403, reads work", []Param{
		{"version", "version", nil, "", "the version when it is over; the same if empty"},
	}, nil, upgrade},
	{"set-version", "cluster", kindAction, Documented, "the Controller is of another version from now on", []Param{
		{"version", "version", nil, "31.1.1", "the version"},
	}, nil, setVersion},
	{"read-only", "cluster", kindRequest, Unverified, "writes are refused with 403", nil, isWrite, always(hooks{final: true, before: readOnly})},
	{"leader-change", "cluster", kindAction, Documented, "another node leads, with a new up_since", []Param{
		{"leader", "text", nil, "node2", "its name"}, {"refuse", "duration", nil, "10s", "how long connections are refused"},
		{"lose", "duration", nil, "0s", "the writes of this last while are lost"},
	}, nil, leaderChange},

	{"need-reload", "concurrency", kindRequest, Documented, "a PUT is refused with 412", nil, isPut, always(hooks{final: true, before: usually(http.StatusPreconditionFailed)})},
	{"foreign-edit", "concurrency", kindAction, Documented, "another client changes the object: before a write, after a read", []Param{forType, forTenant, forName,
		{"field", "text", nil, "", "what it changes; only _last_modified if empty"}, {"value", "text", nil, "", "to what, in JSON or as text"},
	}, onObject, foreignEdit},
	{"foreign-delete", "concurrency", kindAction, Documented, "another client deletes the object, even if others refer to it: before a write, after a read", []Param{forType, forTenant, forName}, onObject, foreignDelete},
	{"foreign-create", "concurrency", kindAction, Documented, "another client creates an object of the same name: before a write, after a read", []Param{forType, forTenant, forName}, onObject, foreignCreate},
	{"conflict", "concurrency", kindRequest, Documented, "a POST is refused with 409 although there is no such object to be seen", nil, isPost, always(hooks{final: true, before: usually(http.StatusConflict)})},
	{"hide", "concurrency", kindRequest, Inferred, "lists leave out objects that are there", []Param{{"name", "pattern", nil, "", "names of the objects, a regular expression; all if empty"}}, isList, hide},
	{"stale-reads", "concurrency", kindRequest, Inferred, "reads are answered by a follower that is behind", []Param{{"lag", "duration", nil, "2s", "how far"}}, isRead, staleReads},
	{"duplicate", "concurrency", kindRequest, Inferred, "the request is delivered twice", []Param{
		{"answer", "enum", []string{"second", "first"}, "second", "which of the answers the client gets"},
	}, nil, duplicate},
	{"hidden-referrer", "concurrency", kindRequest, Documented, "a DELETE is refused with 403: something refers to the object", []Param{
		{"by", "text", nil, "VirtualService hidden", "what, as the message spells it: type and name"},
	}, isDelete, hiddenReferrer},

	{"ipam-exhausted", "addresses", kindState, Documented, "no address can be allocated: 400", nil, nil, ipamExhausted},
	{"ipam-slow", "addresses", kindRequest, Documented, "writes of VsVips take long", []Param{{"delay", "duration", nil, "5s", "how long"}, {"jitter", "duration", nil, "0s", "up to this much more, at random"}}, isVIPWrite, latency},
	{"ipam-async", "addresses", kindState, Documented, "a VsVip is answered before it has its address", []Param{{"delay", "duration", nil, "5s", "how long it takes"}}, nil, ipamAsync},
	{"ipam-other-address", "addresses", kindRequest, Inferred, "a VsVip gets another address than it prefers", nil, isVIPWrite, always(hooks{process: otherAddress})},
	{"ipam-address-changes", "addresses", kindAction, Inferred, "the address of a VsVip becomes another one", []Param{forTenant, forName,
		{"address", "text", nil, "", "the new one; the next that is free if empty"}, {"delay", "duration", nil, "0s", "how long after the request"},
	}, isVIPWrite, addressChanges},

	{"page-truncated", "lists", kindRequest, Inferred, "a page has fewer objects than it says", []Param{{"keep", "int", nil, "1", "how many"}}, isList, pageTruncated},
	{"page-loop", "lists", kindRequest, Inferred, "next leads to the same page for ever", nil, isList, always(hooks{after: pageLoop})},
	{"wrong-count", "lists", kindRequest, Inferred, "count is wrong", []Param{{"add", "int", nil, "1", "by how many"}}, isList, wrongCount},
	{"page-size-ignored", "lists", kindRequest, Inferred, "pages have another size than asked for", []Param{{"size", "int", nil, "25", "the size"}}, isList, pageSizeIgnored},

	{"unknown-fields", "decoding", kindRequest, Recorded, "objects have fields that no client knows", nil, isRead, always(hooks{after: unknownFields})},
	{"drop-fields", "decoding", kindRequest, Inferred, "objects lack fields", []Param{{"fields", "text", nil, "_last_modified", "which, separated by commas"}}, nil, dropFields},
	{"null-lists", "decoding", kindRequest, Inferred, "lists are null", []Param{{"results", "bool", nil, "false", "results of a list too"}}, isRead, nullLists},
	{"unknown-enum", "decoding", kindRequest, Inferred, "an enumeration has a value that no client knows", []Param{
		{"field", "text", nil, "state", "the field, at any depth"}, {"value", "text", nil, "OPER_OF_THE_FUTURE", "the value"},
	}, isRead, unknownEnum},

	{"vs-stuck", "health", kindState, Inferred, "virtual services stay in a state", []Param{
		{"name", "pattern", nil, "", "their names, a regular expression; all if empty"}, {"state", "text", nil, "OPER_RESOURCES", "the state"},
		{"reason", "text", nil, "Insufficient Service Engine resources", "its reason"},
	}, nil, stuck},
	{"server-down", "health", kindState, Documented, "a server is down", []Param{endpoint1, {"reason", "text", nil, "Health monitor failed", "its reason"}}, nil, serverDown},
	{"server-flap", "health", kindState, Documented, "a server goes down and up again and again", []Param{endpoint1,
		{"every", "duration", nil, "1s", "how long it is down, and up"}, {"reason", "text", nil, "Health monitor failed", "its reason"},
	}, nil, serverFlap},

	{"clear-faults", "other", kindAction, "–", "removes all faults, this one too", nil, nil, always(hooks{act: func(s *Layer, _ *call) error { s.ClearFaults(); return nil }})},
}

// What effects are made for.

func isPost(c *call) bool {
	return c.r.Method == http.MethodPost && c.route.api && c.route.uuid == "" && onObject(c)
}
func isPut(c *call) bool   { return c.r.Method == http.MethodPut && onObject(c) }
func isWrite(c *call) bool { return !isRead(c) && c.route.api }
func isDelete(c *call) bool {
	return c.r.Method == http.MethodDelete && onObject(c)
}
func isList(c *call) bool  { return isRead(c) && c.route.uuid == "" && onObject(c) }
func onLogin(c *call) bool { return !c.route.api && c.route.typ == "login" }
func onClusterStatus(c *call) bool {
	return c.route.api && c.route.typ == "cluster" && c.route.uuid == "status"
}
func isVIPWrite(c *call) bool {
	return c.route.typ == "vsvip" && slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, c.r.Method)
}

// onObject reports whether a request is about objects of a stored type.
func onObject(c *call) bool { return c.route.api && KindOf(c.route.typ) != nil }

// always makes the build function of an effect without parameters.
func always(h hooks) func(args, *chance) hooks { return func(args, *chance) hooks { return h } }

func usually(status int) func(*Layer, *call) *answer {
	return func(_ *Layer, c *call) *answer { return usualAnswer(c, status) }
}

func noAnswer(*Layer, *call) *answer { return cut }

func readOnly(*Layer, *call) *answer {
	return refused(http.StatusForbidden, "The system is in read-only mode") // the text is unverified
}

func hiddenReferrer(a args, _ *chance) hooks {
	return hooks{final: true, before: func(*Layer, *call) *answer {
		return refused(http.StatusForbidden, "Cannot delete, object is referred by: %s", quoteList(strings.Split(a.text("by"), ", ")))
	}}
}
