package accesslog

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func sample() *Exchange {
	start := time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC)
	r := &message.Request{Method: "GET", Path: "/v2/reviews", Authority: "reviews:9080", Header: message.Header{
		{Name: "user-agent", Value: "curl\"x"}, {Name: "x-request-id", Value: "id-1"}, {Name: "x-envoy-original-path", Value: "/reviews"}},
		Stream: &message.Stream{Start: start, Cluster: "outbound|9080|v2|reviews.default.svc.cluster.local", RouteName: "default",
			UpstreamHost: netip.MustParseAddrPort("10.0.0.9:9080"), UpstreamLocal: netip.MustParseAddrPort("10.0.0.7:41000"),
			Flags: message.UpstreamOverflow | message.UpstreamRetryLimitExceeded, Details: "via_upstream", BytesSent: 81, Attempts: 3,
			OriginalPath: "/reviews",
			Conn: &message.Conn{ID: 7, Remote: netip.MustParseAddrPort("10.0.0.7:40000"), Local: netip.MustParseAddrPort("10.96.0.3:9080"),
				RequestedServerName: "sni", TLS: &message.TLS{PeerURIs: []string{"spiffe://cluster.local/ns/default/sa/a"}, Version: 0x304}},
			Remote: netip.MustParseAddrPort("192.0.2.4:0")}}
	resp := &message.Response{Status: 503, Header: message.Header{{Name: "x-envoy-upstream-service-time", Value: "4"}}}
	return Of(r, resp, start.Add(5*time.Millisecond))
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{IstioFormat, `[2026-11-21T10:00:00.123Z] "GET /reviews HTTP/1.1" 503 UO,URX via_upstream - "-" 0 81 5 4 "-" "curl"x" "id-1" ` +
			`"reviews:9080" "10.0.0.9:9080" outbound|9080|v2|reviews.default.svc.cluster.local 10.0.0.7:41000 10.96.0.3:9080 192.0.2.4:0 sni default` + "\n"},
		{DefaultFormat, `[2026-11-21T10:00:00.123Z] "GET /reviews HTTP/1.1" 503 UO,URX 0 81 5 4 "-" "curl"x" "id-1" "reviews:9080" "10.0.0.9:9080"` + "\n"},
		{"%REQ(X-NONE?:PATH):4%|100%%|%START_TIME(%Y/%m/%d %s %3f)%", "/v2/|100%|2026/11/21 1795255200 123"},
		{"%DOWNSTREAM_TLS_VERSION% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "TLSv1.3 3 192.0.2.4 10.0.0.7:40000"},
	} {
		f, err := CompileFormat(c.format)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(f.Append(nil, sample())); got != c.want {
			t.Errorf("format gives\n%s, want\n%s", got, c.want)
		}
	}
}

func TestUnknownOperatorsAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"%NOPE%", "%NOPE%"}, {"%REQ(A", "%REQ"}, {"%DURATION", "%DURATION"}, {"%REQ(A):x%", "no length"},
		{"%FILTER_STATE(a:b)%", "%FILTER_STATE(a:b)%"}, {"%START_TIME(%Q)%", "%Q"},
	} {
		if _, err := CompileFormat(c.format); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("CompileFormat(%q) says %v, want %q", c.format, err, c.want)
		}
	}
}

func TestLoggerWritesJSONAndFiltersByFlag(t *testing.T) {
	var out bytes.Buffer
	open := func(string) (io.Writer, error) { return &out, nil }
	l, err := NewLogger([]snapshot.AccessLog{
		{Path: "a", JSON: map[string]any{"code": "%RESPONSE_CODE%", "ua": "%REQ(USER-AGENT)%", "none": "%REQ(X)%", "mix": "a-%REQ(X)%"}},
		{Path: "d", OmitEmpty: true, JSON: map[string]any{"none": "%REQ(X)%", "mix": "a-%REQ(X)%", "deep": map[string]any{"code": "%RESPONSE_CODE%", "none": "%REQ(X)%", "nothing": map[string]any{"none": "%REQ(X)%"}},
			"list": []any{1.5, true, nil, "%REQ(X)%", "%PROTOCOL%"}, "claims": "%DYNAMIC_METADATA(jwt:claims)%"}},
		{Path: "e", OmitEmpty: true, Format: "[%REQ(X)%]\n"},
		{Path: "b", Format: "UF only\n", Filter: &snapshot.LogFilter{Flags: []string{"UF"}}},
		{Path: "c", Format: "any flag\n", Filter: &snapshot.LogFilter{}},
	}, open)
	if err != nil {
		t.Fatal(err)
	}
	x := sample()
	x.Stream.Metadata = map[string]map[string]any{"jwt": {"claims": map[string]any{"n": 1.0}}}
	l.Log(x)
	if want := `{"code":503,"mix":"a--","none":null,"ua":"curl\"x"}` + "\n" +
		`{"claims":{"n":1},"deep":{"code":503,"nothing":{}},"list":[1.5,true,null,null,"HTTP/1.1"],"mix":"a-"}` + "\n[]\nany flag\n"; out.String() != want {
		t.Errorf("log is %q, want %q", out.String(), want)
	}
	if _, err := NewLogger([]snapshot.AccessLog{{Filter: &snapshot.LogFilter{Flags: []string{"XX"}}}}, open); err == nil {
		t.Error("an unknown flag was taken")
	}
	e := FromExchange(sample())
	if !e.MutualTLS || e.Path != "/reviews" || e.Status != 503 || e.Flags != "UO,URX" || e.RequestID != "id-1" || e.Duration != 5*time.Millisecond {
		t.Errorf("entry is %+v", e)
	}
}

func TestMoreOperators(t *testing.T) {
	x := sample()
	x.Request.Path = "/reviews?id=7"
	x.Stream.Span = nil
	start := x.Stream.Start
	x.Stream.Times = message.Times{RequestEnd: start.Add(time.Millisecond), UpstreamBegin: start.Add(1500 * time.Microsecond),
		UpstreamEnd: start.Add(2 * time.Millisecond), AnswerBegin: start.Add(3 * time.Millisecond), AnswerEnd: start.Add(4 * time.Millisecond)}
	x.Stream.Metadata = map[string]map[string]any{"envoy.filters.http.jwt_authn": {"claims": map[string]any{"sub": "jason", "n": 1.0}}}
	x.Response.Header.Add("grpc-status", "5")
	x.Response.Body = message.NewBytes(nil, message.Header{{Name: "checksum", Value: "abc"}})
	for format, want := range map[string]string{
		"%RESPONSE_FLAGS_LONG%": "UpstreamOverflow,UpstreamRetryLimitExceeded",
		"%REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%":  "1 2 3 2",
		"%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)% %COMMON_DURATION(US_TX_BEG:US_RX_END)%":     "1500 2",
		"%COMMON_DURATION(DS_TX_END:DS_RX_BEG:ms)%":                                            "-", // the wrong way round
		"%REQ_WITHOUT_QUERY(:PATH)% %PATH(NQ:PATH)% %QUERY_PARAM(id)% %QUERY_PARAM(x)%":        "/reviews /reviews 7 -",
		"%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:claims:sub)%":                          "jason",
		"%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:claims)%":                              `{"n":1,"sub":"jason"}`,
		"%DYNAMIC_METADATA(nobody)%":                                                           "-",
		"%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%": "NotFound NOT_FOUND 5 5",
		"%TRAILER(CHECKSUM)% %TRAILER(none?checksum)% %TRAILER(none)%":                         "abc abc -",
		"%CEL(request.method + string(response.code))%":                                        "GET503",
		"%TRACE_ID% %ACCESS_LOG_TYPE% %UPSTREAM_REMOTE_PORT% %STREAM_ID%":                      "- DownstreamEnd 9080 id-1",
		"%EMIT_TIME(%3f)% %DOWNSTREAM_PEER_CERT_V_END%":                                        "128 -",
	} {
		f, err := CompileFormat(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := string(f.Append(nil, x)); got != want {
			t.Errorf("%s gives %q, want %q", format, got, want)
		}
	}
	for _, format := range []string{"%COMMON_DURATION(DS_RX_BEG:US_HS_END:ms)%", "%COMMON_DURATION(DS_RX_BEG)%", "%PATH(XX)%", "%CEL(response.nope)%", "%GRPC_STATUS(LOUD)%", "%DYNAMIC_METADATA%"} {
		if _, err := CompileFormat(format); err == nil {
			t.Errorf("%s was taken", format)
		}
	}
}

func TestFilters(t *testing.T) {
	at := func(order int, n int64) *snapshot.Comparison { return &snapshot.Comparison{Order: order, Value: n} }
	failed, slow := snapshot.LogFilter{Status: at(1, 500)}, snapshot.LogFilter{Duration: at(1, 6)}
	for _, c := range []struct {
		name   string
		filter snapshot.LogFilter
		want   bool
	}{
		{"status", failed, true}, {"duration", slow, false}, {"equal", snapshot.LogFilter{Status: at(0, 503)}, true}, {"at most", snapshot.LogFilter{Status: at(-1, 502)}, false},
		{"and", snapshot.LogFilter{And: []snapshot.LogFilter{failed, slow}}, false}, {"or", snapshot.LogFilter{Or: []snapshot.LogFilter{failed, slow}}, true},
		{"cel", snapshot.LogFilter{Expression: "response.code >= 500 && connection.mtls && upstream.port == 9080"}, true},
		{"cel on what is absent", snapshot.LogFilter{Expression: "request.headers['none'] != 'x'"}, false},
	} {
		f, err := newFilter(&c.filter)
		if err != nil {
			t.Fatal(err)
		}
		if got := f(sample()); got != c.want {
			t.Errorf("%s takes it: %v", c.name, got)
		}
	}
}
