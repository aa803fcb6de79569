package resource

import (
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

func cluster(t *testing.T, endpoints string) *Resource {
	t.Helper()
	r, err := New("c", &clusterpb.Cluster{Name: "c", ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
		EdsClusterConfig: &clusterpb.Cluster_EdsClusterConfig{ServiceName: endpoints,
			EdsConfig: &corepb.ConfigSource{ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: new(corepb.AggregatedConfigSource)}}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is known of a resource is taken over by an equal one only.
func TestLearn(t *testing.T) {
	first, same, other := cluster(t, "e"), cluster(t, "e"), cluster(t, "f")
	same.Learn(first) // who knows nothing teaches nothing
	for _, r := range []*Resource{first, same, other} {
		want := "e"
		if r == other {
			want = "f"
		}
		r.Learn(first)
		refs, err := r.References(Cluster)
		if err != nil || len(refs) != 1 || refs[0] != (Reference{Endpoint, want}) {
			t.Errorf("%v, %v, want the endpoints %s", refs, err, want)
		}
	}
	a, _ := first.References(Cluster)
	if b, _ := same.References(Cluster); &a[0] != &b[0] {
		t.Error("what was known was found again")
	}
}
