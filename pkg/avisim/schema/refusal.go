// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
)

// Refusal is a refusal by the application: a status and the text of the body's "error".
type Refusal struct {
	Status int
	Text   string
	Object string // goes into obj_name if set
}

func (e *Refusal) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Text) }

// Refuse makes a refusal.
func Refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Text: fmt.Sprintf(format, args...)}
}

// badPB is the answer to a body that the Controller can't decode into its messages. Evidence: documented by an issue.
func badPB(format string, args ...any) *Refusal {
	return Refuse(statusInternalServerError, "Bad pb: "+format, args...)
}

// fieldText is the form of an answer to a value outside of its limits. Evidence: the form is documented, most texts are not.
const fieldText = "Field check for %s failed : %s"

// FieldCheck refuses a field for what is wrong with its value.
func FieldCheck(field, format string, args ...any) *Refusal {
	return Refuse(StatusBadRequest, fieldText, field, fmt.Sprintf(format, args...))
}

// The statuses of refusals, as HTTP numbers them.
const (
	StatusBadRequest          = 400
	StatusForbidden           = 403
	StatusConflict            = 409
	StatusPreconditionFailed  = 412
	statusInternalServerError = 500
)
