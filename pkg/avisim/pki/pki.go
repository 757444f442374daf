// SPDX-License-Identifier: Apache-2.0

// Package pki makes certificates for tests, simulations and local clusters: authorities, what they sign, and certificates that sign
// themselves. All have keys on the curve P-256 and serial numbers of chance.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

// early is how long before it is made a certificate is valid: the clocks of those who look at it may be behind.
const early = time.Hour

// Pair is a certificate with its key.
type Pair struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey

	CertPEM []byte // CERTIFICATE
	KeyPEM  []byte // PRIVATE KEY, which is PKCS #8
}

// TLS is what a server or client shows: the certificate, and the others of the chain behind it.
func (p *Pair) TLS(chain ...*x509.Certificate) tls.Certificate {
	out := tls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
	for _, c := range chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

// Request says what a certificate is for.
type Request struct {
	Subject pkix.Name
	Hosts   []string // alternative names: names, and IP addresses in their usual form
	Usages  []x509.ExtKeyUsage
}

func (r Request) template(from, until time.Time) *x509.Certificate {
	t := &x509.Certificate{Subject: r.Subject, NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: r.Usages}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return t
}

// Authority is a certificate authority. The zero value is none: NewAuthority makes one.
type Authority struct{ Pair }

// NewAuthority makes an authority that is valid from an hour before now to until.
func NewAuthority(subject pkix.Name, now, until time.Time) (*Authority, error) {
	p, err := sign(&x509.Certificate{Subject: subject, NotBefore: now.Add(-early), NotAfter: until, KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true}, nil)
	if err != nil {
		return nil, err
	}
	return &Authority{*p}, nil
}

// Issue makes a certificate that is signed by the authority, and valid as long as the authority is.
func (a *Authority) Issue(r Request) (*Pair, error) {
	return sign(r.template(a.Cert.NotBefore, a.Cert.NotAfter), &a.Pair)
}

// SelfSigned makes a certificate that is signed with its own key, of no authority, and valid from an hour before now to until.
func SelfSigned(r Request, now, until time.Time) (*Pair, error) {
	return sign(r.template(now.Add(-early), until), nil)
}

// sign makes a key, and the certificate of it, by the issuer or, if there is none, by itself.
func sign(template *x509.Certificate, issuer *Pair) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of %s: %w", template.Subject, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of %s: %w", template.Subject, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing the key of %s: %w", template.Subject, err)
	}
	return &Pair{
		Cert: cert, Key: key,
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}
