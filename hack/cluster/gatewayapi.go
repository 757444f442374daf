// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// GatewayAPI are the files of the CRDs of gateway.networking.k8s.io that matter to layer 4, in the standard channel of the
// release that go.mod names. They come with its Go module, so that no copy of them is kept.
func GatewayAPI(ctx context.Context) (files []string, err error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return nil, fmt.Errorf("asking for the folder of the Gateway API's module: %w", err)
	}
	for _, kind := range []string{"gatewayclasses", "gateways", "listenersets", "referencegrants", "tcproutes", "udproutes"} {
		files = append(files, filepath.Join(strings.TrimSpace(string(dir)), "config/crd/standard", "gateway.networking.k8s.io_"+kind+".yaml"))
	}
	return files, nil
}
