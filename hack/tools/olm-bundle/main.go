// SPDX-License-Identifier: Apache-2.0

// Command olm-bundle writes the operator's bundle for the Operator Lifecycle Manager (format registry+v1) and the file-based
// catalog that offers it, from what kustomize renders of config/olm and from the files beside that, and checks both with the
// operator framework's own validators. It needs no operator-sdk and no opm.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	// packageName is the operator's in every catalog.
	packageName = "avi-l4-operator"
	// channel gets every release while the operator has not been run against a real Controller.
	channel = "candidate-v0"
)

// options say what the bundle is made of and where it goes. Paths are files' and folders'.
type options struct {
	rendered          string // what kustomize made of config/olm
	config            string // config/olm
	samples           string // config/samples
	changelog         string
	version           string // such as 0.3.0
	image             string // the operator's
	bundleImage       string // the image that the bundle will be in
	bundle, catalog   string // folders to write
	dockerfile        string // file to write
	openShiftVersions string
}

func main() {
	var o options
	flag.StringVar(&o.rendered, "rendered", "", "what kustomize made of config/olm; - or nothing: standard input")
	flag.StringVar(&o.config, "config", "config/olm", "folder of clusterserviceversion.yaml, examples.yaml, scorecard.yaml and icon.svg")
	flag.StringVar(&o.samples, "samples", "config/samples", "folder with an example of each kind")
	flag.StringVar(&o.changelog, "changelog", "CHANGELOG.md", "file that has the date of the version")
	flag.StringVar(&o.version, "version", "", "the version, such as 0.3.0")
	flag.StringVar(&o.image, "image", "", "the operator's image; one by digest makes the bundle fit for disconnected clusters")
	flag.StringVar(&o.bundleImage, "bundle-image", "", "the image that the bundle is put in")
	flag.StringVar(&o.bundle, "bundle", "bundle", "folder to write the bundle to")
	flag.StringVar(&o.catalog, "catalog", "catalog", "folder to write the catalog to; what it has of other versions stays")
	flag.StringVar(&o.dockerfile, "dockerfile", "bundle.Dockerfile", "file to write the bundle's Dockerfile to")
	flag.StringVar(&o.openShiftVersions, "openshift-versions", "v4.16", "OpenShift's versions that the bundle is for")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "olm-bundle:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.version == "" || o.image == "" || o.bundleImage == "" {
		return errors.New("-version, -image and -bundle-image are needed")
	}
	in, err := read(o)
	if err != nil {
		return err
	}
	csv, err := in.clusterServiceVersion(o)
	if err != nil {
		return err
	}
	if err := writeBundle(o, in, csv); err != nil {
		return err
	}
	if err := writeCatalog(o, csv); err != nil {
		return err
	}
	if err := validateBundle(o.bundle); err != nil {
		return err
	}
	return validateCatalog(o.catalog)
}

// rendering is what kustomize made of config/olm.
func (o options) rendering() ([]byte, error) {
	if o.rendered == "" || o.rendered == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(filepath.Clean(o.rendered))
}
