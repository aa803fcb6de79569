package spec

import (
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/source"
	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// Problem is one thing that is wrong with a scenario file.
type Problem struct {
	Position Position
	Message  string // what is wrong, what was expected, did you mean
	Source   string // the line of the file, without its end; "" where there is none
}

// Error is "file:line:col: message".
func (p Problem) Error() string { return p.Position.String() + ": " + p.Message }

// Detail is Error with the source line and a mark under the column.
func (p Problem) Detail() string {
	if strings.TrimSpace(p.Source) == "" {
		return p.Error()
	}
	text, mark := source.Show(p.Source, p.Position.Col)
	if mark == "" {
		return p.Error() + "\n  " + text
	}
	return p.Error() + "\n  " + text + "\n  " + mark
}

// Text is Detail with the end of its line, ready to print.
func (p Problem) Text() string { return p.Detail() + "\n" }

// Suggest is " (did you mean X?)" for the candidate that is nearest to a word, or
// "" where none is near.
func Suggest(word string, candidates []string) string {
	best := spelling.Nearest(word, candidates)
	if best == "" || best == word {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}
