package patch

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// Value is what a patch puts somewhere, or merges into something.
type Value struct {
	Message proto.Message
	Partial bool // it is merged, and what is missing stays as it is
	patch   *model.EnvoyPatch
}

// Values returns the values of a filter's patches in which Check finds nothing.
func Values(f *model.EnvoyFilter) []Value {
	var values []Value
	for _, p := range f.Patches {
		if read, problems := read(p); len(problems) == 0 && read.value != nil {
			values = append(values, Value{read.value, p.Operation == "MERGE", p})
		}
	}
	return values
}

// pathStep is a field, an element of a list, or of a map.
var pathStep = regexp.MustCompile(`\["([^"]*)"\]|\[(\d+)\]|[^.\[]+`)

// Path is where in the EnvoyFilter a field of the message stands, given in protojson's
// names: Envoy's own are allowed, too.
func (v Value) Path(field string) string {
	at := v.patch.Path + ".patch.value"
	var here any
	_ = json.Unmarshal(v.patch.Value, &here) // it is JSON: Values read it
	for _, step := range pathStep.FindAllStringSubmatch(field, -1) {
		if step[2] != "" {
			i, _ := strconv.Atoi(step[2])
			list, ok := here.([]any)
			if !ok || i >= len(list) {
				return at
			}
			at, here = at+step[0], list[i]
			continue
		}
		object, _ := here.(map[string]any)
		name := cmp.Or(step[1], step[0])
		written := slices.IndexFunc(sortedKeys(object), func(k string) bool {
			return k == name || step[1] == "" && strings.EqualFold(strings.ReplaceAll(k, "_", ""), name)
		})
		if written < 0 {
			return at
		}
		key := sortedKeys(object)[written]
		at, here = at+"."+key, object[key]
	}
	return at
}
