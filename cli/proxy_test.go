package cli

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
)

func TestProxiesThatCameBackAreSynced(t *testing.T) {
	const cds = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	for _, c := range []struct {
		sent, acked, nack string
		synced            bool
		want              string
	}{
		{"a", "a", "", false, "SYNCED"}, {"b", "a", "", false, "STALE"}, {"b", "a", "no", false, "REJECTED"},
		{"", "", "", false, "STALE"}, {"", "", "", true, "SYNCED"},
	} {
		p := &serve.ProxyStatus{Synced: c.synced, Types: []serve.TypeStatus{{Type: cds, Sent: c.sent, Acked: c.acked, Nack: c.nack}}}
		if got, _ := typeState(p, "cds"); got != c.want {
			t.Errorf("%+v is %s", c, got)
		}
	}
}
