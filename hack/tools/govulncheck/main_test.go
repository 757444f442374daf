// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is an invented vulnerability of a function, for each version before the one with the fix.
func entry(id, module, pkg, symbol, fixed string) string {
	events := `{"introduced": "0"}`
	if fixed != "" {
		events += fmt.Sprintf(`, {"fixed": %q}`, fixed)
	}
	return fmt.Sprintf(`{"schema_version": "1.3.1", "id": %q, "modified": "0001-01-01T00:00:00Z", "published": "0001-01-01T00:00:00Z",
		"summary": "Invented %s", "details": "", "affected": [{"package": {"name": %q, "ecosystem": "Go"},
		"ranges": [{"type": "SEMVER", "events": [%s]}],
		"ecosystem_specific": {"imports": [{"path": %q, "symbols": [%q]}]}}]}`, id, symbol, module, events, pkg, symbol)
}

// The code that is looked at is this module's own: it calls scan.Command of golang.org/x/vuln, and os.Getenv. Of the five vulnerabilities
// only the first is for this repository to fix.
func TestRun(t *testing.T) {
	const module = "golang.org/x/vuln"
	database := t.TempDir()
	for i, content := range []string{
		entry("GO-2026-0001", module, module+"/scan", "Command", "99.0.0"),
		entry("GO-2026-0002", module, module+"/scan", "Cmd.Start", ""),
		entry("GO-2026-0003", module, module+"/scan", "Nothing", "99.0.0"),
		entry("GO-2026-0004", "stdlib", "os", "Getenv", "99.0.0"),
		entry("GO-2026-0005", "example.com/other", "example.com/other", "Run", "1.0.0"),
	} {
		if err := os.WriteFile(filepath.Join(database, fmt.Sprintf("GO-2026-%04d.json", i+1)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	err := run(t.Context(), ".", address(database), &out)
	if got, want := fmt.Sprint(err), "to be fixed here:\nGO-2026-0001: golang.org/x/vuln has to be at v99.0.0"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	for _, want := range []string{
		"GO-2026-0001: Invented Command\n  golang.org/x/vuln/scan.Command is called; golang.org/x/vuln is at v",
		"golang.org/x/vuln/scan.Cmd.Start is called", "no release has a fix",
		"os.Getenv is called; stdlib is at v1.", "fixed in v99.0.0",
		"govulncheck: 3 known vulnerabilities in code that is called, 1 in code that is not\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// Without a network nothing fails, and nobody takes it for a clean result.
func TestNoDatabase(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	var out bytes.Buffer
	if err := run(t.Context(), ".", "", &out); err != nil || !strings.Contains(out.String(), "not checked, since there is no database") {
		t.Errorf("error %v, printed %q", err, &out)
	}
}

// A database that can't be read is an error, unlike one that isn't there.
func TestBadDatabase(t *testing.T) {
	database := t.TempDir()
	if err := os.WriteFile(filepath.Join(database, "GO-2026-0001.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), ".", address(database), &out); err == nil {
		t.Errorf("no error, printed %q", &out)
	}
}
