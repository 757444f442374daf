// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func TestShare(t *testing.T) {
	n2, web := model.Port{Number: 38412, Protocol: "SCTP"}, model.Port{Number: 80, Protocol: "TCP"}
	about := func(service string, port model.Port, s model.Severity) model.Finding {
		return model.Finding{About: service, Port: port, Severity: s, Reason: service + "!"}
	}
	o := NewDone(Record{
		Findings: []model.Finding{about("", model.Port{}, model.Note), about("amf", n2, model.Note), about("late", model.Port{}, model.Blocked),
			about("late", n2, model.Blocked)},
		Serving: Serving{
			Name: "vs", VSUUID: "1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Ports: []model.Port{n2, web},
			Backends: map[model.Port][]string{n2: {"amf"}, web: {"smf"}}, Names: map[string][]string{"amf": {"amf.example.com"}},
			FQDNs: []string{"amf.example.com", "smf.example.com"}, Servers: []Servers{{n2, "none up"}},
		},
	})
	amf := o.Share("amf")
	if !slices.Equal(amf.Ports, []model.Port{n2}) || !slices.Equal(amf.FQDNs, []string{"amf.example.com"}) || amf.VSUUID != "1" ||
		len(amf.Findings) != 2 || len(amf.Servers) != 1 || amf.State() != Done {
		t.Errorf("amf: %+v", amf)
	}
	if smf := o.Share("smf"); !slices.Equal(smf.Ports, []model.Port{web}) || len(smf.FQDNs)+len(smf.Servers) != 0 || len(smf.Findings) != 1 {
		t.Errorf("smf: %+v", smf)
	}
	late := o.Share("late")
	if late.State() != Blocked || late.VSUUID != "" || len(late.Addresses) > 0 || late.Name != "vs" || len(late.Findings) != 3 {
		t.Errorf("late: %+v", late)
	}
	if len(o.Ports) != 2 || len(o.Findings) != 4 {
		t.Errorf("the whole was changed: %+v", o)
	}
	failed := NewFailed(o.Record, Failure{Reason: "Down"})
	if f := failed.Share("new"); f.State() != Failed || f.VSUUID != "" || f.Known() || f.Failure().Reason != "Down" {
		t.Errorf("one that is to be served: %+v", f)
	}
	if f := failed.Share("late"); f.State() != Blocked || !f.Known() {
		t.Errorf("one that is left out: %+v", f)
	}
	if f := failed.Share("amf"); f.State() != Failed || f.VSUUID != "1" {
		t.Errorf("one that is served: %+v", f)
	}
	others := NewFailed(o.Record, Failure{Reason: "Refused"})
	others.FailedFor = []string{"smf", "new"}
	for service, want := range map[string]State{"amf": Done, "smf": Failed, "new": Failed} {
		if s := others.Share(service); s.State() != want {
			t.Errorf("%s: state %d, want %d", service, s.State(), want)
		}
	}
	unread := NewUnread(Record{}, Failure{Reason: "Down"})
	if u := unread.Share("amf"); u.State() != Unread {
		t.Errorf("unread: %+v", u)
	}
}
