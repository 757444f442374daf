// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"fmt"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// VRF names the VRF context that gets the routes, by AKO's rule: that of the objects. On NSX-T with a tier-1 router it is the VRF
// context of that router, which only the Controller can name: then tier1 is the router's path, to be found in the VRF
// contexts' attribute AttributeTier1.
func VRF(s *settings.Settings, f *model.Facts) (name, tier1 string) {
	p := s.Placement
	if f.Cloud.Type == "CLOUD_NSXT" && !f.Cloud.VLAN && p.Tier1LR != "" {
		return "", p.Tier1LR
	}
	return placement.VRF(p, s.VRF, s.ServiceType == settings.NodePort, f), ""
}

// AttributeTier1 is the key in a VRF context's attrs of the NSX-T tier-1 router that it stands for.
const AttributeTier1 = "tier1path"

// Groups are the names of the Service Engine groups whose label makes Service Engines take the routes: that of the
// settings, and those of AviInfraSettings that the Controller has. Missing is the settings' if the Controller lacks it.
func Groups(in Input) (names []string, missing *Problem) {
	have := in.Facts.Shared[model.ServiceEngineGroup]
	own := in.Settings.Placement.SEGroup
	if _, ok := have[own]; ok {
		names = append(names, own)
	} else {
		missing = &Problem{Reason: ReasonReferenceMissing, Message: fmt.Sprintf("the Controller's cloud %s has no Service Engine group %q (serviceEngineGroupName)", in.Facts.Cloud.Name, own)}
	}
	seen := map[string]bool{own: true}
	for _, g := range in.Groups {
		if _, ok := have[g]; ok && !seen[g] {
			names = append(names, g)
		}
		seen[g] = true
	}
	return names, missing
}

// LabelGroup says which labels a Service Engine group should have so that its Service Engines take a cluster's routes; ok is
// false if it is fine as it is. As with AKO, only a group without labels gets one. Foreign is why a group that is labelled
// for somebody else stays without our routes.
func LabelGroup(name, cluster string, have []Label) (want []Label, ok bool, foreign string) {
	switch {
	case labelled(have, cluster):
		return nil, false, ""
	case len(have) > 0:
		return nil, false, fmt.Sprintf("Service Engine group %s has the label %s=%s, so its Service Engines don't take the routes of cluster %s; give this cluster a group of its own, or remove the label", name, have[0].Key, have[0].Value, cluster)
	}
	return []Label{{model.MarkCluster, cluster}}, true, ""
}

// UnlabelGroup takes a cluster's label away; ok is false if there is none.
func UnlabelGroup(cluster string, have []Label) (want []Label, ok bool) {
	for _, l := range have {
		if l != (Label{model.MarkCluster, cluster}) {
			want = append(want, l)
		}
	}
	return want, len(want) < len(have)
}
