// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

const modulePath = "github.com/avi-l4-operator/avi-l4-operator"

// contents lists what a program is made of, in CycloneDX's JSON: the modules and the standard library that the linker noted in the
// program itself, and the modules named as extra, whose data is beside it. The same program gives the same list.
func (r *releaser) contents(file, title, goos, goarch string, extra ...string) ([]byte, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file) // #nosec G304 -- the program was built into this file
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	modules := info.Deps
	for _, path := range extra {
		m, err := ownModule(path)
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}

	bom := cdx.NewBOM()
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	const root = "program"
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.time.Format(time.RFC3339),
		Component: &cdx.Component{
			BOMRef: root, Type: cdx.ComponentTypeApplication, Name: title, Version: r.version,
			PackageURL: fmt.Sprintf("pkg:golang/%s@v%s", modulePath, r.version),
			Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
			Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
			Properties: &[]cdx.Property{
				{Name: "go:os", Value: goos}, {Name: "go:arch", Value: goarch}, {Name: "vcs:revision", Value: r.revision},
			},
		},
	}
	toolchain := strings.TrimPrefix(info.GoVersion, "go")
	components := []cdx.Component{{
		BOMRef: "std", Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: "pkg:golang/std@" + toolchain,
		Description: "The standard library of Go",
	}}
	for _, m := range modules {
		components = append(components, component(m))
	}
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Components, bom.Dependencies = &components, &[]cdx.Dependency{{Ref: root, Dependencies: &refs}}
	var out bytes.Buffer
	err = cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return out.Bytes(), err
}

// component describes a module. One that a folder of the repository replaces has no version.
func component(m *debug.Module) cdx.Component {
	used, local := m, false
	if m.Replace != nil {
		used, local = m.Replace, strings.HasPrefix(m.Replace.Path, ".")
	}
	if local {
		return cdx.Component{
			BOMRef: m.Path, Type: cdx.ComponentTypeLibrary, Name: m.Path, PackageURL: "pkg:golang/" + m.Path,
			Description: "Replaced by " + strings.TrimPrefix(used.Path, "./") + " of the repository",
		}
	}
	c := cdx.Component{
		BOMRef: used.Path + "@" + used.Version, Type: cdx.ComponentTypeLibrary, Name: used.Path, Version: used.Version,
		PackageURL: "pkg:golang/" + used.Path + "@" + used.Version,
	}
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(used.Sum, "h1:")); err == nil && len(sum) == sha256.Size {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	return c
}

// ownModule is a module that this program itself was built with.
func ownModule(path string) (*debug.Module, error) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m, nil
			}
		}
	}
	return nil, fmt.Errorf("this program does not know the version of its module %s", path)
}

// writeContents writes the list of a program beside what the program is in.
func (r *releaser) writeContents(title, goos, goarch string, sbom []byte) error {
	return r.write(fmt.Sprintf("%s-%s-%s-%s.cdx.json", title, r.version, goos, goarch), sbom)
}

func (r *releaser) write(name string, content []byte) error {
	if err := os.WriteFile(r.path(name), content, 0o644); err != nil { // #nosec G306 -- for everybody
		return err
	}
	r.wrote(r.path(name))
	return nil
}
