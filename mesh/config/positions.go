package config

// positions has where every field of one object stands, by path.
type positions struct {
	file  string
	start Position
	at    map[string]Position
	lines []string
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

func parentPath(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}
