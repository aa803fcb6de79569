package cli

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/incluster"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/install"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// examination is one question of doctor: what is well, or what is wrong.
type examination struct {
	name string
	ask  func(context.Context) (string, error)
}

func newDoctorCommand(s Streams) *cobra.Command {
	var cluster clusterFlags
	var namespace string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Examine a cluster and the mesh in it",
		Long: "Examine a cluster and the mesh in it: a line for each question, ok or what is wrong. The exit code is 3 where something is.\n" +
			"Where there is no mesh, it tells whether one could be installed.",
		Example: "  windtunnel doctor --context kind-kind",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := cluster.connect()
			if err != nil {
				return err
			}
			ctx, stop := limited(c.Context(), time.Minute)
			defer stop()
			sick := 0
			for _, e := range (doctor{client, namespace}).examinations(ctx) {
				well, err := e.ask(ctx)
				if err != nil {
					sick++
					fmt.Fprintf(s.Out, "FAIL  %-14s %v\n", e.name, err)
					if errors.Is(err, kube.ErrNoCluster) {
						break // nothing else can be asked
					}
					continue
				}
				fmt.Fprintf(s.Out, "ok    %-14s %s\n", e.name, well)
			}
			if sick > 0 {
				return inCluster(c.Context(), fmt.Errorf("%s found", plural(sick, "problem")))
			}
			return nil
		},
	}
	cluster.add(c)
	c.Flags().StringVarP(&namespace, "namespace", "n", "istio-system", "`namespace` of the control plane")
	return c
}

type doctor struct {
	client    *kube.Client
	namespace string
}

func (d doctor) examinations(ctx context.Context) []examination {
	list := []examination{{"cluster", d.cluster}}
	plane, err := d.client.Get(ctx, kube.Resource("apps/v1", "Deployment"), d.namespace, "istiod")
	if err != nil || plane == nil {
		return append(list, examination{"installation", d.installable})
	}
	return append(list, examination{"control plane", d.controlPlane}, examination{"webhooks", d.webhooks},
		examination{"roots", d.roots}, examination{"configuration", d.configuration}, examination{"proxies", d.proxies})
}

func (d doctor) cluster(ctx context.Context) (string, error) {
	_, version, err := d.client.Minor(ctx)
	return fmt.Sprintf("Kubernetes %s at %s (context %s)", version, d.client.Host(), d.client.Context()), err
}

func (d doctor) installable(ctx context.Context) (string, error) {
	settings, err := install.Profile("default")
	if err != nil {
		return "", err
	}
	settings.Namespace = d.namespace
	warnings, err := install.Preflight(ctx, d.client, settings, false)
	return strings.Join(append([]string{"there is no mesh; one can be installed"}, warnings...), "; but "), err
}

func (d doctor) controlPlane(ctx context.Context) (string, error) {
	pods, err := controlPlanes(ctx, d.client, d.namespace)
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		if _, err := d.client.PodGet(ctx, d.namespace, pod, monitoringPort, "/ready"); err != nil {
			return "", err
		}
	}
	return strings.Join(pods, ", ") + " ready", nil
}

// webhooks tells whether the API server would call the control plane.
func (d doctor) webhooks(ctx context.Context) (string, error) {
	mutating, validating := incluster.WebhookNames(d.namespace)
	for kind, name := range map[string]string{"MutatingWebhookConfiguration": mutating, "ValidatingWebhookConfiguration": validating} {
		u, err := d.client.Get(ctx, kube.Resource("admissionregistration.k8s.io/v1", kind), "", name)
		if err != nil {
			return "", err
		}
		if u == nil {
			return "", fmt.Errorf("there is no %s %s: install again", kind, name)
		}
		hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
		for _, h := range hooks {
			m, _ := h.(map[string]any)
			bundle, _, _ := unstructured.NestedString(m, "clientConfig", "caBundle")
			if problem := badBundle(bundle); problem != "" {
				return "", fmt.Errorf("the API server does not trust %s of %s: its caBundle %s; the control plane writes it: its log says why it has not", m["name"], name, problem)
			}
		}
	}
	return "the API server trusts them", nil
}

// badBundle is what keeps the certificates of a caBundle from being of use; "" where
// one of them is good now.
func badBundle(text string) string {
	if text == "" {
		return "is empty"
	}
	rest, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "is not base64"
	}
	problem := "has no certificate"
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		switch now := time.Now(); {
		case err != nil:
			problem = "has a certificate that cannot be read: " + err.Error()
		case now.After(c.NotAfter):
			problem = "has expired, on " + c.NotAfter.Format(time.DateOnly)
		default:
			return ""
		}
	}
	return problem
}

// roots tells whether every namespace has the root certificate.
func (d doctor) roots(ctx context.Context) (string, error) {
	namespaces, err := d.client.List(ctx, kube.Resource("v1", "Namespace"), "", "")
	if err != nil {
		return "", err
	}
	for _, ns := range namespaces {
		u, err := d.client.Get(ctx, kube.Resource("v1", "ConfigMap"), ns.GetName(), inject.RootConfigMap)
		if err != nil {
			return "", err
		}
		if u == nil && ns.GetDeletionTimestamp() == nil {
			return "", fmt.Errorf("the namespace %s has no ConfigMap %s: its Pods with sidecars cannot start", ns.GetName(), inject.RootConfigMap)
		}
	}
	return fmt.Sprintf("%s have the root certificate", plural(len(namespaces), "namespace")), nil
}

// configuration tells what the control plane says of the configuration in force.
func (d doctor) configuration(ctx context.Context) (string, error) {
	pods, err := controlPlanes(ctx, d.client, d.namespace)
	if err != nil {
		return "", err
	}
	text, err := d.client.PodGet(ctx, d.namespace, pods[0], monitoringPort, "/debug/diagnostics")
	if err != nil {
		return "", err
	}
	var wrong []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "error: ") {
			wrong = append(wrong, strings.TrimSpace(line))
		}
	}
	if len(wrong) > 0 {
		return "", fmt.Errorf("%s: %s", plural(len(wrong), "error"), strings.Join(wrong, "; "))
	}
	return "no errors", nil
}

// proxies tells whether all connected proxies have what they were sent.
func (d doctor) proxies(ctx context.Context) (string, error) {
	pods, err := controlPlanes(ctx, d.client, d.namespace)
	if err != nil {
		return "", err
	}
	count := 0
	for _, pod := range pods {
		text, err := d.client.PodGet(ctx, d.namespace, pod, monitoringPort, "/debug/syncz")
		if err != nil {
			return "", err
		}
		p, err := readPlane(pod, text)
		if err != nil {
			return "", err
		}
		for _, proxy := range p.Proxies {
			count++
			for _, d := range discoveries {
				if state, nack := typeState(&proxy, d.name); state == "REJECTED" {
					return "", fmt.Errorf("%s refuses what it was sent: %s", proxyName(proxy.Node.ID), nack)
				}
			}
			if proxy.Err != "" {
				return "", fmt.Errorf("%s has no configuration: %s", proxyName(proxy.Node.ID), proxy.Err)
			}
		}
	}
	return fmt.Sprintf("%d connected", count), nil
}
