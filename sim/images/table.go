package images

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"fortio.org/fortio/fhttp"
	"github.com/mccutchen/go-httpbin/v2/httpbin"

	"github.com/windtunnel-mesh/windtunnel/bookinfo"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// table has the images that the catalogue knows, by repository pattern. One that
// begins with "**/" is about the last part of the name only: images that are like no
// other keep it wherever they are mirrored.
var table = []struct {
	pattern string
	image   func(repository string) Image
}{
	{"**/examples-bookinfo-*", bookinfoImage},
	{"**/examples-helloworld-*", helloworld},
	{"kennethreitz/httpbin", func(string) Image { return Image{Ports: []int{80}, Handler: httpbinHandler} }},
	{"**/go-httpbin", func(string) Image { return Image{Ports: []int{8080}, Handler: httpbinHandler} }},
	{"fortio/fortio", fortio},
	{"**/tcp-echo-server", func(string) Image { return Image{Ports: []int{9000}, Listens: prefixEchoPorts, Default: newPrefixEcho} }},
	{"nginx", func(string) Image {
		return Image{Ports: []int{80}, Handler: page("nginx", "<h1>Welcome to nginx!</h1>\n")}
	}},
	{"tomcat", tomcat},
	{"kubeguide/tomcat-app", tomcat},
	{"openzipkin/zipkin*", collects},
	{"jaegertracing/*", collects},
	{"otel/opentelemetry-collector*", collects},
	{"apache/skywalking-oap-server", func(string) Image { i := collects(""); i.Ports = []int{11800}; return i }},
	{"envoyproxy/ratelimit", rateLimitService},
	{"**/ext-authz", externalAuthorizer},
	{"ubuntu/squid", forwardProxy},
	{"sameersbn/squid", forwardProxy},
	{"curlimages/curl", waits},
	{"governmentpaas/curl-ssl", waits},
	{"tutum/curl", waits},
	{"redis", waits}, // beside the rate limit service, which here counts by itself
	{"busybox", waits},
	{"registry.k8s.io/busybox", waits},
	{"alpine", waits},
}

// waits is an image whose container sleeps until somebody runs a command in it.
func waits(string) Image { return Image{} }

// collects is a collector of spans: Zipkin's port, then OpenTelemetry's for gRPC and HTTP.
func collects(string) Image {
	return Image{Ports: []int{9411, 4317, 4318}, Cleartext2: true, Handler: func(c Container) (http.Handler, error) {
		if c.Spans == nil {
			return nil, errors.New("this world keeps no spans")
		}
		return c.Spans, nil
	}}
}

func tomcat(string) Image {
	return Image{Ports: []int{8080}, Handler: page("tomcat", "<h1>Apache Tomcat</h1>\n")}
}

var bookinfoName = regexp.MustCompile(`examples-bookinfo-(productpage|details|ratings|reviews)-(v\d+)$`)

func bookinfoImage(repository string) Image {
	return Image{Ports: []int{9080}, Handler: func(c Container) (http.Handler, error) {
		name := bookinfoName.FindStringSubmatch(repository)
		if name == nil {
			return nil, fmt.Errorf("%w %q: of bookinfo there are productpage, details, ratings and reviews, -v1 and up", ErrUnknown, repository)
		}
		return bookinfo.New(name[1], name[2], bookinfo.Options{
			Transport: newTransport(c.Network),
			Env:       c.Env,
			Seed:      c.Seed,
			Hostname:  c.hostname(),
		})
	}}
}

var helloworldName = regexp.MustCompile(`examples-helloworld-(v\d+)$`)

// helloworld is Istio's sample of a service in versions: which one, and which Pod, /hello says.
func helloworld(repository string) Image {
	return Image{Ports: []int{5000}, Handler: func(c Container) (http.Handler, error) {
		name := helloworldName.FindStringSubmatch(repository)
		if name == nil {
			return nil, fmt.Errorf("%w %q: of helloworld there are -v1 and up", ErrUnknown, repository)
		}
		version := name[1]
		if v := c.Env["SERVICE_VERSION"]; v != "" {
			version = v
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "Hello version: %s, instance: %s\n", version, c.hostname())
		})
		mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Helloworld is healthy") })
		return mux, nil
	}}
}

func httpbinHandler(c Container) (http.Handler, error) {
	return httpbin.New(httpbin.WithHostname(c.hostname()), httpbin.WithExcludeHeaders("")), nil
}

// fortio is `fortio server`: HTTP at 8080 and wherever else, gRPC ping at 8079, TCP echo at 8078.
func fortio(string) Image {
	return Image{
		Ports: []int{8078, 8079, 8080}, Handler: fortioHandler, Cleartext2: true,
		Servers: map[int]func(Container) (Server, error){
			8078: newPlainEcho,
			8079: func(c Container) (Server, error) { return newGRPC(c, spec.GRPCBehaviour{}) },
		},
	}
}

func fortioHandler(Container) (http.Handler, error) { return http.HandlerFunc(fhttp.EchoHandler), nil }

// page is a server that answers every path with one page.
func page(server, body string) func(Container) (http.Handler, error) {
	return func(Container) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", server)
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, body)
		}), nil
	}
}
