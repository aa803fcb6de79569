package translate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// Where a client in eu/eu-1 goes: "zone priority×weight" per group, as placed.
func TestEndpointsArePlacedByTheClientsLocality(t *testing.T) {
	detect := &model.Outlier{}
	for _, c := range []struct {
		name   string
		policy model.TrafficPolicy
		wish   model.Distribution
		want   string
	}{
		{"nothing without outlier detection", model.TrafficPolicy{}, model.Anywhere, "asia-1 0×1, eu-1 0×2, eu-2 0×1, us-1 0×1"},
		{"by distance", model.TrafficPolicy{Outlier: detect}, model.Anywhere, "asia-1 2×1, eu-1 0×2, eu-2 1×1, us-1 2×1"},
		{"switched off", model.TrafficPolicy{Outlier: detect, Balancer: &model.Balancer{LocalityOff: true}}, model.Anywhere, "asia-1 0×1, eu-1 0×2, eu-2 0×1, us-1 0×1"},
		{"a region first", policy(detect, &model.LocalityBalancing{Failover: []model.Failover{{From: "eu", To: "us"}}}), model.Anywhere,
			"asia-1 3×1, eu-1 0×2, eu-2 1×1, us-1 2×1"},
		{"failover for another region", policy(detect, &model.LocalityBalancing{Failover: []model.Failover{{From: "us", To: "asia"}}}), model.Anywhere,
			"asia-1 2×1, eu-1 0×2, eu-2 1×1, us-1 2×1"},
		{"distributed", policy(nil, &model.LocalityBalancing{Distribute: []model.Distribute{{From: "eu/*", To: []model.LocalityShare{{Locality: "eu/*", Weight: 90}, {Locality: "us", Weight: 10}}}}}),
			model.Anywhere, "asia-1 0×1 empty, eu-1 0×60, eu-2 0×30, us-1 0×10"},
		{"by labels splits a locality", policy(detect, &model.LocalityBalancing{Priority: []string{"version", model.LabelZone}}), model.Anywhere,
			"asia-1 2×1, eu-1 0×1, eu-1 2×1, eu-2 2×1, us-1 1×1"},
		{"as the service wishes", model.TrafficPolicy{}, model.PreferSameZone, "asia-1 2×1, eu-1 0×2, eu-2 1×1, us-1 2×1"},
		{"a policy is above the wish", policy(nil, &model.LocalityBalancing{}), model.PreferSameZone, "asia-1 0×1, eu-1 0×2, eu-2 0×1, us-1 0×1"},
	} {
		p := &proxy{Translator: &Translator{mesh: &model.Mesh{Settings: model.Settings{Locality: &model.LocalityBalancing{}}}},
			node: model.Node{Labels: map[string]string{"version": "v1"}, Locality: model.Locality{Region: "eu", Zone: "eu-1"}}}
		var got []string
		for _, g := range p.place(zones(), &model.Service{Distribution: c.wish}, &c.policy) {
			s := fmt.Sprintf("%s %d×%d", g.at.Zone, g.priority, g.weight)
			if len(g.members) == 0 {
				s += " empty"
			}
			got = append(got, s)
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, s, c.want)
		}
	}
}

func policy(o *model.Outlier, l *model.LocalityBalancing) model.TrafficPolicy {
	return model.TrafficPolicy{Outlier: o, Balancer: &model.Balancer{Locality: l}}
}

// zones are two endpoints at home, v1 and v2, and one in each of three other zones, of
// which that of us-1 is v1.
func zones() []*localGroup {
	group := func(region, zone string, versions ...string) *localGroup {
		g := &localGroup{at: model.Locality{Region: region, Zone: zone}, weight: uint32(len(versions))}
		for _, v := range versions {
			g.members = append(g.members, &model.Endpoint{Labels: map[string]string{"version": v}, Locality: g.at, Weight: 1})
		}
		return g
	}
	return []*localGroup{group("asia", "asia-1", "v2"), group("eu", "eu-1", "v1", "v2"), group("eu", "eu-2", "v2"), group("us", "us-1", "v1")}
}
