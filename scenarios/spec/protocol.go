package spec

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// protocols are what clients speak, with the schemes of their URLs; the secure ones
// are those with TLS.
var protocols = []struct {
	name          string
	plain, secure []string
}{
	{"http1", []string{"http"}, []string{"https"}},
	{"http2", []string{"http"}, []string{"https"}},
	{"grpc", []string{"http"}, []string{"https"}},
	{"tcp", []string{"tcp", "http"}, []string{"tls", "https"}},
	{"websocket", []string{"ws", "http"}, []string{"wss", "https"}},
}

// schemes are those of all protocols.
func schemes() []string {
	var list []string
	for _, p := range protocols {
		for _, s := range slices.Concat(p.plain, p.secure) {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}

func protocol() kind[string] {
	var names []string
	for _, p := range protocols {
		names = append(names, p.name)
	}
	return enum(names...)
}

// secured tells whether a URL's scheme means TLS.
func secured(url string) bool {
	scheme, _, _ := strings.Cut(url, "://")
	for _, p := range protocols {
		if slices.Contains(p.secure, scheme) {
			return true
		}
	}
	return false
}

// call is what request and load have in common, as far as protocols go.
type call struct{ url, protocol string }

// protocolRules finds the protocol where only the URL tells it, and holds the fields
// of a call to what its protocol has.
func protocolRules(d *decoder, keys map[string]*yaml.Node, c call) string {
	scheme, rest, _ := strings.Cut(c.url, "://")
	if keys["protocol"] == nil {
		switch scheme {
		case "tcp", "tls":
			c.protocol = "tcp"
		case "ws", "wss":
			c.protocol = "websocket"
		default:
			c.protocol = "http1"
		}
	}
	for _, p := range protocols {
		if p.name == c.protocol && scheme != "" && !slices.Contains(p.plain, scheme) && !slices.Contains(p.secure, scheme) {
			d.problem(keys["url"], "protocol %s has no URLs of the scheme %q", c.protocol, scheme)
		}
	}
	_, path, found := strings.Cut(rest, "/")
	refuse := func(key, why string) {
		if keys[key] != nil {
			d.problem(keys[key], "protocol %s has no %s: %s", c.protocol, key, why)
		}
	}
	switch c.protocol {
	case "tcp":
		refuse("method", "it is not HTTP")
		refuse("headers", "it is not HTTP")
		if path != "" {
			d.problem(keys["url"], "protocol tcp has no path: give HOST:PORT alone")
		}
	case "grpc":
		refuse("method", "a call is always a POST, and its path names the gRPC method")
		refuse("bodyBytes", "body has the messages, as JSON")
		if service, method, two := strings.Cut(path, "/"); c.url != "" && (!found || !two || service == "" || method == "") {
			d.problem(keys["url"], "a gRPC call names its method in the path, as in http://fortio:8079/fgrpc.PingServer/Ping")
		}
	case "websocket":
		refuse("method", "a WebSocket begins with a GET")
		refuse("bodyBytes", "body is the message")
	}
	return c.protocol
}
