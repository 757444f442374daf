// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// The guards that hold what one owner's own plan would do.
const (
	// GuardUnread holds removals that rest on a read which was not complete.
	GuardUnread Guard = "incomplete-read"
	// GuardEmptied keeps the servers of a pool whose endpoints can't be read.
	GuardEmptied Guard = "pool-emptied"
	// GuardAddress holds what would interrupt traffic: another address, network, tenant or Service Engine group.
	GuardAddress Guard = "address-change"
	// GuardIdentity holds everything while clusterName belongs to another cluster.
	GuardIdentity Guard = "identity"
	// GuardForeign leaves objects alone that somebody else made under a name of ours.
	GuardForeign Guard = "foreign-object"
	// GuardContradiction keeps what was known where the Controller contradicts itself.
	GuardContradiction Guard = "contradiction"
)

// Rule says of a guard what it holds, how that is reported and how it ends.
type Rule struct {
	Guard Guard
	Holds string // what stays as it is, and when
	// Reason is that of the finding or condition, one of model's or "Unknown".
	Reason string
	// Why begins what is said about a hold of several owners; empty for guards that hold the plan of one.
	Why string
	// Release is what a person does to let the held plan, and no other, through.
	Release string
}

// Rules are the guards, from those that look at the whole site to those of one object. Each ends by itself when its cause does.
func Rules() []Rule {
	return []Rule{
		{GuardDeselected, "owners that settings, labels or classes let go of, beyond a share", model.ReasonDeletionHeld,
			"settings or labels let go of", "annotation `l4.ako.vmware.com/release` of ConfigMap `avi-k8s-config` with the ID"},
		{GuardLost, "what is there for owners that don't exist although nobody saw them go, beyond a share", model.ReasonDeletionHeld,
			"there is no Service or Gateway any more for", "annotation `l4.ako.vmware.com/release` of ConfigMap `avi-k8s-config` with the ID"},
		{GuardIdentity, "everything of a cluster whose `clusterName` is recorded for another", model.ReasonNameTaken, "",
			"key `takeOverClusterUID` with the other cluster's UID"},
		{GuardUnread, "routes and types that can't be read: listeners keep what they have", model.ReasonRoutesUnreadable, "", ""},
		{GuardEmptied, "the servers of a pool while its EndpointSlices can't be read", model.ReasonEndpointsUnreadable, "",
			"delete the port, or the owner"},
		{GuardAddress, "what can't be changed without an interruption: address, network, tenant, Service Engine group",
			model.ReasonNeedsReplacement, "", "annotation `l4.ako.vmware.com/allow-replacement` of the owner, taken away afterwards"},
		{GuardForeign, "objects of a wanted name that somebody else made", model.ReasonNameTaken, "", "rename or remove one of the two"},
		{GuardContradiction, "addresses in a status, and objects, that the Controller shows at one time and not at another",
			"Unknown", "", "delete the owner, or the object on the Controller"},
	}
}

// RuleOf is a guard's rule.
func RuleOf(g Guard) Rule {
	for _, r := range Rules() {
		if r.Guard == g {
			return r
		}
	}
	return Rule{Guard: g}
}

// GuardDocs is the table of the guards as Markdown, for docs/reliability.md.
func GuardDocs() string {
	var b strings.Builder
	b.WriteString("| guard | holds | reported as | let through by |\n|---|---|---|---|\n")
	for _, r := range Rules() {
		release := r.Release
		if release == "" {
			release = "nobody: it ends with its cause"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", r.Guard, r.Holds, r.Reason, release)
	}
	return b.String()
}
