// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// notes are what the change log says of the version. A version that it does not have is no release.
func (r *releaser) notes(context.Context) error {
	log, err := os.ReadFile(filepath.Join(r.repository, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	notes, err := notesOf(string(log), r.version)
	if err != nil {
		return err
	}
	return r.write("NOTES.md", []byte(notes))
}

// notesOf cuts a version's section out of a change log, without its heading.
func notesOf(log, version string) (string, error) {
	heading := regexp.MustCompile(`(?m)^## \[` + regexp.QuoteMeta(version) + `\] - \d{4}-\d{2}-\d{2}$`)
	at := heading.FindStringIndex(log)
	if at == nil {
		return "", fmt.Errorf("CHANGELOG.md has no section %q with a date", "## ["+version+"]")
	}
	section := log[at[1]:]
	if next := regexp.MustCompile(`(?m)^(## |\[[^\]]+\]: )`).FindStringIndex(section); next != nil {
		section = section[:next[0]]
	}
	if section = strings.TrimSpace(section); section == "" {
		return "", fmt.Errorf("CHANGELOG.md says nothing of %s", version)
	}
	return section + "\n", nil
}

// files copies the manifests that were made for the release.
func (r *releaser) files(context.Context) error {
	if r.manifests == "" {
		return errors.New("-manifests is needed: the folder with install.yaml")
	}
	found, err := os.ReadDir(r.manifests)
	if err != nil {
		return err
	}
	installer := false
	for _, f := range found {
		if f.IsDir() || filepath.Ext(f.Name()) != ".yaml" || f.Name() == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.manifests, f.Name()))
		if err != nil {
			return err
		}
		if err := r.write(f.Name(), content); err != nil {
			return err
		}
		installer = installer || f.Name() == "install.yaml"
	}
	if !installer {
		return fmt.Errorf("%s has no install.yaml", r.manifests)
	}
	return nil
}

const pluginTitle = "kubectl-avi_l4"

// plugins packs the kubectl plugin for every machine that kubectl runs on, where the repository has the plugin.
func (r *releaser) plugins(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(r.repository, "cmd", pluginTitle)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	manifest := krewManifest{APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin"}
	manifest.Metadata.Name = "avi-l4"
	manifest.Spec = krewSpec{
		Version: "v" + r.version, Homepage: "https://" + modulePath,
		ShortDescription: "Explain what avi-l4-operator serves",
		Description: "Explains why a Service or Gateway behind an Avi Controller is not served as asked for, shows what stands\n" +
			"behind it, and gathers what a report of a problem needs. Reads Kubernetes with your rights and writes nothing.\n",
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, goarch := range []string{"amd64", "arm64"} {
			platform, err := r.plugin(ctx, goos, goarch)
			if err != nil {
				return err
			}
			manifest.Spec.Platforms = append(manifest.Spec.Platforms, platform)
		}
	}
	content, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	return r.write("krew.yaml", content)
}

// krewManifest describes the plugin to krew, the plugin manager of kubectl (https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/).
type krewManifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec krewSpec `json:"spec"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	} `json:"selector"`
	URI    string `json:"uri"`
	SHA256 string `json:"sha256"`
	Bin    string `json:"bin"`
}

// plugin packs the plugin for one kind of machine, and returns where krew finds it.
func (r *releaser) plugin(ctx context.Context, goos, goarch string) (platform krewPlatform, err error) {
	folder, err := os.MkdirTemp("", "avi-l4-plugin-")
	if err != nil {
		return platform, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	binary, pack, suffix := pluginTitle, gzipped, ".tar.gz"
	if goos == "windows" {
		binary, pack, suffix = pluginTitle+".exe", zipped, ".zip"
	}
	file := filepath.Join(folder, binary)
	if err := r.compile(ctx, program{pkg: "./cmd/" + pluginTitle, os: goos, arch: goarch}, file); err != nil {
		return platform, err
	}
	sbom, err := r.contents(file, pluginTitle, goos, goarch)
	if err != nil {
		return platform, err
	}
	if err := r.writeContents(pluginTitle, goos, goarch, sbom); err != nil {
		return platform, err
	}
	content, err := os.ReadFile(file) // #nosec G304 -- the file was made above
	if err != nil {
		return platform, err
	}
	license, err := os.ReadFile(filepath.Join(r.repository, "LICENSE"))
	if err != nil {
		return platform, err
	}
	packed, err := pack(r.time, []entry{
		{name: binary, mode: 0o755, content: content},
		{name: "LICENSE", mode: 0o644, content: license},
		{name: pluginTitle + ".cdx.json", mode: 0o644, content: sbom},
	})
	if err != nil {
		return platform, err
	}
	name := fmt.Sprintf("%s-%s-%s-%s%s", pluginTitle, r.version, goos, goarch, suffix)
	platform.Selector.MatchLabels = map[string]string{"os": goos, "arch": goarch}
	platform.URI = strings.TrimSuffix(r.downloads, "/") + "/v" + r.version + "/" + name
	platform.SHA256, platform.Bin = fmt.Sprintf("%x", sha256.Sum256(packed)), binary
	return platform, r.write(name, packed)
}

func gzipped(modified time.Time, entries []entry) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	err := errors.Join(writeTar(w, modified, entries), w.Close())
	return out.Bytes(), err
}

func zipped(modified time.Time, entries []entry) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: modified}
		h.SetMode(fs.FileMode(e.mode)) // #nosec G115 -- permissions
		f, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(e.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

const chartTitle = "avi-l4-operator"

// chart packs the Helm chart, where the repository has one. Its version has to be the release's.
func (r *releaser) chart(ctx context.Context) error {
	folder := "charts/" + chartTitle
	content, err := os.ReadFile(filepath.Join(r.repository, folder, "Chart.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	version := regexp.MustCompile(`(?m)^version: *["']?([^"'\s]+)`).FindSubmatch(content)
	if version == nil || string(version[1]) != r.version {
		return fmt.Errorf("%s/Chart.yaml does not have version: %s", folder, r.version)
	}
	entries, err := r.tracked(ctx, folder, chartTitle)
	if err != nil {
		return err
	}
	packed, err := gzipped(r.time, entries)
	if err != nil {
		return err
	}
	return r.write(fmt.Sprintf("%s-%s.tgz", chartTitle, r.version), packed)
}

// tracked are a folder's files under version control, under another name of that folder.
func (r *releaser) tracked(ctx context.Context, folder, prefix string) ([]entry, error) {
	list, err := git(ctx, r.repository, "ls-files", "-z", "--", folder)
	if err != nil {
		return nil, err
	}
	var out []entry
	for file := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(r.repository, file))
		if err != nil {
			return nil, err
		}
		out = append(out, entry{name: path.Join(prefix, strings.TrimPrefix(file, folder)), mode: 0o644, content: content})
	}
	return out, nil
}

// operatorBundle packs the bundle for the Operator Lifecycle Manager and its catalog, from the folders olm/ of the manifests.
func (r *releaser) operatorBundle(context.Context) error {
	folder := filepath.Join(r.manifests, "olm")
	title := fmt.Sprintf("%s-olm-%s", chartTitle, r.version)
	entries, err := filesOf(os.DirFS(folder), title+"/")
	if err != nil {
		return fmt.Errorf("the bundle and the catalog: %w", err)
	}
	packed, err := gzipped(r.time, entries)
	if err != nil {
		return err
	}
	return r.write(title+".tgz", packed)
}

const checksumsFile = "SHA256SUMS"

// checksums writes the sums of all files, in the form that sha256sum --check reads.
func (r *releaser) checksums(context.Context) error {
	files, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, f := range files {
		if f.Name() == checksumsFile {
			continue
		}
		content, err := os.ReadFile(r.path(f.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(content), f.Name())
	}
	return r.write(checksumsFile, []byte(out.String()))
}
