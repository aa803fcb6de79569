package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// PodGet asks a port of a Pod for a path over HTTP, through the API server: ports of
// its localhost, too. It returns the body.
func (c *Client) PodGet(ctx context.Context, namespace, pod string, port int, path string) ([]byte, error) {
	doing := fmt.Sprintf("ask port %d of the Pod %s/%s", port, namespace, pod)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	forwarder, ready, err := c.forwarder(ctx, namespace, pod, port)
	if err != nil {
		return nil, c.Explain(doing, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		if err == nil {
			err = errors.New("the connection ended")
		}
		return nil, c.Explain(doing, err)
	case <-ctx.Done():
		return nil, c.Explain(doing, context.Cause(ctx))
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return nil, c.Explain(doing, err)
	}
	body, err := HTTPGet(ctx, fmt.Sprintf("127.0.0.1:%d", ports[0].Local), path)
	stop()
	<-ended
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return body, nil
}

func (c *Client) forwarder(ctx context.Context, namespace, pod string, port int) (*portforward.PortForwarder, <-chan struct{}, error) {
	url := c.rest.Post().AbsPath("/api/v1/namespaces", namespace, "pods", pod, "portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, c.config)
	if err != nil {
		return nil, nil, err
	}
	// Servers before 1.31 speak SPDY only, which is what kubectl falls back to as well.
	dialer := portforward.NewFallbackDialerForStreaming(websocket, old, httpstream.IsUpgradeFailure)
	ready := make(chan struct{})
	f, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ready, io.Discard, io.Discard)
	return f, ready, err
}

// HTTPGet asks an address for a path over HTTP, and returns the body of a 200.
func HTTPGet(ctx context.Context, address, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %.200s", path, response.Status, body)
	}
	return body, err
}
