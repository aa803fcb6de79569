package spec

import (
	"bytes"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// split cuts a YAML stream at its document markers. A marker stands at column 0,
// which no content of a document may do, so lines suffice. Documents that have
// nothing but comments, directives and blank lines are left out.
func split(file string, data []byte) []Document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []Document
	var text []byte
	first := 1
	flush := func(next int) {
		if !blank(text) {
			docs = append(docs, Document{File: file, Line: first, Text: text})
		}
		text, first = nil, next
	}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		switch rest, ok := marker(line); {
		case !ok:
			text = append(text, line...)
		case blank(rest):
			flush(number + 1)
		default: // "--- content" stays in its column
			flush(number)
			text = append(append(text, "   "...), rest...)
		}
	}
	flush(number)
	return docs
}

// marker tells whether a line begins with "---" or "..." and what follows.
func marker(line []byte) (rest []byte, ok bool) {
	for _, m := range []string{"---", "..."} {
		if rest, ok := bytes.CutPrefix(line, []byte(m)); ok {
			if len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0 {
				return rest, true
			}
		}
	}
	return nil, false
}

// blank tells whether a text has no content.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// indentation counts the spaces that a line begins with.
func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// cutObject cuts the original text of an inline mapping out of a file, with every
// line and column where it was: what stands before it on its first line becomes
// spaces. Line numbers count from 1 in lines. Where the source cannot be cut
// faithfully the object is written again, on its first line.
func cutObject(file string, lines []string, line, col int, n *yaml.Node) Document {
	d := Document{File: file, Line: line}
	pad := strings.Repeat(" ", col-1)
	var text string
	if line <= len(lines) { // YAML has line ends that lines were not split at
		start := byteOffset(lines[line-1], col)
		if n.Style&yaml.FlowStyle != 0 {
			text = pad + cutFlow(lines[line-1:], start)
		} else {
			text = pad + lines[line-1][start:] + "\n" + cutBlock(lines[line:], col-1)
		}
	}
	if text != "" && sameContent(text, n) {
		d.Text = []byte(text)
		return d
	}
	if out, err := yaml.Marshal(flowCopy(n)); err == nil {
		d.Text = append([]byte(pad), bytes.ReplaceAll(bytes.TrimSpace(out), []byte("\n"), []byte(" "))...)
	}
	return d
}

// byteOffset converts a column (runes, from 1) of a line to bytes (from 0).
func byteOffset(line string, col int) int {
	for i := range line {
		if col--; col <= 0 {
			return i
		}
	}
	return len(line)
}

// cutBlock returns the lines that belong to a block with that indentation.
func cutBlock(lines []string, indent int) string {
	end := 0
	for i, l := range lines {
		content := strings.TrimSpace(l)
		if content == "" || content[0] == '#' && indentation(l) < indent {
			continue
		}
		if indentation(l) < indent || strings.HasPrefix(l[indent:], "- ") {
			break
		}
		end = i + 1
	}
	if end == 0 {
		return ""
	}
	return strings.Join(lines[:end], "\n") + "\n"
}

// cutFlow returns the text of a flow collection from its bracket to the one that closes it.
func cutFlow(lines []string, start int) string {
	s := strings.Join(lines, "\n")[start:]
	depth := 0
	var quote byte
	previous := byte(',')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && strings.IndexByte("{[,:", previous) >= 0:
			quote = c
		case c == '#' && i > 0 && (s[i-1] == ' ' || s[i-1] == '\n'):
			for i < len(s) && s[i] != '\n' {
				i++
			}
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return s[:i+1]
			}
		}
		if c != ' ' && c != '\n' && c != '\t' {
			previous = c
		}
	}
	return s
}

// sameContent tells whether a text holds what a node holds.
func sameContent(text string, n *yaml.Node) bool {
	var want, got any
	if n.Decode(&want) != nil || yaml.Unmarshal([]byte(text), &got) != nil {
		return false
	}
	return reflect.DeepEqual(got, want)
}

// flowCopy is a copy of a tree in flow style with quoted scalars, for one line.
func flowCopy(n *yaml.Node) *yaml.Node {
	c := *n
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		c.Style = yaml.DoubleQuotedStyle
	case n.Kind != yaml.ScalarNode:
		c.Style = yaml.FlowStyle
	}
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = flowCopy(child)
	}
	return &c
}

// cutText cuts the documents of a literal block ("|") out of a file. line is the
// line of the indicator, value what YAML made of it.
func cutText(file string, lines []string, line int, value string) []Document {
	content := strings.Split(strings.TrimRight(value, "\n"), "\n")
	first := ""
	skip := 0
	for skip < len(content) && strings.TrimSpace(content[skip]) == "" {
		skip++
	}
	if skip < len(content) {
		first = content[skip]
	}
	if line+skip >= len(lines) {
		return nil
	}
	indent := strings.Index(lines[line+skip], first)
	if indent < 0 {
		return nil
	}
	var docs []Document
	var text strings.Builder
	start := line + 1
	flush := func(next int) {
		if t := text.String(); !blank([]byte(t)) {
			docs = append(docs, Document{File: file, Line: start, Text: []byte(t)})
		}
		text.Reset()
		start = next
	}
	for i, c := range content {
		pad := strings.Repeat(" ", indent)
		rest, ok := marker([]byte(c))
		switch {
		case !ok && c == "":
			text.WriteString("\n")
		case !ok:
			text.WriteString(pad + c + "\n")
		case blank(rest):
			flush(line + i + 2)
		default:
			flush(line + i + 1)
			text.WriteString(pad + "   " + string(rest) + "\n")
		}
	}
	flush(0)
	return docs
}
