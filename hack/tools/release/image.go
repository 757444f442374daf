// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonroot is the user and the group of the images, as in the Dockerfile: by number, since a kubelet checks runAsNonRoot without reading
// the image's /etc/passwd.
const nonroot = 65532

// imageSpec describes an image as the stage of the Dockerfile with the same title does; a test compares the two.
type imageSpec struct {
	title  string
	pkg    string // of the program
	binary string // its path in the image
	config v1.Config
	state  string // a folder that the user may write to; empty: none
}

var images = []imageSpec{
	{
		title: "avi-l4-operator", pkg: ".", binary: "/avi-l4-operator",
		config: v1.Config{Entrypoint: []string{"/avi-l4-operator"}},
	},
	{
		title: "avi-l4-simulator", pkg: "./cmd/avisim", binary: "/avisim", state: "/state",
		config: v1.Config{
			Entrypoint:   []string{"/avisim"},
			Cmd:          []string{"--addr=:9443"},
			ExposedPorts: map[string]struct{}{"9443/tcp": {}},
			Volumes:      map[string]struct{}{"/state": {}},
			Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "/avisim", "--healthcheck"}, Interval: 10 * time.Second, Timeout: 6 * time.Second},
		},
	},
}

// images writes each image as an archive, and beside it what is inside for each platform.
func (r *releaser) images(ctx context.Context) error {
	if r.modified {
		fmt.Fprintln(r.log, "the work tree differs from the commit: the images say so")
	}
	for _, spec := range images {
		index, err := r.index(ctx, spec)
		if err != nil {
			return fmt.Errorf("image %s: %w", spec.title, err)
		}
		file := r.path(fmt.Sprintf("%s-%s.oci.tar", spec.title, r.version))
		if err := writeArchive(file, r.imageName(spec.title), index, r.time); err != nil {
			return err
		}
		r.wrote(file)
	}
	return nil
}

// index is an image for every platform.
func (r *releaser) index(ctx context.Context, spec imageSpec) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for platform := range strings.SplitSeq(r.platforms, ",") {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			return nil, err
		}
		image, err := r.image(ctx, spec, *p)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}})
	}
	return mutate.Annotations(index, r.labels(spec)).(v1.ImageIndex), nil
}

// labels of an image, and annotations of its manifests: those that the Dockerfile sets.
func (r *releaser) labels(spec imageSpec) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    spec.title,
		"org.opencontainers.image.version":  r.version,
		"org.opencontainers.image.revision": r.revision,
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
}

// image has two layers: what every program needs of a distribution, which seldom changes, and the program with the list of its contents.
func (r *releaser) image(ctx context.Context, spec imageSpec, platform v1.Platform) (v1.Image, error) {
	folder, err := os.MkdirTemp("", "avi-l4-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	file := filepath.Join(folder, "program")
	if err := r.compile(ctx, program{pkg: spec.pkg, os: platform.OS, arch: platform.Architecture}, file); err != nil {
		return nil, err
	}
	sbom, err := r.contents(file, spec.title, platform.OS, platform.Architecture, rootsModule)
	if err != nil {
		return nil, err
	}
	if err := r.writeContents(spec.title, platform.OS, platform.Architecture, sbom); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file) // #nosec G304 -- the file was made above
	if err != nil {
		return nil, err
	}
	base, err := r.layer(distribution()...)
	if err != nil {
		return nil, err
	}
	own := []entry{
		{name: spec.binary, mode: 0o755, content: content},
		{name: "/usr/"}, {name: "/usr/share/"}, {name: "/usr/share/sbom/"},
		{name: "/usr/share/sbom/" + spec.title + ".cdx.json", mode: 0o644, content: sbom},
	}
	if spec.state != "" {
		own = append(own, entry{name: spec.state + "/", owner: nonroot})
	}
	top, err := r.layer(own...)
	if err != nil {
		return nil, err
	}
	return r.assemble(spec, platform, base, top)
}

func (r *releaser) assemble(spec imageSpec, platform v1.Platform, layers ...v1.Layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: r.time}
	for _, l := range layers {
		history := v1.History{Created: created, CreatedBy: "release images"}
		var err error
		if image, err = mutate.Append(image, mutate.Addendum{Layer: l, History: history, MediaType: types.OCILayer}); err != nil {
			return nil, err
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant, file.Created = platform.OS, platform.Architecture, platform.Variant, created
	file.Config = *spec.config.DeepCopy()
	file.Config.User = fmt.Sprintf("%d:%d", nonroot, nonroot)
	file.Config.Labels = r.labels(spec)
	file.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	file.Config.WorkingDir = "/"
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return nil, err
	}
	return mutate.Annotations(image, r.labels(spec)).(v1.Image), nil
}

// entry is a file or, with a slash at the end, a folder.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

// distribution is all that a static program needs of one: certificate authorities, and names of users for tools that look at the image.
func distribution() []entry {
	return []entry{
		{name: "/etc/"}, {name: "/etc/ssl/"}, {name: "/etc/ssl/certs/"},
		{name: "/etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: certificateAuthorities()},
		{name: "/etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
		{name: "/etc/group", mode: 0o644, content: []byte("root:x:0:\nnonroot:x:65532:\n")},
	}
}

// rootsModule is where the certificate authorities come from: Mozilla's list as a Go module, since a host's would differ from host to host.
const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// certificateAuthorities are those of Mozilla's list that are trusted without a condition. A file of certificates can't hold a condition.
func certificateAuthorities() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
		}
	}
	return out.Bytes()
}

// layer has files and folders in the order given.
func (r *releaser) layer(entries ...entry) (v1.Layer, error) {
	var content bytes.Buffer
	if err := writeTar(&content, r.time, entries); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// writeTar writes files and folders with one time and owners by number.
func writeTar(w io.Writer, modified time.Time, entries []entry) error {
	out := tar.NewWriter(w)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(e.name, "/"), Mode: e.mode, Size: int64(len(e.content)),
			Uid: e.owner, Gid: e.owner, ModTime: modified, Format: tar.FormatPAX,
		}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := out.Write(e.content); err != nil {
			return err
		}
	}
	return out.Close()
}

// referenceOf checks a name of an image.
func referenceOf(s string) (name.Reference, error) {
	return name.ParseReference(s, name.WeakValidation)
}
