// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// redacted stands for what is not given away.
const redacted = "(redacted)"

// secrets are what is taken for secret in a text, with what takes its place. The operator writes none of it; what a person has put
// into a ConfigMap, or another program into a log, might be.
var secrets = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), redacted},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), redacted}, // JSON Web Tokens
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}`), "$1 " + redacted},
	{regexp.MustCompile(`(?i)\b((?:set-)?cookie|authorization|x-csrftoken)("?\s*[:=]\s*\[?)[^\n]+`), "$1$2" + redacted},
	{regexp.MustCompile(`(://[^/\s:@]*):[^/\s@]+@`), "$1:" + redacted + "@"},
	{regexp.MustCompile(`(?i)([\w.-]*(?:passw(?:or)?d|passphrase|secret(?:key)?|api_?key|auth_?token|access_?token|sessionid|csrftoken)\\?"?\s*[:=]\s*)` +
		`(?:\\"(?:[^"\\]|\\[^"])*\\"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;}&"']+)`), "$1" + redacted},
}

// redact replaces what looks like a secret.
func redact(text string) string {
	for _, s := range secrets {
		text = s.pattern.ReplaceAllString(text, s.instead)
	}
	return text
}

// secretField is a field's name, or a key, whose value is a secret.
var secretField = regexp.MustCompile(`(?i)(passw(or)?d|passphrase|secret|secret_?key|api_?key|private_?key|token|session_?id)$`)

// hide replaces the strings in an object that stand under a secret's name: there the whole value is known, also one of many lines.
func hide(value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, v := range value {
			if text, ok := v.(string); ok && text != "" && secretField.MatchString(name) {
				value[name] = redacted
				continue
			}
			hide(v)
		}
	case []any:
		for _, v := range value {
			hide(v)
		}
	}
}

// hideUnknown replaces the values of keys that the operator's ConfigMap doesn't have: nobody knows what they are.
func hideUnknown(m *corev1.ConfigMap) {
	for key := range m.Data {
		if !settings.Known(key) {
			m.Data[key] = redacted
		}
	}
	m.BinaryData = nil
}

// hideEnvironment replaces the values of a pod's variables: a proxy's may have a password in it, and nobody knows what others hold.
func hideEnvironment(spec *corev1.PodSpec) {
	hideIn := func(env []corev1.EnvVar) {
		for i := range env {
			if env[i].Value != "" {
				env[i].Value = redacted
			}
		}
	}
	for i := range spec.Containers {
		hideIn(spec.Containers[i].Env)
	}
	for i := range spec.InitContainers {
		hideIn(spec.InitContainers[i].Env)
	}
	for i := range spec.EphemeralContainers {
		hideIn(spec.EphemeralContainers[i].Env)
	}
}
