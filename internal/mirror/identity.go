// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// This file keeps clusters apart that have the same clusterName. AKO's objects carry the name and nothing that distinguishes two clusters
// of that name, so one object of the operator's own on the Controller, the record, says which cluster the name belongs to.
//
// It is a StringGroup: AKO's own role may write that kind (PERMISSION_STRINGGROUP), while it may only read an IpAddrGroup; the kind has no
// created_by by which AKO's clean-up would find it; nothing refers to it; and its name doesn't begin with the prefix of the cluster's
// objects, without which AKO takes no object for its own.

// recordUID is the key under which a record has the UID of Namespace kube-system.
const recordUID = "kube-system-uid"

// TakeOverUnrecorded is what Scope.TakeOver is for a name that has no record and objects of which nobody here knows.
const TakeOverUnrecorded = "unrecorded"

// RecordName is the name of the StringGroup that says which Kubernetes cluster a clusterName belongs to.
func RecordName(clusterName string) string { return "avi-l4-operator-" + clusterName }

// standing is what the Controller says about the cluster's name.
type standing int

const (
	unasked   standing = iota // not known yet, or Mirror.Cluster isn't set
	unknown                   // the account may not read or write records
	free                      // nobody's
	ours                      // this cluster's
	inherited                 // another cluster's, which the settings say is replaced by this one
)

// identity is what is known of the record.
type identity struct {
	standing
	record *record // of ours and inherited
	seq    uint64  // of the write that it was learnt from, 0 for a read
}

// record is the StringGroup as it is read.
type record struct {
	Name         string `json:"name"`
	UUID         string `json:"uuid"`
	TenantRef    string `json:"tenant_ref"`
	LastModified string `json:"_last_modified"`
	KV           []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"kv"`
}

// uid is the recorded cluster's, "" if the record doesn't say.
func (r *record) uid() string {
	for _, kv := range r.KV {
		if kv.Key == recordUID {
			return kv.Value
		}
	}
	return ""
}

// OtherClusterError says that a clusterName belongs to another Kubernetes cluster.
type OtherClusterError struct {
	ClusterName string
	Recorded    string // UID of Namespace kube-system of the cluster that the name belongs to
	Own         string // and that of this cluster
	Tenant      string // of the record
}

func (e *OtherClusterError) Error() string {
	if e.Recorded == "" {
		return fmt.Sprintf("StringGroup %s in tenant %s of the Controller says which cluster clusterName %q belongs to, and has lost its entry %s; nothing is written. Restore the entry, or delete the StringGroup if no other cluster has the name",
			RecordName(e.ClusterName), e.Tenant, e.ClusterName, recordUID)
	}
	return fmt.Sprintf("clusterName %q belongs to another Kubernetes cluster on this Controller: StringGroup %s in tenant %s names the cluster whose Namespace kube-system has UID %s, this one's is %s; nothing is written. Give this cluster a clusterName of its own; only if it takes the place of the other one, which must not run any more, set takeOverClusterUID: %q in ConfigMap avi-k8s-config",
		e.ClusterName, RecordName(e.ClusterName), e.Tenant, e.Recorded, e.Own, e.Recorded)
}

// UnclaimedError says that it isn't known whose a clusterName is, and that the objects under it may be another cluster's.
type UnclaimedError struct {
	ClusterName string
	Objects     int // VirtualServices under the name
}

func (e *UnclaimedError) Error() string {
	return fmt.Sprintf("the Controller has %d VirtualServices of clusterName %q, and no record of the cluster that they belong to; nothing is made until one of them is found to be for a Service or Gateway that this cluster has. If they are another cluster's, give this one a clusterName of its own; if they are this cluster's leftovers, set takeOverClusterUID: %q in ConfigMap avi-k8s-config",
		e.Objects, e.ClusterName, TakeOverUnrecorded)
}

// identify reads the record, in one call, and judges it.
func (m *Mirror) identify(ctx context.Context, scope Scope) (identity, error) {
	if m.Cluster == nil {
		return identity{}, nil
	}
	own, err := m.Cluster(ctx)
	if err != nil {
		return identity{}, fmt.Errorf("reading Namespace kube-system, whose UID identifies the cluster: %w", err)
	}
	var found []*record
	q := url.Values{"name": {RecordName(scope.ClusterName)}, "include_name": {"true"}}
	err = m.client.List(ctx, string(model.StringGroup), scope.tenants(), q, func(raw json.RawMessage) error {
		r := new(record)
		if err := json.Unmarshal(raw, r); err != nil {
			return err
		}
		if r.Name == RecordName(scope.ClusterName) && r.UUID != "" {
			found = append(found, r)
		}
		return nil
	})
	switch {
	case avi.ReasonOf(err) == avi.ReasonForbidden:
		return identity{standing: unknown}, nil
	case err != nil:
		return identity{}, fmt.Errorf("reading whose clusterName %s is: %w", scope.ClusterName, err)
	case len(found) == 0:
		return identity{standing: free}, nil
	}
	// Two tenants may have one each, made at the same moment: both clusters take the older one for the true one.
	first := slices.MinFunc(found, func(a, b *record) int {
		return cmp.Or(cmp.Compare(len(a.LastModified), len(b.LastModified)), cmp.Compare(a.LastModified, b.LastModified),
			cmp.Compare(a.UUID, b.UUID))
	})
	switch uid := first.uid(); {
	case uid == own:
		return identity{standing: ours, record: first}, nil
	case uid != "" && uid == scope.TakeOver:
		return identity{standing: inherited, record: first}, nil
	default:
		return identity{}, &OtherClusterError{scope.ClusterName, uid, own, m.tenantOf(first)}
	}
}

func (m *Mirror) tenantOf(r *record) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.reader().tenant(r.TenantRef)
}

// Others is an *OtherClusterError if the cluster's name belongs to another cluster, else nil.
func (m *Mirror) Others() error {
	if err := m.Err(); isOthers(err) {
		return err
	}
	return nil
}

// ToRecord says what Claim has yet to write, "" if nothing.
func (m *Mirror) ToRecord() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch m.identity.standing {
	case free:
		return "create StringGroup " + RecordName(m.scope.ClusterName)
	case inherited:
		return "update StringGroup " + RecordName(m.scope.ClusterName)
	}
	return ""
}

// Proven reports whether the Controller says that the cluster's name is this cluster's. Only then is anything deleted because
// nobody in this cluster wants it.
func (m *Mirror) Proven() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.Cluster == nil || m.identity.standing == ours
}

// Claim makes sure, before anything is written for an owner whose VirtualService is called name, that the cluster's name is this
// cluster's. It makes the record if there is none, which happens once in a cluster's life; where there are objects of the name
// already, only if one of them is for an owner that this cluster has, so that a second cluster can't claim those of the first. The
// error is an *OtherClusterError or an *UnclaimedError where that is why not.
func (m *Mirror) Claim(ctx context.Context, owner model.Owner, name string) error {
	return m.claim(ctx, func() error {
		var owners []model.Owner
		for _, o := range m.All() {
			if o.Key.Kind == model.VirtualService {
				owners = append(owners, o.Owner)
			}
		}
		if len(owners) == 0 || m.scopeNow().TakeOver == TakeOverUnrecorded ||
			slices.ContainsFunc(m.Of(owner, name), func(o *model.Observed) bool { return o.Key.Kind == model.VirtualService }) {
			return nil
		}
		if m.Known != nil {
			known, err := m.Known(ctx)
			if err != nil {
				return fmt.Errorf("looking for an owner of what the Controller has: %w", err)
			}
			for here := range known {
				if slices.ContainsFunc(owners, func(o model.Owner) bool { return o.MayBe(here) }) {
					return nil
				}
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.turnedAway = true
		return &UnclaimedError{ClusterName: m.scope.ClusterName, Objects: len(owners)}
	})
}

// Confirm is Claim for a deletion: it takes a name over that the settings say is inherited, and makes no record.
func (m *Mirror) Confirm(ctx context.Context) error {
	if m.standing() == free {
		return nil
	}
	return m.claim(ctx, func() error { return nil })
}

func (m *Mirror) scopeNow() Scope {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.scope
}

func (m *Mirror) standing() standing {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.identity.standing
}

func (m *Mirror) settled() bool {
	s := m.standing()
	return m.Cluster == nil || s == ours || s == unknown
}

// claim makes or changes the record where it has to; may is asked before it is made.
func (m *Mirror) claim(ctx context.Context, may func() error) error {
	if m.settled() {
		return nil
	}
	if m.standing() == free {
		if err := may(); err != nil {
			return err
		}
	}
	m.claiming.Lock()
	defer m.claiming.Unlock()
	if m.settled() { // another run was faster
		return nil
	}
	m.mu.RLock()
	scope, epoch := m.scope, m.epoch
	m.mu.RUnlock()
	id, err := m.identify(ctx, scope)
	if err == nil && (id.standing == free || id.standing == inherited) {
		id, err = m.record(ctx, scope, id)
	}
	if err != nil {
		return m.failed(epoch, err)
	}
	m.mu.Lock()
	again := m.turnedAway
	if m.epoch == epoch {
		m.seq++
		id.seq = m.seq
		m.identity, m.turnedAway = id, false
	}
	m.mu.Unlock()
	if again {
		m.Changed(nil)
	}
	return nil
}

// record writes the record and reads it back where somebody else may have been faster.
func (m *Mirror) record(ctx context.Context, scope Scope, was identity) (identity, error) {
	own, err := m.Cluster(ctx)
	if err != nil {
		return identity{}, err
	}
	kv := []*models.KeyValue{{Key: new(recordUID), Value: new(own)}}
	var answer json.RawMessage
	if was.record != nil {
		m.log.Info("taking over the cluster's name from another cluster, as takeOverClusterUID says",
			"clusterName", scope.ClusterName, "from", was.record.uid(), "to", own)
		patch := avi.Patch{Replace: map[string]any{"kv": kv}}
		answer, err = m.client.Patch(ctx, model.StringGroup, m.tenantOf(was.record), was.record.UUID, patch)
	} else {
		m.log.Info("recording on the Controller that the cluster's name is this cluster's", "clusterName", scope.ClusterName,
			"stringGroup", RecordName(scope.ClusterName), "uid", own)
		answer, err = m.client.Create(ctx, model.StringGroup, scope.Tenant, &models.StringGroup{
			Name: new(RecordName(scope.ClusterName)), Type: new("SG_TYPE_KEYVAL"), Kv: kv, Markers: model.Markers(scope.ClusterName),
			TenantRef:   new("/api/tenant/?name=" + url.QueryEscape(scope.Tenant)),
			Description: new("avi-l4-operator: the Kubernetes cluster that clusterName " + scope.ClusterName + " belongs to"),
		})
	}
	switch {
	case err == nil:
		r := new(record)
		if err := json.Unmarshal(answer, r); err != nil {
			return identity{}, fmt.Errorf("recording whose clusterName %s is: %w", scope.ClusterName, err)
		}
		return identity{standing: ours, record: r}, nil
	case avi.ReasonOf(err) == avi.ReasonForbidden:
		m.log.Info("the account may not write StringGroups, so that clusters of the same clusterName can't be distinguished; orphans are not removed",
			"error", err.Error())
		return identity{standing: unknown}, nil
	case avi.ReasonOf(err) != avi.ReasonAlreadyExists && !avi.Ambiguous(err):
		return identity{}, fmt.Errorf("recording whose clusterName %s is: %w", scope.ClusterName, err)
	}
	switch id, lookErr := m.identify(ctx, scope); {
	case lookErr != nil:
		return identity{}, lookErr
	case id.standing == ours:
		return id, nil
	}
	return identity{}, fmt.Errorf("recording whose clusterName %s is: %w", scope.ClusterName, err)
}

// Disown deletes the record, after everything of the cluster's has been removed, so that another cluster may have the name. The name counts
// as nobody's before the call, so that a run that claims it meanwhile waits and makes the record anew; wanted is asked after that, and
// false leaves the record.
func (m *Mirror) Disown(ctx context.Context, wanted func() bool) error {
	m.claiming.Lock()
	defer m.claiming.Unlock()
	m.mu.RLock()
	was, epoch := m.identity, m.epoch
	m.mu.RUnlock()
	if was.standing != ours {
		return nil
	}
	m.become(identity{standing: free}, epoch)
	if !wanted() {
		m.become(was, epoch)
		return nil
	}
	if err := m.client.Delete(ctx, model.StringGroup, m.tenantOf(was.record), was.record.UUID); err != nil {
		m.become(was, epoch)
		return fmt.Errorf("removing the record of the cluster's name: %w", err)
	}
	m.become(identity{standing: free}, epoch) // newer than a read that began before the call
	return nil
}

// become sets what is known of the record, as of now, unless the settings have changed since the epoch.
func (m *Mirror) become(id identity, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch != epoch {
		return
	}
	m.seq++
	id.seq = m.seq
	m.identity = id
}

// isOthers reports whether an error says that the cluster's name is another cluster's.
func isOthers(err error) bool {
	var other *OtherClusterError
	return errors.As(err, &other)
}
