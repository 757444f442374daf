// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
)

// metricsName is what the certificates of config/components/metrics-tls-cert-manager are for.
const metricsName = "avi-l4-operator-metrics"

// TestMetricsOfReplicas scrapes two replicas as config/components/monitoring and metrics-tls have it: with the token of an account that may
// read metrics, under a certificate that is verified and taken anew from its folder. One of them says that it leads.
func TestMetricsOfReplicas(t *testing.T) {
	f := begin(t)
	operator.Stop()
	t.Cleanup(f.restore)
	folder := t.TempDir()
	first, second := f.certificate(), f.certificate()
	f.must(first.put(folder))

	var addresses []string
	for _, name := range []string{"scraped-1", "scraped-2"} {
		address, err := stage.FreeAddress(f.ctx)
		f.must(err)
		addresses = append(addresses, address)
		o, err := st.StartOperator(f.ctx, name, append(slices.Clone(flags), "--leader-elect",
			"--metrics-bind-address="+address, "--metrics-cert-path="+folder)...)
		f.must(err)
		t.Cleanup(o.Stop)
	}
	token := f.scraper()
	f.eventually("one leader", func(ctx context.Context) error {
		leaders := 0
		for _, address := range addresses {
			code, text, err := scrape(ctx, address, token, first)
			if err != nil || code != http.StatusOK {
				return fmt.Errorf("%s: %d %w", address, code, err)
			}
			if !strings.Contains(text, "\navi_l4_build_info{") {
				return fmt.Errorf("%s doesn't say what it runs", address)
			}
			if regexp.MustCompile(`(?m)^leader_election_master_status{.*} 1$`).MatchString(text) {
				leaders++
			} else if !regexp.MustCompile(`(?m)^leader_election_master_status{.*} 0$`).MatchString(text) {
				return fmt.Errorf("%s doesn't say whether it leads", address)
			}
		}
		if leaders != 1 {
			return fmt.Errorf("%d lead", leaders)
		}
		return nil
	})
	if code, _, err := scrape(f.ctx, addresses[0], "", first); err != nil || code != http.StatusUnauthorized {
		t.Errorf("without a token: %d, %v", code, err)
	}
	if _, _, err := scrape(f.ctx, addresses[0], token, second); err == nil {
		t.Error("a certificate is served that is not in the folder yet")
	}
	f.must(second.put(folder))
	f.eventually("the new certificate", func(ctx context.Context) error {
		_, _, err := scrape(ctx, addresses[0], token, second)
		return err
	})
}

// pair is a certificate that is its own authority, and its key.
type pair struct{ cert, key []byte }

func (f *fixture) certificate() pair {
	f.Helper()
	c, k, err := cert.GenerateSelfSignedCertKey(metricsName, nil, nil)
	f.must(err)
	return pair{c, k}
}

func (p pair) put(folder string) error {
	if err := os.WriteFile(filepath.Join(folder, "tls.crt"), p.cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "tls.key"), p.key, 0o600)
}

// scraper makes an account that may read metrics, and returns a token of it.
func (f *fixture) scraper() string {
	f.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "scraper", Namespace: f.ns}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: f.ns + "-scraper"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "avi-l4-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: sa.Name, Namespace: f.ns}}}
	f.must(st.Client.Create(f.ctx, sa))
	f.must(st.Client.Create(f.ctx, binding))
	f.Cleanup(func() { f.must(st.Client.Delete(context.Background(), binding)) })
	request := new(authenticationv1.TokenRequest)
	f.must(st.Client.SubResource("token").Create(f.ctx, sa, request))
	return request.Status.Token
}

// scrape asks for the metrics, and trusts one certificate alone.
func scrape(ctx context.Context, address, token string, trusted pair) (code int, text string, err error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trusted.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: metricsName, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}
