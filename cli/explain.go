package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	files   []string
	from    string
	method  string
	headers []string
	output  string
}

func newExplainCommand(s Streams) *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain -f FILE… --from WORKLOAD URL | explain RUN#ID",
		Short: "Tell the way of one request, without sending it; or of one that a run has sent",
		Long: "Tell the way of one request through the mesh that manifests describe, without sending it: which filter chain, which route and\n" +
			"why none before it, where to, with what policy, and the line of YAML behind each decision. It is worked out by the proxy's own\n" +
			"code from the configuration that the control plane would send.\n\n" +
			"--from is a workload, NAMESPACE/WORKLOAD, a Pod, ingress (outside, through the gateway) or outside (straight at the Service).\n\n" +
			"RUN#ID is a request that windtunnel run --out RUN has sent: what each proxy on its way logged, what that failed, and the way of a\n" +
			"request like it. ID is the beginning of its x-request-id, or SCENARIO/ID; the report has those of some calls of each kind.",
		Example: "  windtunnel explain -f bookinfo/manifests/bookinfo.yaml,bookinfo/manifests/destination-rule-all.yaml,bookinfo/manifests/virtual-service-reviews-test-v2.yaml \\\n" +
			"    --from productpage-v1 -H 'end-user: jason' http://reviews:9080/reviews/0\n" +
			"  windtunnel explain -f bookinfo/manifests/bookinfo.yaml -f bookinfo/manifests/bookinfo-gateway.yaml --from ingress http://bookinfo.example/productpage -o json\n" +
			"  windtunnel explain 'out/demo#reviews-timeout/5b3f0c2e'",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &exit{codeUsage, errors.New("explain needs one URL, like http://reviews:9080/reviews/0, or a request of a run, like out/demo#5b3f0c2e")}
			}
			if o.output != "table" && o.output != "json" {
				return &exit{codeUsage, fmt.Errorf("-o %s: expected table or json", o.output)}
			}
			if ofRun(args[0]) {
				return explainCall(s, o, args[0])
			}
			return explainRequest(s, o, args[0])
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "manifests: a `file`, a folder, or - for stdin; may be repeated")
	f.StringVar(&o.from, "from", "", "`workload` that sends the request, ingress or outside")
	f.StringVarP(&o.method, "request", "X", "GET", "`method`")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "header `'name: value'`; Host sets the authority")
	f.StringVarP(&o.output, "output", "o", "table", "`format`: table or json")
	return c
}

func explainRequest(s Streams, o explainOptions, url string) error {
	if o.from == "" {
		return &exit{codeUsage, errors.New("--from WORKLOAD is needed (or ingress, outside)")}
	}
	q := &spec.Explain{From: o.from, URL: url, Method: o.method, Headers: map[string]string{}}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return &exit{codeUsage, fmt.Errorf("-H %q: expected 'name: value'", h)}
		}
		q.Headers[name] = strings.TrimSpace(value)
	}
	mesh, err := offline(s, o.files)
	if err != nil {
		return err
	}
	way, err := mesh.Explain(q)
	if err != nil {
		return &exit{codeUsage, err}
	}
	if o.output == "table" {
		return way.Print(s.Out)
	}
	e := json.NewEncoder(s.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(way)
}
