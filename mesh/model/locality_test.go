package model

import "testing"

// TestCarries: an endpoint has the labels of its place, and an empty value is none.
func TestCarries(t *testing.T) {
	e := &Endpoint{Labels: map[string]string{"version": "v1", "empty": ""}, Locality: Locality{Region: "west"}, Host: "node"}
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"version", "v1", true}, {"version", "v2", false}, {"none", "", false}, {"empty", "", true},
		{LabelRegion, "west", true}, {LabelRegion, "east", false}, {LabelZone, "", false}, {LabelHost, "node", true},
	} {
		if got := e.Carries(map[string]string{c.key: c.value}); got != c.want {
			t.Errorf("%s=%q: %v", c.key, c.value, got)
		}
	}
}
