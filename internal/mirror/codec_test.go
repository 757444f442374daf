// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestCodec: what is packed comes back, and equal bodies are known as such, whether they were packed before there was a dictionary or
// after, and however large they are.
func TestCodec(t *testing.T) {
	body := func(i, servers int) []byte {
		return fmt.Appendf(nil, `{"name":"pool-%d","service_metadata":%q,"servers":[%s]}`, i, strings.Repeat("namespace", 50),
			strings.Repeat(`{"ip":{"addr":"10.0.0.1","type":"V4"},"port":9090},`, servers))
	}
	var c codec
	var all []packed
	const n = 200
	for i := range n {
		p, err := c.pack(body(i, i%7))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	large, err := c.pack(body(n, 5000))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := large.body(); err != nil || !bytes.Equal(got, body(n, 5000)) {
		t.Errorf("a large body comes back as %d bytes, %v", len(got), err)
	}
	plain := 0
	for i, p := range all {
		got, err := p.body()
		if want := body(i, i%7); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("body %d comes back as %s, %v", i, got, err)
		}
		if p.by == nil {
			plain++
		}
		again, err := c.pack(body(i, i%7))
		if err != nil {
			t.Fatal(err)
		}
		if !p.same(again) || !again.same(p) {
			t.Errorf("body %d isn't equal to itself", i)
		}
		if other := all[(i+1)%n]; p.same(other) {
			t.Errorf("bodies %d and %d are taken for equal", i, (i+1)%n)
		}
	}
	if plain == 0 || plain > n/2 {
		t.Errorf("%d of %d bodies are plain", plain, n)
	}
	if last := all[n-1]; len(last.data) > 100 {
		t.Errorf("a body of %d bytes is packed into %d", len(body(n-1, 3)), len(last.data))
	}
}
