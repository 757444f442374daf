// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of an archive's only entry: the tag for tools that follow the OCI's layout, the whole name for containerd and docker load.
const (
	annotationTag  = "org.opencontainers.image.ref.name"
	annotationName = "io.containerd.image.name"
)

// writeArchive writes an image as a tar of an OCI layout.
func writeArchive(file, image string, index v1.ImageIndex, modified time.Time) error {
	reference, err := referenceOf(image)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "avi-l4-layout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	path, err := layout.Write(folder, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	annotations := map[string]string{annotationTag: reference.Identifier(), annotationName: reference.Name()}
	if err := path.AppendIndex(index, layout.WithAnnotations(annotations)); err != nil {
		return err
	}
	return tarFolder(folder, file, modified)
}

// tarFolder writes a folder's files in the order of their names.
func tarFolder(folder, file string, modified time.Time) error {
	entries, err := filesOf(os.DirFS(folder), "")
	if err != nil {
		return err
	}
	out, err := os.Create(file) // #nosec G304 -- the user names the folder
	if err != nil {
		return err
	}
	return errors.Join(writeTar(out, modified, entries), out.Close())
}

// filesOf reads all files and folders, sorted, under a prefix.
func filesOf(from fs.FS, prefix string) ([]entry, error) {
	var out []entry
	err := fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if d.IsDir() {
			out = append(out, entry{name: prefix + path + "/"})
			return nil
		}
		content, err := fs.ReadFile(from, path)
		out = append(out, entry{name: prefix + path, mode: 0o644, content: content})
		return err
	})
	slices.SortFunc(out, func(a, b entry) int {
		switch {
		case a.name < b.name:
			return -1
		case a.name > b.name:
			return 1
		}
		return 0
	})
	return out, err
}

// readArchive unpacks an archive of one image into a folder.
func readArchive(file, folder string) (v1.ImageIndex, error) {
	in, err := os.Open(file) // #nosec G304 -- the user names the file
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // only read
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // a temporary folder
	if err := unpack(tar.NewReader(in), root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	path, err := layout.FromPath(folder)
	if err != nil {
		return nil, fmt.Errorf("%s is no OCI archive: %w", file, err)
	}
	outer, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images instead of one", file, len(manifest.Manifests))
	}
	return outer.ImageIndex(manifest.Manifests[0].Digest)
}

func unpack(in *tar.Reader, root *os.Root) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			if err := root.MkdirAll(filepath.Clean(h.Name), 0o755); err != nil {
				return err
			}
			continue
		}
		out, err := root.Create(h.Name)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in) // #nosec G110 -- not compressed
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

// runPush sends the image of an archive, with all its platforms, to a registry.
func runPush(ctx context.Context, args []string, out io.Writer) error {
	var archive, to string
	flags := flag.NewFlagSet("release push", flag.ContinueOnError)
	flags.StringVar(&archive, "archive", "", "file that release images wrote")
	flags.StringVar(&to, "to", "", "name to push it under, such as registry.example.com/avi/avi-l4-operator:0.3.0")
	if err := flags.Parse(args); err != nil {
		return err
	}
	reference, err := referenceOf(to)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "avi-l4-push-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	index, err := readArchive(archive, folder)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(reference, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s@%s\n", reference.Context().Name(), digest)
	return nil
}
