// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority(pkix.Name{CommonName: "some CA"}, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, r Request) *Pair {
	t.Helper()
	p, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestIssue verifies a certificate as those do who see it.
func TestIssue(t *testing.T) {
	a, other := authority(t), authority(t)
	p := issue(t, a, Request{Subject: pkix.Name{CommonName: "me", Organization: []string{"us"}},
		Hosts: []string{"avi.example.org", "10.0.0.1", "fd00::1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if p.Cert.IsCA || p.Cert.Subject.String() != "CN=me,O=us" || p.Cert.Issuer.CommonName != "some CA" ||
		p.Cert.SerialNumber.Cmp(a.Cert.SerialNumber) == 0 {
		t.Errorf("subject %s, issuer %s, serial %s", p.Cert.Subject, p.Cert.Issuer, p.Cert.SerialNumber)
	}
	for _, tt := range []struct {
		name, host, want string // want: in the error, "" for none
		by               *Authority
		at               time.Time
		usage            x509.ExtKeyUsage
	}{
		{"name", "avi.example.org", "", a, now, x509.ExtKeyUsageServerAuth},
		{"IPv4", "10.0.0.1", "", a, now, x509.ExtKeyUsageServerAuth},
		{"IPv6", "[fd00::1]", "", a, now, x509.ExtKeyUsageServerAuth},
		{"a clock behind", "avi.example.org", "", a, now.Add(-59 * time.Minute), x509.ExtKeyUsageServerAuth},
		{"a clock far behind", "avi.example.org", "not yet valid", a, now.Add(-61 * time.Minute), x509.ExtKeyUsageServerAuth},
		{"the last day", "avi.example.org", "", a, now.AddDate(1, 0, -1), x509.ExtKeyUsageServerAuth},
		{"the day after", "avi.example.org", "expired", a, now.AddDate(1, 0, 1), x509.ExtKeyUsageServerAuth},
		{"another name", "example.org", "valid for avi.example.org", a, now, x509.ExtKeyUsageServerAuth},
		{"another address", "10.0.0.2", "valid for 10.0.0.1", a, now, x509.ExtKeyUsageServerAuth},
		{"another authority", "avi.example.org", "unknown authority", other, now, x509.ExtKeyUsageServerAuth},
		{"another usage", "avi.example.org", "incompatible key usage", a, now, x509.ExtKeyUsageClientAuth},
	} {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(tt.by.CertPEM) {
			t.Fatal("no authority")
		}
		_, err := p.Cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.host, CurrentTime: tt.at, KeyUsages: []x509.ExtKeyUsage{tt.usage}})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestSelfSigned: a certificate that signs itself is good for those who trust it, and signs no other.
func TestSelfSigned(t *testing.T) {
	p, err := SelfSigned(Request{Subject: pkix.Name{CommonName: "portal"}, Hosts: []string{"portal"},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, now, now.AddDate(0, 0, 30))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.Cert)
	if _, err := p.Cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "portal", CurrentTime: now}); err != nil {
		t.Error(err)
	}
	if !p.Cert.NotAfter.Equal(now.AddDate(0, 0, 30)) || p.Cert.Issuer.CommonName != "portal" || p.Cert.IsCA {
		t.Errorf("until %s, by %s", p.Cert.NotAfter, p.Cert.Issuer)
	}
	below := issue(t, &Authority{*p}, Request{Hosts: []string{"below"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if _, err := below.Cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "below", CurrentTime: now}); err == nil {
		t.Error("it is taken for an authority")
	}
}

// TestForms: the PEM is that of the pair, and a handshake over it works, with the authority in the chain.
func TestForms(t *testing.T) {
	a, err := NewAuthority(pkix.Name{CommonName: "some CA"}, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	p := issue(t, a, Request{Hosts: []string{"here"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	read, err := tls.X509KeyPair(p.CertPEM, p.KeyPEM)
	if err != nil || !read.Leaf.Equal(p.Cert) || !p.Key.Equal(read.PrivateKey) {
		t.Fatalf("%v: the PEM is of another pair", err)
	}
	if !strings.HasPrefix(string(p.KeyPEM), "-----BEGIN PRIVATE KEY-----\n") {
		t.Errorf("the key begins with %.30s", p.KeyPEM)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	served := make(chan error, 1)
	go func() {
		served <- tls.Server(far, &tls.Config{Certificates: []tls.Certificate{p.TLS(a.Cert)}}).HandshakeContext(t.Context())
	}()
	client := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "here"})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if chain := client.ConnectionState().PeerCertificates; len(chain) != 2 || !chain[1].Equal(a.Cert) {
		t.Errorf("a chain of %d", len(chain))
	}
}
