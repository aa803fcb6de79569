package build

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// noAllocationKey is Istio's label of ServiceEntries that, with the value "false", are to
// have no address allocated.
const noAllocationKey = "networking.istio.io/enable-autoallocate-ip"

// optsOut tells whether a ServiceEntry is to have no address allocated.
func optsOut(o *config.Object) bool {
	e, ok := o.Value.(*networkingv1.ServiceEntry)
	return ok && strings.EqualFold(e.Labels[noAllocationKey], "false")
}

// slots is how many addresses there are: those of 240.240.0.0/16 that end in 1 to 254.
const slots = 256 * 254

// allocate gives ServiceEntries without addresses some of their own, from the ranges that
// Istio takes: 240.240.0.0/16 and 2001:2::/48, which no network routes. Only proxies that
// answer DNS use them. A host keeps its address as long as no older one has a claim to it:
// the address comes from the hash of namespace and host, as where Istio's control planes
// agree without telling each other.
func allocate(services []*model.Service) {
	taken := map[uint32]bool{}
	for _, s := range services {
		for _, text := range s.Addresses {
			if slot, ok := slotOf(text); ok {
				taken[slot] = true
			}
		}
	}
	for _, s := range services {
		if !allocatable(s) || len(taken) == slots {
			continue
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(s.Namespace + "/" + s.Host)) // a hash takes everything
		slot := h.Sum32() % slots
		for taken[slot] {
			slot = (slot + 1) % slots
		}
		taken[slot] = true
		third, fourth := slot/254, slot%254+1
		s.Allocated = []string{fmt.Sprintf("240.240.%d.%d", third, fourth), fmt.Sprintf("2001:2::f0f0:%x", third<<8|fourth)}
	}
}

// allocatable tells whether a service is to have an address. Where the client chooses the
// address there is nothing to lead back to it, and a wildcard has none unless the proxy
// resolves what is below it.
func allocatable(s *model.Service) bool {
	return !s.Kubernetes && !s.NoAllocation && len(s.Addresses) == 0 && s.Resolution != model.ByClient &&
		(!model.IsWildcard(s.Host) || s.Resolution == model.ByName)
}

// slotOf is where an address that somebody wrote down stands in the range, if it does.
func slotOf(text string) (uint32, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	if b[0] != 240 || b[1] != 240 || b[3] == 0 || b[3] == 255 {
		return 0, false
	}
	return uint32(b[2])*254 + uint32(b[3]) - 1, true
}
