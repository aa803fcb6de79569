package expect

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

type host struct{}

func (host) Logs(workload string) ([]string, error) { return []string{"a line of " + workload}, nil }

func (host) Endpoint(workload, client string) (Endpoint, error) {
	if workload == "nobody" {
		return Endpoint{}, errors.New("no workload nobody")
	}
	return Endpoint{Ejected: workload == "httpbin-v2", Healthy: true, Active: 3}, nil
}

func sample() Values {
	t := &Traffic{
		Count: 10, Status: map[string]int64{"200": 8, "503": 2}, Flags: map[string]int64{"UO": 2},
		Workloads: map[string]int64{"reviews-v1": 6, "reviews-v2": 2},
		Latency:   Percentiles{P50: 5 * time.Millisecond, P99: 20 * time.Millisecond},
		Service:   Percentiles{P99: 10 * time.Millisecond},
		QPS:       19.5, Seconds: 0.5, Body: "hello spiffe://x", Headers: map[string]string{"server": "envoy"},
	}
	return Values{
		Scope:  spec.Scope{Operation: "request", Kept: map[string]string{"baseline": "load", "made": "apply"}},
		Result: t,
		Kept:   map[string]Result{"baseline": t, "made": &Applied{Objects: 2, Rejected: []string{"no"}}},
	}
}

func TestEvaluate(t *testing.T) {
	l, err := New(host{})
	if err != nil {
		t.Fatal(err)
	}
	const no = "no: "
	for expression, want := range map[string]string{
		`status["200"] == 8`:                                           "",
		`status["404"] == 0`:                                           "",
		`!("404" in status) && "503" in status`:                        "",
		`flags["UO"] == status["503"]`:                                 "",
		`flags.UO == 2`:                                                "",
		`status["200"] + status["503"] == 10`:                          "",
		`size(status) == 2 && status.all(k, status[k] > 1)`:            "",
		`share(workloads, "reviews-v2") == 0.25`:                       "",
		`share(attempts, "reviews-v2") == 0.0`:                         "",
		`latency.p99 < duration("30ms")`:                               "",
		`latency.service.p99 * 1 == latency.p99`:                       "error", // no such overload: not checked here
		`latency.service.p99 + latency.service.p99 == latency.p99`:     "",
		`baseline.latency.p99 == latency.p99`:                          "",
		`made.rejected.exists(r, r.contains("no")) && made.objects==2`: "",
		`qps > 19 && seconds <= 1`:                                     "",
		`body.contains("spiffe://") && headers["server"] == "envoy"`:   "",
		`body.upperAscii().startsWith("HELLO")`:                        "",
		`endpoint("httpbin-v2", "sleep").ejected`:                      "",
		`endpoint("a", "sleep").active == 3`:                           "",
		`tls.version == "" && protocol == ""`:                          "",

		`status["503"] == 3`: no + `status["503"] == 3, status["503"] is 2, status is {"200": 8, "503": 2}`,
		`ok()`:               no + `ok()`,
		`!endpoint("httpbin-v2", "sleep").ejected`: no + `!endpoint("httpbin-v2", "sleep").ejected, endpoint("httpbin-v2", "sleep").ejected is true`,
		`latency.p99 < duration("10ms")`:           no + `latency.p99 < duration("10ms"), latency.p99 is 20ms`,
		`status["200"] + status["503"] == 60`:      no + `status["200"] + status["503"] == 60, status["200"] + status["503"] is 10, status["200"] is 8, status is {"200": 8, "503": 2}, status["503"] is 2`,
		`errors > 0 || count == 9`:                 no + `errors > 0 || count == 9, errors > 0 is false, errors is 0, count == 9 is false, count is 10`,
		`status.all(k, k == "200")`:                no + `status.all(k, k == "200"), status is {"200": 8, "503": 2}`,
		`baseline.status["503"] == 1`:              no + `baseline.status["503"] == 1, baseline.status["503"] is 2, baseline.status is {"200": 8, "503": 2}`,
		`body == "x"`:                              no + `body == "x", body is "hello spiffe://x"`,

		`endpoint("nobody", "sleep").ejected`: "error",
		`headers["none"] == ""`:               "error",
		`10 / errors == 1`:                    "error",
	} {
		got := l.Evaluate(spec.Expression{Text: expression}, sample())
		switch {
		case want == "error" && got.Err == nil:
			t.Errorf("%s: no error: %+v", expression, got)
		case want == "" && !got.Holds:
			t.Errorf("%s does not hold: %s", expression, got.Message)
		case strings.HasPrefix(want, no) && (got.Holds || got.Err != nil || no+got.Message != want):
			t.Errorf("%s\n got: %s\nwant: %s", expression, got.Message, want[len(no):])
		}
	}
}

func TestCheck(t *testing.T) {
	l, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{"baseline": "load"}
	at := spec.Position{File: "f.yaml", Line: 12, Col: 8}
	for _, tc := range []struct{ operation, text, want string }{
		{"request", `status["200"] == 3`, ""},
		{"load", `ok() && baseline.qps > qps`, ""},
		{"", `endpoint("a", "b").ejected`, ""},
		{"apply", `rejected.size() == 1`, ""},
		{"request", `statuz["200"] == 3`, `f.yaml:12:8: unknown name "statuz" in the expectation (did you mean status?)`},
		{"request", `1 == latency.p98`, `f.yaml:12:20: unknown field "p98" in the expectation (did you mean p90?)`},
		{"", `count == 3`, `"count" is in the result of request, load and finish, which this step is not`},
		{"wait", `ok()`, `unknown name "ok"`},
		{"request", `basline.qps > 3`, `(did you mean baseline?)`},
		{"request", `count`, `is int, expected true or false`},
		{"request", `latency.p99 < "20ms"`, `write durations as duration("20ms")`},
		{"request", `qps == 3`, `write 2.0 instead of 2`},
		{"request", `1 == 1`, `depends on nothing that the scenario does`},
		{"request", `[1].all(x, x == 1)`, `depends on nothing`},
		{"request", `count ==`, `f.yaml:12:`},
		{"request", "count == 1\n&& coun == 2", `f.yaml:13:11: unknown name "coun"`},
	} {
		problems := l.Check(spec.Expression{Text: tc.text, Position: at}, spec.Scope{Operation: tc.operation, Kept: kept})
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		if all := strings.Join(got, "\n"); tc.want == "" && all != "" || !strings.Contains(all, tc.want) {
			t.Errorf("%s\n got: %s\nwant: %s", tc.text, all, tc.want)
		}
	}
}

func TestOK(t *testing.T) {
	for _, tc := range []struct {
		t    *Traffic
		want bool
	}{
		{nil, false},
		{&Traffic{}, false},
		{&Traffic{Count: 1, Errors: 1}, false},
		{&Traffic{Count: 2, Status: map[string]int64{"200": 1, "302": 1}}, true},
		{&Traffic{Count: 2, Status: map[string]int64{"200": 1, "404": 1}}, false},
	} {
		if got := tc.t.OK(); got != tc.want {
			t.Errorf("%+v: OK is %v", tc.t, got)
		}
	}
}
