// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// stray is a VRF context with routes of the cluster that are kept in step elsewhere.
type stray struct {
	name, uuid, tier1 string
}

// clearStrays removes the cluster's routes from VRF contexts that the settings no longer mean. What serves stays where it is when the
// settings change, so routes stay as long as any pool under the cluster's name, ours or another's, is in their VRF context, by what the
// Controller itself lists. The current one is the VRF context that was just brought in step.
func (r *Routes) clearStrays(ctx context.Context, in staticroutes.Input, current string, out *RoutesOutcome) error {
	if r.settled == current {
		return nil
	}
	strays, err := r.findStrays(ctx, in.Settings, current)
	if err != nil || len(strays) == 0 {
		if err == nil {
			r.settled = current
		}
		return err
	}
	used, err := r.vrfsOfPools(ctx, in.Settings)
	if err != nil {
		return err
	}
	log := logr.FromContextOrDiscard(ctx)
	var failed []error
	kept := ""
	for _, s := range strays {
		if n := used[s.uuid] + used[s.name] + used[s.tier1] + used[""]; n > 0 {
			kept += fmt.Sprintf("%s: %d pools; ", s.name, n)
			continue
		}
		o, err := r.Client.Read(ctx, model.VrfContext, in.Settings.Tenant, s.uuid)
		var steps []staticroutes.Step
		if err == nil {
			steps, err = r.clearVRF(ctx, in, s.name, s.uuid, o)
		}
		out.Steps = append(out.Steps, steps...)
		if err != nil {
			failed = append(failed, fmt.Errorf("removing our static routes from VRF context %s, which is no longer used: %w", s.name, err))
		}
	}
	if kept != r.kept {
		log.Info("static routes stay in VRF contexts that the settings no longer mean, because pools of this cluster are there", "vrfcontexts", kept)
		r.kept = kept
	}
	if kept == "" && len(failed) == 0 {
		r.settled = current
	}
	return errors.Join(failed...)
}

// findStrays lists the other VRF contexts of the cloud that have routes of the cluster.
func (r *Routes) findStrays(ctx context.Context, s *settings.Settings, current string) (out []stray, err error) {
	q := url.Values{"cloud_ref.name": {s.Cloud}, "fields": {"name,attrs,static_routes"}}
	err = r.Client.List(ctx, string(model.VrfContext), s.Tenant, q, func(raw json.RawMessage) error {
		var o avi.Object
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		found := stray{name: o.Text("name"), uuid: o.Text("uuid")}
		list, err := routesOf(o)
		if err != nil || found.uuid == current {
			return err
		}
		var attrs []staticroutes.Label
		if raw, ok := o["attrs"]; ok {
			if err := json.Unmarshal(raw, &attrs); err != nil {
				return fmt.Errorf("reading the attributes of VRF context %s: %w", found.name, err)
			}
		}
		for _, a := range attrs {
			if a.Key == staticroutes.AttributeTier1 {
				found.tier1 = a.Value
			}
		}
		if _, steps := staticroutes.Clear(s.ClusterName, list); len(steps) > 0 {
			out = append(out, found)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for static routes of ours in other VRF contexts: %w", err)
	}
	return out, nil
}

// vrfsOfPools counts the pools under the cluster's name by their VRF context's UUID, else its name, or by their tier-1 router. Those that
// have neither are counted under "": they may be anywhere.
func (r *Routes) vrfsOfPools(ctx context.Context, s *settings.Settings) (map[string]int, error) {
	tenant := "*"
	if s.OwnTenant {
		tenant = s.Tenant
	}
	used := make(map[string]int)
	q := url.Values{"cloud_ref.name": {s.Cloud}, "name.contains": {s.Prefix()}, "fields": {"name,vrf_ref,tier1_lr"}}
	err := r.Client.List(ctx, string(model.Pool), tenant, q, func(raw json.RawMessage) error {
		var o struct {
			VRF   string `json:"vrf_ref"`
			Tier1 string `json:"tier1_lr"`
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		ref := model.ParseRef(o.VRF)
		used[cmp.Or(o.Tier1, ref.UUID, ref.Name)]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for pools that use static routes elsewhere: %w", err)
	}
	return used, nil
}
