package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load/remote"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// free returns a port that nobody listens on.
func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the program in the background and returns the address of its agent.
func start(t *testing.T, args ...string) (agent string) {
	t.Helper()
	agent = fmt.Sprintf("127.0.0.1:%d", free(t))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Main(ctx, args, World{nil, io.Discard, io.Discard, map[string]string{AgentEnv: agent}, "reviews-v2-abc", netx.System{}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for range 200 {
		if c, err := net.Dial("tcp", agent); err == nil {
			c.Close()
			return agent
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the agent does not listen")
	return ""
}

func TestRunPlaysAnImageAndMakesCalls(t *testing.T) {
	port := free(t)
	agent := start(t, "run", "--linger", "0s", "--image", "docker.io/istio/examples-bookinfo-details-v1:1.20.3", "--port", fmt.Sprint(port), "server", "--unknown")
	c := remote.Call{URL: fmt.Sprintf("http://127.0.0.1:%d/details/0", port), Send: &remote.Send{Count: 2}}
	var body string
	for range 100 { // the agent may be there before the server
		res, err := remote.Ask(t.Context(), http.DefaultClient, "http://"+agent, &c)
		if err != nil {
			t.Fatal(err)
		}
		if res.First != nil {
			body = string(res.First.Body)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(body, "William Shakespeare") {
		t.Errorf("details answers %q", body)
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
	port := free(t)
	agent := start(t, "run", "--linger", "0s", "--image", "example/mine", "--port", fmt.Sprint(port), "--behaviour", `{"HTTP": {"Status": 418}}`)
	c := remote.Call{URL: fmt.Sprintf("http://127.0.0.1:%d/", port), Send: &remote.Send{}}
	for range 100 {
		res, err := remote.Ask(t.Context(), http.DefaultClient, "http://"+agent, &c)
		if err != nil {
			t.Fatal(err)
		}
		if status := res.Records[0].Status; status == 418 {
			return
		} else if status != 0 {
			t.Fatalf("answered %d", status)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("nobody answered")
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
