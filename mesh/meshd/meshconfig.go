package meshd

import (
	"context"

	meshpb "istio.io/api/mesh/v1alpha1"
)

func (m *Meshd) meshConfig() *meshpb.MeshConfig {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mesh
}

// followMeshConfig builds anew with each mesh configuration that comes, until the
// context ends.
func (m *Meshd) followMeshConfig(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-m.o.MeshConfigs:
			m.mu.Lock()
			m.mesh = c
			m.mu.Unlock()
			m.build(ctx, m.o.Source.View())
		}
	}
}
