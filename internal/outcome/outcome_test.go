// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func TestStates(t *testing.T) {
	why := Failure{Reason: "ControllerRefused", Message: "bad body", Class: Terminal, Retry: errors.New("bad body")}
	serves := Record{Serving: Serving{VSUUID: "virtualservice-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}
	pending := Record{Serving: Serving{VSUUID: "virtualservice-1"}}
	refused := Record{Refused: true}
	type facts struct {
		state                          State
		known, waiting, pending, retry bool
	}
	for name, c := range map[string]struct {
		o    Outcome
		want facts
	}{
		"zero":                    {Outcome{}, facts{state: Unread, waiting: true}},
		"unread":                  {NewUnread(serves, why), facts{state: Unread, waiting: true, retry: true}},
		"unasked":                 {NewUnasked(model.Finding{}), facts{state: Blocked}},
		"blocked":                 {NewBlocked(serves), facts{state: Blocked, known: true}},
		"blocked, no address":     {NewBlocked(pending), facts{state: Blocked, known: true}},
		"failed":                  {NewFailed(pending, why), facts{state: Failed, known: true, waiting: true, retry: true}},
		"done":                    {NewDone(serves), facts{state: Done, known: true}},
		"done, no address":        {NewDone(pending), facts{state: Done, known: true, pending: true}},
		"done, a port is refused": {NewDone(refused), facts{state: Done, known: true, waiting: true}},
	} {
		o := c.o
		got := facts{o.State(), o.Known(), o.Waiting(), o.AddressPending(), o.Retry() != nil}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if has := o.Failure() != (Failure{}); has && (got.state == Done || got.state == Blocked) {
			t.Errorf("%s: has the failure %+v", name, o.Failure())
		}
	}
}

func TestChanges(t *testing.T) {
	for _, c := range []Changes{{Created: 1}, {Updated: 1}, {Deleted: 1}} {
		if !c.Any() {
			t.Errorf("%+v is no change", c)
		}
	}
	if (Changes{}).Any() {
		t.Error("no call is a change")
	}
}
