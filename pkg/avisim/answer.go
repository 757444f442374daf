package avisim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// answer is a whole response, kept apart from the connection so that it can be logged, replaced or thrown away.
type answer struct {
	status int
	header http.Header
	body   []byte
	bare   bool // from before the application was reached: without its headers
}

func (a *answer) set(key, value string) {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set(key, value)
}

// slow is how long a write takes of which the answer tells the duration. Evidence: recorded from 224 ms on, and not below 200.
const slow = 200 * time.Millisecond

// steps are the names under which a duration is told. Evidence: recorded.
var steps = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "update", http.MethodDelete: "destroy"}

func (a *answer) timing(method string, took time.Duration) {
	if step := steps[method]; step != "" && took >= slow && a.status < 300 {
		ms := float64(took.Microseconds()) / 1000
		a.set("Server-Timing", fmt.Sprintf("%s;dur=%g,total;dur=%g", step, ms, ms))
	}
}

// reply answers with a JSON body.
func reply(status int, v any) *answer {
	b, err := json.Marshal(v)
	if err != nil {
		return &answer{status: http.StatusInternalServerError, body: []byte(err.Error())}
	}
	return &answer{status: status, body: b}
}

// plain answers with a body that is not JSON although, as recorded, the content type says so.
func plain(status int, text string) *answer { return &answer{status: status, body: []byte(text)} }

// detail answers as the Controller's framework does before the application is reached.
func detail(status int, text string) *answer { return reply(status, map[string]any{"detail": text}) }

// apiError is a refusal by the application: a status and the text of the body's "error".
type apiError struct {
	status int
	text   string
	object string // goes into obj_name if set
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.status, e.text) }

func (e *apiError) answer() *answer {
	body := map[string]any{"error": e.text}
	if e.object != "" {
		body["obj_name"] = e.object
	}
	return reply(e.status, body)
}

func refuse(status int, format string, args ...any) *apiError {
	return &apiError{status: status, text: fmt.Sprintf(format, args...)}
}

// badPB is the answer to a body that the Controller can't decode into its messages. Evidence: documented by an issue.
func badPB(format string, args ...any) *apiError {
	return refuse(http.StatusInternalServerError, "Bad pb: "+format, args...)
}

// fieldText is the form of an answer to a value outside of its limits. Evidence: the form is documented, most texts are not.
const fieldText = "Field check for %s failed : %s"

func fieldCheck(field, format string, args ...any) *apiError {
	return refuse(http.StatusBadRequest, fieldText, field, fmt.Sprintf(format, args...))
}
