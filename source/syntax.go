package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Mistake is why a text is not YAML.
type Mistake struct {
	Line, Col  int // from 1; the column in characters
	Text, Hint string
}

// Syntax says what is wrong with the lines of a text, of which the YAML library said err.
// The library tells the line in which the list or mapping around a mistake begins, in the
// words of its own grammar.
func Syntax(lines []string, err error) Mistake {
	if m, ok := unreadable(lines); ok {
		return m
	}
	text, line := err.Error(), 1
	if m := libraryLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, e := strconv.Atoi(m[1]); e == nil {
			line = min(max(n, 1), max(len(lines), 1))
		}
	}
	if strings.Contains(text, "tab character") {
		line = tabbed(lines, line)
	}
	line = breaks(lines, line)
	m := Mistake{Line: line, Text: text}
	for _, s := range sentences {
		if strings.Contains(text, s.library) {
			m.Text, m.Hint = s.text, s.hint
			break
		}
	}
	if line > len(lines) {
		return m
	}
	at := lines[line-1]
	indent := at[:len(at)-len(strings.TrimLeft(at, " \t"))]
	m.Col = utf8.RuneCountInString(indent) + 1
	switch tab := strings.IndexByte(indent, '\t'); {
	case tab >= 0:
		m.Col, m.Text, m.Hint = tab+1, "a tab stands where the indentation is", "YAML is indented with spaces, not tabs"
	case strings.Contains(at, "{{"):
		m.Hint = "this looks like a template: render it first, as with helm template"
	}
	return m
}

var libraryLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// sentences say the library's words in those of people who write YAML.
var sentences = []struct{ library, text, hint string }{
	{"did not find expected key", "expected a key that is indented as the others of its mapping", ""},
	{"did not find expected '-' indicator", `expected an item, "- …", that is indented as the others of its list`, ""},
	{"did not find expected ',' or ']'", `the list "[…]" is not closed: expected "," or "]"`, ""},
	{"did not find expected ',' or '}'", `the mapping "{…}" is not closed: expected "," or "}"`, ""},
	{"found unexpected end of stream", "a text in quotes does not end", "close the quotes"},
	{"mapping values are not allowed", `a key stands where a value is expected`, `put a value with ": " in it in quotes, and begin a mapping in a line of its own`},
	{"could not find expected ':'", `expected "KEY: VALUE"`, ""},
	{"found character that cannot start any token", "no value begins with this character", "put the value in quotes"},
	{"expected alphabetic or numeric character", `"*" and "&" in front of a value are followed by the name of an anchor`, "put the value in quotes"},
	{"found a tab character", "a tab stands where a space is expected", "YAML is indented with spaces, not tabs"},
	{"did not find expected node content", "expected a value", ""},
	{"found undefined tag handle", `"!" in front of a value begins a tag`, "put the value in quotes"},
	{"did not find expected <document start>", `"..." ended the document: expected "---" before another`, "leave the line with the dots out"},
}

// unreadable finds the first character that no YAML has, since it is no character at all
// or one that no text needs.
func unreadable(lines []string) (Mistake, bool) {
	const save = "save the file as UTF-8"
	if len(lines) > 0 && (strings.HasPrefix(lines[0], "\xff\xfe") || strings.HasPrefix(lines[0], "\xfe\xff")) {
		return Mistake{Line: 1, Col: 1, Text: "the file is in UTF-16; expected UTF-8", Hint: save}, true
	}
	for i, line := range lines {
		col := 0
		for rest := line; rest != ""; {
			col++
			r, n := utf8.DecodeRuneInString(rest)
			switch {
			case r == utf8.RuneError && n == 1:
				return Mistake{Line: i + 1, Col: col, Text: fmt.Sprintf("the byte 0x%02x is not UTF-8", rest[0]), Hint: save}, true
			case r < ' ' && r != '\t' && r != '\r' || r == 0x7f:
				return Mistake{Line: i + 1, Col: col, Text: fmt.Sprintf("the control character %U is not allowed", r)}, true
			}
			rest = rest[n:]
		}
	}
	return Mistake{}, false
}

// tabbed is the first line from a given one on that is indented with a tab: the library
// tells of a tab in the line before it.
func tabbed(lines []string, from int) int {
	for i := from - 1; i < len(lines); i++ {
		if indent := len(lines[i]) - len(strings.TrimLeft(lines[i], " \t")); strings.Contains(lines[i][:indent], "\t") {
			return i + 1
		}
	}
	return from
}

// searched is the most lines, and the most bytes, of a text in which the line of a mistake
// is looked for by reading the text again and again.
const (
	searchedLines = 400
	searchedBytes = 32 << 10
)

// breaks is the line that makes the text before it no YAML, whatever follows; else where
// the library says.
func breaks(lines []string, otherwise int) int {
	size := 0
	for _, l := range lines {
		size += len(l) + 1
	}
	if len(lines) > searchedLines || size > searchedBytes {
		return otherwise
	}
	text := []byte(strings.Join(lines, "\n") + "\n")
	for n := len(lines); n > 0; n-- {
		text = text[:len(text)-len(lines[n-1])-1]
		if reads(text) {
			return n
		}
	}
	return otherwise
}

// reads reports whether a text is YAML.
func reads(text []byte) bool {
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var n yaml.Node
		if err := d.Decode(&n); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
