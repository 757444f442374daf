// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// operUp is the state of a server, pool or VirtualService that serves.
const operUp = "OPER_UP"

// ServerHealth is what the Controller says of one server of a pool.
type ServerHealth struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
	State   string `json:"state"`            // OPER_UP, OPER_DOWN, OPER_DISABLED …
	Reason  string `json:"reason,omitempty"` // in the Controller's words
}

// serverRuntime is a server in the answer of /api/pool/<uuid>/runtime/server.
type serverRuntime struct {
	IP struct {
		Addr string `json:"addr"`
	} `json:"ip_addr"`
	Port   int `json:"port"`
	Status struct {
		State  string   `json:"state"`
		Reason []string `json:"reason"`
	} `json:"oper_status"`
}

// Servers asks the Controller for the health of each server of a pool, sorted by address and port. It is one call: the inventories, which
// are read in rounds, only count servers. Where service engines differ, the answer is that of one for which the server is not up.
func (m *Mirror) Servers(ctx context.Context, pool *model.Observed) ([]ServerHealth, error) {
	path := "/api/pool/" + pool.UUID + "/runtime/server"
	raw, err := m.client.Get(ctx, pool.Key.Tenant, path, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the servers of %s: %w", pool.Key, err)
	}
	var answer []serverRuntime
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("reading the servers of %s: %w", pool.Key, err)
	}
	out := make([]ServerHealth, 0, len(answer))
	for _, s := range answer {
		out = append(out, ServerHealth{s.IP.Addr, s.Port, s.Status.State, strings.Join(s.Status.Reason, "; ")})
	}
	slices.SortStableFunc(out, func(a, b ServerHealth) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port), up(a)-up(b))
	})
	return slices.CompactFunc(out, func(a, b ServerHealth) bool { return a.Address == b.Address && a.Port == b.Port }), nil
}

func up(s ServerHealth) int {
	if s.State == operUp {
		return 1
	}
	return 0
}
