package images

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// serve runs a server on a socket, and returns how to reach it.
func serve(t *testing.T, s Server) load.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return load.Target{Seed: seed.New(1), Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, l.Addr().String())
	}}
}

func send(t *testing.T, target load.Target, protocol, url, body string) (load.Record, load.Answer) {
	t.Helper()
	target.Protocol, target.URL, target.Body = protocol, url, []byte(body)
	found, err := load.Send(t.Context(), load.SendOptions{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	answer := load.Answer{}
	if found.First != nil {
		answer = *found.First
	}
	return found.Records[0], answer
}

func TestGRPCServerByItsMethods(t *testing.T) {
	s, err := newGRPC(container(), spec.GRPCBehaviour{})
	if err != nil {
		t.Fatal(err)
	}
	target := serve(t, s)
	const service = "http://x/grpc.testing.TestService/"
	for _, c := range []struct{ url, body, status, want string }{
		{"http://x/fgrpc.PingServer/Ping", `{"seq": "7", "payload": "hi", "delayNanos": "1000"}`, "0", `"payload":"hi"`},
		{"http://x/grpc.health.v1.Health/Check", `{"service": "ping"}`, "0", `{"status":"SERVING"}`},
		{"http://x/grpc.health.v1.Health/Check", `{"service": "other"}`, "5", ``},
		{service + "EmptyCall", ``, "0", `{}`},
		{service + "UnaryCall", `{"responseSize": 3}`, "0", `"body":"AAAA"`},
		{service + "UnaryCall", `{"responseStatus": {"code": 9, "message": "no"}}`, "9", ``},
		{service + "StreamingOutputCall", `{"responseParameters": [{"size": 3}, {"size": 3, "intervalUs": 5}]}`, "0", "{\"payload\":{\"body\":\"AAAA\"}}\n{\"payload\":{\"body\":\"AAAA\"}}"},
		{service + "StreamingInputCall", `{"payload": {"body": "AAAA"}} {"payload": {"body": "AAAA"}}`, "0", `{"aggregatedPayloadSize":6}`},
		{service + "FullDuplexCall", `{"responseParameters": [{"size": 3}]} {"responseStatus": {"code": 10}}`, "10", `{"payload":{"body":"AAAA"}}`},
		{service + "HalfDuplexCall", `{"responseParameters": [{"size": 3}]} {}`, "0", `{"payload":{"body":"AAAA"}}`},
		{service + "UnimplementedCall", ``, "12", ``},
	} {
		r, answer := send(t, target, "grpc", c.url, c.body)
		if r.Error != "" || r.Status != 200 || r.GRPC != c.status || answer.Headers["grpc-status"] != c.status {
			t.Errorf("%s %s: %+v, %v; want the status %s", c.url, c.body, r, answer.Headers, c.status)
		}
		if !strings.Contains(string(answer.Body), c.want) || c.want == "" && len(answer.Body) > 0 {
			t.Errorf("%s %s: answered %s, want %s", c.url, c.body, answer.Body, c.want)
		}
	}
}

func TestGRPCBehaviour(t *testing.T) {
	s, err := newGRPC(container(), spec.GRPCBehaviour{Status: 8, Message: "full"})
	if err != nil {
		t.Fatal(err)
	}
	r, answer := send(t, serve(t, s), "grpc", "http://x/grpc.testing.TestService/FullDuplexCall", "")
	if r.GRPC != "8" || answer.Headers["grpc-message"] != "full" {
		t.Errorf("answered %+v %v, want the status 8, full", r, answer.Headers)
	}
}

func TestEchoOfTCP(t *testing.T) {
	c := container()
	c.Spec.Args = []string{"9000", "one"}
	for name, make := range map[string]func(Container) (Server, error){"one a\none b\n": newPrefixEcho, "a\nb\nc": newPlainEcho} {
		s, err := make(c)
		if err != nil {
			t.Fatal(err)
		}
		r, answer := send(t, serve(t, s), "tcp", "tcp://x:9000", "a\nb\nc")
		if r.Error != "" || r.Status != 0 || string(answer.Body) != name || !strings.HasPrefix(r.ID, "tcp 127.0.0.1:") {
			t.Errorf("%+v answered %q, want %q", r, answer.Body, name)
		}
	}
	echo, err := NewCatalogue(nil).Find("", "docker.io/istio/tcp-echo-server:1.3")
	if c.Spec.Args = []string{"9000,9001", "one"}; err != nil || !slices.Equal(echo.ports(c), []int{9000, 9001}) {
		t.Errorf("tcp-echo-server listens on %v, %v", echo.ports(c), err)
	}
	c.Spec.Args = nil
	if _, err := newPrefixEcho(c); err == nil {
		t.Error("a tcp-echo-server without arguments runs")
	}
}

func TestLargeBodyOverTCP(t *testing.T) {
	s, err := newPlainEcho(container())
	if err != nil {
		t.Fatal(err)
	}
	target := serve(t, s)
	target.Filler = 20 << 20
	r, _ := send(t, target, "tcp", "tcp://x:9000", "")
	if r.Error != "" || r.Bytes != target.Filler {
		t.Errorf("%+v: want %d bytes back", r, target.Filler)
	}
}

func TestWebSocketEcho(t *testing.T) {
	h, err := httpbinHandler(container())
	if err != nil {
		t.Fatal(err)
	}
	target := serve(t, &http.Server{Handler: h})
	for _, body := range []string{"hello", strings.Repeat("long ", 100), strings.Repeat("more ", 3000)} {
		if r, answer := send(t, target, "websocket", "ws://x/websocket/echo?max_message_size=20000&max_fragment_size=20000", body); r.Error != "" || r.Status != 101 || string(answer.Body) != body {
			t.Errorf("%+v answered %d bytes, want the %d that were sent", r, len(answer.Body), len(body))
		}
	}
	if r, _ := send(t, target, "websocket", "ws://x/status/404", "hello"); r.Error != "" || r.Status != 404 {
		t.Errorf("%+v, want a 404", r)
	}
	if r, _ := send(t, target, "websocket", "ws://x/websocket/echo?max_message_size=4&max_fragment_size=4", "hello"); !strings.Contains(r.Error, "closed by the server: 1009") {
		t.Errorf("%+v, want it closed with 1009", r)
	}
}

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	i := Image{Cleartext2: true, Handler: func(Container) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := fmt.Fprintf(w, "%s %s %s", r.Proto, r.Host, r.Header.Get("A"))
			w.Header().Set("X-Written", fmt.Sprint(n))
		}), nil
	}}
	s, err := i.rest(t.Context(), container(), &Process{})
	if err != nil {
		t.Fatal(err)
	}
	target := serve(t, s)
	target.Headers = map[string]string{"A": "b", "Host": "c"}
	for _, protocol := range []string{"http1", "http2"} {
		want := map[string]string{"http1": "HTTP/1.1 c b", "http2": "HTTP/2.0 c b"}[protocol]
		if r, answer := send(t, target, protocol, "http://x/", ""); r.Error != "" || string(answer.Body) != want {
			t.Errorf("%+v answered %q, want %q", r, answer.Body, want)
		}
	}
	if _, err := load.Send(t.Context(), load.SendOptions{Target: load.Target{Dial: target.Dial, Protocol: "grpc", URL: "http://x/no.Service/Call"}}); err == nil || !strings.Contains(err.Error(), "fgrpc.PingServer") {
		t.Errorf("an unknown service: %v", err)
	}
}
