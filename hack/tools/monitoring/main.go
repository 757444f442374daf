// SPDX-License-Identifier: Apache-2.0

// Command monitoring writes the dashboard for Grafana. Its tests hold the dashboard's queries, and the alerts of
// config/components/monitoring, against Prometheus' own engine.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("out", "", "The file to write.")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "monitoring:", err)
		os.Exit(1)
	}
}

func write(file string) error {
	text, err := render()
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644) //nolint:gosec // it is part of the repository
}

// render is the dashboard as Grafana imports it.
func render() ([]byte, error) {
	d, err := build()
	if err != nil {
		return nil, fmt.Errorf("building the dashboard: %w", err)
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the dashboard: %w", err)
	}
	return append(text, '\n'), nil
}
