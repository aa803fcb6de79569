package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestSyntax: a mistake is where it is, in words of people who write YAML.
func TestSyntax(t *testing.T) {
	const head = "kind: A\nspec:\n  hosts: [a]\n"
	many := strings.Repeat("  k: [1]\n", searchedLines)
	for name, c := range map[string]struct{ text, want string }{
		"one more space":      {head + "   http:\n  - b\n", "4:4 expected a key that is indented as the others of its mapping"},
		"an item of no list":  {"http:\n- route:\n  timeout: 2s\n  - a: b\n", "4:3 expected a key that is indented as the others of its mapping"},
		"a key of no mapping": {"http:\n- a\nb:\n- c\n d: e\n", "5:2 a key stands where a value is expected"},
		"a tab":               {head + "\thttp: []\n", "4:1 a tab stands where the indentation is"},
		"an open list":        {"spec:\n  hosts: [a\n  http:\n  - b\n", `2:3 the list "[…]" is not closed: expected "," or "]"`},
		"an open mapping":     {"spec: {a: b\nc: d\n", `1:1 the mapping "{…}" is not closed: expected "," or "}"`},
		"open quotes":         {"a: b\nname: \"reviews\nspec: {}\n", "2:1 a text in quotes does not end"},
		"two colons":          {"a: b\nname: a: b\n", "2:1 a key stands where a value is expected"},
		"stars":               {"a: b\nimage: ***\nb: c\n", `2:1 "*" and "&" in front of a value are followed by the name of an anchor`},
		"an at sign":          {"a: @b\n", "1:1 no value begins with this character"},
		"dots":                {"a: b\n...\nc: d\n", `3:1 "..." ended the document: expected "---" before another`},
		"Latin 1":             {"a: b\nname: r\xe9\n", "2:8 the byte 0xe9 is not UTF-8"},
		"a zero":              {"a: b\nname: r\x00\n", "2:8 the control character U+0000 is not allowed"},
		"UTF-16":              {"\xff\xfea\x00", "1:1 the file is in UTF-16; expected UTF-8"},
		"a template":          {"a: b\n{{ if .Values.x }}\nc: d\n", "2:1"},
		"too much to search":  {"spec:\n" + many + "   x: [\n", "1:1 expected a key that is indented as the others of its mapping"},
		"a tab in a long one": {"spec:\n" + many + "\tx: 1\n", "402:1 a tab stands where the indentation is"},
	} {
		lines := strings.Split(strings.TrimSuffix(c.text, "\n"), "\n")
		d := yaml.NewDecoder(strings.NewReader(c.text))
		var err error
		for err == nil {
			var n yaml.Node
			err = d.Decode(&n)
		}
		m := Syntax(lines, err)
		if got := fmt.Sprintf("%d:%d %s", m.Line, m.Col, m.Text); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
		if name == "a template" && !strings.Contains(m.Hint, "helm template") {
			t.Errorf("%s: hint %q", name, m.Hint)
		}
	}
	if m := Syntax(nil, errors.New("what the library did not say before")); m.Line != 1 || m.Text != "what the library did not say before" {
		t.Errorf("%+v", m)
	}
}
