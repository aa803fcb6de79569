package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/dump"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
)

// monitoringPort is where a control plane answers debug requests.
const monitoringPort = 15014

func newProxyConfigCommand(s Streams) *cobra.Command {
	var cluster clusterFlags
	var namespace, admin, output string
	c := &cobra.Command{
		Use:   "proxy-config " + strings.Join(dump.Parts, "|") + "|all POD[.NAMESPACE]",
		Short: "Print what a running proxy has",
		Long:  "Print what a running proxy has, from its admin port: of a Pod, through the API server, or of any process, with --admin.",
		Example: "  windtunnel proxy-config routes reviews-v1-57568cfc6-p4pxg.default\n" +
			"  windtunnel proxy-config clusters --admin 127.0.0.1:15000 -o json",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			parts := []string{args[0]}
			switch {
			case args[0] == "all":
				parts = dump.Parts
			case !slices.Contains(dump.Parts, args[0]):
				return &exit{codeUsage, fmt.Errorf("%s: expected one of %s, all", args[0], strings.Join(dump.Parts, ", "))}
			case output != "table" && output != "json":
				return &exit{codeUsage, fmt.Errorf("-o %s: expected table or json", output)}
			}
			if (len(args) == 2) == (admin != "") {
				return &exit{codeUsage, errors.New("one of POD and --admin is needed")}
			}
			text, err := configDump(c.Context(), &cluster, admin, namespace, args[1:])
			if err != nil {
				return inCluster(c.Context(), err)
			}
			d, err := dump.Read(text)
			if err != nil {
				return &exit{codeEnvironment, err}
			}
			return printDump(s.Out, d, output, parts)
		},
	}
	cluster.add(c)
	c.Flags().StringVarP(&namespace, "namespace", "n", "default", "`namespace` of the Pod")
	c.Flags().StringVar(&admin, "admin", "", "`address` of an admin port, in place of a Pod's")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

func configDump(ctx context.Context, cluster *clusterFlags, admin, namespace string, pod []string) ([]byte, error) {
	const path = "/config_dump?include_eds"
	if admin != "" {
		return kube.HTTPGet(ctx, admin, path)
	}
	client, err := cluster.connect()
	if err != nil {
		return nil, err
	}
	name, ns, ok := strings.Cut(pod[0], ".")
	if !ok {
		ns = namespace
	}
	return client.PodGet(ctx, ns, name, inject.AdminPort, path)
}

func printDump(w io.Writer, d *dump.Dump, output string, parts []string) error {
	if output == "json" {
		return d.JSON(w, parts...)
	}
	for i, p := range parts {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := d.Table(w, p); err != nil {
			return err
		}
	}
	return nil
}

func newProxyStatusCommand(s Streams) *cobra.Command {
	var cluster clusterFlags
	var namespace, address, output string
	c := &cobra.Command{
		Use:   "proxy-status",
		Short: "Print which proxies are connected, and what they have accepted",
		Long: "Print the proxies that are connected to the control planes of a cluster, and for each type of configuration whether they have\n" +
			"accepted the last that they were sent: SYNCED, STALE (no answer yet), REJECTED, or - where they have not asked.",
		Example: "  windtunnel proxy-status\n  windtunnel proxy-status --debug 127.0.0.1:15014",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return &exit{codeUsage, fmt.Errorf("-o %s: expected table or json", output)}
			}
			planes, err := syncStatus(c.Context(), &cluster, namespace, address)
			if err != nil {
				return inCluster(c.Context(), err)
			}
			if output == "json" {
				e := json.NewEncoder(s.Out)
				e.SetIndent("", "  ")
				return e.Encode(planes)
			}
			return printStatus(s.Out, planes)
		},
	}
	cluster.add(c)
	c.Flags().StringVarP(&namespace, "namespace", "n", "istio-system", "`namespace` of the control plane")
	c.Flags().StringVar(&address, "debug", "", "`address` of a control plane's monitoring port, in place of a cluster's")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// plane is one control plane with its proxies.
type plane struct {
	ControlPlane string              `json:"controlPlane"`
	Proxies      []serve.ProxyStatus `json:"proxies"`
}

func syncStatus(ctx context.Context, cluster *clusterFlags, namespace, address string) ([]plane, error) {
	const path = "/debug/syncz"
	if address != "" {
		text, err := kube.HTTPGet(ctx, address, path)
		if err != nil {
			return nil, err
		}
		p, err := readPlane(address, text)
		return []plane{p}, err
	}
	client, err := cluster.connect()
	if err != nil {
		return nil, err
	}
	pods, err := controlPlanes(ctx, client, namespace)
	if err != nil {
		return nil, err
	}
	var planes []plane
	for _, pod := range pods {
		text, err := client.PodGet(ctx, namespace, pod, monitoringPort, path)
		if err != nil {
			return nil, err
		}
		p, err := readPlane(pod, text)
		if err != nil {
			return nil, err
		}
		planes = append(planes, p)
	}
	return planes, nil
}

// controlPlanes are the Pods of the control plane that run, and are not ending.
func controlPlanes(ctx context.Context, client *kube.Client, namespace string) ([]string, error) {
	list, err := client.List(ctx, kube.Resource("v1", "Pod"), namespace, "app=istiod")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list {
		if phase, _, _ := unstructured.NestedString(p.Object, "status", "phase"); phase == "Running" && p.GetDeletionTimestamp() == nil {
			names = append(names, p.GetName())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no control plane is running in the namespace %s (context %s)", namespace, client.Context())
	}
	return names, nil
}

func readPlane(name string, text []byte) (plane, error) {
	p := plane{ControlPlane: name}
	if err := json.Unmarshal(text, &p.Proxies); err != nil {
		return p, fmt.Errorf("%s does not answer as meshd does: %w", name, err)
	}
	return p, nil
}

func printStatus(w io.Writer, planes []plane) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "PROXY\tCDS\tLDS\tEDS\tRDS\tSDS\tNDS\tCONTROL PLANE\tPROBLEM")
	for _, p := range planes {
		for _, proxy := range p.Proxies {
			cells := []string{proxyName(proxy.Node.ID)}
			problem := proxy.Err
			for _, name := range []string{"cds", "lds", "eds", "rds", "sds", "nds"} {
				state, nack := typeState(&proxy, name)
				cells = append(cells, state)
				if problem == "" {
					problem = nack
				}
			}
			if problem == "" {
				problem = "-"
			}
			fmt.Fprintln(t, strings.Join(append(cells, p.ControlPlane, problem), "\t"))
		}
	}
	return t.Flush()
}

// proxyName is the third part of a node id: pod.namespace.
func proxyName(id string) string {
	if parts := strings.Split(id, "~"); len(parts) == 4 {
		return parts[2]
	}
	return id
}

// typeState is what became of what a proxy was sent of one service. One that came back
// with all that there is was sent nothing, and has everything.
func typeState(proxy *serve.ProxyStatus, service string) (state, nack string) {
	for _, d := range discoveries {
		if d.name != service {
			continue
		}
		for _, t := range proxy.Types {
			switch {
			case t.Type != d.typ:
			case t.Nack != "":
				return "REJECTED", t.Nack
			case t.Sent == t.Acked && (t.Sent != "" || proxy.Synced):
				return "SYNCED", ""
			default:
				return "STALE", ""
			}
		}
	}
	return "-", ""
}
