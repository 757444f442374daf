// SPDX-License-Identifier: Apache-2.0

package world

import (
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// Cluster is what the Controller says of its own nodes.
type Cluster struct {
	Body     map[string]any // of /api/cluster; never written to
	Modified int64          // µs
	UpSince  string         // of the leader
	Leader   string         // name of the node that leads
}

// Node and cluster have the same uuids in each run.
const (
	ClusterUUID = "cluster-5e1f0000-0000-4000-8000-000000000001"
	NodeUUID    = "5e1f0000-0000-4000-8000-000000000002"
)

// shippedCluster is the cluster of one node that a Controller comes up with. Evidence: the keys are documented.
func shippedCluster() map[string]any {
	address := map[string]any{"addr": "127.0.0.1", "type": "V4"}
	return map[string]any{"name": "cluster-0-1", "rejoin_nodes_automatically": true, "nodes": []any{
		map[string]any{"name": "node1", "ip": address, "vm_uuid": NodeUUID, "vm_name": "node1", "vm_hostname": "node1", "vm_mor": ""}}}
}

// upSince is a time as a node says it.
func upSince(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// Cluster returns what is said of the nodes; without a change of the leader, the first node leads.
func (s *Reader) Cluster() Cluster {
	c := s.cluster
	if nodes := doc.Messages(c.Body["nodes"]); c.Leader == "" && len(nodes) > 0 {
		c.Leader = doc.Str(nodes[0], "name")
	}
	return c
}

// SetCluster replaces the body of /api/cluster; without nodes, they stay as they are.
func (s *Writer) SetCluster(body map[string]any) {
	if body["nodes"] == nil {
		body["nodes"] = s.cluster.Body["nodes"]
	}
	s.cluster.Body, s.cluster.Modified = body, s.tick()
}
