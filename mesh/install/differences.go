package install

import (
	"encoding/json"
	"maps"
	"slices"
)

// Difference is one setting in which two profiles differ.
type Difference struct{ Name, Old, New string }

// Differences returns the settings in which two profiles differ, by name.
func Differences(a, b string) []Difference {
	old, now := flat(a), flat(b)
	var list []Difference
	names := slices.Collect(maps.Keys(old))
	for name := range now {
		if _, ok := old[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		x, y := text(old[name]), text(now[name])
		if x != y {
			list = append(list, Difference{name, x, y})
		}
	}
	return list
}

// flat has every value of a profile by its path.
func flat(profile string) map[string]any {
	values := make(map[string]any)
	s, err := Profile(profile)
	if err != nil {
		return values
	}
	var tree map[string]any
	if plain, err := json.Marshal(s); err != nil || json.Unmarshal(plain, &tree) != nil {
		return values
	}
	var walk func(prefix string, m map[string]any)
	walk = func(prefix string, m map[string]any) {
		for key, v := range m {
			if below, ok := v.(map[string]any); ok {
				walk(prefix+key+".", below)
				continue
			}
			values[prefix+key] = v
		}
	}
	walk("", tree)
	return values
}

func text(v any) string {
	if v == nil {
		return "not set"
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(plain)
}
