// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// ServersPath is where a running operator serves what the Controller says of the servers of one owner. It is behind the same filter as
// the metrics.
const ServersPath = "/servers"

// An answer asks the Controller about so many pools, and about so many at a time.
const (
	serversPools  = 50
	serversAtOnce = 4
)

// serversReport is the answer, in JSON.
type serversReport struct {
	Cluster         string         `json:"cluster"`
	Controller      string         `json:"controller"`
	VirtualServices []objectHealth `json:"virtualServices"`
	Pools           []poolHealth   `json:"pools"`
	LeftOut         int            `json:"leftOut,omitempty"` // pools that are more than one answer asks about
}

type objectHealth struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	State  string `json:"state,omitempty"` // none while the Controller's inventory lacks the object
	Reason string `json:"reason,omitempty"`
}

type poolHealth struct {
	objectHealth
	Problem string                `json:"problem,omitempty"` // why its servers can't be read
	Servers []mirror.ServerHealth `json:"servers"`
}

// Servers serves what the Controller says of each server of an owner, by GET with the parameters namespace, kind and name; kind is Service,
// Gateway or SharedVIP. The Controller is asked at that moment, once for each pool.
func (op *Operator) Servers() http.Handler {
	return questions(func(ctx context.Context, v url.Values) ([]byte, string, error) {
		owners, err := parseServersQuery(v)
		if err != nil {
			return nil, "", badQuestion{err}
		}
		report, err := op.servers(ctx, owners)
		if err != nil {
			return nil, "", err
		}
		body, err := json.MarshalIndent(report, "", "  ")
		return body, "application/json", err
	})
}

// parseServersQuery returns what may be meant: Gateways of both APIs have one noun.
func parseServersQuery(v url.Values) (owners []model.Owner, err error) {
	for key := range v {
		if key != "namespace" && key != "kind" && key != "name" {
			return nil, fmt.Errorf("parameter %q is none of namespace, kind, name", key)
		}
	}
	namespace, name := v.Get("namespace"), v.Get("name")
	if namespace == "" || name == "" {
		return nil, errors.New("parameters namespace and name are needed")
	}
	for _, k := range []model.OwnerKind{model.ServiceOwner, model.SvcAPIGatewayOwner, model.GatewayOwner, model.SharedVIPOwner} {
		if strings.EqualFold(v.Get("kind"), k.Noun()) {
			owners = append(owners, model.Owner{Kind: k, Namespace: namespace, Name: name})
		}
	}
	if len(owners) == 0 {
		return nil, fmt.Errorf("kind %q is none of Service, Gateway, SharedVIP", v.Get("kind"))
	}
	return owners, nil
}

func (op *Operator) servers(ctx context.Context, owners []model.Owner) (*serversReport, error) {
	cfg := op.Settings.Current()
	if cfg == nil {
		return nil, errors.Join(errUnconfigured, op.Settings.Err())
	}
	if err := op.readable(ctx); err != nil {
		return nil, err
	}
	report := &serversReport{Cluster: cfg.ClusterName, Controller: cfg.Controller, VirtualServices: []objectHealth{}, Pools: []poolHealth{}}
	pools := []*model.Observed{}
	for _, o := range op.held(owners) {
		switch o.Key.Kind {
		case model.VirtualService:
			h, _ := op.Mirror.VSHealth(o.UUID)
			report.VirtualServices = append(report.VirtualServices, objectHealth{o.Key.Tenant, o.Key.Name, h.State, h.Reason})
		case model.Pool:
			pools = append(pools, o)
		}
	}
	report.LeftOut = max(0, len(pools)-serversPools)
	pools = pools[:len(pools)-report.LeftOut]
	report.Pools = make([]poolHealth, len(pools))
	var g errgroup.Group
	g.SetLimit(serversAtOnce)
	for i, p := range pools {
		g.Go(func() error { // a pool that can't be read leaves the others
			h, _ := op.Mirror.PoolHealth(p.UUID)
			report.Pools[i] = poolHealth{objectHealth: objectHealth{Tenant: p.Key.Tenant, Name: p.Key.Name, State: h.State}}
			servers, err := op.Mirror.Servers(ctx, p)
			if err != nil {
				report.Pools[i].Problem = err.Error()
			}
			report.Pools[i].Servers = append([]mirror.ServerHealth{}, servers...)
			return nil
		})
	}
	return report, g.Wait()
}

// held are the owners' objects on the Controller whose markers name them, sorted.
func (op *Operator) held(owners []model.Owner) (all []*model.Observed) {
	for _, o := range owners {
		all = append(all, op.Mirror.Of(o, "")...)
	}
	slices.SortFunc(all, func(a, b *model.Observed) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return slices.CompactFunc(all, func(a, b *model.Observed) bool { return a.Key == b.Key })
}
