// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/pki"
)

// certificate is what the server presents, and the CA that signed it.
type certificate struct {
	leaf tls.Certificate
	ca   []byte // PEM
}

// Identity is the certificate that a server shows, and can be another one from the next connection on.
type Identity struct {
	file, key string   // in files; else it is made
	hosts     []string // of the certificate that is made
	current   atomic.Pointer[certificate]
	first     atomic.Pointer[certificate] // before Present
	broken    atomic.Int32                // how many want handshakes to fail
	changed   func()                      // called when the certificate is another one
}

// NewIdentity makes an identity that has no certificate before Load or Ensure. It is read from the files, if there are any, or made for
// loopback and the hosts, names or addresses. changed is called when the certificate is another one.
func NewIdentity(certFile, keyFile string, hosts []string, changed func()) *Identity {
	return &Identity{file: certFile, key: keyFile, hosts: hosts, changed: changed}
}

// Ensure reads the certificate or makes one, unless there is one already.
func (i *Identity) Ensure() error {
	if i.current.Load() != nil {
		return nil
	}
	if i.file == "" {
		return i.Rotate()
	}
	leaf, err := tls.LoadX509KeyPair(i.file, i.key)
	if err != nil {
		return fmt.Errorf("loading the certificate: %w", err)
	}
	ca, err := os.ReadFile(i.file)
	if err != nil {
		return fmt.Errorf("loading the certificate: %w", err)
	}
	i.current.Store(&certificate{leaf, ca})
	return nil
}

// Rotate replaces the CA and the certificate by new ones.
func (i *Identity) Rotate() error {
	ca, leaf, err := issue(i.hosts, time.Now()) // certificates are for real clients, so for the real clock
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	i.show(&certificate{leaf.TLS(ca.Cert), ca.CertPEM})
	return nil
}

func (i *Identity) show(c *certificate) {
	i.current.Store(c)
	i.changed()
}

// Present shows the certificate of a pair in PEM, and reports whether it is a pair.
func (i *Identity) Present(certPEM, keyPEM []byte) bool {
	leaf, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return false
	}
	i.first.CompareAndSwap(nil, i.current.Load())
	i.show(&certificate{leaf, certPEM})
	return true
}

// Restore shows again what was shown before the first Present.
func (i *Identity) Restore() {
	if c := i.first.Swap(nil); c != nil {
		i.show(c)
	}
}

// CAPEM is the PEM of the CA that a client has to trust.
func (i *Identity) CAPEM() []byte { return i.current.Load().ca }

// BreakHandshakes makes handshakes fail until the returned function is called as often as BreakHandshakes was.
func (i *Identity) BreakHandshakes() (end func()) {
	i.broken.Add(1)
	return func() { i.broken.Add(-1) }
}

// TLS is the configuration of a server that shows the identity.
func (i *Identity) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &i.current.Load().leaf, nil },
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if i.broken.Load() > 0 {
				return nil, errors.New("handshake failed on purpose")
			}
			return nil, nil
		},
	}
}

type savedCertificate struct {
	Chain [][]byte `json:"chain"` // DER
	Key   []byte   `json:"key"`   // PKCS #8
	CA    []byte   `json:"ca"`    // PEM
}

// Save returns what JSON can write and Load takes; nil for a certificate from files.
func (i *Identity) Save() any {
	c := i.current.Load()
	if c == nil || i.file != "" {
		return nil
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.leaf.PrivateKey)
	if err != nil {
		return nil
	}
	return savedCertificate{c.leaf.Certificate, key, c.ca}
}

// Load takes a saved certificate that is good for another month and for the hosts.
func (i *Identity) Load(raw json.RawMessage) error {
	var c savedCertificate
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("its certificate: %w", err)
	}
	if i.file != "" || !i.fits(c) {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(c.Key)
	if err != nil {
		return fmt.Errorf("its certificate's key: %w", err)
	}
	i.current.Store(&certificate{leaf: tls.Certificate{Certificate: c.Chain, PrivateKey: key}, ca: c.CA})
	return nil
}

func (i *Identity) fits(c savedCertificate) bool {
	if len(c.Chain) == 0 {
		return false
	}
	leaf, err := x509.ParseCertificate(c.Chain[0])
	return err == nil && time.Until(leaf.NotAfter) > 30*24*time.Hour &&
		!slices.ContainsFunc(i.hosts, func(h string) bool { return !fitsHost(leaf, h) })
}

// fitsHost reports whether a certificate is good for a host; the unspecified address, which one may listen on, stands for all.
func fitsHost(leaf *x509.Certificate, host string) bool {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return true
	}
	return leaf.VerifyHostname(host) == nil
}

// WriteCertificate makes a CA and a certificate for the hosts, and writes ca.crt, tls.crt and tls.key into a folder. The CA's
// key is thrown away.
func WriteCertificate(dir string, hosts []string) error {
	ca, leaf, err := issue(hosts, time.Now())
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM, "tls.crt": slices.Concat(leaf.CertPEM, ca.CertPEM),
		"tls.key": leaf.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// issue makes a CA and a certificate for loopback and for the hosts, names or addresses. An unspecified address, which a
// server may listen on, stands for all of the machine's. Each CA has a name of its own, so that one is not taken for another.
func issue(hosts []string, now time.Time) (ca *pki.Authority, leaf *pki.Pair, err error) {
	if ca, err = pki.NewAuthority(pkix.Name{CommonName: "avisim CA " + rand.Text()}, now, now.AddDate(1, 0, 0)); err != nil {
		return nil, nil, err
	}
	names := []string{"localhost", "avi-controller", "avisim", "127.0.0.1", "::1"}
	for _, host := range hosts {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			names = append(names, host)
			continue
		}
		addrs, _ := net.InterfaceAddrs() // without them the certificate is still good for loopback
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				names = append(names, n.IP.String())
			}
		}
	}
	leaf, err = ca.Issue(pki.Request{Subject: pkix.Name{CommonName: "avisim"}, Hosts: names,
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return ca, leaf, err
}
