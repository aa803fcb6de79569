package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// tutorial is what a reader of one of five tutorials has applied at one time, in the files
// of this repository that have it as it is written there, and what there is to say about it.
type tutorial struct {
	name  string
	files []string
	// want are "file:line:col severity: message"; everything else would be a false alarm.
	want []string
}

const twice = "stands twice"

// tutorials are all YAML documents of the five, what istiod and the API server refuse
// included: their reasons are ours.
var tutorials = []tutorial{
	{"a gateway and a host's routes", []string{"scenarios/edge/manifests/my-gateway.yaml", "scenarios/edge/manifests/service-b-rules.yaml", "scenarios/edge/manifests/service-b.yaml"}, nil},
	{"a host outside", []string{"scenarios/edge/manifests/baidu.yaml"}, nil},
	{"the bookstore behind port 8080, all of version 1", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/bookinfo-gateway-8080.yaml",
		"bookinfo/manifests/destination-rule-all.yaml", "bookinfo/manifests/virtual-service-all-v1.yaml"}, nil},
	{"half of the reviews, and a delay by its old name", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/destination-rule-all.yaml",
		"bookinfo/manifests/virtual-service-reviews-50-v3.yaml", "bookinfo/manifests/virtual-service-ratings-delay-2s.yaml"},
		[]string{"bookinfo/manifests/virtual-service-ratings-delay-2s.yaml:11:9 warning: spec.http[0].fault.delay.percent is deprecated"}},
	{"a timeout of half a second", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/destination-rule-all.yaml", "bookinfo/manifests/virtual-service-reviews-timeout.yaml"}, nil},
	{"circuit breaking by the old name of errors", []string{"scenarios/httpbin/manifests/httpbin.yaml", "scenarios/httpbin/manifests/fortio.yaml", "scenarios/httpbin/manifests/circuit-breaker-errors.yaml"},
		[]string{"scenarios/httpbin/manifests/circuit-breaker-errors.yaml:15:7 warning: spec.trafficPolicy.outlierDetection.consecutiveErrors is deprecated"}},
	{"traces for SkyWalking", []string{"cli/testdata/tutorials/istio-operator-skywalking.yaml"}, []string{
		"cli/testdata/tutorials/istio-operator-skywalking.yaml:2:7 warning: only spec.meshConfig of an IstioOperator is used",
		`cli/testdata/tutorials/istio-operator-skywalking.yaml:6:7 warning: meshConfig.defaultProviders.tracing: provider "skywalking": no service is called "tracing.istio-system.svc.cluster.local"`}},

	{"two versions of reviews, one for jason", []string{"bookinfo/manifests/bookinfo.yaml",
		"cli/testdata/tutorials/reviews-jason.yaml", "scenarios/resilience/manifests/reviews-h2.yaml"}, nil},
	{"two replicas of each, over those of the bookstore", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/reviews-two-replicas.yaml",
		"bookinfo/manifests/virtual-service-reviews-99-1.yaml", "scenarios/resilience/manifests/reviews-h2.yaml", "scenarios/canary/manifests/flagger.yaml"}, []string{
		"bookinfo/manifests/reviews-two-replicas.yaml:2:7 warning: Deployment default/reviews-v1 " + twice,
		"bookinfo/manifests/reviews-two-replicas.yaml:24:7 warning: Deployment default/reviews-v2 " + twice,
		"bookinfo/manifests/reviews-two-replicas.yaml:46:7 warning: Service default/reviews " + twice}},
	{"ejections, a delay, a small scope, a mesh in STRICT mode", []string{"bookinfo/manifests/bookinfo.yaml", "scenarios/httpbin/manifests/circuit-breaker-reviews.yaml",
		"bookinfo/manifests/virtual-service-ratings-delay-10-percent.yaml", "scenarios/scope/manifests/sidecar.yaml", "cli/testdata/tutorials/mesh-wide.yaml"}, nil},
	{"an application that waits for its sidecar", []string{"cli/testdata/tutorials/hold-application.yaml"}, nil},
	{"resources of proxies", []string{"cli/testdata/tutorials/istio-operator-resources.yaml"},
		[]string{"cli/testdata/tutorials/istio-operator-resources.yaml:2:7 warning: only spec.meshConfig of an IstioOperator is used; spec.values has no effect"}},

	{"the bookstore by its gateway, jason's reviews", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/bookinfo-gateway.yaml",
		"bookinfo/manifests/destination-rule-reviews.yaml", "bookinfo/manifests/virtual-service-reviews-jason-v2-v3.yaml"}, nil},
	{"all reviews of version 3", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/destination-rule-reviews.yaml", "bookinfo/manifests/virtual-service-reviews-v3.yaml"}, nil},
	{"a tenth of the reviews", []string{"bookinfo/manifests/bookinfo.yaml", "bookinfo/manifests/destination-rule-reviews.yaml", "bookinfo/manifests/virtual-service-reviews-90-10.yaml"}, nil},
	{"two versions of nginx", []string{"scenarios/canary/manifests/app-v1.yaml", "scenarios/canary/manifests/app-v2.yaml", "scenarios/canary/manifests/service.yaml",
		"scenarios/canary/manifests/gateway.yaml", "scenarios/canary/manifests/virtual-service-90-10.yaml"}, nil},
	{"both versions of one name", []string{"scenarios/canary/manifests/app-v1.yaml", "scenarios/canary/manifests/app-v2-as-written.yaml", "scenarios/canary/manifests/service.yaml",
		"scenarios/canary/manifests/gateway.yaml", "scenarios/canary/manifests/virtual-service-90-10.yaml"}, []string{
		"scenarios/canary/manifests/app-v2-as-written.yaml:2:7 warning: Deployment default/appv1 " + twice,
		`scenarios/canary/manifests/virtual-service-90-10.yaml:28:5 warning: no endpoint of "canary.default.svc.cluster.local" has the labels of subset "v1"`}},
	{"circuit breaking by errors of gateways", []string{"scenarios/httpbin/manifests/httpbin-istio-sample.yaml", "scenarios/httpbin/manifests/fortio-istio-sample.yaml",
		"scenarios/httpbin/manifests/circuit-breaker-gateway-errors.yaml"}, nil},
	{"retries", []string{"scenarios/resilience/manifests/nginx.yaml", "scenarios/resilience/manifests/tomcat.yaml", "scenarios/resilience/manifests/retries.yaml"}, nil},

	// What kubectl and the API server refuse.
	{"dots for what is left out behind metadata", []string{"cli/testdata/tutorials/reviews-jason-dots.yaml"}, []string{
		"cli/testdata/tutorials/reviews-jason-dots.yaml:1:1 error: spec: one of http, tls and tcp is required",
		"cli/testdata/tutorials/reviews-jason-dots.yaml:6:1 error: not valid YAML: \"...\" ended the document"}},
	{"dots for a spec", []string{"cli/testdata/tutorials/reviews-dots.yaml"}, []string{
		`cli/testdata/tutorials/reviews-dots.yaml:9:3 error: spec: expected a mapping, got the string "..."`,
		`cli/testdata/tutorials/reviews-dots.yaml:19:3 error: spec: expected a mapping, got the string "..."`,
		`cli/testdata/tutorials/reviews-dots.yaml:29:3 error: spec: expected a mapping, got the string "..."`}},
	{"a route without a name", []string{"cli/testdata/tutorials/upload-timeout.yaml"}, []string{"cli/testdata/tutorials/upload-timeout.yaml:1:1 error: metadata.name: a name is required"}},
	{"a rule without a host", []string{"cli/testdata/tutorials/idle-timeout.yaml"}, []string{`cli/testdata/tutorials/idle-timeout.yaml:4:3 error: spec: "host" is required in DestinationRule`}},
	{"apiversion, and three stars for an image", []string{"scenarios/weather/manifests/forecast-as-written.yaml"}, []string{
		`scenarios/weather/manifests/forecast-as-written.yaml:1:1 error: "apiVersion" is required`,
		"scenarios/weather/manifests/forecast-as-written.yaml:31:11 error: not valid YAML",
		"scenarios/weather/manifests/forecast-as-written.yaml:53:11 error: not valid YAML"}},
	{"a destination that is no element of its route", []string{"scenarios/resilience/manifests/nginx.yaml", "scenarios/resilience/manifests/tomcat.yaml", "scenarios/resilience/manifests/timeout-as-written.yaml"},
		[]string{"scenarios/resilience/manifests/timeout-as-written.yaml:11:5 error: not valid YAML"}},
}

// TestTutorialsHaveNoFalseAlarms: what the tutorials write is taken as they write it, or
// refused for the reason for which a cluster refuses it.
func TestTutorialsHaveNoFalseAlarms(t *testing.T) {
	t.Chdir("..")
	used := map[string]bool{}
	for _, c := range tutorials {
		t.Run(c.name, func(t *testing.T) {
			findings, err := analyzePaths(nil, c.files)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				if f.Severity != config.Info {
					got = append(got, fmt.Sprintf("%s %s: %s", f.Position, f.Severity, f.Message))
				}
			}
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
		for _, f := range c.files {
			used[f] = true
		}
	}
	files, err := filepath.Glob("cli/testdata/tutorials/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if !used[filepath.ToSlash(f)] {
			t.Errorf("nobody looks at %s", f)
		}
	}
}
