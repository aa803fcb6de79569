package webhook

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch is what turns one object into another. Both are typed values of one type.
func patch(before, after any) ([]operation, error) {
	a, err := tree(before)
	if err != nil {
		return nil, err
	}
	b, err := tree(after)
	if err != nil {
		return nil, err
	}
	return difference(nil, "", a, b), nil
}

func tree(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var t any
	return t, json.Unmarshal(text, &t)
}

// difference adds the operations that turn a into b. Mappings are compared key by
// key. Of lists, what was appended is added and items that stand at their place are
// compared; so it is with what was put before the first. A list that became shorter is
// replaced whole.
func difference(found []operation, path string, a, b any) []operation {
	if reflect.DeepEqual(a, b) {
		return found
	}
	switch old := a.(type) {
	case map[string]any:
		if now, ok := b.(map[string]any); ok {
			return mappings(found, path, old, now)
		}
	case []any:
		if now, ok := b.([]any); ok {
			return lists(found, path, old, now)
		}
	}
	return append(found, operation{"replace", path, b})
}

func lists(found []operation, path string, a, b []any) []operation {
	if len(a) == 0 || len(b) < len(a) {
		return append(found, operation{"replace", path, b})
	}
	before := 0
	if !sameItem(a[0], b[0]) && sameItem(a[0], b[len(b)-len(a)]) {
		before = len(b) - len(a)
	}
	for i := range before {
		found = append(found, operation{"add", path + "/" + strconv.Itoa(i), b[i]})
	}
	for i := range a {
		found = difference(found, path+"/"+strconv.Itoa(before+i), a[i], b[before+i])
	}
	for _, item := range b[before+len(a):] {
		found = append(found, operation{"add", path + "/-", item})
	}
	return found
}

// sameItem tells whether two items of a list are versions of one: Kubernetes names
// its lists' items.
func sameItem(a, b any) bool {
	x, ok := a.(map[string]any)
	y, same := b.(map[string]any)
	return ok && same && x["name"] == y["name"]
}

func mappings(found []operation, path string, a, b map[string]any) []operation {
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[key]; !ok {
			found = append(found, operation{Op: "remove", Path: path + "/" + escape(key)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		below := path + "/" + escape(key)
		if _, ok := a[key]; !ok {
			found = append(found, operation{"add", below, b[key]})
			continue
		}
		found = difference(found, below, a[key], b[key])
	}
	return found
}

// escape writes a key as a part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
