// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

// TestProxyIsRefusedAloud: calls go to the Controller whatever HTTPS_PROXY says, and the log says that they do, without the proxy's
// password; not where NO_PROXY names the Controller.
func TestProxyIsRefusedAloud(t *testing.T) {
	for _, no := range []string{"", "avi.example.com"} {
		t.Setenv("HTTPS_PROXY", "http://user:secret@proxy.example.com:3128")
		t.Setenv("NO_PROXY", no)
		var log strings.Builder
		c, err := New(Config{Host: "avi.example.com", Username: "u", Password: "p"},
			WithLogger(funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{})))
		if err != nil {
			t.Fatal(err)
		}
		if c.ep.Load().transport.Proxy != nil {
			t.Error("the transport has a proxy")
		}
		c.Close(context.Background())
		if said := strings.Contains(log.String(), "proxy.example.com:3128"); said != (no == "") || strings.Contains(log.String(), "secret") {
			t.Errorf("NO_PROXY=%q: logged %q", no, log.String())
		}
	}
}
