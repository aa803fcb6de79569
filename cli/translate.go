package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/nds"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// discoveries are the types by the names of their services.
var discoveries = []struct {
	name string
	typ  resource.Type
}{{"lds", resource.Listener}, {"rds", resource.Route}, {"cds", resource.Cluster}, {"eds", resource.Endpoint}, {"sds", resource.Secret}, {"nds", resource.NameTable}}

func newTranslateCommand(s Streams) *cobra.Command {
	var files []string
	var proxy, only string
	c := &cobra.Command{
		Use:   "translate -f FILE… --proxy WORKLOAD",
		Short: "Print the xDS that the control plane would send to a proxy",
		Long: "Print what meshd would send to the proxy of a workload, as protojson: an object of the node's id and, by discovery service,\n" +
			"the list of resources. Secrets are empty where the proxy's own agent makes its certificate.",
		Example: "  windtunnel translate -f bookinfo/manifests/bookinfo.yaml --proxy productpage-v1 --type rds",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var names []string
			for _, d := range discoveries {
				names = append(names, d.name)
			}
			if only != "" && !slices.Contains(names, only) {
				return &exit{codeUsage, fmt.Errorf("--type %s: expected lds, rds, cds, eds, sds or nds", only)}
			}
			if proxy == "" {
				return &exit{codeUsage, errors.New("--proxy WORKLOAD is needed")}
			}
			mesh, err := offline(s, files)
			if err != nil {
				return err
			}
			node, set, err := mesh.Resources(proxy)
			if err != nil {
				return &exit{codeUsage, err}
			}
			return printResources(s, node, set, only)
		},
	}
	c.Flags().StringSliceVarP(&files, "filename", "f", nil, "manifests: a `file`, a folder, or - for stdin; may be repeated")
	c.Flags().StringVar(&proxy, "proxy", "", "`workload` whose sidecar it is; ingress is the gateway")
	c.Flags().StringVar(&only, "type", "", "only this `service`: lds, rds, cds, eds, sds, or nds, the names that the sidecar answers DNS for")
	return c
}

func printResources(s Streams, node string, set resource.Set, only string) error {
	object := struct {
		Node string                       `json:"node"`
		XDS  map[string][]json.RawMessage `json:"resources"`
	}{node, map[string][]json.RawMessage{}}
	for _, d := range discoveries {
		if only != "" && d.name != only {
			continue
		}
		object.XDS[d.name] = []json.RawMessage{}
		for _, name := range set.Names(d.typ) {
			text, err := asJSON(d.typ, set[d.typ][name])
			if err != nil {
				return err
			}
			object.XDS[d.name] = append(object.XDS[d.name], text)
		}
	}
	e := json.NewEncoder(s.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(object)
}

// asJSON is a resource as protojson; of the name table, which is no message here, the hosts.
func asJSON(t resource.Type, r *resource.Resource) ([]byte, error) {
	if t == resource.NameTable {
		entries, err := nds.Read(r)
		if err != nil {
			return nil, err
		}
		return json.Marshal(entries)
	}
	m, err := r.Unmarshal(t)
	if err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	// protojson varies its spaces from build to build.
	var plain bytes.Buffer
	err = json.Compact(&plain, text)
	return plain.Bytes(), err
}
