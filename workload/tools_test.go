package workload

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

func TestToolsOfTutorials(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/here", http.StatusFound)
			return
		}
		fmt.Fprintf(w, "%s %s %s %s %s\n", r.Method, r.Host, r.URL.Path, r.Header.Get("x-a"), body)
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	for args, want := range map[string]string{
		"curl -sS " + host + "/x":                                  "GET " + host + " /x  \n",
		"curl -s -o /dev/null -w %{http_code} " + s.URL:            "200",
		"curl -H host:books -H x-a:1 -d b " + s.URL:                "POST books / 1 b\n",
		"curl -sL " + s.URL + "/moved":                             "GET " + host + " /here  \n",
		"curl -s -X PUT " + s.URL:                                  "PUT " + host + " /  \n",
		"curl -sI " + s.URL:                                        "HTTP/1.1 200 OK\r\n",
		"fortio curl -quiet " + s.URL:                              "unknown",
		"fortio load -c 2 -qps 0 -n 20 -loglevel Warning " + s.URL: "Code 200 : 20 (100.0 %)",
		"fortio ping":                                              "expected load or curl",
		"curl --http3 " + s.URL:                                    "http3",
		"curl -f " + s.URL:                                         "GET " + host,
	} {
		var out, errs bytes.Buffer
		err := Main(t.Context(), strings.Fields(args), World{Stdout: &out, Stderr: &errs, Network: netx.System{}})
		if got := out.String() + fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
