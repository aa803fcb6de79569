package build

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

func TestAllocation(t *testing.T) {
	entry := func(host string, change func(*model.Service)) *model.Service {
		s := &model.Service{Host: host, Namespace: "default", Resolution: model.ByDNS}
		if change != nil {
			change(s)
		}
		return s
	}
	mesh := func() []*model.Service {
		return []*model.Service{
			entry("a.example.com", nil), entry("b.example.com", nil),
			entry("static.example.com", func(s *model.Service) { s.Resolution = model.ByEndpoints }),
			entry("*.named.example.com", func(s *model.Service) { s.Resolution = model.ByName }),
			entry("*.example.com", func(s *model.Service) { s.Resolution = model.ByEndpoints }),
			entry("none.example.com", func(s *model.Service) { s.Resolution = model.ByClient }),
			entry("kubernetes", func(s *model.Service) { s.Kubernetes = true }),
			entry("written.example.com", func(s *model.Service) { s.Addresses = []string{"198.51.100.1"} }),
			entry("out.example.com", func(s *model.Service) { s.NoAllocation = true }),
		}
	}
	services := mesh()
	allocate(services)
	seen := map[string]bool{}
	for i, s := range services {
		if (len(s.Allocated) == 2) != (i < 4) {
			t.Errorf("%s has %v", s.Host, s.Allocated)
		}
		for j, prefix := range []string{"240.240.0.0/16", "2001:2::/48"} {
			if len(s.Allocated) == 2 && (seen[s.Allocated[j]] || !netip.MustParsePrefix(prefix).Contains(netip.MustParseAddr(s.Allocated[j]))) {
				t.Errorf("%s has %v", s.Host, s.Allocated)
			}
		}
		for _, a := range s.Allocated {
			seen[a] = true
		}
	}
	// A host keeps its address, whoever else comes, but one that somebody has written down is his.
	alone := mesh()[1:2]
	allocate(alone)
	if alone[0].Allocated[0] != services[1].Allocated[0] {
		t.Errorf("%v alone, %v with others", alone[0].Allocated, services[1].Allocated)
	}
	taken := append(mesh()[1:2], entry("squatter", func(s *model.Service) { s.Addresses = alone[0].Allocated[:1] }))
	allocate(taken)
	if taken[0].Allocated[0] == alone[0].Allocated[0] {
		t.Errorf("%v is somebody else's", taken[0].Allocated)
	}
}

// There are fewer addresses than there may be hosts; all of them are used, each once.
func TestAllAddressesAllocated(t *testing.T) {
	var services []*model.Service
	for i := range slots + 1 {
		services = append(services, &model.Service{Host: fmt.Sprintf("h%d.example.com", i), Resolution: model.ByDNS})
	}
	allocate(services)
	seen := map[string]bool{}
	for _, s := range services {
		if s.Allocated == nil {
			continue
		}
		a := netip.MustParseAddr(s.Allocated[0]).As4()
		if a[3] == 0 || a[3] == 255 || seen[s.Allocated[0]] || seen[s.Allocated[1]] {
			t.Fatalf("%s has %v", s.Host, s.Allocated)
		}
		seen[s.Allocated[0]], seen[s.Allocated[1]] = true, true
	}
	if len(seen) != 2*slots || services[slots].Allocated != nil {
		t.Errorf("%d addresses", len(seen))
	}
}
