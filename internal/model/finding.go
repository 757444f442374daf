// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"slices"
)

// Severity says what a finding does to its owner.
type Severity int

// Severities, from a remark to a refusal.
const (
	// Note is worth reporting and changes nothing.
	Note Severity = iota
	// Degraded means that something asked for is left out or kept as it was, while the rest is served.
	Degraded
	// Blocked means that the port, or without a port the whole owner, isn't served or isn't updated.
	Blocked
)

// Finding is one thing that a person should know about an owner. It feeds the condition, the port's error in the
// status, the Event and the log alike, so that they can't disagree.
type Finding struct {
	Severity Severity
	Port     Port // zero: the whole owner
	// About names the Service that alone is concerned, where an owner is a group of several; empty: all.
	About   string
	Reason  string // CamelCase, from the constants below
	Message string // what is wrong, where, and what to do
}

// Reasons of findings about what was asked for. They are the condition's reason, the Event's reason and, behind
// "ako.vmware.com/", the port's error.
const (
	ReasonInvalidAddress       = "InvalidAddress"
	ReasonInvalidAnnotation    = "InvalidAnnotation"
	ReasonInvalidHostname      = "InvalidHostname"
	ReasonInvalidEndpoint      = "InvalidEndpoint"
	ReasonNameTooLong          = "NameTooLong"
	ReasonNameTaken            = "NameTaken"
	ReasonUnsupportedProtocol  = "UnsupportedProtocol"
	ReasonControllerTooOld     = "ControllerTooOld"
	ReasonLicenseTier          = "LicenseTier"
	ReasonSystemObjectMissing  = "SystemObjectMissing"
	ReasonNoEndpoints          = "NoEndpoints"
	ReasonEndpointsUnreadable  = "EndpointsUnreadable"
	ReasonNeedsReplacement     = "NeedsReplacement"
	ReasonNoDomain             = "NoDomain"
	ReasonPortRefused          = "PortRefused"
	ReasonTooManyServers       = "TooManyServers"
	ReasonUnusedField          = "UnusedField"
	ReasonDeletionHeld         = "DeletionHeld"
	ReasonControllerRefused    = "ControllerRefused"
	ReasonControllerDown       = "ControllerUnavailable"
	ReasonControllerUntrusted  = "ControllerUntrusted"
	ReasonCredentials          = "InvalidCredentials"
	ReasonNoFreeAddress        = "NoFreeAddress"
	ReasonControllerUpgrading  = "ControllerUpgrading"
	ReasonTenantMissing        = "TenantMissing"
	ReasonReferenceMissing     = "ReferenceMissing"
	ReasonConfigurationInvalid = "ConfigurationInvalid"
	ReasonServedByAnother      = "ServedByAnotherInstance"
	ReasonHostnameTaken        = "HostnameTaken"
	ReasonPortDropped          = "PortDropped"
	ReasonDryRun               = "DryRun"
	ReasonPaused               = "Paused"
	ReasonInfraSettingMissing  = "InfraSettingMissing"
	ReasonInfraSettingRejected = "InfraSettingRejected"
	ReasonNoGatewayClass       = "NoSuchGatewayClass"
	ReasonInvalidParameters    = "InvalidParameters"
	ReasonNoService            = "NoService"
	ReasonNamespaceNotAdmitted = "NamespaceNotAdmitted"
	ReasonServiceConflict      = "ServiceConflict"
	ReasonListenerConflict     = "ListenerConflict"
	ReasonInvalidRoutes        = "InvalidRoutes"
	ReasonNoNodePort           = "NoNodePort"
	ReasonNoNodes              = "NoNodes"
	ReasonNodePortLocal        = "NodePortLocalUnsupported"
	ReasonUnsupportedAddress   = "UnsupportedAddress"
	ReasonNoRoute              = "NoRoute"
	ReasonRoutesUnreadable     = "RoutesUnreadable"
	ReasonPersistenceTaken     = "PersistenceTaken"
	ReasonPersistenceRefused   = "PersistenceRefused"
	ReasonAffinityLimited      = "SessionAffinityLimited"
	ReasonInvalidSourceRange   = "InvalidSourceRange"
	ReasonNoClients            = "NoClients"
	ReasonSecurityPolicyTaken  = "SecurityPolicyTaken"
	ReasonSharedVIPMismatch    = "SharedVIPMismatch"
	ReasonRuleMissing          = "L4RuleMissing"
	ReasonRuleRejected         = "L4RuleRejected"
	ReasonRuleIgnored          = "L4RuleIgnored"
	ReasonAddressLost          = "AddressLost"
)

// SortFindings puts the gravest first, then orders by port, reason and message, so that output doesn't depend on the
// order of discovery.
func SortFindings(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(
			-cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Port.Number, b.Port.Number),
			cmp.Compare(a.Port.Protocol, b.Port.Protocol),
			cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.Message, b.Message),
			cmp.Compare(a.About, b.About),
		)
	})
}

// NeedsConsent is the finding about a change that would interrupt traffic and that nobody has allowed to.
func NeedsConsent(what string) Finding {
	return Finding{Severity: Degraded, Reason: ReasonNeedsReplacement,
		Message: "can't be changed while it serves, and stays as it was: " + what + "; to let the operator delete and create the objects again, which interrupts traffic, set annotation l4.ako.vmware.com/allow-replacement: \"true\""}
}
