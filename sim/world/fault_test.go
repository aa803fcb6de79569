package world

import (
	"net/netip"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
)

func is(name string) func(place) bool { return func(p place) bool { return p.workload == name } }

var (
	client = place{pod: "client-1", namespace: "default", workload: "client"}
	server = place{pod: "server-1", namespace: "default", workload: "server"}
	other  = place{pod: "other-1", namespace: "default", workload: "other"}
)

func TestBetweenIsBothWaysAndNobodyElse(t *testing.T) {
	cut := between(is("client"), is("server"), simnet.Verdict{Action: simnet.Drop})
	for _, c := range []struct {
		from, to place
		want     simnet.Action
	}{{client, server, simnet.Drop}, {server, client, simnet.Drop}, {client, other, simnet.Pass}, {other, server, simnet.Pass}, {client, client, simnet.Pass}} {
		if got := cut(c.from, c.to, simnet.Segment{}); got.Action != c.want {
			t.Errorf("%s to %s: %v", c.from.pod, c.to.pod, got)
		}
	}
}

func TestPausedSaysNothingButAcceptsConnections(t *testing.T) {
	stopped := paused(is("server"))
	for _, c := range []struct {
		from place
		kind simnet.Kind
		want simnet.Action
	}{{server, simnet.Data, simnet.Drop}, {server, simnet.SYNACK, simnet.Pass}, {server, simnet.FIN, simnet.Pass}, {client, simnet.Data, simnet.Pass}} {
		if got := stopped(c.from, server, simnet.Segment{Kind: c.kind}); got.Action != c.want {
			t.Errorf("%s of %s: %v", c.kind, c.from.pod, got)
		}
	}
}

func TestSlowDrawsByConnection(t *testing.T) {
	w := &World{o: options{Seed: seed.New(1)}, faults: 1}
	fault := &spec.Slow{Latency: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.5}
	segment := func(link string) simnet.Segment {
		return simnet.Segment{Kind: simnet.Data, Link: link, Source: netip.MustParseAddrPort("10.0.0.1:1000")}
	}
	draw := func(disturbed bool) (list []simnet.Verdict) {
		slow := w.slowed(is("client"), is("server"), fault)
		for range 50 {
			list = append(list, slow(client, server, segment("a>b#1")))
			if disturbed {
				slow(client, server, segment("a>b#2"))
			}
		}
		if back := slow(server, client, segment("a>b#1")); back != (simnet.Verdict{}) {
			t.Errorf("the way back: %v", back)
		}
		return list
	}
	alone, among := draw(false), draw(true)
	lost := 0
	for i, v := range alone {
		if v != among[i] {
			t.Fatalf("segment %d is %v alone, %v where another connection sends, too", i, v, among[i])
		}
		if v.Delay < fault.Latency || v.Delay >= fault.Latency+fault.Jitter {
			t.Errorf("segment %d: delay %v", i, v.Delay)
		}
		if v.Action == simnet.Drop {
			lost++
		}
	}
	if lost < 15 || lost > 35 {
		t.Errorf("%d of 50 segments are lost", lost)
	}
}

func TestSlowVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		fault spec.Slow
		want  simnet.Verdict
	}{
		"latency alone": {spec.Slow{Latency: time.Second}, simnet.Verdict{Delay: time.Second}},
		"bandwidth":     {spec.Slow{Bandwidth: 1}, simnet.Verdict{}}, // the line's own
		"all is lost":   {spec.Slow{Loss: 1}, simnet.Verdict{Action: simnet.Drop}},
	} {
		if got := slowVerdict(seed.New(1), 0, &c.fault); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
