// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
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
	c, err := issue(i.hosts, time.Now()) // certificates are for real clients, so for the real clock
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	i.show(c)
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
	c, err := issue(hosts, time.Now())
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.leaf.PrivateKey)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.leaf.Certificate[0]}), c.ca...)
	for name, content := range map[string][]byte{"ca.crt": c.ca, "tls.crt": chain,
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// issue makes a CA and a certificate for loopback and for the hosts, names or addresses. An unspecified address, which a
// server may listen on, stands for all of the machine's.
func issue(hosts []string, now time.Time) (*certificate, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "avisim CA " + serial.Text(16)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: new(big.Int).Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: "avisim"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "avi-controller", "avisim"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, host := range hosts {
		ip := net.ParseIP(host)
		switch {
		case ip == nil && host != "":
			leaf.DNSNames = append(leaf.DNSNames, host)
		case ip != nil && !ip.IsUnspecified():
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		default:
			addrs, _ := net.InterfaceAddrs() // without them the certificate is still good for loopback
			for _, a := range addrs {
				if n, ok := a.(*net.IPNet); ok {
					leaf.IPAddresses = append(leaf.IPAddresses, n.IP)
				}
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &certificate{
		leaf: tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: key},
		ca:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
	}, nil
}
