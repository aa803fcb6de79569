package compile

import (
	"fmt"
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// Where a filter looks may be said the other way round.
func TestPortsOfInspectors(t *testing.T) {
	ports := func(start, end int32) *listenerpb.ListenerFilterChainMatchPredicate {
		return &listenerpb.ListenerFilterChainMatchPredicate{Rule: &listenerpb.ListenerFilterChainMatchPredicate_DestinationPortRange{DestinationPortRange: &typepb.Int32Range{Start: start, End: end}}}
	}
	not := func(p *listenerpb.ListenerFilterChainMatchPredicate) *listenerpb.ListenerFilterChainMatchPredicate {
		return &listenerpb.ListenerFilterChainMatchPredicate{Rule: &listenerpb.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: p}}
	}
	or := func(list ...*listenerpb.ListenerFilterChainMatchPredicate) *listenerpb.ListenerFilterChainMatchPredicate {
		return &listenerpb.ListenerFilterChainMatchPredicate{Rule: &listenerpb.ListenerFilterChainMatchPredicate_OrMatch{OrMatch: &listenerpb.ListenerFilterChainMatchPredicate_MatchSet{Rules: list}}}
	}
	for _, c := range []struct {
		rule *listenerpb.ListenerFilterChainMatchPredicate
		want string
	}{
		{nil, "[]"},
		{ports(80, 81), "[{80 81}]"},
		{not(ports(80, 81)), "[{0 80} {81 65536}]"},
		{not(or(ports(443, 444), ports(0, 81), ports(65535, 65536))), "[{81 443} {444 65535}]"},
		{not(not(ports(80, 81))), "[{80 81}]"},
		{not(nil), "[{0 65536}]"},
	} {
		if got := fmt.Sprint(disabledPorts(place{}, c.rule)); got != c.want {
			t.Errorf("%v: %s, want %s", c.rule, got, c.want)
		}
	}
}
