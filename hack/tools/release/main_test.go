// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"sigs.k8s.io/yaml"
)

// standIn is a repository in the shape of this one, with programs that compile in a moment.
var standIn = map[string]string{
	"go.mod":                                 "module " + modulePath + "\n\ngo 1.26.0\n",
	"LICENSE":                                "a licence\n",
	"CHANGELOG.md":                           "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n## [1.2.3] - 2026-01-02\n\n### Added\n\n- A thing.\n\n## [1.2.2] - 2026-01-01\n\n- Old.\n",
	"internal/version/VERSION":               "1.2.3\n",
	"internal/version/version.go":            "package version\n\nvar revision string\n\nfunc String() string { return revision }\n",
	"main.go":                                standInProgram,
	"cmd/avisim/main.go":                     standInProgram,
	"cmd/kubectl-avi_l4/main.go":             standInProgram,
	"charts/avi-l4-operator/Chart.yaml":      "apiVersion: v2\nname: avi-l4-operator\nversion: 1.2.3\n",
	"charts/avi-l4-operator/templates/a.tpl": "a: b\n",
}

const standInProgram = "package main\n\nimport \"" + modulePath + "/internal/version\"\n\nfunc main() { print(version.String()) }\n"

// repository writes the stand-in with one commit, and returns its folder and the commit.
func repository(t *testing.T) (folder, commit string) {
	t.Helper()
	folder = t.TempDir()
	for name, content := range standIn {
		writeFile(t, filepath.Join(folder, name), content)
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "."},
		{"-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "One"},
	} {
		if _, err := git(t.Context(), folder, args...); err != nil {
			t.Fatal(err)
		}
	}
	commit, err := git(t.Context(), folder, "rev-parse", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	return folder, commit
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// manifests is a folder as make release leaves it.
func manifests(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"install.yaml", "services-api-crds.yaml", "kustomization.yaml", "olm/bundle.Dockerfile", "olm/bundle/manifests/a.yaml"} {
		writeFile(t, filepath.Join(folder, name), "# "+name+"\n")
	}
	return folder
}

// release runs the program and returns the folder that it wrote to.
func release(t *testing.T, command, folder string, args ...string) string {
	t.Helper()
	out := t.TempDir()
	var log bytes.Buffer
	args = append([]string{command, "-repository", folder, "-out", out}, args...)
	if err := run(t.Context(), args, &log); err != nil {
		t.Fatalf("release %s: %v\n%s", command, err, &log)
	}
	return out
}

func TestRelease(t *testing.T) {
	folder, commit := repository(t)
	out := release(t, "all", folder, "-version", "1.2.3", "-manifests", manifests(t), "-registry", "registry.example.com/avi/",
		"-downloads", "https://files.example.com")

	t.Run("files", func(t *testing.T) { checkFiles(t, out) })
	t.Run("checksums", func(t *testing.T) { checkSums(t, out) })
	t.Run("notes", func(t *testing.T) {
		if got, want := read(t, out, "NOTES.md"), "### Added\n\n- A thing.\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("chart", func(t *testing.T) {
		got := untar(t, read(t, out, "avi-l4-operator-1.2.3.tgz"))
		if want := standIn["charts/avi-l4-operator/Chart.yaml"]; got["avi-l4-operator/Chart.yaml"] != want || len(got) != 2 {
			t.Errorf("the chart holds %q", got)
		}
	})
	t.Run("bundle", func(t *testing.T) {
		got := untar(t, read(t, out, "avi-l4-operator-olm-1.2.3.tgz"))
		if got["avi-l4-operator-olm-1.2.3/bundle/manifests/a.yaml"] == "" || got["avi-l4-operator-olm-1.2.3/bundle.Dockerfile"] == "" {
			t.Errorf("the bundle holds %q", got)
		}
	})
	t.Run("plugin", func(t *testing.T) { checkPlugin(t, out) })
	for _, spec := range images {
		t.Run(spec.title, func(t *testing.T) { checkImage(t, out, spec, commit) })
	}
	t.Run("push", func(t *testing.T) { checkPush(t, out) })

	// Another folder, another process, another moment: the same bytes.
	again := t.TempDir()
	if err := os.CopyFS(again, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	second := release(t, "all", again, "-manifests", manifests(t), "-registry", "registry.example.com/avi",
		"-downloads", "https://files.example.com/")
	if a, b := read(t, out, checksumsFile), read(t, second, checksumsFile); a != b {
		t.Errorf("the second build differs:\n%s\n%s", a, b)
	}
}

func checkFiles(t *testing.T, out string) {
	want := []string{
		"NOTES.md", checksumsFile, "avi-l4-operator-1.2.3.oci.tar", "avi-l4-operator-1.2.3.tgz", "avi-l4-operator-olm-1.2.3.tgz",
		"avi-l4-simulator-1.2.3.oci.tar", "install.yaml", "krew.yaml", "services-api-crds.yaml",
	}
	for _, title := range []string{"avi-l4-operator", "avi-l4-simulator"} {
		want = append(want, title+"-1.2.3-linux-amd64.cdx.json", title+"-1.2.3-linux-arm64.cdx.json")
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			suffix := ".tar.gz"
			if goos == "windows" {
				suffix = ".zip"
			}
			want = append(want, fmt.Sprintf("kubectl-avi_l4-1.2.3-%s-%s.cdx.json", goos, arch), fmt.Sprintf("kubectl-avi_l4-1.2.3-%s-%s%s", goos, arch, suffix))
		}
	}
	var got []string
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the release has\n%q, want\n%q", got, want)
	}
}

func checkSums(t *testing.T, out string) {
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(read(t, out, checksumsFile)), "\n")
	if len(lines) != len(entries)-1 {
		t.Errorf("%d sums of %d files", len(lines), len(entries)-1)
	}
	for _, line := range lines {
		sum, name, _ := strings.Cut(line, "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, out, name)))); got != sum {
			t.Errorf("%s has sum %s, and not %s", name, got, sum)
		}
	}
}

func checkPlugin(t *testing.T, out string) {
	packed := untar(t, read(t, out, "kubectl-avi_l4-1.2.3-darwin-arm64.tar.gz"))
	if !strings.HasPrefix(packed["kubectl-avi_l4"], "\xcf\xfa\xed\xfe") || packed["LICENSE"] != "a licence\n" || packed["kubectl-avi_l4.cdx.json"] == "" {
		t.Error("the archive for macOS lacks a program for it, the licence or the list of contents")
	}
	archive := read(t, out, "kubectl-avi_l4-1.2.3-windows-amd64.zip")
	z, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open("kubectl-avi_l4.exe")
	if err != nil {
		t.Fatal(err)
	}
	start := make([]byte, 2)
	if _, err := io.ReadFull(f, start); err != nil || string(start) != "MZ" {
		t.Errorf("the program for Windows begins with %q (%v)", start, err)
	}

	var manifest krewManifest
	if err := yaml.UnmarshalStrict([]byte(read(t, out, "krew.yaml")), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Spec.Platforms) != 6 || manifest.Metadata.Name != "avi-l4" || manifest.Spec.Version != "v1.2.3" {
		t.Errorf("krew is told %+v", manifest)
	}
	for _, p := range manifest.Spec.Platforms {
		address, file := path.Split(p.URI)
		windows := p.Selector.MatchLabels["os"] == "windows"
		if address != "https://files.example.com/v1.2.3/" || (p.Bin == "kubectl-avi_l4.exe") != windows {
			t.Errorf("krew is told %+v", p)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, out, file)))); sum != p.SHA256 {
			t.Errorf("krew is told sum %s of %s, which has %s", p.SHA256, file, sum)
		}
	}
}

// checkImage reads an archive as a registry's tool would.
func checkImage(t *testing.T, out string, spec imageSpec, commit string) {
	index, err := readArchive(filepath.Join(out, spec.title+"-1.2.3.oci.tar"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
		if m.MediaType != types.OCIManifestSchema1 {
			t.Errorf("media type %s", m.MediaType)
		}
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkPlatform(t, out, image, spec, *m.Platform, commit)
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms %q, want %q", platforms, want)
	}
}

func checkPlatform(t *testing.T, out string, image v1.Image, spec imageSpec, platform v1.Platform, commit string) {
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{
		"org.opencontainers.image.title": spec.title, "org.opencontainers.image.version": "1.2.3",
		"org.opencontainers.image.revision": commit, "org.opencontainers.image.licenses": "Apache-2.0",
	}
	for key, want := range labels {
		if got := config.Config.Labels[key]; got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	if config.Config.User != "65532:65532" || config.Architecture != platform.Architecture || config.OS != "linux" {
		t.Errorf("user %s, %s/%s", config.Config.User, config.OS, config.Architecture)
	}
	files := tree(t, mutate.Extract(image))
	if got := files["/etc/ssl/certs/ca-certificates.crt"].content; certificates(got) < 100 {
		t.Errorf("%d certificate authorities", certificates(got))
	}
	sbom := files["/usr/share/sbom/"+spec.title+".cdx.json"].content
	if beside := read(t, out, fmt.Sprintf("%s-1.2.3-linux-%s.cdx.json", spec.title, platform.Architecture)); sbom == "" || sbom != beside {
		t.Error("the list of contents inside is not the one beside the image")
	}
	program := files[spec.binary]
	if program.mode != 0o755 || len(program.content) < 1000 {
		t.Errorf("%s has mode %o and %d bytes", spec.binary, program.mode, len(program.content))
	}
	if platform.Architecture == runtime.GOARCH && runtime.GOOS == "linux" {
		checkRuns(t, program.content, commit)
	}
	if spec.state != "" && files[spec.state+"/"].owner != nonroot {
		t.Errorf("%s belongs to %d", spec.state, files[spec.state+"/"].owner)
	}
}

// checkRuns starts the program of the image, which prints what it was stamped with.
func checkRuns(t *testing.T, content, commit string) {
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := exec.CommandContext(t.Context(), file).CombinedOutput(); err != nil || string(got) != commit {
		t.Errorf("the program prints %q (%v), want %q", got, err, commit)
	}
}

// checkPush sends an archive to a registry and reads it there.
func checkPush(t *testing.T, out string) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/avi/avi-l4-operator:1.2.3"
	var log bytes.Buffer
	if err := run(t.Context(), []string{"push", "-archive", filepath.Join(out, "avi-l4-operator-1.2.3.oci.tar"), "-to", to}, &log); err != nil {
		t.Fatal(err)
	}
	reference, err := referenceOf(to)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if want := reference.Context().Name() + "@" + digest.String() + "\n"; log.String() != want {
		t.Errorf("printed %q, want %q", &log, want)
	}
}

// An archive says under which name it is loaded.
func TestArchiveName(t *testing.T) {
	folder, _ := repository(t)
	out := release(t, "images", folder, "-platforms", "linux/"+runtime.GOARCH)
	files := tree(t, io.NopCloser(strings.NewReader(read(t, out, "avi-l4-operator-1.2.3.oci.tar"))))
	var index v1.IndexManifest
	if err := json.Unmarshal([]byte(files["/index.json"].content), &index); err != nil {
		t.Fatal(err)
	}
	got := index.Manifests[0].Annotations
	if got[annotationTag] != "1.2.3" || got[annotationName] != "index.docker.io/library/avi-l4-operator:1.2.3" {
		t.Errorf("annotations %q", got)
	}
}

func TestRefusals(t *testing.T) {
	folder, _ := repository(t)
	refused := func(want string, args ...string) {
		t.Helper()
		args = append(args, "-repository", folder, "-out", t.TempDir())
		if err := run(context.Background(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
	refused("internal/version/VERSION holds 1.2.3", "all", "-version", "1.2.4")
	refused("-manifests is needed", "all")
	refused("has no install.yaml", "all", "-manifests", t.TempDir())
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	refused("SOURCE_DATE_EPOCH", "images")
	t.Setenv("SOURCE_DATE_EPOCH", "")
	writeFile(t, filepath.Join(folder, "new.txt"), "")
	refused("the work tree differs from the commit", "all", "-manifests", manifests(t))
}

func TestNotesOf(t *testing.T) {
	const log = "# C\n\n## [2.0.0] - 2026-01-03\n\n## [1.0.0] - 2026-01-02\n\n- A.\n\n[1.0.0]: https://example.com\n"
	if got, err := notesOf(log, "1.0.0"); err != nil || got != "- A.\n" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, version := range []string{"2.0.0", "3.0.0", "1.0"} {
		if got, err := notesOf(log, version); err == nil {
			t.Errorf("%s: got %q instead of an error", version, got)
		}
	}
}

// The list of contents has the modules of a program, with their versions, and the standard library. This test's own program has some.
func TestContents(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := releaser{source: source{version: "1.2.3", revision: "abc", time: time.Unix(1700000000, 0).UTC()}}
	content, err := r.contents(self, "a-program", "linux", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(content), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, c := range *bom.Components {
		versions[c.Name] = c.Version
	}
	if versions["std"] != runtime.Version() || versions["github.com/google/go-containerregistry"] == "" {
		t.Errorf("components %q", versions)
	}
	if m := bom.Metadata; m.Timestamp != "2023-11-14T22:13:20Z" || m.Component.Name != "a-program" || m.Component.Version != "1.2.3" {
		t.Errorf("metadata %+v", m)
	}
}

// What the Dockerfile says of a stage is what this program makes.
func TestDockerfile(t *testing.T) {
	content, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	runtimeStage, simulator, operator := stage(string(content), "runtime"), stage(string(content), "avisim"), stage(string(content), "operator")
	contains := func(in string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !strings.Contains(in, line) {
				t.Errorf("the stage has no %q:\n%s", line, in)
			}
		}
	}
	contains(runtimeStage, fmt.Sprintf("USER %d:%d\n", nonroot, nonroot), "org.opencontainers.image.licenses=Apache-2.0")
	for _, e := range distribution()[len(distribution())-2:] {
		contains(string(content), strings.ReplaceAll(string(e.content), "\n", `\n`))
	}
	for i, in := range []string{operator, simulator} {
		spec := images[i]
		contains(in, "org.opencontainers.image.title="+spec.title+"\n", "ENTRYPOINT "+quoted(spec.config.Entrypoint)+"\n")
		if got, want := strings.Contains(in, "\nCMD "), spec.config.Cmd != nil; got != want {
			t.Errorf("%s: a CMD in the Dockerfile: %t, here: %t", spec.title, got, want)
		}
	}
	health := images[1].config.Healthcheck
	contains(simulator, "CMD "+quoted(images[1].config.Cmd)+"\n", "VOLUME /state\n", "EXPOSE 9443\n",
		fmt.Sprintf("HEALTHCHECK --interval=%s --timeout=%s CMD %s\n", health.Interval, health.Timeout, quoted(health.Test[1:])))
}

// stage is a stage of a Dockerfile.
func stage(dockerfile, name string) string {
	for part := range strings.SplitSeq(dockerfile, "\nFROM ") {
		if first, rest, _ := strings.Cut(part, "\n"); strings.HasSuffix(first, " AS "+name) {
			return rest
		}
	}
	return ""
}

func quoted(words []string) string { return `["` + strings.Join(words, `", "`) + `"]` }

type unpacked struct {
	content string
	mode    int64
	owner   int
}

// tree is what a tar holds, by absolute path.
func tree(t *testing.T, in io.ReadCloser) map[string]unpacked {
	t.Helper()
	defer in.Close()
	out := map[string]unpacked{}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + strings.Trim(h.Name, "/")
		if h.Typeflag == tar.TypeDir {
			name += "/"
		}
		out[name] = unpacked{content: string(content), mode: h.Mode, owner: h.Uid}
	}
}

// untar is what a compressed tar holds, without its folders.
func untar(t *testing.T, content string) map[string]string {
	t.Helper()
	in, err := gzip.NewReader(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, f := range tree(t, in) {
		if !strings.HasSuffix(name, "/") {
			out[strings.TrimPrefix(name, "/")] = f.content
		}
	}
	return out
}

func certificates(content string) int {
	n := 0
	for rest := []byte(content); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return n
		}
	}
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
