{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "avi-l4.prefix" -}}
{{ default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Text of a ConfigMap's value: lists as JSON, whole numbers without an exponent. */}}
{{- define "avi-l4.text" -}}
{{- if or (kindIs "slice" .) (kindIs "map" .) }}{{ mustToJson . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else }}{{ toString . }}{{ end }}
{{- end }}

{{/* The keys of AKO's sections that concern L4: path in the values, key of the ConfigMap. */}}
{{- define "avi-l4.keys" -}}
AKOSettings: [primaryInstance, enableEvents, logLevel, fullSyncFrequency, deleteConfig, disableStaticRouteSync, clusterName, cniPlugin,
  enableEVH, layer7Only, blockedNamespaceList, ipFamily, vpcMode]
NetworkSettings: [nodeNetworkList, enableRHI, nsxtT1LR, bgpPeerLabels, vipNetworkList, defaultDomain]
L4Settings: [defaultDomain, autoFQDN, defaultLBController]
L7Settings: [serviceType, fqdnReusePolicy]
ControllerSettings: [serviceEngineGroupName, controllerVersion, cloudName, tenantName, vrfName, dedicatedTenantMode]
{{- end }}

{{- define "avi-l4.config" -}}
{{- $data := dict }}
{{- range $section, $keys := fromYaml (include "avi-l4.keys" .) }}
{{- $values := default dict (get $.Values $section) }}
{{- range $key := $keys }}
{{- $value := get $values $key }}
{{- if and (hasKey $values $key) (not (kindIs "invalid" $value)) }}
{{- $text := include "avi-l4.text" $value }}
{{- if or $text (not (hasKey $data $key)) }}{{- $_ := set $data $key $text }}{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.ControllerSettings }}{{ with .controllerHost }}{{ $_ := set $data "controllerIP" (toString .) }}{{ end }}{{ end }}
{{- with .Values.AKOSettings }}{{ with .namespaceSelector }}
{{- $_ := set $data "nsSyncLabelKey" (toString (default "" .labelKey)) }}
{{- $_ := set $data "nsSyncLabelValue" (toString (default "" .labelValue)) }}
{{- end }}{{ end }}
{{- if eq (toString (get $data "serviceType")) "NodePort" }}{{ with .Values.nodePortSelector }}
{{- $_ := set $data "nodeKey" (toString (default "" .key)) }}
{{- $_ := set $data "nodeValue" (toString (default "" .value)) }}
{{- end }}{{ end }}
{{- range $key, $value := .Values.config }}{{ $_ := set $data $key (include "avi-l4.text" $value) }}{{ end }}
{{- toYaml $data }}
{{- end }}

{{/* Keys of AKO's values that have no effect, by the reason; NOTES.txt tells of those that are set. */}}
{{- define "avi-l4.without-effect" -}}
"the image is operatorImage's, not AKO's": [image.repository, image.tag, GatewayAPI, AKOCRDOperator]
"layer 7 stays with AKO": [AKOSettings.vipPerNamespace, AKOSettings.useDefaultSecretsOnly, L7Settings.defaultIngController,
  L7Settings.noPGForSNI, L7Settings.l7ShardingScheme, L7Settings.shardVSSize, L7Settings.passthroughShardSize, L7Settings.enableMCI]
"always on where the cluster has the CRDs": [AKOSettings.servicesAPI, featureGates.GatewayAPI]
"metrics are always served, by the Service whose name ends in operator-metrics": [featureGates.EnablePrometheus]
"health probes have a port of their own, 8081": [AKOSettings.apiServerPort]
"pools have no mutual TLS with Istio": [AKOSettings.istioEnabled]
"logs go to standard output, no volume is needed": [persistentVolumeClaim, mountPath, logFile, akoGatewayLogFile]
"roles and the ServiceAccount are the chart's own": [rbac, serviceAccount.create, serviceAccount.name]
"fullnameOverride gives the objects another name": [nameOverride]
"nothing is served but metrics": [service]
"that is a section of an early AKO, whose keys the present sections have": [configs]
{{- end }}

{{- define "avi-l4.labels" -}}
app.kubernetes.io/name: avi-l4-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: avi-l4-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The Secret's data, as base64: what avicredentials say; of what they leave out, what the release has put there before. */}}
{{- define "avi-l4.credentials" -}}
{{- $given := default dict .Values.avicredentials }}
{{- $data := dict }}
{{- if not (or $given.username $given.password $given.authtoken) }}
{{- $old := lookup "v1" "Secret" .Release.Namespace "avi-secret" }}
{{- if eq (include "avi-l4.owned" (dict "object" $old "release" .Release)) "true" }}{{ $data = default dict $old.data }}{{ end }}
{{- end }}
{{- if or $data $given.username $given.password $given.authtoken }}
{{- range $key := list "username" "password" "authtoken" "certificateAuthorityData" }}
{{- with get $given $key }}{{ $_ := set $data $key (b64enc (toString .)) }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $data }}
{{- end }}

{{/* Whether this release made an object that the cluster has. */}}
{{- define "avi-l4.owned" -}}
{{- $annotations := dig "metadata" "annotations" dict (default dict .object) }}
{{- and (eq (get $annotations "meta.helm.sh/release-name") .release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") .release.Namespace) }}
{{- end }}
