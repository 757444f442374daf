// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// RestrainedError says what keeps changes from being carried out, and which they are.
type RestrainedError struct {
	By    translate.Restraint
	Plan  string // in words; empty if nothing was planned
	Steps []plan.Step
}

func (e *RestrainedError) Error() string {
	switch {
	case e.Plan == "":
		return e.By.String()
	case e.By.Own():
		return e.By.String() + "; the plan: " + strings.TrimSpace(e.Plan)
	}
	return "dry run, not carried out: " + e.Plan
}

// Restrained is what kept changes from being carried out, if an error says so.
func Restrained(err error) translate.Restraint {
	var e *RestrainedError
	if errors.As(err, &e) {
		return e.By
	}
	return translate.Restraint{}
}

// failure collects the errors of a run for its outcome.
type failure struct {
	worst error      // the first of the gravest class
	kind  model.Kind // that worst is about, if it is about one
	retry error      // the first of the mildest class
	// services are those whose pools errors are about, and wide reports whether there is an error that is about more.
	services []string
	wide     bool
}

// concerns keeps which Service an error is about, "" for more than one.
func (f *failure) concerns(service string) {
	switch {
	case service == "":
		f.wide = true
	case !slices.Contains(f.services, service):
		f.services = append(f.services, service)
	}
}

// add takes in an error about a kind of object, or none.
func (f *failure) add(err error, about model.Kind) {
	if f.worst == nil || Classify(err) > Classify(f.worst) {
		f.worst, f.kind = err, about
	}
	if f.retry == nil || Classify(err) < Classify(f.retry) {
		f.retry = err
	}
}

// outcome puts the failure into words; there must be one.
func (f *failure) outcome() outcome.Failure {
	out := outcome.Failure{Reason: Reason(f.worst), Message: Explain(f.worst), Class: Classify(f.worst), Kind: f.kind, Retry: f.retry}
	var call *avi.Error
	if errors.As(f.worst, &call) {
		out.Host = call.Host
	}
	return out
}

// Explain puts an error into words. A person may see only the beginning, so the cause and what to do come first, and what was being done
// comes last.
func Explain(err error) string {
	var call *avi.Error
	if !errors.As(err, &call) {
		return err.Error()
	}
	doing := strings.TrimSuffix(err.Error(), call.Error())
	what := call.Cause()
	var asked *addressError
	if errors.As(err, &asked) {
		doing, what = strings.Replace(doing, asked.prefix(), "", 1), asked.prefix()+what+asked.advice()
	}
	switch at := doing + call.Call(); {
	case at == "":
		return what
	default:
		return fmt.Sprintf("%s (%s)", what, strings.TrimSuffix(at, ": "))
	}
}

// addressError is the refusal of an address that somebody asked for.
type addressError struct {
	asked  string // where, and which
	held   string // what of ours has it; empty if nothing does
	ranges string // the VIP networks, as configured
	err    error
}

func (e *addressError) Error() string { return e.prefix() + e.err.Error() }

func (e *addressError) Unwrap() error { return e.err }

func (e *addressError) prefix() string { return e.asked + " can't be had: " }

func (e *addressError) advice() string {
	out := ""
	if e.held != "" {
		out = "; " + e.held
	}
	if e.ranges == "" {
		return out + "; ask for a free address of the VIP network"
	}
	return out + "; ask for a free address of " + e.ranges
}

// Classify maps any error of a run to its class.
func Classify(err error) outcome.Class {
	var foreign *mirror.NotOursError
	var other *mirror.OtherClusterError
	switch {
	case err == nil:
		return outcome.None
	case errors.As(err, &foreign), Restrained(err).Any(), errors.As(err, &other): // the mirror reports when the name is free
		return outcome.Terminal
	case errors.Is(err, mirror.ErrNotLoaded):
		return outcome.Transient
	case errors.As(err, new(*tenantError)):
		return outcome.Wait
	}
	switch avi.ClassOf(err) {
	case avi.Terminal:
		return outcome.Terminal
	case avi.Wait:
		return outcome.Wait
	case avi.Conflict:
		return outcome.Conflict
	}
	return outcome.Transient
}

// Forbidden reports whether an error is that the operator's account may not do something on the Controller.
func Forbidden(err error) bool { return avi.ReasonOf(err) == avi.ReasonForbidden }

// RetryAfter is how long a Wait or Transient failure asks to be left alone; zero if it doesn't say.
func RetryAfter(err error) time.Duration {
	if errors.As(err, new(*tenantError)) {
		return tenantAgain
	}
	return avi.RetryAfterOf(err)
}

// reasons maps the client's reasons to those of conditions and Events.
var reasons = map[avi.Reason]string{
	avi.ReasonNoFreeIP:      model.ReasonNoFreeAddress,
	avi.ReasonUpgrade:       model.ReasonControllerUpgrading,
	avi.ReasonTenantMissing: model.ReasonTenantMissing,
	avi.ReasonCredentials:   model.ReasonCredentials,
	avi.ReasonRefNotFound:   model.ReasonReferenceMissing,
	avi.ReasonUnavailable:   model.ReasonControllerDown,
	avi.ReasonTimeout:       model.ReasonControllerDown,
	avi.ReasonTLS:           model.ReasonControllerUntrusted,
	avi.ReasonServerError:   model.ReasonControllerDown,
	avi.ReasonThrottled:     model.ReasonControllerDown,
	avi.ReasonSession:       model.ReasonControllerDown,
}

// Reason names a failure for a condition.
func Reason(err error) string {
	var foreign *mirror.NotOursError
	var other *mirror.OtherClusterError
	var unclaimed *mirror.UnclaimedError
	switch {
	case errors.As(err, &foreign), errors.As(err, &other), errors.As(err, &unclaimed):
		return model.ReasonNameTaken
	case Restrained(err).Any():
		return Restrained(err).Reason
	case errors.As(err, new(*tenantError)):
		return model.ReasonTenantMissing
	case errors.As(err, new(*awaitedError)):
		return model.ReasonAddressLost
	case errors.Is(err, mirror.ErrNotLoaded):
		return model.ReasonControllerDown
	case errors.Is(err, mirror.ErrNoCloud):
		return model.ReasonReferenceMissing
	}
	if r, ok := reasons[avi.ReasonOf(err)]; ok {
		return r
	}
	return model.ReasonControllerRefused
}

func isForeign(err error) bool {
	var foreign *mirror.NotOursError
	return errors.As(err, &foreign)
}
