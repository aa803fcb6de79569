package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/dashboard"
	"github.com/windtunnel-mesh/windtunnel/session"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// shown is a session as the dashboard sees it.
type shown struct {
	*world.World
	*session.Session
	entrance string
}

func (s shown) Title() string       { return "bookinfo" }
func (s shown) Entrances() []string { return []string{s.entrance + "/"} }
func (s shown) Places(ctx context.Context) (*world.Places, error) {
	return s.Session.Places(ctx)
}
func (s shown) Close() error { return s.Session.Close() }

// running is a mesh that is up with its dashboard.
type running struct {
	board    *dashboard.Board
	entrance string
}

func start(t *testing.T) running {
	t.Helper()
	board, err := dashboard.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { board.Close() })
	const dir = "../bookinfo/manifests/"
	s, err := session.Open(t.Context(), session.Options{Seed: 1, Watcher: board, Doors: []session.Door{{Remote: 80}}, Source: session.Source{
		Paths: []string{dir + "bookinfo.yaml", dir + "bookinfo-gateway.yaml", dir + "destination-rule-all.yaml", dir + "virtual-service-all-v1.yaml"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	entrance := "http://127.0.0.1:" + portOf(s)
	board.Serve(shown{s.World(), s, entrance})
	return running{board, entrance}
}

func portOf(s *session.Session) string {
	text, _ := json.Marshal(s.Doors()[0].Local) // a number
	return string(text)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func TestTheBoardTellsOfRequests(t *testing.T) {
	up := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, "GET", up.board.URL()+"api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if code, body := get(t, up.entrance+"/productpage"); code != 200 || !strings.Contains(body, "Simple Bookstore App") {
		t.Fatalf("the page: %d %.100s", code, body)
	}
	// The stream tells of four calls: the gateway's, two of productpage, and that the graph has them.
	type row struct {
		ID                   uint64
		From, To, Side, Path string
		Status               int
		Second               bool
	}
	// Each is told twice, by its client's proxy and by its server's.
	seen := map[string]row{}
	graph, told := "", 0
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	for (len(seen) < 3 || told < 6 || !strings.Contains(graph, "reviews-v1")) && lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var rows []row
		if json.Unmarshal([]byte(data), &rows) == nil {
			told += len(rows)
			for _, r := range rows {
				if !r.Second && r.Status == 200 {
					seen[r.From+" "+r.To] = r
				}
			}
		}
		var traffic struct{ Wide string }
		if json.Unmarshal([]byte(data), &traffic) == nil && traffic.Wide != "" {
			graph = traffic.Wide
		}
	}
	for _, want := range []string{"istio-ingressgateway productpage-v1", "productpage-v1 details-v1", "productpage-v1 reviews-v1"} {
		if seen[want].ID == 0 {
			t.Fatalf("no row of %s: %v, %v", want, seen, lines.Err())
		}
	}
	// Each row is explained, from the client that it had.
	for key, want := range map[string]string{
		"istio-ingressgateway productpage-v1": "bookinfo-gateway.yaml:",
		"productpage-v1 reviews-v1":           "virtual-service-all-v1.yaml:",
	} {
		_, text := get(t, up.board.URL()+"api/requests/"+stringOf(seen[key].ID))
		var d struct {
			Text, Error string
			Same        []row
		}
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if d.Error != "" || !strings.Contains(d.Text, want) || !strings.Contains(d.Text, "answered by "+seen[key].To) || len(d.Same) != 6 {
			t.Errorf("%s: %s%s, %d of the same", key, d.Error, d.Text, len(d.Same))
		}
	}
}

func stringOf(id uint64) string {
	text, _ := json.Marshal(id)
	return string(text)
}

func TestTheBoardSendsAndShows(t *testing.T) {
	up := start(t)
	send := func(contentType, origin, body string) (int, string) {
		q, err := http.NewRequest("POST", up.board.URL()+"api/send", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", contentType)
		if origin != "" {
			q.Header.Set("Origin", origin)
		}
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(text)
	}
	const good = `{"from": "productpage-v1", "url": "http://reviews:9080/reviews/0", "count": 5}`
	for _, c := range []struct {
		contentType, origin, body string
		code                      int
		want                      string
	}{
		{"application/json", "", good, 200, `"status":{"200":5}`},
		{"application/json", "", `{"from": "ingress", "url": "http://any.example/nowhere"}`, 200, `"status":{"404":1}`},
		{"application/json", "", `{"from": "nobody", "url": "http://reviews:9080/"}`, 400, `there are: details-v1, `},
		{"application/json", "", `{"from": "ingress", "url": "reviews"}`, 400, "expected one like"},
		{"application/json", "", `{"from": "ingress", "url": "http://a/", "count": 2000}`, 400, "expected 1 to 1000"},
		{"application/json", "", `{"form": 1}`, 400, "unknown field"},
		{"text/plain", "", good, 403, "expected JSON"},
		{"application/json", "http://evil.example", good, 403, "expected JSON"},
	} {
		if code, text := send(c.contentType, c.origin, c.body); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.body, code, text, c.code, c.want)
		}
	}
	_, text := get(t, up.board.URL()+"api/mesh")
	var mesh world.Places
	if err := json.Unmarshal([]byte(text), &mesh); err != nil {
		t.Fatal(err)
	}
	for _, w := range mesh.Workloads {
		for path, want := range map[string]string{"/config/listeners": "0.0.0.0_15006", "/config/clusters?format=json": `"clusters"`, "/stats?filter=server": "", "/config/nothing": "expected one of"} {
			if _, text := get(t, up.board.URL()+"api/proxies/"+w.Pod+path); w.Proxy == "sidecar" && !strings.Contains(strings.ReplaceAll(text, "virtualInbound", "0.0.0.0_15006"), want) {
				t.Errorf("%s of %s: %.300s", path, w.Pod, text)
			}
		}
	}
	// Names of other sites that lead here are nobody's.
	q, err := http.NewRequest("GET", up.board.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = "evil.example"
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for evil.example the page answers %s", r.Status)
	}
}
