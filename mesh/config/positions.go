package config

// positions has where every field of one object stands, by path.
type positions struct {
	file  string
	start Position
	at    map[string]Position
	lines []string // of the document; lines[0] is line number first
	first int
}

// Position returns where the object starts.
func (o *Object) Position() Position {
	if o.positions == nil {
		return Position{}
	}
	return o.positions.start
}

// At returns where a field stands. The path is written as people write it:
// "spec.http[0].route[1].destination.subset". Where the field is not in the file,
// it is the nearest parent's position.
func (o *Object) At(path string) Position {
	if o.positions == nil {
		return Position{}
	}
	for path != "" {
		if p, ok := o.positions.at[path]; ok {
			return p
		}
		path = parentPath(path)
	}
	return o.positions.start
}

// PathAt returns the path of the field that stands in a line, the outermost where there
// are several; "" where there is none.
func (o *Object) PathAt(line int) string {
	if o.positions == nil {
		return ""
	}
	found := ""
	for path, p := range o.positions.at {
		if p.Line == line && (found == "" || len(path) < len(found) || len(path) == len(found) && path < found) {
			found = path
		}
	}
	return found
}

// Has reports whether a field stands in the file, as opposed to being left out.
func (o *Object) Has(path string) bool {
	if o.positions == nil {
		return false
	}
	_, ok := o.positions.at[path]
	return ok
}

// Diagnose makes a diagnostic about a field of the object, with its position and line.
func (o *Object) Diagnose(severity Severity, code, path, message, hint string) Diagnostic {
	d := Diagnostic{Severity: severity, Code: code, Message: message, Hint: hint, Object: o.Key(), Path: path, Position: o.At(path)}
	if o.positions != nil {
		d.Excerpt = excerpt(o.positions.lines, o.positions.first, d.Position.Line)
	}
	return d
}

// excerpt is the text of a line.
func excerpt(lines []string, first, line int) string {
	if i := line - first; i >= 0 && i < len(lines) {
		return lines[i]
	}
	return ""
}

func parentPath(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}
