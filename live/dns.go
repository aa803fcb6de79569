package live

import (
	"encoding/json"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// namesOf is what a Pod's proxy answers its application's DNS queries with.
func (v *surroundings) namesOf(p *pod) (*nametable.Table, error) {
	var names []snapshot.Name
	if err := v.world.admin(v.ctx, p, "/names", func(body []byte) error { return json.Unmarshal(body, &names) }); err != nil {
		return nil, err
	}
	const domain = "cluster.local"
	return nametable.New(names, nametable.Pod{Namespace: p.Namespace, Domain: "svc." + domain,
		Search: []string{p.Namespace + ".svc." + domain, "svc." + domain, domain}}), nil
}
