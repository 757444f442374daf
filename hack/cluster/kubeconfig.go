// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// credentials are what a kubeconfig identifies its user by: a certificate or a token.
type credentials struct {
	certificate, key []byte
	token            string
	namespace        string // the context's; empty means default
}

func (c *Cluster) writeKubeconfig(file string, who credentials) error {
	const name = "local-cluster"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: c.server(), CertificateAuthorityData: c.ca.CertPEM}
	config.AuthInfos[name] = &api.AuthInfo{
		ClientCertificateData: who.certificate, ClientKeyData: who.key, Token: who.token,
	}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name, Namespace: who.namespace}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("write the kubeconfig %s: %w", file, err)
	}
	return nil
}

// KubeconfigFor writes a kubeconfig with a token of an existing service account and returns its path. The token is good
// for a day, and for what RBAC allows the account: a program run with it as a process can do what it could do in a pod.
func (c *Cluster) KubeconfigFor(ctx context.Context, namespace, serviceAccount string) (string, error) {
	day := int64(24 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	response, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("get a token of the service account %s/%s: %w", namespace, serviceAccount, err)
	}
	file := filepath.Join(c.dir, "kubeconfigs", namespace+"-"+serviceAccount)
	return file, c.writeKubeconfig(file, credentials{token: response.Status.Token, namespace: namespace})
}
