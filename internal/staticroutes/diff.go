// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Op is what a step does to one route.
type Op string

// Operations.
const (
	Add    Op = "add"
	Change Op = "change" // next hop or label of a route of ours, in its place
	Remove Op = "remove"
)

// Step is one change of a list of routes.
type Step struct {
	Op       Op
	ID       string
	Prefix   netip.Prefix
	From, To netip.Addr // next hops
	Node     string
	Why      string
}

func (s Step) String() string {
	text := fmt.Sprintf("%s route %s %s", s.Op, s.ID, s.Prefix)
	switch s.Op {
	case Add:
		text += " via " + s.To.String()
	case Change:
		text += fmt.Sprintf(" via %s -> %s", s.From, s.To)
	case Remove:
		text += " via " + s.From.String()
	}
	if s.Why != "" {
		text += ": " + s.Why
	}
	return text
}

// Plan is how a list of routes becomes what is wanted. A plan is data: it can be printed and refused.
type Plan struct {
	Steps []Step
	// Unconfirmed are removals that wait for Nodes and pod CIDRs to be read from the API server itself.
	Unconfirmed []Step
	// Held are removals that are not carried out because they are too many at once.
	Held []Step
	// Kept counts routes of ours that nobody wants and that stay because not all is known.
	Kept int
	// Ours counts routes of ours before the plan, Foreign those of others.
	Ours, Foreign int
	Problems      []Problem
	// Routes is the whole list to write, those of others as they came and in their order.
	Routes []json.RawMessage

	standing map[netip.Prefix]bool   // wanted ones that need nothing
	refused  map[netip.Prefix]string // wanted ones that can't be written, and why
	losers   []loser
}

// loser is a node whose CIDR goes to another node.
type loser struct {
	claim Claim
	to    string
}

// Empty reports whether there is nothing to write.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

func (p *Plan) String() string {
	lines := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		lines[i] = s.String()
	}
	return strings.Join(lines, "; ")
}

// Refused are the prefixes whose wanted routes stay unwritten, and why.
func (p *Plan) Refused() map[netip.Prefix]string { return maps.Clone(p.refused) }

// Limit bounds how many routes of ours one plan removes: a share of them, but at least Least.
type Limit struct {
	Share float64
	Least int
}

func (l Limit) of(total int) int { return max(l.Least, int(l.Share*float64(total))) }

// standing is a route as the Controller has it.
type standing struct {
	raw     json.RawMessage
	id      string
	prefix  netip.Prefix
	nextHop netip.Addr
	labels  []Label
	ours    bool
}

// Label is a key and a value, of which a route and a Service Engine group have one at most.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// labelled reports whether labels say that something is a cluster's.
func labelled(labels []Label, cluster string) bool {
	return slices.Contains(labels, Label{model.MarkCluster, cluster})
}

// Diff compares the static_routes of a VRF context with what is wanted.
func Diff(w *Wanted, cluster string, observed []json.RawMessage, limit Limit) *Plan {
	p := &Plan{standing: map[netip.Prefix]bool{}, refused: map[netip.Prefix]string{}}
	d := differ{Plan: p, w: w, cluster: cluster, ids: map[string]bool{}, chosen: map[netip.Prefix]int{}}
	d.read(observed)
	wanted := d.settle()
	drop := d.compare(wanted)
	d.limit(drop, limit)
	d.add(wanted)
	p.Problems = append(slices.Clone(w.Problems), p.Problems...)
	return p
}

type differ struct {
	*Plan
	w       *Wanted
	cluster string
	routes  []standing
	ids     map[string]bool
	chosen  map[netip.Prefix]int // of ours, the one that carries a wanted prefix
}

func (d *differ) report(node, reason, format string, args ...any) {
	d.Problems = append(d.Problems, Problem{node, reason, fmt.Sprintf(format, args...)})
}

func (d *differ) read(observed []json.RawMessage) {
	own := regexp.MustCompile(`^` + regexp.QuoteMeta(d.cluster) + `-(.+)-\d+$`)
	for _, raw := range observed {
		var wire struct {
			ID     string `json:"route_id"`
			Prefix struct {
				Addr struct {
					Addr string `json:"addr"`
				} `json:"ip_addr"`
				Mask int `json:"mask"`
			} `json:"prefix"`
			NextHop struct {
				Addr string `json:"addr"`
			} `json:"next_hop"`
			Labels []Label `json:"labels"`
		}
		s := standing{raw: raw}
		if json.Unmarshal(raw, &wire) == nil {
			s.id, s.labels = wire.ID, wire.Labels
			s.nextHop, _ = address(wire.NextHop.Addr)
			if a, ok := address(wire.Prefix.Addr.Addr); ok {
				s.prefix = netip.PrefixFrom(a, wire.Prefix.Mask).Masked()
			}
		}
		// A label that somebody took away doesn't make a route foreign whose id only we give.
		made := own.FindStringSubmatch(s.id)
		s.ours = labelled(s.labels, d.cluster) || len(s.labels) == 0 && made != nil && d.w.uids[made[1]] != ""
		if s.ours {
			d.Ours++
		} else {
			d.Foreign++
		}
		d.ids[s.id] = true
		d.routes = append(d.routes, s)
	}
}

// settle gives each wanted prefix to one node: a confirmed claim goes before others, the one whose route stands before
// a new one, then the older node.
func (d *differ) settle() []Claim {
	stands := map[netip.Prefix]netip.Addr{}
	for _, s := range d.routes {
		if s.ours && s.prefix.IsValid() {
			stands[s.prefix] = s.nextHop
		}
	}
	var out []Claim
	for i := 0; i < len(d.w.Claims); {
		j := i
		for j < len(d.w.Claims) && d.w.Claims[j].Prefix == d.w.Claims[i].Prefix {
			j++
		}
		best := i
		for k := i + 1; k < j; k++ {
			c := d.w.Claims[k]
			if c.pending == d.w.Claims[best].pending && c.leads(stands[c.Prefix]) && !d.w.Claims[best].leads(stands[c.Prefix]) {
				best = k
			}
		}
		winner := d.w.Claims[best]
		for k := i; k < j; k++ {
			if c := d.w.Claims[k]; k != best && !c.pending {
				d.losers = append(d.losers, loser{c, winner.Node})
				d.report(c.Node, ReasonPodCIDRConflict, "Nodes %s and %s both have pod CIDR %s; the route leads to %s, and pods on %s aren't reached", c.Node, winner.Node, c.Prefix, winner.Node, c.Node)
			}
		}
		out = append(out, winner)
		i = j
	}
	return out
}

// compare goes through the routes that stand. It returns the indexes of those that nobody wants.
func (d *differ) compare(wanted []Claim) (drop []int) {
	claims := make(map[netip.Prefix]Claim, len(wanted))
	for _, c := range wanted {
		claims[c.Prefix] = c
	}
	for i, s := range d.routes { // of several with one prefix, the one that is right
		c, ok := claims[s.prefix]
		if !s.ours || !ok {
			continue
		}
		if have, taken := d.chosen[s.prefix]; !taken || !c.leads(d.routes[have].nextHop) && c.leads(s.nextHop) {
			d.chosen[s.prefix] = i
		}
	}
	for i, s := range d.routes {
		c, ok := claims[s.prefix]
		switch {
		case !s.ours && len(s.labels) == 0:
			d.foreign(s, claims)
		case !s.ours: // labelled for others, whose Service Engines alone have it
		case !s.prefix.IsValid():
			d.report("", ReasonRouteConflict, "route %s has our label and no prefix that can be read; it is left as it is", s.id)
		case ok && d.chosen[s.prefix] == i:
			d.correct(i, c)
		case ok:
			d.Steps = append(d.Steps,
				Step{Op: Remove, ID: s.id, Prefix: s.prefix, From: s.nextHop, Why: "it doubles route " + d.routes[d.chosen[s.prefix]].id})
			d.routes[i].raw = nil
		case d.mayBeWanted(s):
			d.Kept++
		default:
			drop = append(drop, i)
		}
	}
	return drop
}

// correct puts right a route that stands, if it isn't.
func (d *differ) correct(i int, c Claim) {
	s := d.routes[i]
	if c.leads(s.nextHop) && labelled(s.labels, d.cluster) {
		d.standing[s.prefix] = true
		return
	}
	if why, held := d.w.held[s.prefix]; held {
		d.hold(c, why)
		return
	}
	why, hop := "", c.NextHop
	if c.leads(s.nextHop) {
		why, hop = "its label is missing", s.nextHop
	}
	d.Steps = append(d.Steps, Step{Change, s.id, s.prefix, s.nextHop, hop, c.Node, why})
	d.routes[i].raw = rewritten(s.raw, hop, d.cluster)
}

// hold leaves a node's route as it is.
func (d *differ) hold(c Claim, why string) {
	d.refused[c.Prefix] = why
	d.report(c.Node, ReasonRouteRefused, "pod CIDR %s of Node %s has no route, or an old one, via %s: %s", c.Prefix, c.Node, c.NextHop, why)
}

// foreign looks for a route without a label that is in the way of a wanted one: the same prefix, or part of it. A wider one
// is not: the longest prefix wins.
func (d *differ) foreign(s standing, claims map[netip.Prefix]Claim) {
	if !s.prefix.IsValid() {
		return
	}
	if c, ok := claims[s.prefix]; ok {
		_, have := d.chosen[s.prefix]
		switch {
		case c.leads(s.nextHop) && !have:
			d.standing[s.prefix] = true // somebody routes it already
		case c.leads(s.nextHop):
		case have:
			d.report(c.Node, ReasonRouteConflict, "route %s of somebody else leads pod CIDR %s of Node %s to %s as well, instead of %s; remove it", s.id, s.prefix, c.Node, s.nextHop, c.NextHop)
		default:
			why := fmt.Sprintf("route %s of somebody else leads pod CIDR %s of Node %s to %s instead of %s; remove it, so that ours can take its place", s.id, s.prefix, c.Node, s.nextHop, c.NextHop)
			d.refused[s.prefix] = why
			d.report(c.Node, ReasonRouteConflict, "%s", why)
		}
		return
	}
	for bits := s.prefix.Bits() - 1; bits > 0; bits-- {
		wider, _ := s.prefix.Addr().Prefix(bits)
		if c, ok := claims[wider]; ok && !c.leads(s.nextHop) {
			d.report(c.Node, ReasonRouteConflict, "route %s of somebody else leads %s, a part of pod CIDR %s of Node %s, to %s instead of %s; remove it, else those pods aren't reached", s.id, s.prefix, wider, c.Node, s.nextHop, c.NextHop)
		}
	}
}

// mayBeWanted reports whether a route that nobody is known to want may be one of a node of which not all is known.
func (d *differ) mayBeWanted(s standing) bool {
	host := d.w.hosts[s.nextHop]
	_, unknown := d.w.unknown[host]
	switch {
	case d.w.unread != "", unknown, d.w.prefix[s.prefix], d.w.lost && host == "":
		return true
	}
	for uid, node := range d.w.uids {
		if _, unknown := d.w.unknown[node]; unknown && strings.HasPrefix(s.id, d.cluster+"-"+uid+"-") {
			return true
		}
	}
	return false
}

// limit decides which of the routes that nobody wants go now.
func (d *differ) limit(drop []int, limit Limit) {
	var steps []Step
	for _, i := range drop {
		s := d.routes[i]
		why := "no Node has this pod CIDR"
		if host := d.w.hosts[s.nextHop]; host != "" {
			why = "Node " + host + " has this pod CIDR no more"
		}
		steps = append(steps, Step{Op: Remove, ID: s.id, Prefix: s.prefix, From: s.nextHop, Why: why})
	}
	switch most := limit.of(d.Ours); {
	case len(steps) > most:
		d.Held = steps
		d.report("", ReasonRoutesHeld, "%d of %d routes of this cluster would be removed at once, which looks like a mistake; they stay. If it is none, raise --deletion-share", len(steps), d.Ours)
	case !d.w.live:
		d.Unconfirmed = steps
	default:
		d.Steps = append(d.Steps, steps...)
		for _, i := range drop {
			d.routes[i].raw = nil
		}
	}
}

// add makes the routes that are missing, and the whole list.
func (d *differ) add(wanted []Claim) {
	for _, s := range d.routes {
		if s.raw != nil {
			d.Routes = append(d.Routes, s.raw)
		}
	}
	for _, c := range wanted {
		_, have := d.chosen[c.Prefix]
		if have || d.standing[c.Prefix] || d.refused[c.Prefix] != "" {
			continue
		}
		if why, held := d.w.held[c.Prefix]; held {
			d.hold(c, why)
			continue
		}
		id := d.newID(c)
		d.Steps = append(d.Steps, Step{Op: Add, ID: id, Prefix: c.Prefix, To: c.NextHop, Node: c.Node})
		d.Routes = append(d.Routes, encode(models.StaticRoute{
			RouteID: &id, Prefix: &models.IPAddrPrefix{IPAddr: ipAddr(c.Prefix.Addr()), Mask: new(int32(c.Prefix.Bits()))},
			NextHop: ipAddr(c.NextHop), Labels: []*models.KeyValue{{Key: new(model.MarkCluster), Value: new(d.cluster)}},
		}))
	}
	slices.SortStableFunc(d.Steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(opOrder(a.Op), opOrder(b.Op)), a.Prefix.Addr().Compare(b.Prefix.Addr()),
			cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
}

func opOrder(o Op) int { return slices.Index([]Op{Add, Change, Remove}, o) }

// newID has the form of AKO's ids, "<cluster>-<uuid>-<n>", with the node's own UID, which a restart doesn't change.
func (d *differ) newID(c Claim) string {
	for n := 0; ; n++ {
		if id := fmt.Sprintf("%s-%s-%d", d.cluster, cmp.Or(c.uid, c.Node), n); !d.ids[id] {
			d.ids[id] = true
			return id
		}
	}
}

// rewritten is a route with another next hop and our label; its other fields stay.
func rewritten(raw json.RawMessage, hop netip.Addr, cluster string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return raw // it was read before
	}
	fields["next_hop"] = encode(ipAddr(hop))
	fields["labels"] = encode([]Label{{model.MarkCluster, cluster}})
	return encode(fields)
}

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return raw
}

// ipAddr is an address in the API's form: {"addr": "10.1.2.3", "type": "V4"}.
func ipAddr(a netip.Addr) *models.IPAddr {
	family := "V4"
	if a.Is6() {
		family = "V6"
	}
	return &models.IPAddr{Addr: new(a.String()), Type: &family}
}
