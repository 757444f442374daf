// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// ratioMax is the schema's limit of a pool group member's ratio; 0 is "no new connections".
const ratioMax = 1000

// ratios are the members' for the weights, which may be up to a million: divided by what they have in common and, where that
// is not enough, scaled so that the largest is 1,000 and rounded to the nearest, but never to 0. A share is then off by at
// most one two-thousandth of the largest weight, or rounded up to a thousandth of it where it would vanish.
func ratios(weights []int64) []uint32 {
	var divisor, largest int64
	for _, w := range weights {
		divisor, largest = gcd(divisor, w), max(largest, w)
	}
	out := make([]uint32, len(weights))
	for i, w := range weights {
		switch {
		case w == 0:
		case largest/divisor <= ratioMax:
			out[i] = uint32(w / divisor)
		default:
			out[i] = max(1, uint32(math.Round(float64(w)*ratioMax/float64(largest))))
		}
	}
	return out
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// rejectSuffix ends the name of a pool whose connections go nowhere.
const rejectSuffix = "-reject"

// groupName is that of a listener's pool group: <cluster>--<namespace>-<gateway>-<protocol>-<port>.
func (b *builder) groupName(l listener) string {
	return groupName(b.in.Settings, b.in.Owner.Key(), l.port)
}

// group spreads a listener's connections over its pools by weight. The API wants the share of a Service that doesn't resolve,
// or has no endpoints, to be rejected, and not spread over the others, which is what the Controller does with the share of a
// pool without servers.
func (b *builder) group(f frontend, l listener, pools []pool) (out []model.Object) {
	s := b.in.Settings
	name := b.groupName(l)
	weights := make([]int64, 0, len(pools)+1)
	var served, rejected int64 = 0, l.rejects
	for i, p := range pools {
		weight := int64(l.targets[i].weight)
		if p.empty {
			rejected += weight
			weight = 0
		}
		served += weight
		weights = append(weights, weight)
	}
	if served == 0 {
		rejected = max(rejected, 1)
	}
	members := make([]*models.PoolGroupMember, 0, len(pools)+1)
	for _, p := range pools {
		members = append(members, &models.PoolGroupMember{PoolRef: new(model.RefByName(model.Pool, p.name))})
	}
	if rejected > 0 {
		out = append(out, b.object(f, model.Pool, name+rejectSuffix, b.rejectingPool(f, l, name+rejectSuffix)))
		members = append(members, &models.PoolGroupMember{PoolRef: new(model.RefByName(model.Pool, name+rejectSuffix))})
		weights = append(weights, rejected)
	}
	for i, ratio := range ratios(weights) {
		members[i].Ratio = new(ratio)
	}
	return append(out, b.object(f, model.PoolGroup, name, &models.PoolGroup{
		Name:             &name,
		CloudConfigCksum: new(noChecksum),
		CreatedBy:        &s.CreatedBy,
		TenantRef:        new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:         new(model.RefByName(model.Cloud, s.Cloud)),
		Members:          members,
		Markers:          b.markers(groupMarks(b.in.Owner, l)),
	}))
}

// Addresses to which nothing is ever forwarded: RFC 5737, section 3, and RFC 6666.
const (
	nowhere4    = "192.0.2.1"
	nowhere6    = "100::1"
	discardPort = 9
)

// rejectingPool is chosen like any other and reaches nobody. It has no health monitor, or the Controller would see that
// and give its share to the others.
func (b *builder) rejectingPool(f frontend, l listener, name string) *models.Pool {
	s := b.in.Settings
	address, family := nowhere4, "V4"
	if len(f.addresses) > 0 && f.addresses[0].Is6() {
		address, family = nowhere6, "V6"
	}
	p := &models.Pool{
		Name:             &name,
		CloudConfigCksum: new(noChecksum),
		CreatedBy:        &s.CreatedBy,
		TenantRef:        new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:         new(model.RefByName(model.Cloud, s.Cloud)),
		VrfRef:           f.network.vrf,
		Tier1Lr:          f.network.tier1,
		// What the Controller gives a pool that doesn't say is said, or each look at it would find a difference.
		SniEnabled:      new(false),
		ServiceMetadata: new(metadata{}.String()),
		Markers:         b.markers(groupMarks(b.in.Owner, l)),
		Servers: []*models.Server{{
			IP: &models.IPAddr{Addr: new(address), Type: new(family)}, Port: new(int32(discardPort)), Enabled: new(true),
		}},
	}
	b.drain(f, l, nil, p)
	return p
}
