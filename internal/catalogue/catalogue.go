// SPDX-License-Identifier: Apache-2.0

// Package catalogue explains each reason that conditions, ports' errors and Events give: its cause, what to do, and the page that says
// more. docs/troubleshooting.md is made from it.
package catalogue

import (
	"fmt"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Entry explains one reason.
type Entry struct {
	Reason string // CamelCase, as a condition has it
	Cause  string // a sentence: why it is given
	Effect string // what it does to what is served, and when it is tried again; may be empty
	Remedy string // a sentence: what a person can do
	Page   string // in docs/, with an anchor or without
}

// Find returns the entry of a reason. A port's error has the reason behind "ako.vmware.com/".
func Find(reason string) (Entry, bool) {
	reason = strings.TrimPrefix(reason, "ako.vmware.com/")
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Reason == reason })
	if i < 0 {
		return Entry{}, false
	}
	return entries[i], true
}

// Reasons are all that are explained, in alphabetical order.
func Reasons() []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Reason
	}
	slices.Sort(out)
	return out
}

// Markdown is the page of all entries.
func Markdown() string {
	var b strings.Builder
	b.WriteString(head)
	for _, reason := range Reasons() {
		e, _ := Find(reason)
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", e.Reason, e.Cause)
		if e.Effect != "" {
			fmt.Fprintf(&b, "\n**Effect:** %s\n", e.Effect)
		}
		fmt.Fprintf(&b, "\n**What to do:** %s See [%s](%s).\n", e.Remedy, strings.TrimSuffix(strings.SplitN(e.Page, "#", 2)[0], ".md"), e.Page)
	}
	return b.String()
}

const head = `# Troubleshooting

<!-- Made from internal/catalogue; go test ./test/docs -update writes it. -->

A Service or Gateway that is not served as asked says why on itself:

- ` + "`kubectl describe service NAME`" + ` shows the annotation ` + "`l4.ako.vmware.com/problem`" + `, which is there while something is wrong, and the Events;
- ` + "`kubectl get service NAME -o yaml`" + ` has the conditions: ` + "`Accepted`" + ` (can it be had?), ` + "`Programmed`" + ` (does the Controller hold it?), ` + "`Healthy`" + ` (is it up?), and an ` + "`error`" + ` for each port that isn't served.

Each text says what is wrong, where, and what to do, and names the call to the Controller last. Below are the reasons in alphabetical
order. In the effects, "port" means that only this port is left out (if no port is left, the whole object waits), "waits" that nothing is
made, and "kept" that what serves already keeps what it has. A remark changes neither status nor reason of ` + "`Accepted`" + `, and has no
Event.
`

var entries = []Entry{
	{model.ReasonAddressLost, "The Controller that was restored, or lost the objects, can't give the address in the status again.",
		"Another address is used, which the text names.", "Have names and clients follow the new address, or free the old one on the Controller and recreate the object.", "reliability.md"},
	{"AddressPending", "The VirtualService exists, and the Controller's IPAM has not given it an address yet.",
		"", "Wait; on clouds it takes a minute. If it lasts, look at the Controller's events of the VsVip.", "services.md"},
	{model.ReasonAffinityLimited, "`sessionAffinity: ClientIP` can't be had to the full, for instance because its timeout is beyond what the Controller takes.",
		"Affinity of 720 minutes; if it is only rounded up: a remark in Accepted's message.", "Ask for less.", "services.md"},
	{model.ReasonConfigurationInvalid, "The operator has no valid settings: ConfigMap `avi-k8s-config` or Secret `avi-secret` is missing, or a key can't be used.",
		"Waits.", "Fix ConfigMap or Secret; the message names the key.", "configuration.md"},
	{model.ReasonControllerRefused, "The Controller answered that it won't take an object; the text begins with the Controller's own words.",
		"Tried again after the next full read.", "Read the answer: an address that is taken or outside of its network, a role that does not allow it, a name that is not unique, a body refused.", "services.md"},
	{model.ReasonControllerTooOld, "The Controller's release lacks what is asked for, such as SCTP.",
		"Port; kept. Of an L4Rule: that field is not used.", "Upgrade the Controller to 22.1.3 or newer, or to what the message says.", "configuration.md"},
	{model.ReasonControllerDown, "The Controller gives no answer, or answers that it can't work now. What serves goes on.",
		"Tried again with back-off up to 30 s, and at once when it is back.", "Look at the Controller and the network. The message is that of the outage's beginning.", "configuration.md"},
	{model.ReasonControllerUntrusted, "The Controller's certificate could not be verified.",
		"Tried again after 1 min.", "Fix the CA in the Secret, or `controllerIP`: the certificate has to hold that name.", "configuration.md"},
	{model.ReasonControllerUpgrading, "The Controller takes no changes while it is upgraded.",
		"Tried again after 5 min.", "Wait.", "configuration.md"},
	{model.ReasonDeletionHeld, "What serves would be deleted because of a change of settings or labels that concerns many at once, and is kept.",
		"", "Put the setting or label right; if the deletion is meant, release it as the text says.", "architecture.md"},
	{"DeletingLoadBalancerFailed", "An object that is deleted still has objects on the Controller, which could not be removed.",
		"", "Remove the obstacle that the text names; the finalizer goes by itself when nothing is left.", "services.md"},
	{"Down", "The VirtualService is not up: mostly no server is.",
		"", "The text says which port has no ready endpoint and why; else look at the health monitor on the Controller.", "services.md"},
	{model.ReasonDryRun, "The object has annotation `l4.ako.vmware.com/dry-run`, or the operator runs with `--dry-run`: what would be changed on the Controller is reported and not carried out.",
		"What serves goes on as it was.", "Read the plan in the message; then remove the annotation, or start the operator without the flag.", "services.md#pausing"},
	{model.ReasonEndpointsUnreadable, "The EndpointSlices could not be read, or have no endpoint with this port although the pool serves.",
		"The pool keeps its servers, or, if the slices can be read and none has the port, those whose addresses are in a slice.", "Look at the Service's EndpointSlices, their ports' names and protocols, and the endpoint controller.", "services.md"},
	{model.ReasonHostnameTaken, "The DNS name is that of an object in another namespace, which keeps it.",
		"The name is not registered.", "An owner of another namespace has it, which the message names: choose another, or set `fqdnReusePolicy: InterNamespaceAllowed`. It is looked at again after each full read.", "configuration.md"},
	{model.ReasonInfraSettingMissing, "The AviInfraSetting that is named doesn't exist.",
		"Waits; kept.", "Create the AviInfraSetting, or its CRD, or name another.", "aviinfrasetting.md"},
	{model.ReasonInfraSettingRejected, "The AviInfraSetting can't be used: a field is wrong, or names what the Controller doesn't have.",
		"Waits; kept.", "Fix the AviInfraSetting; the message says what is wrong with it.", "aviinfrasetting.md"},
	{model.ReasonInvalidAddress, "The static address is no address, or none that can be a virtual one.",
		"Waits; kept.", "Fix `spec.loadBalancerIP` or the annotation.", "services.md"},
	{model.ReasonInvalidAnnotation, "An annotation's value can't be used.",
		"The annotation has no effect; a shared VIP of such a name waits.", "Write `true` or `false`, a number of minutes, `VIP` or `Proxy`, or a name of letters, digits, `.`, `-`, `_`: the message says which. On a Pod: delete Antrea's annotation, so that it is written anew.", "services.md"},
	{model.ReasonCredentials, "The Controller refused the login.",
		"Tried again when the connection's settings change, and once in each `--refresh-interval` (5 min); a locked account after 1 min.", "Fix the Secret, or the account on the Controller.", "configuration.md"},
	{model.ReasonInvalidEndpoint, "An EndpointSlice holds an address or a port that can't be a server.",
		"Those endpoints get no traffic.", "Fix the EndpointSlice; with NodePortLocal look whether Antrea gives the pods ports.", "services.md"},
	{model.ReasonInvalidHostname, "A DNS name can't be registered, because it isn't one.",
		"The name is not registered.", "Fix the annotation; or set it, if the automatic name is too long.", "services.md"},
	{model.ReasonInvalidParameters, "The parameters of a GatewayClass or Gateway can't be used.",
		"", "Refer to an AviInfraSetting that exists and is accepted.", "gateways.md"},
	{model.ReasonInvalidRoutes, "The `routes` of a listener select nothing that can be served here.",
		"", "Select Services by labels, as the text says.", "gateways.md"},
	{model.ReasonInvalidSourceRange, "A source range is no prefix. Nobody is let in or kept out because of a typing error: a new object waits, one that serves keeps its ranges.",
		"A new Service waits if no prefix can be read, else only the others are let in; a live one keeps letting in those whom it lets in now.", "Correct the prefix; one address is `192.0.2.7/32`.", "services.md"},
	{model.ReasonRuleIgnored, "A part of the L4Rule has no effect on this object.",
		"A part of the L4Rule has no effect here.", "The message says which part and why.", "l4rule.md"},
	{model.ReasonRuleMissing, "The L4Rule that is named doesn't exist; what an earlier one set stays.",
		"Waits; kept.", "Create the [L4Rule](l4rule.md), or its CRD, name another, or remove the annotation.", "l4rule.md"},
	{model.ReasonRuleRejected, "The L4Rule can't be used; what an earlier state of it set stays.",
		"Waits; kept.", "Correct the L4Rule, or create what it refers to; the message says what is wrong with it.", "l4rule.md"},
	{model.ReasonLicenseTier, "The Controller's licence tier lacks what is asked for, such as SCTP or several backends.",
		"Port; kept. For DNS names only a remark in Accepted's message: they are not registered.", "Change `default_license_tier`, or give the port a Service of its own.", "configuration.md"},
	{model.ReasonListenerConflict, "Two listeners ask for the same port and protocol.",
		"", "Give one of them another port.", "gateways.md"},
	{model.ReasonNameTaken, "An object of that name exists on the Controller and isn't ours; it is never overwritten.",
		"Waits.", "Rename one of the two. The other is a Service that serves under the name already or is older, or an object of another client on the Controller.", "services.md"},
	{model.ReasonNameTooLong, "The name that is made of cluster, namespace and object is longer than the Controller takes.",
		"Waits, or port.", "Shorten the Service's, namespace's or cluster's name.", "services.md"},
	{model.ReasonNamespaceNotAdmitted, "A Service attaches to a Gateway whose listener doesn't take its namespace.",
		"", "Admit the namespace in the listener's `routes.namespaces`, or move the Service.", "gateways.md"},
	{model.ReasonNeedsReplacement, "The change can't be made in place on the Controller and would interrupt traffic; what serves stays as it was.",
		"Stays as it was.", "Go back, or consent to [replacement](services.md#replacement). With consent: another VsVip has the address, which the message names.", "services.md"},
	{model.ReasonNoClients, "The source ranges let nobody in.",
		"No client is let in; of one family only: a remark in Accepted's message.", "Add prefixes of the address' family.", "services.md"},
	{model.ReasonNoDomain, "A name is asked for, and the Controller has no DNS domain for it.",
		"Only a remark in Accepted's message: another domain is used, or for a shared VIP none.", "Fix `defaultDomain`, or add it to the cloud's DNS profile.", "services.md"},
	{model.ReasonNoEndpoints, "A port has no endpoint that takes connections; the text says which of the causes it is.",
		"In the message of Healthy only.", "As the message says: the selector and readiness of the pods, the name of the port in the EndpointSlices, or their type of address.", "services.md"},
	{model.ReasonNoFreeAddress, "The VIP network has no free address left.",
		"Tried again after 2 min.", "Add addresses to the VIP network or choose another.", "configuration.md"},
	{model.ReasonNoNodePort, "`serviceType` is NodePort, and the Service has no node port.",
		"Port; kept.", "Give the Service node ports, or set `skipnodeport.ako.vmware.com/enabled`.", "services.md"},
	{model.ReasonNoNodes, "No node can be a server.",
		"The pool keeps its servers.", "Look at the nodes, `nodeKey` and `nodeValue`.", "configuration.md"},
	{model.ReasonNoRoute, "No route is attached to a listener.",
		"Connections to the listener are rejected; a remark.", "Attach a route of the listener's kind.", "gateways.md"},
	{"NoRouteToPods", "Service Engines can't reach the pods.",
		"Served all the same; a remark if it is some of the pods only.", "The message says why: which node, network or pod CIDR.", "static-routes.md"},
	{model.ReasonNoService, "No Service is attached to a listener's port.",
		"The shared VIP waits.", "The conditions of its Services say what each lacks.", "gateways.md"},
	{model.ReasonNoGatewayClass, "The GatewayClass doesn't exist.",
		"", "Create it, or name another one.", "gateways.md"},
	{model.ReasonNodePortLocal, "NodePortLocal can't carry the protocol: Antrea maps TCP and UDP only.",
		"Port; kept.", "Use another `serviceType`, or reach the pods directly with the annotation that the text names.", "services.md"},
	{"NotProgrammed", "There is no VirtualService yet, so that there is no health.",
		"", "See the conditions Accepted and Programmed.", "services.md"},
	{model.ReasonPaused, "The object has annotation `l4.ako.vmware.com/paused`: nothing of it is changed on the Controller, whatever changes in the cluster.",
		"What serves goes on as it was, with the servers that it had.", "Remove the annotation, or set it to `false`. Deleting the object works as ever.", "services.md#pausing"},
	{model.ReasonPersistenceRefused, "The Controller refused the persistence profile of `sessionAffinity`; the pools serve without it.",
		"No affinity.", "Read the Controller's answer in the message: the account has to be allowed to write ApplicationPersistenceProfiles. It is tried again after each full read.", "services.md"},
	{model.ReasonPersistenceTaken, "A persistence profile of the name that would be used exists and isn't ours.",
		"The pool keeps the network team's persistence profile.", "Take that off the pool on the Controller, or out of the L4Rule, if the Service is to decide.", "services.md"},
	{model.ReasonPortDropped, "Of two ports with one number, `kubectl apply` without `--server-side` keeps one only.",
		"The other protocol of that port number is served.", "Client-side `kubectl apply` merges ports by number alone and loses one of two protocols: `kubectl apply --server-side`, or `kubectl replace`.", "services.md"},
	{model.ReasonPortRefused, "The Controller refuses the pool of a port; the other ports are served.",
		"Port.", "Read the Controller's answer in the message. It is tried again when the Service or its endpoints change, and after each full read.", "services.md"},
	{model.ReasonReferenceMissing, "Something refers to an object that doesn't exist, in Kubernetes or on the Controller.",
		"Waits; kept.", "Create the VIP or node network, SE group, VRF or profile, or fix the ConfigMap's name for it; the message says which: also a network's name that several have, or a prefix that is none of the network's.", "configuration.md"},
	{"Rejected", "An AviInfraSetting or L4Rule can't be used; who is served keeps what it has.",
		"", "Correct the field that the text names.", "aviinfrasetting.md"},
	{model.ReasonRoutesUnreadable, "The routes of a listener can't be read for sure, so that nothing is taken away.",
		"", "Give the operator the right to list the type, or install its CRD.", "gateways.md"},
	{model.ReasonSecurityPolicyTaken, "The VirtualService has a security policy that isn't ours, or one of the name exists.",
		"The source ranges are not enforced.", "Add the prefixes to the policy that the VirtualService has, or take that off it on the Controller, or out of the L4Rule.", "services.md"},
	{model.ReasonServedByAnother, "Another instance of the operator serves the object.",
		"", "Have that instance let go of it, or do what the text says if it is gone for good.", "configuration.md"},
	{model.ReasonServiceConflict, "The port is another Service's already, which was first.",
		"Port.", "Another Service has the port on the [shared VIP](services.md#shared-vips): take another port or another shared VIP.", "services.md"},
	{model.ReasonSharedVIPMismatch, "Services that share a VIP ask for settings that one VirtualService can't have twice; the most senior one decides.",
		"What is asked for has no effect.", "Make the Services of the [shared VIP](services.md#shared-vips) agree.", "services.md"},
	{"StatusContested", "Somebody else writes the addresses in the status of this Service too.",
		"", "Let one controller alone serve it: set `loadBalancerClass`.", "services.md"},
	{"StatusRefused", "The API server refused the address or name in the status; the conditions were written without it.",
		"Tried again at the next change.", "The API server refuses what the Controller gave as an address or name; the message has its answer.", "services.md"},
	{model.ReasonSystemObjectMissing, "The Controller lacks an object that it is shipped with, such as System-SCTP-Proxy.",
		"Port; kept.", "Restore the named profile or monitor in tenant `admin`.", "configuration.md"},
	{model.ReasonTenantMissing, "The tenant that the namespace or the settings name doesn't exist on the Controller, or its name is none.",
		"Tried again after 5 min, at once when the Namespace changes; what serves in another tenant goes on there.", "Create the tenant or fix its name.", "configuration.md"},
	{model.ReasonTooManyServers, "The port has more endpoints than a pool can hold.",
		"Endpoints beyond 5,000 get no traffic.", "Split the Service.", "services.md"},
	{model.ReasonUnsupportedAddress, "A Gateway asks for an address of a type that can't be had.",
		"", "Ask for addresses of type IPAddress.", "gateways.md"},
	{model.ReasonUnsupportedProtocol, "The protocol can't be served, or there is no port.",
		"Port.", "Use TCP, UDP or SCTP.", "services.md"},
	{model.ReasonUnusedField, "A field is set that has no effect here; the text says why.",
		"The field or annotation has no effect.", "See the tables above.", "services.md"},
}
