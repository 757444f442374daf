// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/pki"
)

// validity is that of every certificate. A cluster that is kept is given new ones at each start.
const validity = 365 * 24 * time.Hour

// authority is the cluster's certificate authority.
type authority struct {
	*pki.Authority
	dir string // where certificates and keys are written
}

// pair is a certificate with its key, as files and as PEM.
type pair struct {
	certFile, keyFile string
	cert, key         []byte
}

// newAuthority makes the certificate authority and writes it to dir/ca.crt.
func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	now := time.Now()
	made, err := pki.NewAuthority(pkix.Name{CommonName: "local-cluster"}, now, now.Add(validity))
	if err != nil {
		return nil, err
	}
	ca := &authority{Authority: made, dir: dir}
	return ca, os.WriteFile(ca.file(), ca.CertPEM, 0o600)
}

func (a *authority) file() string { return filepath.Join(a.dir, "ca.crt") }

// server issues the certificate that every server of the cluster presents: all of them listen on loopback.
func (a *authority) server(serviceIPs ...net.IP) (pair, error) {
	r := pki.Request{
		Subject: pkix.Name{CommonName: "localhost"},
		Usages:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		Hosts: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
			"127.0.0.1", "::1",
		},
	}
	for _, ip := range serviceIPs {
		r.Hosts = append(r.Hosts, ip.String())
	}
	return a.issue("server", r)
}

// client issues the certificate of a user; Kubernetes reads the user's name and groups from its subject.
func (a *authority) client(user string, groups ...string) (pair, error) {
	return a.issue(user, pki.Request{
		Subject: pkix.Name{CommonName: user, Organization: groups}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(name string, r pki.Request) (pair, error) {
	made, err := a.Issue(r)
	if err != nil {
		return pair{}, err
	}
	name = fileName(name)
	p := pair{
		certFile: filepath.Join(a.dir, name+".crt"), keyFile: filepath.Join(a.dir, name+".key"),
		cert: made.CertPEM, key: made.KeyPEM,
	}
	if err := os.WriteFile(p.certFile, p.cert, 0o600); err != nil {
		return pair{}, err
	}
	return p, os.WriteFile(p.keyFile, p.key, 0o600)
}

// signingKey returns the file of the key that signs service account tokens. A kept cluster keeps it: the tokens that
// were handed out stay valid over a restart.
func signingKey(dir string) (string, error) {
	file := filepath.Join(dir, "service-account.key")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	// The API server reads the public half out of this form of a key only.
	return file, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
