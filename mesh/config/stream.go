package config

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/source"
)

// chunk is the text of one document of a stream.
type chunk struct {
	first int // the number of its first line
	lines []string
}

// split cuts a stream at its document markers, so that an error in the syntax of one
// document does not hide the others. A line that begins with "---" ends whatever
// stands before it, even within a block scalar (YAML 1.2, 9.1.2).
func split(firstLine int, data []byte) []chunk {
	text := strings.TrimPrefix(string(data), "\ufeff")
	var chunks []chunk
	current := chunk{first: firstLine}
	line := firstLine
	for len(text) > 0 {
		end := strings.IndexByte(text, '\n')
		next := len(text)
		if end < 0 {
			end = len(text)
		} else {
			next = end + 1
		}
		content := strings.TrimSuffix(text[:end], "\r")
		if isMarker(content) {
			chunks = append(chunks, current)
			current = chunk{first: line}
		}
		current.lines = append(current.lines, content)
		text, line = text[next:], line+1
	}
	return append(chunks, current)
}

func isMarker(line string) bool {
	rest, ok := strings.CutPrefix(line, "---")
	return ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// blank reports whether there is nothing in the chunk but comments and directives.
func (c chunk) blank() bool {
	for i, l := range c.lines {
		if i == 0 && isMarker(l) {
			l = l[3:]
		}
		l = strings.TrimSpace(l)
		if l != "" && l[0] != '#' && l[0] != '%' && l != "..." {
			return false
		}
	}
	return true
}

// raw is the document as written, without its marker.
func (c chunk) raw() []byte {
	lines := c.lines
	if len(lines) > 0 && isMarker(lines[0]) && strings.TrimSpace(lines[0][3:]) == "" {
		lines = lines[1:]
	}
	return []byte(strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n")
}

// parse reads the chunk's documents: one, or more where "..." ends them.
func (c chunk) parse() ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(strings.Join(c.lines, "\n") + "\n")))
	var nodes []*yaml.Node
	for {
		var n yaml.Node
		err := decoder.Decode(&n)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nodes, err
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
			nodes = append(nodes, n.Content[0])
		}
	}
}

// syntaxError turns the parser's error into a diagnostic.
func (c chunk) syntaxError(file string, err error) Diagnostic {
	m := source.Syntax(c.lines, err)
	line := c.first + m.Line - 1
	return Diagnostic{Severity: Error, Code: CodeSyntax, Message: "not valid YAML: " + m.Text, Hint: m.Hint,
		Position: Position{File: file, Line: line, Col: m.Col}, Excerpt: excerpt(c.lines, c.first, line)}
}
