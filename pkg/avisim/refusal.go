package avisim

import (
	"fmt"
)

// apiError is a refusal by the application: a status and the text of the body's "error".
type apiError struct {
	status int
	text   string
	object string // goes into obj_name if set
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.status, e.text) }

func refuse(status int, format string, args ...any) *apiError {
	return &apiError{status: status, text: fmt.Sprintf(format, args...)}
}

// badPB is the answer to a body that the Controller can't decode into its messages. Evidence: documented by an issue.
func badPB(format string, args ...any) *apiError {
	return refuse(statusInternalServerError, "Bad pb: "+format, args...)
}

// fieldText is the form of an answer to a value outside of its limits. Evidence: the form is documented, most texts are not.
const fieldText = "Field check for %s failed : %s"

func fieldCheck(field, format string, args ...any) *apiError {
	return refuse(statusBadRequest, fieldText, field, fmt.Sprintf(format, args...))
}

// The statuses of refusals, as HTTP numbers them.
const (
	statusBadRequest          = 400
	statusForbidden           = 403
	statusConflict            = 409
	statusPreconditionFailed  = 412
	statusInternalServerError = 500
)
