// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// TestPortalCertificate makes a self-signed certificate, has the system configuration name it, and meets it.
func TestPortalCertificate(t *testing.T) {
	s, c := signedIn(t, Options{})
	made := c.want(201, "POST", "/api/sslkeyandcertificate", obj{"name": "portal", "type": "SSL_CERTIFICATE_TYPE_SYSTEM", "certificate": obj{
		"self_signed": true, "days_until_expire": 30, "subject": obj{"common_name": "avi",
			"country": "US"}, "subject_alt_names": []string{s.Host(), "avi.example.org"}}})
	path := "/api/sslkeyandcertificate/" + made.uuid()
	if made.body["key"] != nil || doc.Str(made.body, "certificate", "certificate") != "" || doc.Str(made.body, "certificate", "subject",
		"distinguished_name") != "C=US, CN=avi" {
		t.Error(made.raw)
	}
	read := c.want(200, "GET", path, nil)
	if doc.Str(read.body, "key") != "<sensitive>" || !strings.HasPrefix(doc.Str(read.body, "certificate", "certificate"),
		"-----BEGIN CERTIFICATE") {
		t.Error(read.raw)
	}
	key := doc.Str(c.want(200, "GET", path+"?export_key=true", nil).body, "key")
	c.want(200, "PUT", path, read.body) // an echo keeps the key
	if again := doc.Str(c.want(200, "GET", path+"?export_key=true", nil).body, "key"); again != key || !strings.HasPrefix(key,
		"-----BEGIN PRIVATE KEY") {
		t.Errorf("key %.30q, was %.30q", again, key)
	}

	portal := func(refs ...string) {
		t.Helper()
		config, _ := c.want(200, "GET", "/api/systemconfiguration", nil).body["portal_configuration"].(map[string]any)
		config["sslkeyandcertificate_refs"] = refs
		c.want(200, "PATCH", "/api/systemconfiguration", obj{"replace": obj{"portal_configuration": config}})
	}
	meets := func(pem string) bool {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(pem))
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("https://" + s.Host() + "/api/cluster/status")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}
	own, mine := string(s.CAPEM()), doc.Str(read.body, "certificate", "certificate")
	if !meets(own) || meets(mine) {
		t.Error("the wrong certificate at first")
	}
	portal(path)
	if meets(own) || !meets(mine) {
		t.Error("the system configuration's certificate is not presented")
	}
	c.http.Transport.(*http.Transport).TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(mine))
	c.want(403, "DELETE", path, nil)
	portal()
	if !meets(own) || meets(mine) {
		t.Error("the first certificate does not come back")
	}
	c.want(204, "DELETE", path, nil)
}
