package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// TestScenariosHaveNoFalseAlarms: what is found in the scenarios that ship is what they
// are about.
func TestScenariosHaveNoFalseAlarms(t *testing.T) {
	t.Chdir("..")
	if _, err := os.Stat("scenarios"); err != nil {
		t.Fatal(err)
	}
	findings, err := analyzePaths(nil, []string{"scenarios"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		if f.Severity != config.Info {
			got = append(got, fmt.Sprintf("%s %s %s", f.Position.File, f.Severity, f.Code))
		}
	}
	want := []string{
		"bookinfo/manifests/virtual-service-ratings-delay-2s.yaml warning WT0301", // the tutorial's spelling
		"scenarios/bookinfo/missing.yaml warning WT0401",
		"scenarios/bookinfo/missing.yaml warning WT0402",
		"scenarios/canary/manifests/virtual-service-90-10.yaml warning WT0409", // the second version could not be applied
		"scenarios/edge/dns.yaml warning WT0457",                               // so it is for sidecars that answer no DNS
		"scenarios/edge/dns.yaml warning WT0457",
		"scenarios/edge/dns.yaml warning WT0457",
		"scenarios/edge/dns.yaml warning WT0457",
		"scenarios/edge/gateway-api.yaml warning WT0403", // an HTTPRoute takes the place of a VirtualService
		"scenarios/edge/gateway-api.yaml warning WT0403",
		"scenarios/edge/gateway-api.yaml warning WT0430",
		"scenarios/edge/kubernetes-ingress.yaml warning WT0435", // another controller's Ingress
		"scenarios/httpbin/manifests/circuit-breaker-errors.yaml warning WT0301",
		"scenarios/questions/03-gateways-and-source-labels.yaml warning WT0217", // what the question is about, as all that follow
		"scenarios/questions/03-gateways-and-source-labels.yaml warning WT0217",
		"scenarios/questions/04-routes-behind-a-catch-all.yaml warning WT0211",
		"scenarios/questions/05-hosts-without-a-service.yaml warning WT0401",
		"scenarios/questions/16-two-rules-of-one-host.yaml warning WT0413",
		"scenarios/questions/17-ports-without-a-protocol.yaml warning WT0457",
		"scenarios/questions/17-ports-without-a-protocol.yaml warning WT0457",
		"scenarios/questions/17-ports-without-a-protocol.yaml warning WT0458",
		"scenarios/questions/18-hosts-that-nobody-knows.yaml warning WT0457",
		"scenarios/questions/20-routes-of-the-gateway-api.yaml warning WT0211",
		"scenarios/questions/20-routes-of-the-gateway-api.yaml warning WT0401",
		"scenarios/questions/20-routes-of-the-gateway-api.yaml warning WT0401",
		"scenarios/questions/20-routes-of-the-gateway-api.yaml warning WT0431",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s", strings.Join(got, "\n"))
	}
}
