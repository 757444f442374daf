// SPDX-License-Identifier: Apache-2.0

// Package api_test holds what the API packages have in common and needs no API server; test/manifests has the rest.
package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	akov1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	akov1alpha2 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	akov1beta1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	networkingv1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
)

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	// Twice, as those may who put their schemes together.
	for range 2 {
		for _, add := range []func(*runtime.Scheme) error{akov1alpha1.AddToScheme, crdoperator.AddToScheme, akov1alpha2.AddToScheme,
			akov1beta1.AddToScheme, networkingv1alpha1.AddToScheme} {
			if err := add(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func TestKinds(t *testing.T) {
	s := scheme(t)
	for gv, kinds := range map[schema.GroupVersion][]string{
		{Group: "ako.vmware.com", Version: "v1alpha1"}:      {"AviInfraSetting", "SCTPRoute", "HealthMonitor"},
		{Group: "ako.vmware.com", Version: "v1alpha2"}:      {"L4Rule"},
		{Group: "ako.vmware.com", Version: "v1beta1"}:       {"AviInfraSetting"},
		{Group: "networking.x-k8s.io", Version: "v1alpha1"}: {"Gateway", "GatewayClass"},
	} {
		for _, kind := range kinds {
			for _, name := range []string{kind, kind + "List"} {
				if !s.Recognizes(gv.WithKind(name)) {
					t.Errorf("the scheme does not know %s", gv.WithKind(name))
				}
			}
		}
	}
}

// TestSamples decodes the samples strictly: a field without a place in the Go types, or with another name there, fails.
func TestSamples(t *testing.T) {
	s := scheme(t)
	if err := gatewayv1.Install(s); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
	decoded := 0
	for _, file := range []string{"aviinfrasetting.yaml", "l4rule.yaml", "gateway-sctp.yaml", "gateway-api-sctp.yaml"} {
		content, err := os.ReadFile(filepath.Join("..", "config", "samples", file))
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(content), "\n---\n") {
			switch _, _, err := decoder.Decode([]byte(document), nil, nil); {
			case err == nil:
				decoded++
			case !runtime.IsNotRegisteredError(err):
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if decoded != 8 {
		t.Errorf("%d objects of the samples are of the APIs that the operator serves, want 8", decoded)
	}
}

// TestConditionNames holds the constants against the patterns of metav1.Condition, without which a status is refused.
func TestConditionNames(t *testing.T) {
	patterns := map[string]*regexp.Regexp{
		"Condition": regexp.MustCompile(`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$`),
		"Reason":    regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`),
	}
	seen := map[string]int{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_types.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			for word, pattern := range patterns {
				if name := spec.Names[0].Name; strings.Contains(name, word) {
					seen[word]++
					if !pattern.MatchString(value) {
						t.Errorf("%s is %q, which metav1.Condition does not take", name, value)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen["Condition"] < 8 || seen["Reason"] < 20 {
		t.Errorf("found only %v constants", seen)
	}
}
