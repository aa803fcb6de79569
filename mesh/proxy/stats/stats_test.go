package stats

import (
	"strings"
	"testing"
)

func TestEnvoysNamesInBothFormats(t *testing.T) {
	var r Registry
	cluster := r.Cluster("outbound|9080||reviews.default.svc.cluster.local")
	cluster.Counter("upstream_rq_retry").Add(2)
	cluster.Gauge("upstream_cx_active").Set(3)
	codes := cluster.Codes("upstream_rq")
	codes.Inc(503)
	codes.Inc(503)
	codes.Inc(0)
	cluster.Histogram("upstream_rq_time").Record(7)
	var text, prom strings.Builder
	if err := r.WriteText(&text, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.WritePrometheus(&prom); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"cluster.outbound|9080||reviews.default.svc.cluster.local.upstream_rq_5xx: 2\n",
		".upstream_rq_503: 2\n", ".upstream_cx_active: 3\n", ".upstream_rq_retry: 2\n", ".upstream_rq_time: P0(5)",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("/stats lacks %q:\n%s", want, &text)
		}
	}
	const name = `envoy_cluster_name="outbound|9080||reviews.default.svc.cluster.local"`
	for _, want := range []string{
		"# TYPE envoy_cluster_upstream_rq_retry counter\nenvoy_cluster_upstream_rq_retry{" + name + "} 2\n",
		`envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",` + name + "} 2\n",
		`envoy_cluster_upstream_rq{envoy_response_code="503",` + name + "} 2\n",
		`envoy_cluster_upstream_rq_time_bucket{` + name + `,le="10"} 1` + "\n",
		`envoy_cluster_upstream_rq_time_count{` + name + "} 1\n",
	} {
		if !strings.Contains(prom.String(), want) {
			t.Errorf("Prometheus output lacks %q:\n%s", want, &prom)
		}
	}
}

func TestIstioSeriesAreFoundAgain(t *testing.T) {
	var r Registry
	i := NewIstio(&r)
	call := Call{Reporter: "source", Source: Workload{Name: "sleep"}, Code: 200, Protocol: "http", Flags: "-"}
	i.Record(call, 12, 0, 100)
	i.Record(call, 13, 0, 100)
	var prom strings.Builder
	if err := r.WritePrometheus(&prom); err != nil {
		t.Fatal(err)
	}
	out := prom.String()
	if strings.Count(out, "istio_requests_total{") != 1 || !strings.Contains(out, `response_flags="-"`) ||
		!strings.Contains(out, `source_workload="sleep"`) || !strings.Contains(out, `destination_app="unknown"`) {
		t.Fatalf("output is\n%s", out)
	}
	if n := testing.AllocsPerRun(100, func() { i.Record(call, 1, 1, 1) }); n > 0 {
		t.Errorf("recording a known series allocates %v times", n)
	}
}
