package expect_test

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// What is wrong with an expectation is said without CEL's names of operators and tokens.
func TestMistakesInWords(t *testing.T) {
	language, err := expect.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`status["200"] == "x"`:   `"==" does not go with int and string`,
		`ok(`:                    `it ends too early`,
		`latency.p99 < "20ms"`:   `"<" does not go with duration and string; write durations as duration("20ms")`,
		`ok() and count == 1`:    `"and" is not expected here; write &&`,
		`count = 1`:              `"=" has no meaning in expressions; write ==`,
		`body.contains(3)`:       `contains() of string does not take int`,
		`share(workloads) > 0.5`: `share() does not take map`,
		`!count`:                 `"!" does not go with int`,
	} {
		var said []string
		for _, p := range language.Check(spec.Expression{Text: text}, spec.Scope{Operation: "request"}) {
			said = append(said, p.Message)
		}
		if all := strings.Join(said, "\n"); !strings.Contains(all, want) || strings.Contains(all, "overload") || strings.Contains(all, "'_") {
			t.Errorf("%s: %q, want %q", text, all, want)
		}
	}
}
