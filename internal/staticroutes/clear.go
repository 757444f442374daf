// SPDX-License-Identifier: Apache-2.0

package staticroutes

import "encoding/json"

// Clear takes a cluster's routes out of a list, those with its label and no others, and says which they are.
func Clear(cluster string, observed []json.RawMessage) (rest []json.RawMessage, steps []Step) {
	d := differ{Plan: new(Plan), w: new(Wanted), cluster: cluster, ids: map[string]bool{}}
	d.read(observed)
	for _, s := range d.routes {
		if s.ours {
			steps = append(steps, Step{Op: Remove, ID: s.id, Prefix: s.prefix, From: s.nextHop, Why: "all that is ours is removed"})
			continue
		}
		rest = append(rest, s.raw)
	}
	return rest, steps
}
