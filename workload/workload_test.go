package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/load/remote"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// anywhere is the system's network, but that whoever listens gets a free port of
// 127.0.0.1, and the test learns which: no port is asked for that somebody else may take.
type anywhere struct {
	netx.System
	listening chan place
}

// place is where somebody listens who wanted to listen on a port.
type place struct{ host, port, addr string }

func (n anywhere) Listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := n.System.Listen(ctx, "127.0.0.1:0")
	if err == nil {
		host, port, _ := net.SplitHostPort(addr)
		n.listening <- place{host, port, l.Addr().String()}
	}
	return l, err
}

// start starts the program in the background and returns the addresses of its agent and of
// the server that wanted a port.
func start(t *testing.T, port string, args ...string) (agent, server string) {
	t.Helper()
	n := anywhere{listening: make(chan place, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Main(ctx, args, World{nil, io.Discard, io.Discard, map[string]string{AgentEnv: "127.0.0.1:1"}, "reviews-v2-abc", n})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for agent == "" || server == "" {
		select {
		case p := <-n.listening:
			if p.port == "1" {
				agent = p.addr
			} else if p.port == port {
				server = p.addr
				if p.host != "" {
					t.Errorf("the server listens on %s alone: a Pod may have addresses of either family", p.host)
				}
			}
		case err := <-ended:
			ended <- nil
			t.Fatalf("it ended: %v", err)
		}
	}
	return agent, server
}

func TestRunPlaysAnImageAndMakesCalls(t *testing.T) {
	agent, server := start(t, "9080", "run", "--linger", "0s", "--image", "docker.io/istio/examples-bookinfo-details-v1:1.20.3", "--port", "9080", "server", "--unknown")
	c := remote.Call{URL: "http://" + server + "/details/0", Send: &remote.Send{Count: 2}}
	res, err := remote.Ask(t.Context(), http.DefaultClient, "http://"+agent, &c)
	if err != nil {
		t.Fatal(err)
	}
	if res.First == nil || !strings.Contains(string(res.First.Body), "William Shakespeare") {
		t.Errorf("details answers %+v", res.Records)
	}
	var out bytes.Buffer
	in, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := Main(t.Context(), []string{"call"}, World{Stdin: bytes.NewReader(in), Stdout: &out, Network: netx.System{}}); err != nil {
		t.Fatal(err)
	}
	var o remote.Outcome
	if err := json.Unmarshal(out.Bytes(), &o); err != nil || len(o.Records) != 2 || o.Records[1].Status != 200 {
		t.Errorf("call prints %s, %v", out.Bytes(), err)
	}
}

func TestRunPlaysADeclaredBehaviour(t *testing.T) {
	agent, server := start(t, "9000", "run", "--linger", "0s", "--image", "example/mine", "--port", "9000", "--behaviour", `{"HTTP": {"Status": 418}}`)
	res, err := remote.Ask(t.Context(), http.DefaultClient, "http://"+agent, &remote.Call{URL: "http://" + server + "/", Send: &remote.Send{}})
	if err != nil {
		t.Fatal(err)
	}
	if r := res.Records[0]; r.Status != 418 {
		t.Errorf("answered %+v", r)
	}
}

func TestSleepEnds(t *testing.T) {
	off := World{Env: map[string]string{AgentEnv: "off"}}
	if err := Main(t.Context(), []string{"sleep", "0.01"}, off); err != nil {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"":                               "missing",
		"walk":                           `"walk"`,
		"sleep":                          "seconds",
		"sleep long":                     `"long"`,
		"bookinfo reviews":               "reviews v2",
		"run":                            "--image",
		"run --image example/mine":       "unknown image",
		"run --image x --behaviour {}":   "--port is needed",
		"run --image nginx --port 70000": "70000",
		`run --image x --behaviour {"HTTP":{"Stat":1}}`: "Stat",
	} {
		err := Main(t.Context(), strings.Fields(args), World{Stderr: io.Discard, Env: map[string]string{AgentEnv: "off"}, Network: netx.System{}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
