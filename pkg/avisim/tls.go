package avisim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificate is what the server presents, and the CA that signed it.
type certificate struct {
	leaf tls.Certificate
	ca   []byte // PEM
}

// loadCertificate reads the certificate of the options, or makes one.
func (s *Server) loadCertificate() error {
	if s.options.CertFile == "" {
		return s.RotateCertificate()
	}
	leaf, err := tls.LoadX509KeyPair(s.options.CertFile, s.options.KeyFile)
	if err != nil {
		return fmt.Errorf("loading the certificate: %w", err)
	}
	ca, err := os.ReadFile(s.options.CertFile)
	if err != nil {
		return fmt.Errorf("loading the certificate: %w", err)
	}
	s.certificate.Store(&certificate{leaf, ca})
	return nil
}

// RotateCertificate replaces the CA and the certificate by new ones and closes idle connections, so that a client's
// next request meets them.
func (s *Server) RotateCertificate() error {
	host, _, err := net.SplitHostPort(s.options.Addr)
	if err != nil {
		return err
	}
	c, err := issue(append([]string{host}, s.options.HostNames...), time.Now()) // certificates are for real clients, so for the real clock
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	s.swapCertificate(c)
	return nil
}

// swapCertificate presents another certificate from the next connection on.
func (s *Server) swapCertificate(c *certificate) {
	s.certificate.Store(c)
	s.dirty()
	if s.http != nil {
		s.http.SetKeepAlivesEnabled(false) // closes idle connections
		s.http.SetKeepAlivesEnabled(true)
	}
}

// CAPEM is the PEM of the CA that a client has to trust.
func (s *Server) CAPEM() []byte { return s.certificate.Load().ca }

func (s *Server) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &s.certificate.Load().leaf, nil
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
