package route

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Metadata is what filters found out about a request, by the filter's name.
type Metadata = map[string]map[string]any

// MatchMetadata tells whether metadata is what somebody looks for. A value that is not
// there matches nothing, which Invert turns around as all else.
func MatchMetadata(m *snapshot.MetadataMatch, known Metadata) bool {
	return isValue(&m.Value, valueOf(m, known)) != m.Invert
}

// valueOf follows the path of a matcher; nil: there is no such value.
func valueOf(m *snapshot.MetadataMatch, known Metadata) any {
	if len(m.Path) == 0 {
		return nil
	}
	object := known[m.Filter]
	for _, key := range m.Path[:len(m.Path)-1] {
		object, _ = object[key].(map[string]any)
	}
	return object[m.Path[len(m.Path)-1]]
}

func isValue(m *snapshot.ValueMatch, value any) bool {
	switch {
	case m.Or != nil:
		for i := range m.Or {
			if isValue(&m.Or[i], value) {
				return true
			}
		}
		return false
	case m.OneOf != nil:
		list, _ := value.([]any)
		for _, v := range list {
			if isValue(m.OneOf, v) {
				return true
			}
		}
		return false
	case m.Present != nil:
		return (value != nil) == *m.Present
	case m.Bool != nil:
		b, ok := value.(bool)
		return ok && b == *m.Bool
	default:
		text, ok := value.(string)
		return ok && m.String != nil && MatchString(m.String, text)
	}
}

// describeMetadata is why a matcher does not hold, in words. The payload of a token is
// shown as its claims.
func describeMetadata(m *snapshot.MetadataMatch, known Metadata) string {
	what := "metadata " + m.Filter + " " + strings.Join(m.Path, ".")
	if token := (snapshot.JWT{}); m.Filter == token.FilterName() && len(m.Path) > 1 {
		if what = "claim " + strings.Join(m.Path[1:], "."); known[m.Filter] == nil {
			what = "no token was verified: " + what
		}
	}
	want := describeValue(&m.Value)
	if m.Invert {
		want = "not " + want
	}
	value := valueOf(m, known)
	if value == nil {
		return fmt.Sprintf("%s is missing, want %s", what, want)
	}
	text, _ := json.Marshal(value) // it came as JSON
	return fmt.Sprintf("%s is %s, want %s", what, text, want)
}

// describeValue is a matcher in words. One for a string or a list of such is as one for the string.
func describeValue(m *snapshot.ValueMatch) string {
	switch {
	case m.Or != nil:
		var words []string
		for i := range m.Or {
			if word := describeValue(&m.Or[i]); !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
		return strings.Join(words, " or ")
	case m.OneOf != nil:
		return describeValue(m.OneOf)
	case m.Present != nil && *m.Present:
		return "present"
	case m.Present != nil:
		return "missing"
	case m.Bool != nil:
		return fmt.Sprint(*m.Bool)
	default:
		return DescribeString(m.String)
	}
}
