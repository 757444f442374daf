// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// identity makes one for hosts, and counts its changes.
func identity(changes *int, hosts ...string) *Identity {
	return NewIdentity("", "", hosts, func() { *changes++ })
}

// TestIdentity presents another certificate and the first one again, and makes a new one.
func TestIdentity(t *testing.T) {
	changes := 0
	i := identity(&changes, "127.0.0.1")
	if err := i.Ensure(); err != nil {
		t.Fatal(err)
	}
	first := i.CAPEM()
	if err := i.Ensure(); err != nil || !bytes.Equal(i.CAPEM(), first) {
		t.Errorf("there was one: %v", err)
	}
	_, other, err := issue([]string{"avi.example.org"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if i.Present(other.CertPEM, []byte("no key")) {
		t.Error("presented without a key")
	}
	before := changes
	if !i.Present(other.CertPEM, other.KeyPEM) || !bytes.Equal(i.CAPEM(), other.CertPEM) {
		t.Error("not presented")
	}
	i.Restore()
	i.Restore()
	if !bytes.Equal(i.CAPEM(), first) || changes != before+2 {
		t.Errorf("not restored, or told of %d changes", changes-before)
	}
	if err := i.Rotate(); err != nil || bytes.Equal(i.CAPEM(), first) {
		t.Errorf("not another one: %v", err)
	}
}

// TestIdentityIsKept saves and loads, for the same hosts and for others.
func TestIdentityIsKept(t *testing.T) {
	changes := 0
	i := identity(&changes, "avi.example.org")
	if err := i.Ensure(); err != nil {
		t.Fatal(err)
	}
	saved, err := json.Marshal(i.Save())
	if err != nil {
		t.Fatal(err)
	}
	for host, same := range map[string]bool{"avi.example.org": true, "0.0.0.0": true, "other.example.org": false} {
		again := identity(&changes, host)
		if err := again.Load(saved); err != nil {
			t.Fatal(err)
		}
		if err := again.Ensure(); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(again.CAPEM(), i.CAPEM()) != same {
			t.Errorf("for %s the same certificate is %v, want %v", host, !same, same)
		}
	}
	if err := identity(&changes).Load([]byte(`{"chain": 1}`)); err == nil {
		t.Error("no error for what is no certificate")
	}
}

// TestHandshakesBreak holds handshakes broken as long as somebody wants them so.
func TestHandshakesBreak(t *testing.T) {
	changes := 0
	i := identity(&changes)
	broken := func() bool {
		_, err := i.TLS().GetConfigForClient(nil)
		return err != nil
	}
	first, second := i.BreakHandshakes(), i.BreakHandshakes()
	first()
	if !broken() {
		t.Error("works while somebody wants it broken")
	}
	second()
	if broken() {
		t.Error("broken for good")
	}
}
