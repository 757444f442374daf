package avisim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestRandomOperations does random writes and checks after each that the indexes, the reference graph and the address
// accounting agree with the objects.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s, c := signedIn(t, Options{Seed: int64(seed + 1)})
			if err := s.AddVIPNetwork("tiny", netip.MustParsePrefix("10.9.0.0/28"), netip.Addr{}, netip.Addr{}); err != nil {
				t.Fatal(err)
			}
			rnd := rand.New(rand.NewPCG(seed, 0))
			types := []string{"vsvip", "pool", "l4policyset", "virtualservice"}
			name := func() string { return fmt.Sprintf("n%d", rnd.IntN(12)) }
			for range 150 {
				typ, n := types[rnd.IntN(4)], name()
				vip := vsvipBody(n)
				if rnd.IntN(2) == 0 {
					vip["vip"].([]obj)[0]["ipam_network_subnet"] = obj{"network_ref": "/api/network?name=tiny"}
				}
				if rnd.IntN(4) == 0 {
					vip["vip"].([]obj)[0]["ip_address"] = obj{"addr": fmt.Sprintf("10.9.0.%d", rnd.IntN(20)), "type": "V4"}
				}
				body := map[string]obj{"vsvip": vip, "pool": poolBody(n, "10.20.0.1"), "l4policyset": policyBody(n, name()),
					"virtualservice": vsBody(n, name(), name())}[typ]
				id := "none"
				if o, ok := s.Object(typ, "admin", n); ok {
					id = str(o, "uuid")
				}
				item := "/api/" + typ + "/" + id
				var r response
				switch rnd.IntN(6) {
				case 0, 1, 2:
					r = c.do("POST", "/api/"+typ, body)
				case 3:
					r = c.do("PUT", item, body)
				case 4:
					r = c.do("PATCH", item, obj{"replace": obj{"name": name()}})
				case 5:
					r = c.do("DELETE", item, nil)
				}
				if r.status >= 500 {
					t.Fatalf("%d %s", r.status, r.raw)
				}
				consistent(t, s)
			}
		})
	}
}

// consistent compares the indexes of the store with what a walk over all objects finds.
func consistent(t *testing.T, s *Server) {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	in := map[ref]map[ref]bool{}
	type at struct {
		where ref // a VRF or a network
		addr  netip.Addr
	}
	named, holders, allocated := 0, map[at]string{}, map[at]string{}
	for typ, sh := range s.store.shelves {
		if len(sh.ordered) != len(sh.byUUID) {
			t.Fatalf("%s: %d ordered, %d by uuid", typ, len(sh.ordered), len(sh.byUUID))
		}
		seen := map[nameKey]map[ref]bool{}
		for i, o := range sh.ordered {
			if i > 0 && sh.ordered[i-1].seq >= o.seq || sh.byUUID[o.uuid] != o {
				t.Fatalf("%s %s is out of order or stale", typ, o.name)
			}
			key := nameKey{typ, o.tenant, o.name}
			if seen[key] == nil {
				seen[key] = map[ref]bool{}
			}
			if seen[key][o.cloud] {
				t.Fatalf("two %s named %s", typ, o.name)
			}
			seen[key][o.cloud] = true
			named++
			for to := range references(o.body) {
				if s.store.get(to) == nil {
					t.Fatalf("%s %s refers to %s, which is not there", typ, o.name, to)
				}
				if in[to] == nil {
					in[to] = map[ref]bool{}
				}
				in[to][o.ref] = true
			}
			if typ != "vsvip" {
				continue
			}
			for _, h := range holdings(o) {
				key := at{h.vrf, h.addr}
				if other, twice := holders[key]; twice {
					t.Fatalf("%s is held by %s and %s", h.addr, other, o.uuid)
				}
				holders[key] = o.uuid
				if h.network != (ref{}) {
					allocated[at{h.network, h.addr}] = o.uuid
				}
			}
		}
	}
	for _, objs := range s.store.names {
		named -= len(objs)
	}
	if named != 0 {
		t.Fatalf("name index off by %d", named)
	}
	if len(in) != len(s.store.in) {
		t.Fatalf("%d referred objects, index has %d", len(in), len(s.store.in))
	}
	for to, from := range in {
		if len(from) != len(s.store.in[to]) {
			t.Fatalf("%s has %d referrers, index has %d", to, len(from), len(s.store.in[to]))
		}
	}
	booked, used := map[at]string{}, map[at]string{}
	for vrf, m := range s.ipam.inVRF {
		for a, holder := range m {
			booked[at{vrf, a}] = holder
		}
	}
	for network, n := range s.ipam.networks {
		for a, holder := range n.used {
			used[at{network, a}] = holder
		}
		reachable(t, s.ipam, n)
	}
	if !maps.Equal(booked, holders) {
		t.Fatalf("booked %v, held %v", booked, holders)
	}
	if !maps.Equal(used, allocated) {
		t.Fatalf("used %v, allocated %v", used, allocated)
	}
}

// reachable checks that no address below a range's frontier got lost: it is booked, rests, or waits to be given out.
func reachable(t *testing.T, p *ipam, n *network) {
	t.Helper()
	for _, r := range n.ranges {
		if len(r.free) != len(r.inFree) {
			t.Fatalf("range %s: %d free, %d known as free", r.first, len(r.free), len(r.inFree))
		}
		for a := r.first; a.IsValid() && r.contains(a) && a.Less(r.frontier); a = a.Next() {
			_, rests := p.resting[restKey{r.network, a}]
			if _, free := r.inFree[a]; !free && !rests && !p.booked(n, a) {
				t.Fatalf("%s is lost: not held, and never given out again", a)
			}
		}
	}
}
