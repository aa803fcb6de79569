// Package kube speaks with a Kubernetes API server: it reads what the control plane
// needs as a store.Source, applies and deletes objects, reviews tokens, and reaches
// the ports of Pods. It is the only importer of client-go.
//
// In: a kubeconfig or the Pod's own account. Out: store.Views, unstructured objects.
// It must not import build, xds, the data plane or the simulator.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ClientOptions tell which cluster.
type ClientOptions struct {
	// Kubeconfig is a file; "": $KUBECONFIG, else ~/.kube/config.
	Kubeconfig string
	// Context of the kubeconfig; "": its current one.
	Context string
	// InCluster uses the account of the Pod that this process runs in.
	InCluster bool
	// Agent names the program to the API server.
	Agent string
}

// Client reaches one cluster.
type Client struct {
	config  *rest.Config
	dynamic dynamic.Interface
	rest    rest.Interface // for what is no object
	context string
}

// ErrNoCluster says that no cluster could be reached.
var ErrNoCluster = errors.New("no cluster")

// Connect prepares to speak with a cluster. Nothing is sent yet.
func Connect(o ClientOptions) (*Client, error) {
	c := &Client{}
	var err error
	if o.InCluster {
		c.context = "in-cluster"
		if c.config, err = rest.InClusterConfig(); err != nil {
			return nil, fmt.Errorf("%w: this process is not in a Pod with an account: %w", ErrNoCluster, err)
		}
	} else if c.config, c.context, err = kubeconfig(o); err != nil {
		return nil, err
	}
	c.config.UserAgent = "windtunnel-" + o.Agent
	// The API server has priorities of its own; a limit here would only slow the start.
	c.config.QPS = -1
	// Warnings of the server go to who applied the object, not to this process' log.
	c.config.WarningHandlerWithContext = warnings{}
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCluster, err)
	}
	plain := dynamic.ConfigFor(c.config)
	plain.GroupVersion, plain.APIPath = nil, "/"
	if c.rest, err = rest.UnversionedRESTClientFor(plain); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCluster, err)
	}
	return c, nil
}

func kubeconfig(o ClientOptions) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	if o.Kubeconfig != "" {
		if _, err := os.Stat(o.Kubeconfig); err != nil {
			return nil, "", fmt.Errorf("%w: the kubeconfig %s cannot be read: %w", ErrNoCluster, o.Kubeconfig, err)
		}
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", fmt.Errorf("%w: the kubeconfig cannot be read: %w", ErrNoCluster, err)
	}
	name := raw.CurrentContext
	if o.Context != "" {
		name = o.Context
	}
	if raw.Contexts[name] == nil && (name != "" || len(raw.Contexts) == 0) {
		if name == "" {
			return nil, "", fmt.Errorf("%w: there is no kubeconfig with a context: name one with --kubeconfig or KUBECONFIG", ErrNoCluster)
		}
		return nil, "", fmt.Errorf("%w: the kubeconfig has no context %q", ErrNoCluster, name)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("%w: the kubeconfig cannot be used: %w", ErrNoCluster, err)
	}
	return config, name, nil
}

// Context names the cluster as the kubeconfig does.
func (c *Client) Context() string { return c.context }

// Host is the API server's address.
func (c *Client) Host() string { return c.config.Host }

// Minor is the version of the server: the y of 1.y, and the whole as text.
func (c *Client) Minor(ctx context.Context) (minor int, text string, err error) {
	body, err := c.rest.Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return 0, "", c.Explain("ask for the version", err)
	}
	var info version.Info
	if err := json.Unmarshal(body, &info); err != nil {
		return 0, "", fmt.Errorf("%w: %s does not answer as Kubernetes does: %w", ErrNoCluster, c.Host(), err)
	}
	digits := strings.TrimRight(info.Minor, "+")
	if minor, err = strconv.Atoi(digits); err != nil {
		return 0, "", fmt.Errorf("%w: version %s.%s is not understood", ErrNoCluster, info.Major, info.Minor)
	}
	return minor, info.GitVersion, nil
}

// Explain makes a sentence of an error of the API server or of the way to it.
func (c *Client) Explain(doing string, err error) error {
	var network *net.OpError
	var place *url.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: this account has no permission: %w", doing, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the cluster does not know these credentials (context %s)", doing, c.context)
	case errors.As(err, &network), errors.As(err, &place):
		return fmt.Errorf("%w: %s does not answer (context %s): %w", ErrNoCluster, c.Host(), c.context, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
