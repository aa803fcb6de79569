package expect

import (
	"math"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func TestQueried(t *testing.T) {
	l, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	one := &Queried{Series: []Sample{{Labels: map[string]string{"code": "200"}, Value: 0.5}}}
	two := &Queried{Series: append(one.Series, Sample{Labels: map[string]string{"code": "503"}, Value: math.NaN()})}
	for _, c := range []struct {
		text   string
		result *Queried
		err    string
		holds  bool
		says   string
	}{
		{"value == 0.5", one, "", true, ""},
		{"value > 0.5", one, "", false, "value is 0.5"},
		{`series[0].labels.code == "503"`, one, "", false, `series is [{labels: {"code": "200"}, value: 0.5}]`},
		{`series[0].labels["none"] == ""`, one, "no such key", false, ""},
		{"value == 0.5", two, "found 2 series", false, ""},
		{"value == 0.5", &Queried{}, "found nothing", false, ""},
		{"size(series) == 0", &Queried{}, "", true, ""},
		{`series.exists(s, s.labels.code == "503")`, two, "", true, ""},
		{"before.value == 0.5", two, "", true, ""},
	} {
		scope := spec.Scope{Operation: "query", Kept: map[string]string{"before": "query"}}
		got := l.Evaluate(spec.Expression{Text: c.text}, Values{Scope: scope, Result: c.result, Kept: map[string]Result{"before": one}})
		if got.Holds != c.holds || (got.Err != nil) != (c.err != "") || !strings.Contains(got.Message, c.err+c.says) {
			t.Errorf("%s: %+v, want %q", c.text, got, c.err+c.says)
		}
	}
	if j := two.JSON(); j["value"] != nil || j["series"].([]any)[1].(map[string]any)["value"] != "NaN" {
		t.Errorf("JSON is %v", j)
	}
}
