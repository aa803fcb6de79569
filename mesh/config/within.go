package config

import "strings"

// Within gives a finding about the text of a field, such as an annotation that is YAML
// itself, its place in the object's file. Places of the finding count within the text;
// without one it is about the whole field. Where the file's spelling does not show which
// line of it is which of the text (folded text), the place is the field's.
func (o *Object) Within(path string, d Diagnostic) Diagnostic {
	placed := o.Diagnose(d.Severity, d.Code, path, d.Message, d.Hint)
	if o.positions == nil || d.Position.Line == 0 || !o.Has(path) {
		return placed
	}
	line, col, ok := o.positions.within(placed.Position, d.Position.Line, max(d.Position.Col, 1))
	if !ok {
		return placed
	}
	placed.Position.Line, placed.Position.Col = line, col
	placed.Excerpt = excerpt(o.positions.lines, o.positions.first, line)
	return placed
}

// within finds a line and column of a scalar's text in the file.
func (p *positions) within(scalar Position, line, col int) (fileLine, fileCol int, ok bool) {
	head := excerpt(p.lines, p.first, scalar.Line)
	if scalar.Col < 1 || scalar.Col > len(head) {
		return 0, 0, false
	}
	head = head[scalar.Col-1:]
	switch {
	case head[0] == '|':
		return p.withinBlock(scalar.Line, line, col)
	case head[0] == '>' || line > 1:
		return 0, 0, false
	case head[0] == '"' || head[0] == '\'':
		return scalar.Line, scalar.Col + quoted(head, col), true
	default:
		return scalar.Line, scalar.Col + col - 1, true
	}
}

// withinBlock finds a place in a literal block, whose lines follow its mark, indented as
// the first of them is.
func (p *positions) withinBlock(mark, line, col int) (fileLine, fileCol int, ok bool) {
	for i := mark - p.first + 1; i >= 0 && i < len(p.lines); i++ {
		if indent := len(p.lines[i]) - len(strings.TrimLeft(p.lines[i], " ")); indent < len(p.lines[i]) {
			return mark + line, indent + col, true
		}
	}
	return 0, 0, false
}

// quoted is the number of bytes from a quote to a column of the text behind it: escaped
// characters take two.
func quoted(raw string, col int) int {
	quote, at := raw[0], 1
	for ; col > 1 && at < len(raw); col-- {
		if quote == '"' && raw[at] == '\\' || quote == '\'' && strings.HasPrefix(raw[at:], "''") {
			at++
		}
		at++
	}
	return at
}
