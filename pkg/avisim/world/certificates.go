// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the Controller shows SHA-1 fingerprints
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/pki"
)

// deriveKeyAndCertificate makes the key and the certificate of an object that asks for a self-signed one, and says what is in
// a certificate. Evidence: that the Controller makes one is documented by the vendor's own tests; what it says is recorded.
func deriveKeyAndCertificate(w *write) {
	keepSecrets(w)
	cert, _ := w.body["certificate"].(map[string]any)
	if cert == nil {
		return
	}
	if old := w.Old; old != nil && doc.Str(cert, "certificate") == "" && doc.Str(old.Body, "certificate", "certificate") != "" {
		cert["certificate"] = doc.At(old.Body, "certificate", "certificate")
	}
	if doc.Str(cert, "certificate") == "" && w.body["key"] == nil {
		made, err := selfSigned(cert, w.world.now())
		if err != nil { // a name that no certificate can have
			return
		}
		cert["certificate"], w.body["key"] = string(made.CertPEM), string(made.KeyPEM)
	}
	block, _ := pem.Decode([]byte(doc.Str(cert, "certificate")))
	if block == nil {
		return // kept as it came: what the Controller says to it is unverified
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return
	}
	readOut(cert, x)
	w.body["status"] = "SSL_CERTIFICATE_FINISHED"
	w.body["key_params"] = keyParams(x.PublicKey)
	for _, k := range []string{"certificate_base64", "key_base64", "enable_ocsp_stapling"} {
		if w.body[k] == nil {
			w.body[k] = false
		}
	}
	if w.body["format"] == nil {
		w.body["format"] = "SSL_PEM"
	}
}

// readOut fills what the Controller reads out of a certificate. Evidence: recorded, but for the printed text, which is left out.
func readOut(cert map[string]any, x *x509.Certificate) {
	name := func(n pkix.Name) map[string]any {
		out := map[string]any{}
		var parts []string
		for _, a := range []struct {
			short, field string
			values       []string
		}{{"C", "country", n.Country}, {"ST", "state", n.Province}, {"L", "locality", n.Locality}, {"O", "organization", n.Organization},
			{"OU", "organization_unit", n.OrganizationalUnit}, {"CN", "common_name", []string{n.CommonName}}} {
			if len(a.values) > 0 && a.values[0] != "" {
				out[a.field] = a.values[0]
				parts = append(parts, a.short+"="+a.values[0])
			}
		}
		out["distinguished_name"] = strings.Join(parts, ", ")
		return out
	}
	const layout = "2006-01-02 15:04:05"
	sum := sha1.Sum(x.Raw) //nolint:gosec // as the Controller shows it, not for security
	cert["version"], cert["serial_number"] = strconv.Itoa(x.Version-1), x.SerialNumber.String()
	cert["subject"], cert["issuer"] = name(x.Subject), name(x.Issuer)
	cert["self_signed"] = bytes.Equal(x.RawSubject, x.RawIssuer)
	cert["signature_algorithm"] = signatureNames[x.SignatureAlgorithm]
	cert["not_before"], cert["not_after"] = x.NotBefore.UTC().Format(layout), x.NotAfter.UTC().Format(layout)
	cert["fingerprint"] = "SHA1 Fingerprint=" + strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":") + "\n"
	cert["expiry_status"] = "SSL_CERTIFICATE_GOOD"
	if cert["days_until_expire"] == nil {
		cert["days_until_expire"] = 365.0
	}
	if der, err := x509.MarshalPKIXPublicKey(x.PublicKey); err == nil {
		cert["public_key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
}

// signatureNames are the algorithms as OpenSSL prints them.
var signatureNames = map[x509.SignatureAlgorithm]string{x509.SHA256WithRSA: "sha256WithRSAEncryption",
	x509.SHA384WithRSA: "sha384WithRSAEncryption",
	x509.SHA512WithRSA: "sha512WithRSAEncryption", x509.SHA1WithRSA: "sha1WithRSAEncryption", x509.ECDSAWithSHA256: "ecdsa-with-SHA256",
	x509.ECDSAWithSHA384: "ecdsa-with-SHA384", x509.ECDSAWithSHA512: "ecdsa-with-SHA512"}

func keyParams(key any) map[string]any {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return map[string]any{"algorithm": "SSL_KEY_ALGORITHM_RSA", "rsa_params": map[string]any{
			"key_size": fmt.Sprintf("SSL_KEY_%d_BITS", k.N.BitLen()), "exponent": float64(k.E)}}
	case *ecdsa.PublicKey:
		return map[string]any{"algorithm": "SSL_KEY_ALGORITHM_EC", "ec_params": map[string]any{
			"curve": fmt.Sprintf("SSL_KEY_EC_CURVE_SECP%dR1", k.Curve.Params().BitSize)}}
	}
	return map[string]any{"algorithm": "SSL_KEY_ALGORITHM_RSA"}
}

// selfSigned makes a certificate from the fields that a client gave.
func selfSigned(cert map[string]any, now time.Time) (*pki.Pair, error) {
	days := doc.Int(cert, "days_until_expire")
	if days == 0 {
		days = 365 // documented default
	}
	r := pki.Request{Subject: pkix.Name{CommonName: doc.Str(cert, "subject", "common_name")},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for field, to := range map[string]*[]string{"organization": &r.Subject.Organization,
		"organization_unit": &r.Subject.OrganizationalUnit, "locality": &r.Subject.Locality, "state": &r.Subject.Province,
		"country": &r.Subject.Country} {
		if v := doc.Str(cert, "subject", field); v != "" {
			*to = []string{v}
		}
	}
	names, _ := cert["subject_alt_names"].([]any)
	for _, n := range names {
		host, _ := n.(string)
		if h, _, err := net.SplitHostPort(host); err == nil { // a client that has host:port as the Controller's address
			host = h
		}
		if host != "" {
			r.Hosts = append(r.Hosts, host)
		}
	}
	return pki.SelfSigned(r, now, now.AddDate(0, 0, days))
}
