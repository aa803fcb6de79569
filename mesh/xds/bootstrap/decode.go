package bootstrap

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// decode reads the document into a message. Envoy takes the names of enums in any
// case (codec_type: auto) where protojson takes them as they are declared: a value
// that protojson does not know is tried in capitals.
func (d *document) decode(m proto.Message) error {
	lines := strings.Split(d.text.String(), "\n")
	for {
		err := protojson.Unmarshal([]byte(strings.Join(lines, "\n")), m)
		if err == nil {
			return nil
		}
		text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
		if at := protoPosition.FindStringSubmatch(text); at != nil && strings.HasPrefix(at[3], "invalid value for enum field") {
			n, _ := strconv.Atoi(at[1])
			if capital := lastString.ReplaceAllStringFunc(lines[n-1], strings.ToUpper); capital != lines[n-1] {
				lines[n-1] = capital
				continue
			}
		}
		return d.explain(text)
	}
}

var (
	// protoPosition is how package protojson writes where an error is.
	protoPosition = regexp.MustCompile(`\(line (\d+):(\d+)\): (.*)$`)
	// lastString is the value at the end of a line of the document, which has one field
	// or one element to a line.
	lastString = regexp.MustCompile(`"[a-zA-Z0-9_]+"[\]},]*$`)
	// unlinked is how package protojson says that it does not know a type.
	unlinked = regexp.MustCompile(`unable to resolve "(?:[^"]*/)?([^"/]+)": "not found"`)
)

// explain finds the place of an error that protojson reported.
func (d *document) explain(text string) error {
	text = unlinked.ReplaceAllString(text, "$1: not supported")
	if m := protoPosition.FindStringSubmatch(text); m != nil {
		// The text begins with a line that holds the opening brace only.
		if line, _ := strconv.Atoi(m[1]); line >= 2 && line-2 < len(d.lines) {
			return located(d.file, d.lines[line-2], m[3])
		}
		return fmt.Errorf("%s: %s", d.file, m[3])
	}
	return fmt.Errorf("%s: %s", d.file, text)
}
