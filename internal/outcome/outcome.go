// SPDX-License-Identifier: Apache-2.0

// Package outcome says what came of one run for an owner. The engine makes an Outcome, package status writes it, and neither knows
// the other.
package outcome

import (
	"net/netip"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// State is what came of a run.
type State int

const (
	// Unread means that the Controller could not be read, so that nothing was planned and what serves is not known for sure.
	Unread State = iota
	// Blocked means that nothing can be planned for what is asked; a finding says why. What serves, serves as before.
	Blocked
	// Failed means that the Controller does not hold all of what is wanted, although it was asked to.
	Failed
	// Done means that the Controller holds what is wanted, apart from what the findings leave out.
	Done
)

// Outcome is what came of one run for an owner. Only the functions New… give it another state than Unread, so that a
// Failure comes with Unread and Failed alone. The zero value is Unread without a reason.
type Outcome struct {
	Record
	state   State
	unknown bool // of a blocked one: what serves was not looked at
	failure Failure
}

// Record is what every outcome has, whatever its state.
type Record struct {
	// Findings are about what was asked for.
	Findings []model.Finding
	// Refused reports whether something was left out that may be had when the Controller, or another owner, has changed: a pool
	// that it would not take, a name or an address that is taken.
	Refused bool
	// Forbidden reports whether something was left out because the operator's account may not write it.
	Forbidden bool
	// Doubtful reports whether the status had addresses that the Controller doesn't show, and it isn't proven that they are gone.
	Doubtful bool
	// FailedFor are the names of the Services behind the owner whose pools, and nothing else, could not be changed.
	FailedFor []string
	Serving
	Changes Changes
}

// Serving is what serves an owner, as far as it is known.
type Serving struct {
	// Name and Tenant are those of the VirtualService, or where there is none, those that it is to have.
	Name, Tenant string
	VSUUID       string // empty if there is no VirtualService
	Addresses    []netip.Addr
	FQDNs        []string
	// Ports are those that have a pool, by number and protocol; Backends has the names of the Services behind each.
	Ports    []model.Port
	Backends map[model.Port][]string
	// Names are the DNS names of each Service behind, where the pools have them, by the Service's name.
	Names   map[string][]string
	Health  *model.Health // nil while the inventory has not been read
	Servers []Servers     // of the ports of which some are not up, in order
}

// Servers says how many of a port's servers are up.
type Servers struct {
	Port model.Port
	Text string // "1 of 2 enabled servers up"
}

// Changes counts the calls that changed the Controller.
type Changes struct{ Created, Updated, Deleted int }

// Any reports whether anything was changed.
func (c Changes) Any() bool { return c != Changes{} }

// Failure is why the Controller does not hold what is wanted.
type Failure struct {
	Reason  string // CamelCase, for a condition and an Event
	Message string // of the gravest error
	Class   Class  // of the gravest error
	Host    string // of the Controller that was called; empty if it wasn't
	// Kind is that of the object whose change failed; empty if the failure is about none.
	Kind model.Kind
	// Retry is the error that passes soonest, which decides when to try again.
	Retry error
}

// Class is a kind of failure, from the mildest to the gravest.
type Class int

// The four classes of failure, and None.
const (
	None      Class = iota
	Conflict        // what is known of the other side is old: read it and plan again
	Transient       // back off
	Wait            // passes after a known time
	Terminal        // a person has to act
)

// NewDone is the outcome of a run that reached what is wanted.
func NewDone(r Record) Outcome { return Outcome{Record: r, state: Done} }

// NewBlocked is the outcome of a run that could plan nothing; a finding of severity Blocked without a port says why.
func NewBlocked(r Record) Outcome { return Outcome{Record: r, state: Blocked} }

// NewFailed is the outcome of a run that did not reach what is wanted.
func NewFailed(r Record, why Failure) Outcome { return Outcome{Record: r, state: Failed, failure: why} }

// NewUnread is the outcome of a run that could not read the Controller. The record's Serving may be out of date.
func NewUnread(r Record, why Failure) Outcome { return Outcome{Record: r, state: Unread, failure: why} }

// NewUnasked is the outcome for an owner that is blocked before anything is looked at: what serves it is not known.
func NewUnasked(why model.Finding) Outcome {
	return Outcome{Record: Record{Findings: []model.Finding{why}}, state: Blocked, unknown: true}
}

// State is what came of the run.
func (o *Outcome) State() State { return o.state }

// Failure is why the state is Unread or Failed, and zero otherwise.
func (o *Outcome) Failure() Failure { return o.failure }

// Retry is the error that decides when to try again; nil if there is nothing to try.
func (o *Outcome) Retry() error { return o.failure.Retry }

// Known reports whether Serving is what serves now. If not, what a status says of it stays as it is.
func (o *Outcome) Known() bool { return o.state != Unread && !o.unknown && !o.Doubtful }

// Waiting reports whether another run may reach more as soon as the Controller has changed.
func (o *Outcome) Waiting() bool { return o.state == Unread || o.state == Failed || o.Refused }

// AddressPending reports whether only the address is missing, which the Controller's IPAM has yet to give.
func (o *Outcome) AddressPending() bool {
	return o.state == Done && o.VSUUID != "" && len(o.Addresses) == 0
}
