package images

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
)

// forwardProxy is Squid as it is configured where nobody changed anything, and for any
// client: a proxy that clients, or their sidecars, name themselves.
func forwardProxy(string) Image {
	return Image{Ports: []int{3128}, Handler: func(c Container) (http.Handler, error) {
		return &forwarder{network: c, plain: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetXForwarded() }, Transport: newTransport(c.Network)}}, nil
	}}
}

// forwarder makes the connections that CONNECTs ask for, and passes requests with
// absolute targets on.
type forwarder struct {
	network Container
	plain   http.Handler
}

// safePorts are, besides those above 1024, where Squid's own configuration lets requests
// go; CONNECTs go to 443 only.
var safePorts = []int{21, 70, 80, 210, 280, 443, 488, 591, 777}

// ServeHTTP implements http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.URL.Host
	if r.Method == http.MethodConnect {
		target = r.Host
	}
	port := 80
	if _, text, err := net.SplitHostPort(target); err == nil {
		port, _ = strconv.Atoi(text)
	}
	switch {
	case target == "":
		http.Error(w, "a proxy takes absolute targets only", http.StatusBadRequest)
	case r.Method == http.MethodConnect && port != 443, port < 1025 && !slices.Contains(safePorts, port):
		http.Error(w, "access denied: port "+strconv.Itoa(port), http.StatusForbidden)
	case r.Method == http.MethodConnect:
		f.connect(w, r, target)
	default:
		f.plain.ServeHTTP(w, r)
	}
}

func (f *forwarder) connect(w http.ResponseWriter, r *http.Request, target string) {
	up, err := f.network.Network.Dial(r.Context(), target)
	if err != nil {
		http.Error(w, "the server cannot be reached: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer up.Close()
	down, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	if _, err := io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	stop := context.AfterFunc(r.Context(), func() { _, _ = up.Close(), down.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pass(up, early.Reader, down) })
	pass(down, up, up)
	both.Wait()
}

// pass copies one direction to its end and passes that on; what breaks ends the other
// direction, too.
func pass(to net.Conn, from io.Reader, source net.Conn) {
	_, err := io.Copy(to, struct{ io.Reader }{from})
	if half, ok := to.(interface{ CloseWrite() error }); err != nil || !ok || half.CloseWrite() != nil {
		_, _ = to.Close(), source.Close()
	}
}
