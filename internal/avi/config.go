// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	release "github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

const (
	// DefaultVersion is the newest API version that is spoken unless a newer one is configured: that of the schema of alb-sdk
	// go/models, in which the operator's bodies are written, and AKO's limit too.
	DefaultVersion = "30.2.1"
	// MaxVersion is the newest API version that may be configured: the last one whose changes to what the operator sends are
	// known (changes.go). The Controller translates each request from the version that it is sent with.
	MaxVersion = "31.2.1"
)

const (
	defaultTenant      = "admin"
	defaultConcurrency = 8
	defaultTimeout     = 30 * time.Second
)

// Config says which Controller to talk to, as whom and how hard. It prints without its secrets.
type Config struct {
	Host      string // name or address, with ":port" if that is not 443; an IPv6 address with a port needs brackets
	Username  string
	Password  string        // used if AuthToken is empty, or no longer good
	AuthToken string        // an Avi user token; KeepToken has it renewed
	CA        []byte        // PEM; empty means the system's roots
	Insecure  bool          // do not verify the Controller's certificate
	Version   string        // newest API version to use, as in "22.1.3"; empty means DefaultVersion, and MaxVersion is the limit
	Tenant    string        // tenant of calls that name none; empty means admin
	UserAgent string        // sent as User-Agent and X-Avi-UserAgent; empty means avi-l4-operator/<version>
	Timeout   time.Duration // of each request, from dialling to the end of the body; 0 means 30 s

	Concurrency int     // requests under way at a time; 0 means 8
	QPS         float64 // calls per second over all; 0 means no limit
	Burst       int     // calls that QPS lets through at once; 0 means Concurrency
}

// String describes the configuration without password, token and certificates.
func (c Config) String() string {
	return fmt.Sprintf("avi.Config{Host:%q Username:%q Version:%q Tenant:%q CA:%t Insecure:%t Concurrency:%d QPS:%g Timeout:%s}",
		c.Host, c.Username, c.Version, c.Tenant, len(c.CA) > 0, c.Insecure, c.Concurrency, c.QPS, c.Timeout)
}

// GoString keeps %#v from printing the secrets.
func (c Config) GoString() string { return c.String() }

// MarshalLog keeps structured loggers from printing the secrets.
func (c Config) MarshalLog() any { return c.String() }

// withDefaults fills what was left empty and brings Host into the form that a URL needs.
func (c Config) withDefaults() Config {
	// The SDK brackets IPv6 literals only if it gets them bare; it takes them in brackets too, as does net/url.
	if ip := net.ParseIP(c.Host); ip != nil && ip.To4() == nil {
		c.Host = "[" + c.Host + "]"
	}
	c.Tenant = cmp.Or(c.Tenant, defaultTenant)
	c.Version = cmp.Or(c.Version, DefaultVersion)
	c.UserAgent = cmp.Or(c.UserAgent, "avi-l4-operator/"+release.String())
	c.Concurrency = cmp.Or(c.Concurrency, defaultConcurrency)
	c.Burst = cmp.Or(c.Burst, c.Concurrency)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.CA = bytes.Clone(c.CA)
	if len(c.CA) == 0 {
		c.CA = nil // so that reflect.DeepEqual compares two of these
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Host == "":
		return errors.New("controller host is empty")
	case strings.ContainsAny(c.Host, "/?#@ \t\r\n"):
		return fmt.Errorf("controller host %q is not of the form host or host:port", c.Host)
	case c.Username == "":
		return errors.New("controller username is empty")
	case c.Password == "" && c.AuthToken == "":
		return errors.New("controller password and auth token are both empty")
	case c.Concurrency < 0 || c.QPS < 0 || c.Burst < 0 || c.Timeout < 0:
		return errors.New("concurrency, qps, burst and timeout must not be negative")
	}
	if c.Version != "" && numeric(c.Version) != c.Version {
		return fmt.Errorf("api version %q is not of the form 22.1.3", c.Version)
	}
	for name, v := range map[string]string{"tenant": c.Tenant, "user agent": c.UserAgent} {
		if !headerValue(v) {
			return fmt.Errorf("%s %q holds characters that a header can't carry", name, v)
		}
	}
	return nil
}

// tlsConfig verifies against the CA, or the system's roots, and the name in the URL (net/http sets ServerName from it).
func (c Config) tlsConfig() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} //nolint:gosec // asked for by name
	if len(c.CA) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("controller ca holds no pem certificate")
		}
	}
	return t, nil
}

// longestTenant is the longest name, in bytes, that an object of the Controller has.
const longestTenant = 255

// TenantProblem says why a tenant can't have a name, in words that follow the name; "" if it may. Such a name is refused before it is
// sent: some would be understood as another tenant, or as all of them.
func TenantProblem(name string) string {
	switch {
	case name == "*":
		return "stands for all tenants"
	case strings.TrimSpace(name) != name:
		return "begins or ends with a blank"
	case !headerValue(name):
		return "has characters that no request can carry"
	case len(name) > longestTenant:
		return fmt.Sprintf("is longer than %d characters", longestTenant)
	}
	return ""
}

// headerValue reports whether net/http will send s as a header value.
func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
