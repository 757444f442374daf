package avisim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// deriveKeyAndCertificate makes the key and the certificate of an object that asks for a self-signed one. Evidence: that the
// Controller does so is documented by the vendor's own tests, the status' value is recorded.
func deriveKeyAndCertificate(w *write) {
	keepSecrets(w)
	cert, _ := w.body["certificate"].(map[string]any)
	if cert == nil || str(cert, "certificate") != "" || w.body["key"] != nil {
		return
	}
	if old := w.old; old != nil && str(old.body, "certificate", "certificate") != "" {
		cert["certificate"] = at(old.body, "certificate", "certificate")
		return
	}
	certificate, key, err := selfSigned(cert, w.server.now())
	if err != nil { // only a broken source of randomness can do that
		return
	}
	cert["certificate"], w.body["key"] = string(certificate), string(key)
	cert["self_signed"], cert["expiry_status"] = true, "SSL_CERTIFICATE_GOOD"
	w.body["status"] = "SSL_CERTIFICATE_FINISHED"
}

// selfSigned makes a certificate from the fields that a client gave, in PEM.
func selfSigned(cert map[string]any, now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	days := integer(cert, "days_until_expire")
	if days == 0 {
		days = 365 // documented default
	}
	name := pkix.Name{CommonName: str(cert, "subject", "common_name")}
	for field, to := range map[string]*[]string{"organization": &name.Organization, "organization_unit": &name.OrganizationalUnit,
		"locality": &name.Locality, "state": &name.Province, "country": &name.Country} {
		if v := str(cert, "subject", field); v != "" {
			*to = []string{v}
		}
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: name, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, days),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	names, _ := cert["subject_alt_names"].([]any)
	for _, n := range names {
		host, _ := n.(string)
		if h, _, err := net.SplitHostPort(host); err == nil { // a client that is told host:port as the Controller's address
			host = h
		}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// presentPortal makes the server present the certificate that the system configuration names, if it names one that has
// its key; else the one that it had at first. Evidence: documented by the vendor's own tests.
func (s *Server) presentPortal(system *object) {
	refs, _ := at(system.body, "portal_configuration", "sslkeyandcertificate_refs").([]any)
	for _, r := range refs {
		r, _ := r.(ref)
		o := s.store.get(r)
		if o == nil {
			continue
		}
		leaf, err := tls.X509KeyPair([]byte(str(o.body, "certificate", "certificate")), []byte(str(o.body, "key")))
		if err != nil {
			continue
		}
		if s.portal == nil {
			s.portal = s.certificate.Load()
		}
		s.swapCertificate(&certificate{leaf, []byte(str(o.body, "certificate", "certificate"))})
		return
	}
	if s.portal != nil {
		s.swapCertificate(s.portal)
		s.portal = nil
	}
}
